"""Embeddings of a prepared data set, computed once for all tasks and kept on disk.

A recording longer than the window of the encoder is cut into windows and has the mean of their
features; a shorter one is continued by its mirror image (`windows.py`).

Shapes: N recordings of a split, W windows, B windows of a batch, T time, D features of all layers.
"""

import dataclasses
import hashlib
import json
import pathlib
import shutil
import time
from collections.abc import Iterator
from typing import Any

import grain
import numpy as np
import rich.console
import rich.progress

from clef_jax.data import index as index_lib, metadata as metadata_lib, raw
from clef_jax.embedding import window as window_lib
from clef_jax.embedding.encoder import Encoder
from clef_jax.embedding.recipe import Recipe
from clef_jax.errors import UserError

_FEATURES_FILE, _FACTS_FILE, _COST_FILE = "features.npy", "facts.jsonl", "cost.json"
_BATCH_WINDOWS = 64
"""That each device takes at a time."""
_READ_THREADS = 2
_READ_AHEAD_BLOCKS = 4
_FORMAT = 2


@dataclasses.dataclass(frozen=True, eq=False)
class Embedded:
    """One split, embedded."""

    index: index_lib.Index
    lead: str
    features: np.ndarray
    """float32 [N, D], read from disk as needed; NaN where the lead is not usable."""
    facts: list[dict[str, Any]]
    """What is known of each recording, as TFDS gives it."""
    windows_per_second: float
    """Of the time when it was embedded, reading and all."""

    @property
    def usable(self) -> np.ndarray:
        """bool [N]."""
        return self.index.usable_leads[:, self.index.lead_names.index(self.lead)]


def embed(
    embedder: Encoder,
    index: index_lib.Index,
    lead: str,
    cache_dir: pathlib.Path,
    console: rich.console.Console | None = None,
) -> Embedded:
    """Embeds one lead of a split, or reads what was embedded before.

    The cache's folder is named after weights, preprocessing, data and lead, so that it can hold
    nothing else. Without a console there is no progress bar.

    Raises:
        UserError: the data set has no such lead.
    """
    if lead not in index.lead_names:
        raise UserError(
            f"{index.dataset} has no lead {lead}; it has {', '.join(index.lead_names)}."
        )
    folder = cache_dir / _key(embedder, index, lead)
    if not (folder / _COST_FILE).is_file():
        half = folder.with_name(f"{folder.name}.half")
        shutil.rmtree(half, ignore_errors=True)
        half.mkdir(parents=True)
        _write(embedder, index, lead, half, console)
        shutil.rmtree(folder, ignore_errors=True)
        half.rename(folder)
    with (folder / _FACTS_FILE).open() as lines:
        facts = [metadata_lib.from_json(line) for line in lines]
    features = np.load(folder / _FEATURES_FILE, mmap_mode="r", allow_pickle=False)
    cost = json.loads((folder / _COST_FILE).read_text())
    return Embedded(index, lead, features, facts, cost["num_windows"] / cost["seconds"])


def _key(embedder: Encoder, index: index_lib.Index, lead: str) -> str:
    parts = (_FORMAT, embedder.fingerprint, index.fingerprint, index.dataset, index.split, lead)
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def _write(
    embedder: Encoder,
    index: index_lib.Index,
    lead: str,
    folder: pathlib.Path,
    console: rich.console.Console | None,
) -> None:
    shape = (index.num_records, embedder.num_features)
    features = np.lib.format.open_memmap(folder / _FEATURES_FILE, "w+", np.float32, shape)
    batch_size = _BATCH_WINDOWS * embedder.mesh.size
    blocks = _Blocks(index, lead, embedder.recipe, batch_size)
    start, num_windows = time.monotonic(), 0
    last: tuple[_Block, list[Any]] | None = None
    with (folder / _FACTS_FILE).open("w") as lines:
        for block in rich.progress.track(
            _read_ahead(blocks),
            f"Embedding {index.dataset}, {index.split}",
            total=len(blocks),
            console=console,
            disable=console is None or not console.is_terminal,
            transient=True,
        ):
            lines.writelines(f"{line}\n" for line in block.facts)
            num_windows += sum(int((part.recording >= 0).sum()) for part in block.windows)
            # The next block is on the devices before the last one is waited for.
            started = [_embed(embedder, windows) for windows in block.windows]
            if last is not None:
                features[last[0].rows] = _means(*last, embedder.num_features)
            last = block, started
        if last is not None:
            features[last[0].rows] = _means(*last, embedder.num_features)
    features.flush()
    cost = {"num_windows": num_windows, "seconds": max(time.monotonic() - start, 1e-6)}
    (folder / _COST_FILE).write_text(json.dumps(cost))


