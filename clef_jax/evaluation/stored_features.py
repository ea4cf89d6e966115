"""Embeddings in a file as a model of an evaluation, whoever computed them.

`--compare embeddings:FILE` reads a Parquet or .npz file with the ids of recordings and their
embeddings, such as `clef-jax embed` writes, and joins it with the prepared data by id.

Shapes: M rows of the file, N recordings of a split, D features.
"""

import collections
import dataclasses
import hashlib
import pathlib
import re
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import rich.console

from clef_jax import leads as leads_lib
from clef_jax.data import index as index_lib
from clef_jax.embedding import batch
from clef_jax.embedding.prepared import Embedded
from clef_jax.errors import UserError, counted

PREFIX = "embeddings:"
"""Prefix of the path of a file of embeddings among the names of models."""
IDS = ("recording", "record_id", "record", "record_ids", "id", "ids")
FEATURES = ("embedding", "embeddings", "features")
"""Names of the columns of a file that are read: the first of each kind that the file has."""
_LEAD, _START, _USABLE = "lead", "start_seconds", "usable"
_OPTIONAL = (_LEAD, _START, _USABLE)
_ALL_LEADS = re.compile(r"\d+ leads")
"""Name of the lead of embeddings that come from several leads together."""
_LAYER = "stored"
_MOST_NAMED = 5
"""Maximum number of recordings that a message names."""


@dataclasses.dataclass(frozen=True, eq=False)
class StoredFeatures:
    """Embeddings of a file, a `feature_source.FeatureSource`; `load` returns it."""

    name: str
    """Name in tables."""
    path: pathlib.Path
    fingerprint: str
    """SHA-256 digest of the file."""
    ids: np.ndarray
    """Id of each row's recording, str [M]."""
    features: np.ndarray
    """Embeddings, float32 [M, D]; all are finite where they are usable."""
    lead: np.ndarray | None
    """Lead of each row, str [M]; None if the file does not state leads."""
    start_seconds: np.ndarray
    """Start of each row's window, [M]; 0 if the file does not state it."""
    usable: np.ndarray
    """Whether the signal of each row is usable, bool [M]."""

    @property
    def layers(self) -> Mapping[str, slice]:
        return {_LAYER: slice(0, self.num_features)}

    @property
    def num_features(self) -> int:
        return self.features.shape[1]

    @property
    def costs(self) -> Mapping[str, float]:
        return {}

    @property
    def widths(self) -> tuple[int, ...]:
        return ()

    def embed_split(
        self,
        index: index_lib.Index,
        lead: str,
        cache_dir: pathlib.Path,
        console: rich.console.Console | None = None,
    ) -> Embedded:
        """Returns the features of one lead of a split, joined by record id.

        Several windows of a recording are averaged as `clef-jax embed` does. Ids may be those of
        the prepared data, or SPLIT/ID as `clef-jax embed` names prepared recordings.

        Raises:
            UserError: the data set or the file lacks the lead, or the file lacks recordings or has
                them twice; the message names them.
        """
        del console
        missing = Embedded(index, lead, np.zeros((0, 0), np.float32), cache_dir, np.nan)
        usable = missing.usable  # also checks that the data set has the lead
        rows = self._rows(lead)
        features = np.full((index.num_records, self.num_features), np.nan, np.float32)
        absent = []
        for position, record in enumerate(missing.metadata):
            if not usable[position]:
                continue
            record_id = record["record_id"].decode()
            selected = rows.get(f"{index.split}/{record_id}") or rows.get(record_id)
            if selected:
                features[position] = batch.mean(self.features[selected], self.usable[selected])
            else:
                absent.append(record_id)
        if absent:
            raise UserError(
                f"{self.path} lacks {counted(len(absent), 'recording')} of {index.dataset}, split "
                f"{index.split}, lead {lead}: {_named(absent)}. Embed every recording of the "
                "prepared data, and name it by its record id.",
                problem="missing_recordings",
            )
        return dataclasses.replace(missing, features=features)

    def _rows(self, lead: str) -> dict[str, list[int]]:
        """Returns the rows of a lead by the id of the recording.

        Raises:
            UserError: no row has the lead, or two rows have the same recording and start.
        """
        selected = np.ones(len(self.ids), bool)
        if self.lead is not None:
            names, number = np.unique(self.lead, return_inverse=True)
            wanted = leads_lib.normalize(lead)
            selected = np.array([leads_lib.normalize(name) == wanted for name in names])[number]
            if not selected.any():
                known = ", ".join(names.tolist())
                raise UserError(
                    f"{self.path} has no embedding of lead {lead}. Its leads are: {known}.",
                    problem="missing_lead",
                )
        rows: dict[str, list[int]] = collections.defaultdict(list)
        for row in np.flatnonzero(selected).tolist():
            rows[str(self.ids[row])].append(row)
        double = [
            record
            for record, numbers in rows.items()
            if len({float(self.start_seconds[row]) for row in numbers}) < len(numbers)
        ]
        if double:
            raise UserError(
                f"{self.path} has several embeddings of {counted(len(double), 'recording')}"
                f"{'' if self.lead is None else f' on lead {lead}'}: {_named(double)}. Keep one "
                "of each, or state the start of each window in a column `start_seconds`.",
                problem="duplicate_recordings",
            )
        return rows


