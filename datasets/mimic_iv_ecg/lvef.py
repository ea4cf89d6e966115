"""Reads left-ventricular ejection fractions of recordings from the user's table.

The table's second column is the recording's path, the last but one the ejection fraction in
percent, and the last the class: 1 below 50 %, otherwise 0. Names of columns are ignored.
"""

import pathlib

import duckdb

from clef_jax.building import table
from clef_jax.data.record import Label
from clef_jax.errors import UserError, counted
from clef_jax.finding import Findings

SPLITS = {"train": 800, "validation": 100, "test": 100}
LABELS = (
    Label(
        name="lvef_percent",
        kind="number",
        unit="%",
        description="Left-ventricular ejection fraction",
    ),
    Label(
        name="lvef_below_50",
        kind="number",
        description="1 if the table states a reduced ejection fraction, below 50 %, otherwise 0",
    ),
    Label(
        name="pretraining_split",
        kind="class",
        description="Split of the patient in the pre-training data; exclude train to evaluate",
        classes=("train", "validation", "none"),
    ),
)
_REDUCED_PERCENT = 50.0
_MIN_COLUMNS = 4
_TABLE = """
CREATE TABLE labelled AS
SELECT line, path, lvef, below, row_number() OVER (PARTITION BY path ORDER BY line) AS nth
FROM (
  SELECT row_number() OVER () AS line,
    regexp_replace(regexp_extract(trim({path}), 'files/.*'), '\\.(hea|dat)$', '') AS path,
    CASE WHEN TRY_CAST({lvef} AS DOUBLE) BETWEEN 1 AND 100 THEN TRY_CAST({lvef} AS DOUBLE) END
      AS lvef,
    CASE WHEN TRY_CAST({below} AS DOUBLE) IN (0, 1) THEN TRY_CAST({below} AS DOUBLE) END AS below
  FROM lvef_source
)
"""


def find(source: pathlib.Path, given: str | None) -> pathlib.Path:
    """Returns the path of the table: as given, or a file in the source whose name has "lvef".

    Raises:
        UserError: no table is found; the message describes it.
    """
    if given:
        return pathlib.Path(given)
    tables = sorted(p for p in source.glob("*.csv*") if "lvef" in p.name.lower())
    if not tables:
        raise UserError(
            f"No table of ejection fractions found in {source}. Give one with "
            "--label-source=FILE.csv. Its second column is the recording's path, its last two are "
            "the ejection fraction in percent and the class.",
            problem="missing_file",
        )
    return tables[0]


def load(database: duckdb.DuckDBPyConnection, path: pathlib.Path) -> Findings:
    """Creates the table `lvef` (path, lvef, below), one row for each listed recording with a label.

    Returns:
        Findings about rows that are not used or contradict themselves.

    Raises:
        UserError: the file has fewer than four columns, or no paths in the second.
    """
    columns = table.column_names(path)
    if len(columns) < _MIN_COLUMNS:
        raise UserError(
            f"The table {path} has {counted(len(columns), 'column')}, but needs at least "
            f"{_MIN_COLUMNS}.",
            problem="missing_column",
        )
    selected = {"path": columns[1], "lvef": columns[-2], "below": columns[-1]}
    table.create_view(database, "lvef_source", path, selected.values())
    database.execute(_TABLE.format(**{name: f'"{column}"' for name, column in selected.items()}))
    ((rows, paths),) = database.execute(
        "SELECT count(*), count(*) FILTER (path <> '') FROM labelled"
    ).fetchall()
    if rows and not paths:
        raise UserError(
            f"The second column of {path}, {columns[1]!r}, has no path that begins with files/.",
            problem="no_paths",
        )
    findings = _check_rows(database)
    database.execute(
        "CREATE TABLE lvef AS SELECT path, lvef, below FROM labelled "
        "WHERE nth = 1 AND (lvef IS NOT NULL OR below IS NOT NULL)"
    )
    return findings


def _check_rows(database: duckdb.DuckDBPyConnection) -> Findings:
    findings = Findings()
    rows = database.execute(
        "SELECT labelled.line, labelled.path, lvef, below, nth, record.path NOT NULL FROM labelled "
        "LEFT JOIN record ON labelled.path = record.path ORDER BY labelled.line"
    ).fetchall()
    for line, path, lvef, below, nth, listed in rows:
        name = path or f"row {line} of the ejection fractions"
        if not path or not listed:
            findings.quarantine(name, "not_listed", "The recording is not in record_list.csv.")
        elif nth > 1:
            detail = "The recording has more than one ejection fraction; the first is used."
            findings.keep(name, "duplicate_record", detail)
        elif lvef is None and below is None:
            detail = "The row has neither an ejection fraction nor a class."
            findings.quarantine(name, "unlabelled", detail)
        elif lvef is not None and below is not None and (lvef < _REDUCED_PERCENT) != (below == 1):
            detail = "The class contradicts the ejection fraction; both are stored as they are."
            findings.keep(name, "label_mismatch", detail)
    return findings
