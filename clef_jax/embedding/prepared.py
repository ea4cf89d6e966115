"""Embeds prepared data sets once for all tasks, and caches the embeddings on disk.

The embedding of a recording is bit-identical to the one that `python -m clef_jax.embed` writes.

Shapes: N recordings of a split, D features of all layers.
"""

import dataclasses
import functools
import hashlib
import itertools
import json
import pathlib
import time
from typing import Any

import numpy as np
import rich.console
import rich.progress

from clef_jax import files
from clef_jax.data import index as index_lib, metadata
from clef_jax.embedding import inputs
from clef_jax.embedding.encoder import Encoder
from clef_jax.embedding.stream import Stream, raise_on_finding

_FEATURES_FILE, _COST_FILE = "features.npy", "cost.json"
_FORMAT = 3


@dataclasses.dataclass(frozen=True, eq=False)
class Embedded:
    """Embeddings of one lead of a split."""

    index: index_lib.Index
    lead: str
    features: np.ndarray
    """Features of all layers, float32 [N, D], read from disk as needed; NaN where the lead is not
    usable."""
    cache_dir: pathlib.Path
    windows_per_second: float
    """Speed at which the split was embedded, including the time to read it."""

    @property
    def usable(self) -> np.ndarray:
        """Mask of the recordings whose lead is usable, bool [N]."""
        return self.index.usable_leads[:, self.index.lead_row(self.lead)]

    @property
    def metadata(self) -> list[dict[str, Any]]:
        """Metadata of each recording, as TFDS stores them; read once for all models and tasks."""
        index = self.index
        return _metadata(index.version_dir, index.split, index.fingerprint, self.cache_dir)


@functools.lru_cache(maxsize=8)
def _metadata(
    version_dir: pathlib.Path, split: str, fingerprint: str, cache_dir: pathlib.Path
) -> list[dict[str, Any]]:
    del fingerprint  # only part of the cache key: it changes when the folder is prepared again
    return metadata.load(index_lib.load(version_dir, split), cache_dir)


def embed(
    encoder: Encoder,
    index: index_lib.Index,
    lead: str,
    cache_dir: pathlib.Path,
    console: rich.console.Console | None = None,
) -> Embedded:
    """Embeds one lead of a split, or reads its embeddings from the cache.

    The cache folder is named after a digest of weights, preprocessing, data and lead.

    Args:
        console: shows a progress bar if it is a terminal; by default there is none.

    Raises:
        UserError: the data set lacks the lead, or a recording cannot be embedded.
    """
    index.lead_row(lead)
    folder = cache_dir / _key(encoder, index, lead)
    if not (folder / _COST_FILE).is_file():
        with files.atomic_folder(folder) as half:
            _write(encoder, index, lead, half, console)
    features = np.load(folder / _FEATURES_FILE, mmap_mode="r", allow_pickle=False)
    cost = json.loads((folder / _COST_FILE).read_text())
    return Embedded(index, lead, features, cache_dir, cost["num_windows"] / cost["seconds"])


def _key(encoder: Encoder, index: index_lib.Index, lead: str) -> str:
    parts = (_FORMAT, encoder.fingerprint, index.fingerprint, index.dataset, index.split, lead)
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def _write(
    encoder: Encoder,
    index: index_lib.Index,
    lead: str,
    folder: pathlib.Path,
    console: rich.console.Console | None,
) -> None:
    shape = (index.num_records, encoder.num_features)
    positions = np.flatnonzero(index.usable_leads[:, index.lead_row(lead)])
    if console is not None and not console.is_terminal:
        console.print(f"{encoder.name}: embedding {index.dataset}, {index.split}", soft_wrap=True)
    stream = Stream(encoder, slice(0, encoder.num_features), raise_on_finding)
    recordings = rich.progress.track(
        inputs.stored(index, positions, lead),
        f"Embedding {index.dataset}, {index.split}",
        total=len(positions),
        console=console,
        disable=console is None or not console.is_terminal,
        transient=True,
    )
    start = time.monotonic()
    missing, num_written = np.full(encoder.num_features, np.nan, "<f4").tobytes(), 0
    # Written, not mapped to memory: on a full disk, a write to mapped memory kills the process.
    with (folder / _FEATURES_FILE).open("wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        for position, row in zip(positions, stream(iter(recordings)), strict=True):
            file.writelines(itertools.repeat(missing, int(position) - num_written))
            file.write(np.asarray(row.embedding, "<f4").tobytes())
            num_written = int(position) + 1
        file.writelines(itertools.repeat(missing, index.num_records - num_written))
    cost = {"num_windows": stream.num_windows, "seconds": max(time.monotonic() - start, 1e-6)}
    (folder / _COST_FILE).write_text(json.dumps(cost))