def _means(block: "_Block", started: list[Any], num_features: int) -> np.ndarray:
    """float32 [n, D]: the mean over each recording's windows; NaN where there is none."""
    total = np.zeros((len(block.facts), num_features), np.float32)
    count = np.zeros((len(block.facts), 1), np.float32)
    for windows, features in zip(block.windows, started, strict=True):
        kept = windows.recording >= 0
        np.add.at(total, windows.recording[kept], np.asarray(features)[kept])
        np.add.at(count, windows.recording[kept], 1)
    with np.errstate(invalid="ignore"):
        return total / np.where(count, count, np.nan)


def _embed(embedder: Encoder, windows: "_Windows") -> Any:
    return embedder(windows.adc, windows.gain_per_mv, windows.baseline, windows.sample_rate_hz)


@dataclasses.dataclass(frozen=True, eq=False)
class _Windows:
    """As many windows of one rate as the devices take at a time; the last may be padding."""

    recording: np.ndarray
    """int64 [B], place in the block; -1 is padding."""
    adc: np.ndarray
    gain_per_mv: np.ndarray
    baseline: np.ndarray
    sample_rate_hz: float


@dataclasses.dataclass(frozen=True, eq=False)
class _Block:
    """Some recordings that follow each other in the split."""

    rows: slice
    facts: list[str]
    windows: list[_Windows]


class _Blocks:
    """The recordings of a split in blocks; random access, so that threads can read ahead."""

    def __init__(self, index: index_lib.Index, lead: str, recipe: Recipe, batch_size: int):
        self._index, self._recipe, self._batch_size = index, recipe, batch_size
        self._lead = index.lead_names.index(lead)
        self._labels = index_lib.read_metadata(index.version_dir)["labels"]
        self._reader = raw.Reader(index)

    def __len__(self) -> int:
        return -(-self._index.num_records // self._batch_size)

    def __getitem__(self, number: int) -> _Block:
        index, first = self._index, number * self._batch_size
        rows = np.arange(first, min(first + self._batch_size, index.num_records))
        records = self._reader.records(rows)
        facts = [
            metadata_lib.to_json(metadata_lib.read(record, self._labels)) for record in records
        ]
        usable = index.usable_leads[rows, self._lead]
        cut: dict[float, list[tuple[int, np.ndarray]]] = {}
        for place in np.flatnonzero(usable).tolist():
            signal = raw.signal_of(records[place], len(index.lead_names))[self._lead]
            rate = float(index.sample_rate_hz[rows[place]])
            windows = windows_of(signal, self._recipe.num_samples(rate))
            cut.setdefault(rate, []).extend((place, window) for window in windows)
        return _Block(
            slice(first, first + len(rows)),
            facts,
            [one for rate, found in cut.items() for one in self._pack(rows, rate, found)],
        )

    def _pack(
        self, rows: np.ndarray, rate: float, found: list[tuple[int, np.ndarray]]
    ) -> Iterator[_Windows]:
        for start in range(0, len(found), self._batch_size):
            part = found[start : start + self._batch_size]
            place = np.full(self._batch_size, -1)
            place[: len(part)] = [recording for recording, _ in part]
            adc = np.zeros((self._batch_size, self._recipe.num_samples(rate)), np.int16)
            adc[: len(part)] = [window for _, window in part]
            where = rows[np.maximum(place, 0)]
            yield _Windows(
                place,
                adc,
                self._index.gain_per_mv[where, self._lead],
                self._index.baseline[where, self._lead],
                rate,
            )


def windows_of(signal: np.ndarray, num_samples: int) -> np.ndarray:
    """int16 [W, num_samples]: the windows of a recording, end to end."""
    return window_lib.cut(signal, num_samples, window_lib.starts(len(signal), num_samples))


def _read_ahead(blocks: _Blocks) -> Iterator[_Block]:
    options = grain.ReadOptions(num_threads=_READ_THREADS, prefetch_buffer_size=_READ_AHEAD_BLOCKS)
    numbers = grain.MapDataset.range(len(blocks))
    return iter(numbers.map(blocks.__getitem__).to_iter_dataset(options))
