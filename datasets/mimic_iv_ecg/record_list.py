"""Reads record_list.csv: the recordings with their patients and times."""

import pathlib

import duckdb

from clef_jax.building import table
from clef_jax.errors import UserError
from clef_jax.finding import Finding, Findings

FILE = "record_list.csv"
COLUMNS = ("subject_id", "study_id", "ecg_time", "path")

# A table of the rows with the first problem of each.
_CHECKED = """
CREATE TABLE checked AS
WITH numbered AS (
  SELECT line, is_complete, fields[{path}] AS path,
    TRY_CAST(fields[{subject_id}] AS BIGINT) AS subject,
    TRY_CAST(fields[{study_id}] AS BIGINT) AS study,
    TRY_CAST(fields[{ecg_time}] AS TIMESTAMP) AS time
  FROM (
    SELECT number AS line, len(string_split(text, ',')) = {count} AS is_complete,
      list_transform(string_split(text, ','), lambda field: trim(field, ' "\r\t')) AS fields
    FROM listed WHERE number > 1 AND trim(text) <> ''
  )
), counted AS (
  SELECT *,
    row_number() OVER (PARTITION BY path ORDER BY line) AS path_number,
    row_number() OVER (PARTITION BY study ORDER BY line) AS study_number,
    TRY_CAST(regexp_extract(path, '(?:^|/)p(\\d{{5,}})/', 1) AS BIGINT) AS path_subject
  FROM numbered
)
SELECT line, path, subject, time,
  CASE
    WHEN NOT is_complete OR subject IS NULL OR path = '' THEN 'bad_row'
    WHEN path_number > 1 OR (study IS NOT NULL AND study_number > 1) THEN 'duplicate_record'
    WHEN path_subject <> subject THEN 'subject_mismatch'
    WHEN time IS NULL THEN 'unknown_time'
  END AS problem
FROM counted
"""
_SENTENCES = {
    "bad_row": "Line {line} of {file} is not a row with a subject_id and a path.",
    "duplicate_record": "Line {line} of {file} lists a path or study that an earlier row lists.",
    "subject_mismatch": "Line {line} of {file}: the path is of another subject than subject_id.",
    "unknown_time": "Line {line} of {file} has no ecg_time; age and clinical values are unknown.",
}


def load(database: duckdb.DuckDBPyConnection, source: pathlib.Path) -> Findings:
    """Creates the table `record` (line, path, subject, time) of the recordings to read.

    Returns:
        Findings about rows with a problem.

    Raises:
        UserError: the file is not in the source folder, or lacks a column. The message names a
            neighbouring folder that has the file.
    """
    path = source / FILE
    if not path.is_file():
        raise UserError(_not_found(source), problem="not_the_source")
    table.create_line_view(database, "listed", path)
    database.execute(_CHECKED.format(**_positions(path)))
    database.execute(
        "CREATE TABLE record AS SELECT line, path, subject, time FROM checked "
        "WHERE problem IS NULL OR problem = 'unknown_time'"
    )
    rows = database.execute(
        "SELECT line, path, problem FROM checked WHERE problem IS NOT NULL ORDER BY line"
    ).fetchall()
    return Findings(
        Finding(
            record_id=path or f"{FILE} line {line}",
            problem=problem,
            lead=None,
            detail=_SENTENCES[problem].format(line=line, file=FILE),
            action="kept" if problem == "unknown_time" else "quarantined",
        )
        for line, path, problem in rows
    )


def _positions(path: pathlib.Path) -> dict[str, int]:
    """Returns the positions of the columns, counted from 1, and the number of all columns."""
    with path.open(encoding="utf-8", errors="replace") as stream:
        names = [name.strip(' "\r\n\ufeff') for name in stream.readline().split(",")]
    missing = [name for name in COLUMNS if name not in names]
    if missing:
        # If no column is known, the first line may be a patient's row, which must not be quoted.
        hint = f"; it has {', '.join(names)}" if len(missing) < len(COLUMNS) else ""
        raise UserError(
            f"The table {path} has no column {', '.join(missing)}{hint}.", problem="missing_column"
        )
    return {"count": len(names)} | {name: names.index(name) + 1 for name in COLUMNS}


def _not_found(source: pathlib.Path) -> str:
    """Returns the message for a source folder without the file."""
    if not source.is_dir():
        return f"The source folder {source} does not exist."
    near = [source.resolve().parent, *sorted(p for p in source.iterdir() if p.is_dir())]
    folders = [folder for folder in near if (folder / FILE).is_file()]
    hint = (
        f"It is in {folders[0]}: use --source={folders[0]}."
        if folders
        else "Give the folder of MIMIC-IV-ECG that holds it and the folder `files`."
    )
    return f"{FILE} not found in {source}. {hint}"
