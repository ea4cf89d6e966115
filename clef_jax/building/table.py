"""Tables of text as DuckDB sees them: all columns as text, because they hold surprises."""

import contextlib
import os
import pathlib
from collections.abc import Iterable, Iterator
from typing import Any

import duckdb

from clef_jax.errors import UserError

_MEMORY_LIMIT = "2GB"
"""DuckDB spills to disk beyond it; labevents alone has 158 million rows."""


def connect(scratch: pathlib.Path) -> duckdb.DuckDBPyConnection:
    """An empty database in memory that spills into a folder of its own."""
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
    """Turns DuckDB's errors, of a truncated download for example, into the user's."""
    try:
        yield
    except duckdb.Error as error:
        # Further lines of DuckDB's words quote the file.
        raise UserError(
            f"The tables could not be read: {str(error).splitlines()[0]}",
            problem="unreadable_table",
        ) from error


def view(
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
        columns: refused if one is absent; upper and lower case are the same.
        where: an SQL condition on the columns.
        optional: NULL in every row if absent.

    Returns:
        The optional columns that are absent.

    Raises:
        UserError: the file is not there, or is no such table.
    """
    found = column_names(path, delimiter)
    named = {column.strip().lower(): column.replace('"', '""') for column in reversed(found)}
    missing = [column for column in columns if column.lower() not in named]
    if missing:
        # Where nothing is found the first line may be no heading but a patient's row.
        known = set(map(str.lower, (*columns, *optional))) & set(named)
        hint = f"; it has {', '.join(found)}" if known else ""
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
    """The names in the first row of a table file.

    Raises:
        UserError: the file is not there, or is no table.
    """
    if not path.is_file():
        raise UserError(f"The table {path} does not exist.", problem="missing_file")
    with duckdb.connect(":memory:") as database:
        try:
            found = database.execute(f"DESCRIBE SELECT * FROM {_read_csv(path, delimiter)}")
        except duckdb.Error as error:
            reason = str(error).splitlines()[0]
            raise UserError(
                f"{path} cannot be read as a table: {reason}", problem="unreadable_table"
            ) from error
        return [row[0] for row in found.fetchall()]


def _read_csv(path: pathlib.Path, delimiter: str) -> str:
    quoted = str(path).replace("'", "''")
    return (
        f"read_csv('{quoted}', header = true, all_varchar = true, delim = '{delimiter}', "
        "quote = '\"', strict_mode = false, store_rejects = true, rejects_limit = 100000, "
        "sample_size = 100, skip = 0)"
    )


def rows(database: duckdb.DuckDBPyConnection, name: str) -> list[dict[str, Any]]:
    """All rows of a table or view that is small enough, by the names of its columns."""
    found = database.execute(f"SELECT * FROM {name}")
    names = [described[0] for described in found.description or ()]
    return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def lines(database: duckdb.DuckDBPyConnection, name: str, path: pathlib.Path) -> None:
    """Creates a view (number, text) of the lines of a file, whatever is in them."""
    quoted = str(path).replace("'", "''")
    database.execute(
        f"CREATE VIEW {name} AS SELECT row_number() OVER () AS number, text FROM read_csv("
        f"'{quoted}', columns = {{'text': 'VARCHAR'}}, header = false, auto_detect = false, "
        "delim = '\x01', quote = '', escape = '', null_padding = true, strict_mode = false)"
    )


def unreadable(database: duckdb.DuckDBPyConnection) -> dict[str, str]:
    """How many rows of the views were skipped because they are no rows, for the summary."""
    tables = "SELECT 1 FROM duckdb_tables() WHERE table_name = 'reject_errors'"
    if not database.execute(tables).fetchall():  # DuckDB makes it with the first view
        return {}
    counts = database.execute(
        "SELECT file_path, count(DISTINCT line) FROM reject_errors "
        "JOIN reject_scans USING (scan_id, file_id) GROUP BY file_path ORDER BY file_path"
    ).fetchall()
    return {f"unreadable rows of {pathlib.Path(path).name}": f"{n:,}" for path, n in counts}


def find(folder: pathlib.Path, name: str) -> pathlib.Path | None:
    """The file of a table, compressed or not; None if there is none."""
    for extension in (".csv.gz", ".csv"):
        path = folder / f"{name}{extension}"
        if path.is_file():
            return path
    return None
