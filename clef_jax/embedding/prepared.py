"""Embeddings of a prepared data set, computed once for all tasks and kept on disk.

A recording has the embedding that `python -m clef_jax.embed` writes for it, to the bit.

Shapes: N recordings of a split, D features of all layers.
"""

import dataclasses
import functools
import hashlib
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
from clef_jax.embedding.stream import Stream, refuse

_FEATURES_FILE, _COST_FILE = "features.npy", "cost.json"
_FORMAT = 3


@dataclasses.dataclass(frozen=True, eq=False)
class Embedded:
    """One split, embedded."""

    index: index_lib.Index
    lead: str
    features: np.ndarray
    """float32 [N, D], read from disk as needed; NaN where the lead is not usable."""
    cache_dir: pathlib.Path
    windows_per_second: float
    """Speed at which the split was embedded, reading included."""

    @property
    def usable(self) -> np.ndarray:
        """bool [N]."""
        return self.index.usable_leads[:, self.index.lead_row(self.lead)]

    @property
    def facts(self) -> list[dict[str, Any]]:
        """What is known of each recording, as TFDS gives it; read once for all models and tasks."""
        index = self.index
        return _metadata(index.version_dir, index.split, index.fingerprint, self.cache_dir)


@functools.lru_cache(maxsize=8)
def _metadata(
    version_dir: pathlib.Path, split: str, fingerprint: str, cache_dir: pathlib.Path
) -> list[dict[str, Any]]:
    del fingerprint  # a folder that was prepared again is another argument
    return metadata.load(index_lib.load(version_dir, split), cache_dir)


def embed(
    encoder: Encoder,
    index: index_lib.Index,
    lead: str,
    cache_dir: pathlib.Path,
    console: rich.console.Console | None = None,
) -> Embedded:
    """Embeds one lead of a split, or reads what was embedded before.

    The cache's folder is named after weights, preprocessing, data and lead, so that it can hold
    nothing else. Without a console there is no progress bar.

    Raises:
        UserError: the data set has no such lead, or a recording cannot be embedded.
    """
    index.lead_row(lead)
    folder = cache_dir / _key(encoder, index, lead)
    if not (folder / _COST_FILE).is_file():
        with files.appearing_folder(folder) as half:
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
    features = np.lib.format.open_memmap(folder / _FEATURES_FILE, "w+", np.float32, shape)
    features[:] = np.nan
    positions = np.flatnonzero(index.usable_leads[:, index.lead_row(lead)])
    stream = Stream(encoder, slice(0, encoder.num_features), refuse)
    recordings = rich.progress.track(
        inputs.stored(index, positions, lead),
        f"Embedding {index.dataset}, {index.split}",
        total=len(positions),
        console=console,
        disable=console is None or not console.is_terminal,
        transient=True,
    )
    start = time.monotonic()
    for position, row in zip(positions, stream(iter(recordings)), strict=True):
        features[position] = row.embedding
    features.flush()
    cost = {"num_windows": stream.num_windows, "seconds": max(time.monotonic() - start, 1e-6)}
    (folder / _COST_FILE).write_text(json.dumps(cost))
