"""Writes embeddings to a Parquet or NumPy .npz file while they are computed.

Shapes: N rows, D features.
"""

import contextlib
import dataclasses
import json
import pathlib
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol, TextIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from clef_jax import files
from clef_jax.embedding import settings
from clef_jax.embedding.row import Row
from clef_jax.finding import Finding

_FINDING = {field.name for field in dataclasses.fields(Finding)}
_MAX_LINE = 1 << 20
_GROUP_ROWS = 4096
"""Number of rows that are written together."""
EMBEDDING, METADATA = "embedding", "clef_jax"
_COLUMNS = {
    "recording": pa.string(),
    "lead": pa.string(),
    "start_seconds": pa.float64(),
    "duration_seconds": pa.float64(),
    "num_windows": pa.int32(),
    "missing_fraction": pa.float32(),
    "problems": pa.list_(pa.string()),
    "usable": pa.bool_(),
}


class _Writer(Protocol):
    def add(self, rows: Sequence[Row]) -> None: ...

    def close(self) -> None: ...


def check_outputs(path: pathlib.Path, report: pathlib.Path, *, overwrite: bool) -> None:
    """Raises UserError if a table or a report must not be written; call it before the work.

    Args:
        path: table to write.
        report: list of the problems of recordings to write.
        overwrite: whether files of another origin may be replaced.
    """
    settings.check_suffix(path)
    files.check_output(path, is_table, overwrite=overwrite)
    files.check_output(report, is_report, overwrite=overwrite)


def is_table(path: pathlib.Path) -> bool:
    """Returns whether a file is a table of embeddings, of any version of this package."""
    try:
        if path.suffix == ".npz":
            with zipfile.ZipFile(path) as archive:
                return {f"{EMBEDDING}.npy", f"{METADATA}.npy"} <= set(archive.namelist())
        schema = pq.read_schema(path)
        return EMBEDDING in schema.names and METADATA.encode() in (schema.metadata or {})
    except (OSError, ValueError, zipfile.BadZipFile, pa.ArrowException):
        return False


def is_report(path: pathlib.Path) -> bool:
    """Returns whether a file is empty or begins with a finding."""
    try:
        with path.open(encoding="utf-8") as file:
            line = file.readline(_MAX_LINE)
            return not line or set(json.loads(line)) == _FINDING
    except (OSError, ValueError, TypeError):
        return False


@contextlib.contextmanager
def create(
    path: pathlib.Path, num_features: int, metadata: Mapping[str, Any]
) -> Iterator[Callable[[Row], None]]:
    """Yields a function that adds a row; the file appears if the block ends without an error.

    Args:
        num_features: number of features of each row.
        metadata: metadata to store in the file: model, preprocessing, layer.
    """
    settings.check_suffix(path)
    files.make_folder(path.parent)
    with files.atomic_file(path) as half:
        writer = _WRITERS[path.suffix](half, num_features, metadata)
        group: list[Row] = []

        def add(row: Row) -> None:
            group.append(row)
            if len(group) == _GROUP_ROWS:
                writer.add(group)
                group.clear()

        try:
            yield add
            writer.add(group)
        finally:
            writer.close()


@contextlib.contextmanager
def create_report(path: pathlib.Path) -> Iterator[TextIO]:
    """Yields a text file for the problems of recordings; it appears as in `create`."""
    files.make_folder(path.parent)
    with (
        files.atomic_file(path) as half,
        half.open("w", encoding="utf-8", errors="backslashreplace") as file,
    ):
        yield file


class _Parquet:
    """Writes one row group at a time; the metadata are those of the schema."""

    def __init__(self, path: pathlib.Path, num_features: int, metadata: Mapping[str, Any]):
        columns = {**_COLUMNS, EMBEDDING: pa.list_(pa.float32(), num_features)}
        schema = pa.schema(columns).with_metadata({METADATA: json.dumps(metadata)})
        self._schema = schema
        self._writer = pq.ParquetWriter(path, schema, compression="zstd")

    def add(self, rows: Sequence[Row]) -> None:
        if not rows:
            return
        columns = [
            pa.array([getattr(r, name) for r in rows], kind) for name, kind in _COLUMNS.items()
        ]
        flat = np.concatenate([row.embedding for row in rows])
        features = pa.FixedSizeListArray.from_arrays(flat, len(rows[0].embedding))
        self._writer.write_table(pa.Table.from_arrays([*columns, features], schema=self._schema))

    def close(self) -> None:
        self._writer.close()


class _Npz:
    """Writes features to a temporary file in the same folder until their number is known."""

    def __init__(self, path: pathlib.Path, num_features: int, metadata: Mapping[str, Any]):
        self._path, self._num_features, self._metadata = path, num_features, metadata
        self._features = tempfile.TemporaryFile(dir=path.parent)  # noqa: SIM115 closed by close
        self._columns: dict[str, list[Any]] = {name: [] for name in _COLUMNS}

    def add(self, rows: Sequence[Row]) -> None:
        for row in rows:
            self._features.write(np.ascontiguousarray(row.embedding, np.float32).data)
            for name, column in self._columns.items():
                value = getattr(row, name)
                column.append(" ".join(value) if name == "problems" else value)

    def close(self) -> None:
        try:
            self._write_archive()
        finally:
            with contextlib.suppress(OSError):  # of a full disk, which was reported already
                self._features.close()

    def _write_archive(self) -> None:
        count = len(self._columns["recording"])
        self._features.seek(0)
        with zipfile.ZipFile(self._path, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
            with archive.open(f"{EMBEDDING}.npy", "w", force_zip64=True) as out:
                header = {
                    "descr": "<f4",
                    "fortran_order": False,
                    "shape": (count, self._num_features),
                }
                np.lib.format.write_array_header_1_0(out, header)
                while block := self._features.read(1 << 20):
                    out.write(block)
            for name, column in self._columns.items():
                with archive.open(f"{name}.npy", "w") as out:
                    np.lib.format.write_array(out, np.array(column, _numpy(name)))
            with archive.open(f"{METADATA}.npy", "w") as out:
                np.lib.format.write_array(out, np.array(json.dumps(self._metadata)))


def _numpy(column: str) -> Any:
    """Returns the NumPy type of a column."""
    kind = _COLUMNS[column]
    return kind.to_pandas_dtype() if pa.types.is_primitive(kind) else np.str_


_WRITERS: dict[str, Callable[[pathlib.Path, int, Mapping[str, Any]], _Writer]] = {
    settings.PARQUET: _Parquet,
    settings.NPZ: _Npz,
}
