"""Left-ventricular ejection fractions of recordings, from a table that the user has.

The table's second column is the recording's path, its last but one the ejection fraction in
percent, and its last the class: 1 below 50 %, otherwise 0. Names of columns do not matter.
"""

import pathlib

import duckdb

from clef_jax.building import table
from clef_jax.data.record import Label
from clef_jax.errors import UserError
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
        description="1 if the table calls the ejection fraction reduced, below 50 %, otherwise 0",
    ),
    Label(
        name="pretraining_split",
        kind="class",
        description="Where the patient is in the pre-training data; leave out train to evaluate",
        classes=("train", "validation", "none"),
    ),
)
_REDUCED_PERCENT = 50.0
_COLUMNS_AT_LEAST = 4
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
    """The table: as given, or the file in the source folder whose name holds "lvef".

    Raises:
        UserError: there is none; says what is wanted.
    """
    if given:
        return pathlib.Path(given)
    found = sorted(p for p in source.glob("*.csv*") if "lvef" in p.name.lower())
    if not found:
        raise UserError(
            f"{source} holds no table of ejection fractions. Give one with "
            "--label-source=FILE.csv: its second column the recording's path, its last two the "
            "ejection fraction in percent and the class.",
            problem="missing_file",
        )
    return found[0]


def load(database: duckdb.DuckDBPyConnection, path: pathlib.Path) -> Findings:
    """Creates the table `lvef` (path, lvef, below), one row for each listed recording with a label.

    Returns:
        What is wrong with rows.

    Raises:
        UserError: the file is no such table.
    """
    columns = table.column_names(path)
    if len(columns) < _COLUMNS_AT_LEAST:
        raise UserError(
            f"The table {path} has {len(columns)} columns, fewer than four.",
            problem="missing_column",
        )
    chosen = {"path": columns[1], "lvef": columns[-2], "below": columns[-1]}
    table.view(database, "lvef_source", path, chosen.values())
    database.execute(_TABLE.format(**{name: f'"{column}"' for name, column in chosen.items()}))
    ((rows, paths),) = database.execute(
        "SELECT count(*), count(*) FILTER (path <> '') FROM labelled"
    ).fetchall()
    if rows and not paths:
        raise UserError(
            f"The second column of {path}, {columns[1]!r}, holds no path that begins with files/.",
            problem="no_paths",
        )
    findings = _judge(database)
    database.execute(
        "CREATE TABLE lvef AS SELECT path, lvef, below FROM labelled "
        "WHERE nth = 1 AND (lvef IS NOT NULL OR below IS NOT NULL)"
    )
    return findings


def _judge(database: duckdb.DuckDBPyConnection) -> Findings:
    findings = Findings()
    rows = database.execute(
        "SELECT labelled.line, labelled.path, lvef, below, nth, record.path NOT NULL FROM labelled "
        "LEFT JOIN record ON labelled.path = record.path ORDER BY labelled.line"
    ).fetchall()
    for line, path, lvef, below, nth, listed in rows:
        name = path or f"row {line} of the ejection fractions"
        if not path or not listed:
            findings.quarantine(name, "not_listed", "The list of recordings does not have it.")
        elif nth > 1:
            detail = "It has more than one ejection fraction; the first counts."
            findings.keep(name, "duplicate_record", detail)
        elif lvef is None and below is None:
            findings.quarantine(name, "unlabelled", "It has no ejection fraction and no class.")
        elif lvef is not None and below is not None and (lvef < _REDUCED_PERCENT) != (below == 1):
            detail = "Its class contradicts its ejection fraction; both are stored as given."
            findings.keep(name, "label_mismatch", detail)
    return findings
