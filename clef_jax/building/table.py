"""Reads tables of text with DuckDB, all columns as text, because values may be malformed."""

import contextlib
import os
import pathlib
from collections.abc import Iterable, Iterator
from typing import Any

import duckdb

from clef_jax.errors import UserError

_MEMORY_LIMIT = "2GB"
"""Beyond this memory DuckDB spills to disk; labevents alone has 158 million rows."""


def connect(scratch: pathlib.Path) -> duckdb.DuckDBPyConnection:
    """Returns an empty database in memory that spills to a folder.

    Args:
        scratch: folder for temporary files.
    """
    settings: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": _MEMORY_LIMIT,
        "temp_directory": str(scratch),
        "threads": str(min(8, os.cpu_count() or 1)),
        "autoinstall_known_extensions": "false",  # nothing is downloaded silently
        "autoload_known_extensions": "false",
    }
    return duckdb.connect(":memory:", config=settings)


@contextlib.contextmanager
def duckdb_errors() -> Iterator[None]:
    """Turns DuckDB's errors, for example about a truncated download, into a `UserError`."""
    try:
        yield
    except duckdb.Error as error:
        # Only the first line, because the others quote the file.
        raise UserError(
            f"The tables could not be read: {str(error).splitlines()[0]}",
            problem="unreadable_table",
        ) from error


def create_view(
    database: duckdb.DuckDBPyConnection,
    name: str,
    path: pathlib.Path,
    columns: Iterable[str],
    where: str = "TRUE",
    *,
    optional: Iterable[str] = (),
    delimiter: str = ",",
) -> tuple[str, ...]:
    """Creates a view of some columns of a table file, which may be compressed.

    Args:
        database: the database that gets the view.
        name: name of the view.
        path: the table file.
        columns: required columns, in upper or lower case.
        where: SQL condition on the columns; by default all rows.
        optional: further columns, which are NULL in every row if absent.
        delimiter: the character between columns.

    Returns:
        The optional columns that are absent.

    Raises:
        UserError: the file does not exist, is not a table, or lacks a required column.
    """
    in_file = column_names(path, delimiter)
    named = {column.strip().lower(): column.replace('"', '""') for column in reversed(in_file)}
    missing = [column for column in columns if column.lower() not in named]
    if missing:
        # If no column is known, the first line may be a patient's row, which must not be quoted.
        known = set(map(str.lower, (*columns, *optional))) & set(named)
        hint = f"; it has {', '.join(in_file)}" if known else ""
        raise UserError(
            f"The table {path} has no column {', '.join(missing)}{hint}.", problem="missing_column"
        )
    optional = tuple(optional)
    absent = tuple(column for column in optional if column.lower() not in named)
    selected = [
        f'"{named[column.lower()]}" AS "{column}"'
        for column in (*columns, *optional)
        if column not in absent
    ]
    selected += [f'CAST(NULL AS VARCHAR) AS "{column}"' for column in absent]
    source = f"{_read_csv(path, delimiter)} WHERE {where}"
    database.execute(f"CREATE VIEW {name} AS SELECT {', '.join(selected)} FROM {source}")
    return absent


def column_names(path: pathlib.Path, delimiter: str = ",") -> list[str]:
    """Returns the names in the first row of a table file.

    Raises:
        UserError: the file does not exist, or is not a table.
    """
    if not path.is_file():
        raise UserError(f"The table {path} does not exist.", problem="missing_file")
    with duckdb.connect(":memory:") as database:
        try:
            columns = database.execute(f"DESCRIBE SELECT * FROM {_read_csv(path, delimiter)}")
        except duckdb.Error as error:
            reason = str(error).splitlines()[0]
            raise UserError(
                f"{path} cannot be read as a table: {reason}", problem="unreadable_table"
            ) from error
        return [row[0] for row in columns.fetchall()]


def _read_csv(path: pathlib.Path, delimiter: str) -> str:
    """Returns the SQL that reads a table. DuckDB guesses no character: of texts like `"{'SR': 1}"`,
    it would take the inner quotes for escapes and remove them."""
    quoted = str(path).replace("'", "''")
    return (
        f"read_csv('{quoted}', header = true, all_varchar = true, delim = '{delimiter}', "
        "quote = '\"', escape = '\"', comment = '', strict_mode = false, store_rejects = true, "
        "rejects_limit = 100000, sample_size = 100, skip = 0)"
    )


def read_rows(database: duckdb.DuckDBPyConnection, name: str) -> list[dict[str, Any]]:
    """Returns all rows of a table or view that fits into memory, by the names of its columns."""
    result = database.execute(f"SELECT * FROM {name}")
    names = [column[0] for column in result.description or ()]
    return [dict(zip(names, row, strict=True)) for row in result.fetchall()]


def create_line_view(database: duckdb.DuckDBPyConnection, name: str, path: pathlib.Path) -> None:
    """Creates a view (number, text) of the lines of a file, without splitting them.

    Lines that are not UTF-8 are skipped, without a number, and counted by `count_unreadable`.
    """
    quoted = str(path).replace("'", "''")
    database.execute(
        f"CREATE VIEW {name} AS SELECT row_number() OVER () AS number, text FROM read_csv("
        f"'{quoted}', columns = {{'text': 'VARCHAR'}}, header = false, auto_detect = false, "
        "delim = '\x01', quote = '', escape = '', null_padding = true, strict_mode = false, "
        "store_rejects = true, rejects_limit = 100000)"
    )


def count_unreadable(database: duckdb.DuckDBPyConnection) -> dict[str, str]:
    """Returns the number of malformed, skipped rows of each table file, for the summary."""
    tables = "SELECT 1 FROM duckdb_tables() WHERE table_name = 'reject_errors'"
    if not database.execute(tables).fetchall():  # DuckDB creates it with the first view
        return {}
    counts = database.execute(
        "SELECT file_path, count(DISTINCT line) FROM reject_errors "
        "JOIN reject_scans USING (scan_id, file_id) GROUP BY file_path ORDER BY file_path"
    ).fetchall()
    return {f"unreadable rows of {pathlib.Path(path).name}": f"{n:,}" for path, n in counts}


def find_file(folder: pathlib.Path, name: str) -> pathlib.Path | None:
    """Returns the file of a table, compressed or not; None if neither exists.

    Some archives unpack to a folder `NAME.csv` that holds the table; its file is returned, then.
    """
    for extension in (".csv.gz", ".csv"):
        path = folder / f"{name}{extension}"
        if path.is_file():
            return path
        if path.is_dir():
            inside = find_file(path, name) or _only_table(path)
            if inside is not None:
                return inside
    return None


def _only_table(folder: pathlib.Path) -> pathlib.Path | None:
    """Returns the only table in a folder; None if it has none or several."""
    names = ("*.csv", "*.csv.gz")
    tables = [path for name in names for path in folder.glob(name) if path.is_file()]
    tables = [path for path in tables if not path.name.startswith(".")]
    return tables[0] if len(tables) == 1 else None