def load(name: str) -> StoredFeatures:
    """Returns the embeddings of `embeddings:FILE`.

    Raises:
        UserError: the file does not exist or is no such table, or its embeddings are misshapen or
            not finite; the message names the column or the recordings.
    """
    path = pathlib.Path(name.removeprefix(PREFIX)).expanduser()
    if not path.is_file():
        raise UserError(f"No file of embeddings found at {path}.", problem="no_file")
    if path.suffix not in _READERS:
        raise UserError(
            f"{path} must end in {' or '.join(_READERS)} to be read as embeddings.",
            problem="wrong_suffix",
        )
    try:
        columns = _READERS[path.suffix](path)
    except (OSError, ValueError, zipfile.BadZipFile, pa.ArrowException) as error:
        if isinstance(error, UserError):
            raise
        reason = (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
        message = f"{path} cannot be read as a table of embeddings: {reason}."
        raise UserError(message, problem="unreadable") from error
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return _checked(StoredFeatures(name, path, digest, **_columns(path, columns)))


def _columns(path: pathlib.Path, columns: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Returns the fields of `StoredFeatures` that come from a file's columns."""
    ids, features = columns["ids"], columns["features"]
    count = len(features)
    if ids.ndim != 1 or not all(len(values) == count for values in columns.values()):
        lengths = ", ".join(f"{name} {list(values.shape)}" for name, values in columns.items())
        raise UserError(
            f"The columns of {path} do not have one row for each recording: {lengths}.",
            problem="misshapen",
        )
    if features.ndim != 2 or not features.shape[1] or features.dtype.kind not in "fiu":
        raise UserError(
            f"The embeddings of {path} must be numbers of shape [recordings, features], not "
            f"{features.dtype} {list(features.shape)}.",
            problem="misshapen",
        )
    return {
        "ids": np.array([_text(value) for value in ids], np.str_),
        "features": features.astype(np.float32),
        "lead": _leads(columns.get(_LEAD)),
        "start_seconds": np.asarray(columns.get(_START, np.zeros(count)), float),
        "usable": np.asarray(columns.get(_USABLE, np.ones(count, bool)), bool),
    }


def _leads(names: np.ndarray | None) -> np.ndarray | None:
    """Returns the lead of each row, str [M]; None if each row is of several leads together."""
    if names is None or all(_ALL_LEADS.fullmatch(_text(name)) for name in np.unique(names)):
        return None
    return np.array([_text(name) for name in names], np.str_)


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _checked(stored: StoredFeatures) -> StoredFeatures:
    """Returns embeddings after checking that they are finite."""
    if not len(stored.ids):
        raise UserError(f"{stored.path} has no embedding.", problem="no_recordings")
    wrong = ~np.isfinite(stored.features).all(axis=1)
    if wrong.any():
        names = list(dict.fromkeys(stored.ids[wrong].tolist()))
        raise UserError(
            f"The embeddings of {counted(len(names), 'recording')} in {stored.path} are not "
            f"finite: {_named(names)}.",
            problem="not_finite",
        )
    return stored


def _read_parquet(path: pathlib.Path) -> dict[str, np.ndarray]:
    schema = pq.read_schema(path)
    names = _names(path, schema.names)
    table = pq.read_table(path, columns=list(names.values()))
    columns = {}
    for kind, name in names.items():
        column = table[name].combine_chunks()
        if column.null_count:
            raise UserError(
                f"The column {name!r} of {path} is empty in {counted(column.null_count, 'row')}.",
                problem="misshapen",
            )
        columns[kind] = _matrix(path, column) if kind == "features" else column.to_numpy(False)
    return columns


def _matrix(path: pathlib.Path, column: Any) -> np.ndarray:
    """Returns a column of lists as an array [M, D]; one of numbers as it is."""
    if not isinstance(column, pa.ListArray | pa.LargeListArray | pa.FixedSizeListArray):
        return column.to_numpy(False)
    lengths = np.unique(column.value_lengths().to_numpy(False))
    if len(lengths) > 1:
        shown = f"{lengths[0]:,} to {lengths[-1]:,}"
        raise UserError(
            f"The embeddings of {path} have different numbers of features: {shown}.",
            problem="misshapen",
        )
    width = int(lengths[0]) if len(lengths) else 0
    return column.flatten().to_numpy(False).reshape(len(column), width)


def _read_npz(path: pathlib.Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as arrays:
        return {kind: arrays[name] for kind, name in _names(path, arrays.files).items()}


_READERS = {".parquet": _read_parquet, ".npz": _read_npz}


def _names(path: pathlib.Path, available: Sequence[str]) -> dict[str, str]:
    """Returns the names of a file's columns by their kind.

    Raises:
        UserError: the file has no ids or no embeddings.
    """
    names = {kind: kind for kind in _OPTIONAL if kind in available}
    for kind, known in (("ids", IDS), ("features", FEATURES)):
        name = next((name for name in known if name in available), None)
        if name is None:
            what = "ids of recordings" if kind == "ids" else "embeddings"
            raise UserError(
                f"{path} has no {what}: it has {', '.join(available) or 'no column'}, but none of "
                f"{', '.join(known)}.",
                problem="missing_column",
            )
        names[kind] = name
    return names


def _named(records: Sequence[str]) -> str:
    rest = len(records) - _MOST_NAMED
    return ", ".join(records[:_MOST_NAMED]) + (f" and {rest:,} more" if rest > 0 else "")
