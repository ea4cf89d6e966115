"""Writes a table of answers as Parquet, CSV or JSON lines while it is computed."""

import contextlib
import csv
import dataclasses
import json
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from clef_jax import files
from clef_jax.finding import encodable
from clef_jax.predicting.rows import AnswerRow
from clef_jax.predicting.settings import CSV, JSON_LINES, PARQUET

_GROUP_ROWS = 4096
"""Number of rows that are written together."""
_METADATA = "clef_jax"
_MAX_LINE = 1 << 20
_NAMES = tuple(field.name for field in dataclasses.fields(AnswerRow))
_TYPES = {
    "decision": pa.bool_(),
    "usable": pa.bool_(),
    "num_windows": pa.int32(),
    "problems": pa.list_(pa.string()),
    **dict.fromkeys(
        ("recording", "lead", "output", "reason", "model_fingerprint", "head_fingerprint"),
        pa.string(),
    ),
    "intended_use": pa.string(),
}
_COLUMNS = {name: _TYPES.get(name, pa.float64()) for name in _NAMES}


class _Writer(Protocol):
    def add(self, rows: Sequence[AnswerRow]) -> None: ...

    def close(self) -> None: ...


@contextlib.contextmanager
def create(path: pathlib.Path, about: Mapping[str, Any]) -> Iterator[Callable[[AnswerRow], None]]:
    """Yields a function that adds a row; the file appears if the block ends without an error.

    Args:
        path: file to write; its suffix says how.
        about: model, head, settings and limits, which a Parquet file stores as its metadata.
    """
    files.make_folder(path.parent)
    with files.atomic_file(path) as half:
        writer = _WRITERS[path.suffix](half, about)
        group: list[AnswerRow] = []

        def add(row: AnswerRow) -> None:
            group.append(row)
            if len(group) == _GROUP_ROWS:
                writer.add(group)
                group.clear()

        try:
            yield add
            writer.add(group)
        finally:
            writer.close()


def is_table(path: pathlib.Path) -> bool:
    """Returns whether a file is a table of answers."""
    if path.suffix == CSV:
        return files.starts_with(path, _header())
    try:
        if path.suffix == PARQUET:
            return {"output", "head_fingerprint"} <= set(pq.read_schema(path).names)
        with path.open(encoding="utf-8") as file:
            line = file.readline(_MAX_LINE)
            return not line or {"output", "head_fingerprint"} <= set(json.loads(line))
    except (OSError, ValueError, TypeError, pa.ArrowException):
        return False


def is_about(path: pathlib.Path) -> bool:
    """Returns whether a file describes a table of answers."""
    return files.is_json_with(path, ("head", "intended_use"))


class _Parquet:
    """Writes one row group at a time."""

    def __init__(self, path: pathlib.Path, about: Mapping[str, Any]):
        self._schema = pa.schema(_COLUMNS).with_metadata({_METADATA: json.dumps(about)})
        self._writer = pq.ParquetWriter(path, self._schema, compression="zstd")

    def add(self, rows: Sequence[AnswerRow]) -> None:
        if rows:
            columns = [
                pa.array([getattr(row, name) for row in rows], kind)
                for name, kind in _COLUMNS.items()
            ]
            self._writer.write_table(pa.Table.from_arrays(columns, schema=self._schema))

    def close(self) -> None:
        self._writer.close()


class _Csv:
    """Writes texts so that no spreadsheet runs them; problem codes are separated by spaces."""

    def __init__(self, path: pathlib.Path, about: Mapping[str, Any]):
        del about
        self._file = path.open("w", encoding="utf-8", newline="")
        self._file.write(_header())
        self._writer = csv.writer(self._file, lineterminator="\n")

    def add(self, rows: Sequence[AnswerRow]) -> None:
        self._writer.writerows([_cell(getattr(row, name)) for name in _NAMES] for row in rows)

    def close(self) -> None:
        self._file.close()


def _header() -> str:
    return ",".join(_NAMES) + "\n"


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        value = " ".join(value)
    return files.spreadsheet_text(encodable(value)) if isinstance(value, str) else value


class _JsonLines:
    """Writes one JSON object per line, with null where a field does not apply."""

    def __init__(self, path: pathlib.Path, about: Mapping[str, Any]):
        del about
        self._file = path.open("w", encoding="utf-8", errors="backslashreplace")

    def add(self, rows: Sequence[AnswerRow]) -> None:
        for row in rows:
            values = {name: getattr(row, name) for name in _NAMES}
            self._file.write(json.dumps(values, ensure_ascii=False, allow_nan=False) + "\n")

    def close(self) -> None:
        self._file.close()


_WRITERS: dict[str, Callable[[pathlib.Path, Mapping[str, Any]], _Writer]] = {
    PARQUET: _Parquet,
    CSV: _Csv,
    JSON_LINES: _JsonLines,
}
