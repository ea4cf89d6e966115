"""Writes embeddings to Parquet or NumPy's .npz while they are computed.

Shapes: N rows, D features.
"""

import contextlib
import json
import pathlib
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from clef_jax import files
from clef_jax.embedding.row import Row
from clef_jax.errors import UserError

_GROUP_ROWS = 4096
"""Number of rows that are written together."""
EMBEDDING, FACTS = "embedding", "clef_jax"
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


def check(path: pathlib.Path) -> None:
    """Raises UserError if the suffix of the file's name is unknown."""
    if path.suffix not in _WRITERS:
        raise UserError(f"--out={path} should end in {' or '.join(_WRITERS)}.")


@contextlib.contextmanager
def create(
    path: pathlib.Path, num_features: int, facts: Mapping[str, Any]
) -> Iterator[Callable[[Row], None]]:
    """Yields a function that adds a row; the file appears when the block ends without an error.

    Args:
        facts: metadata that is stored in the file: model, preprocessing, layer.
    """
    check(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.appearing(path) as half:
        writer = _WRITERS[path.suffix](half, num_features, facts)
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


class _Parquet:
    """Writes one row group at a time; the facts are metadata of the schema."""

    def __init__(self, path: pathlib.Path, num_features: int, facts: Mapping[str, Any]):
        columns = {**_COLUMNS, EMBEDDING: pa.list_(pa.float32(), num_features)}
        schema = pa.schema(columns).with_metadata({FACTS: json.dumps(facts)})
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

    def __init__(self, path: pathlib.Path, num_features: int, facts: Mapping[str, Any]):
        self._path, self._num_features, self._facts = path, num_features, facts
        self._features = tempfile.TemporaryFile(dir=path.parent)  # noqa: SIM115 closed by close
        self._columns: dict[str, list[Any]] = {name: [] for name in _COLUMNS}

    def add(self, rows: Sequence[Row]) -> None:
        for row in rows:
            self._features.write(np.ascontiguousarray(row.embedding, np.float32).data)
            for name, column in self._columns.items():
                value = getattr(row, name)
                column.append(" ".join(value) if name == "problems" else value)

    def close(self) -> None:
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
            with archive.open(f"{FACTS}.npy", "w") as out:
                np.lib.format.write_array(out, np.array(json.dumps(self._facts)))
        self._features.close()


def _numpy(column: str) -> Any:
    """Returns the NumPy type of a column."""
    kind = _COLUMNS[column]
    return kind.to_pandas_dtype() if pa.types.is_primitive(kind) else np.str_


_WRITERS: dict[str, Callable[[pathlib.Path, int, Mapping[str, Any]], _Writer]] = {
    ".parquet": _Parquet,
    ".npz": _Npz,
}
