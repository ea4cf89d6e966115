"""Embeds the time steps of a frozen stage once, and caches them on disk.

Shapes: N recordings of a split, W windows of all of them, n time steps, D features of a step.
"""

import dataclasses
import hashlib
import itertools
import json
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import rich.console
from jax.sharding import Mesh

from clef_jax import files
from clef_jax.data import index as index_lib
from clef_jax.embedding import inputs
from clef_jax.embedding.attention_pooling import MAX_STEPS, NO_TIME_STEPS, HasTimeSteps, fewer
from clef_jax.embedding.recipe import Recipe
from clef_jax.embedding.stream import Stream, raise_on_finding
from clef_jax.errors import UserError
from clef_jax.evaluation.feature_source import Model
from clef_jax.formats import Opened

_STEPS_FILE, _WINDOWS_FILE, _ABOUT_FILE = "steps.npy", "windows.npz", "about.json"
_FORMAT = 1


@dataclasses.dataclass(frozen=True, eq=False)
class TimeSteps:
    """Time steps of one lead of a split, read from disk as needed."""

    steps: np.ndarray
    """Float32 [W, n, D], mapped to memory."""
    first: np.ndarray
    """First window of each recording, and the number of windows at the end, int64 [N + 1]; a
    recording whose lead is not usable has no window."""
    usable: np.ndarray
    """Whether the signal of each window is usable, bool [W]."""


def check(model: Model) -> HasTimeSteps:
    """Returns the model if it gives time steps.

    Raises:
        UserError: it gives none.
    """
    if not isinstance(model, HasTimeSteps):
        raise UserError(
            f"{model.name} has no attention probe, because it gives features of whole windows but "
            "not of time steps.",
            problem=NO_TIME_STEPS,
        )
    return model


def embed(
    model: Any,
    index: index_lib.Index,
    lead: str,
    layer: str,
    cache_dir: pathlib.Path,
    console: rich.console.Console | None = None,
) -> TimeSteps:
    """Returns the time steps of one lead of a split, from the cache if they are there.

    Args:
        model: Encoder that gives time steps.
        index: The split.
        lead: Name of the lead.
        layer: Name of the layer, or `last`.
        cache_dir: Folder of the cache.
        console: Receives a message before the work; by default there is none.

    Raises:
        UserError: the data set lacks the lead, or a recording cannot be embedded.
    """
    index.lead_row(lead)
    parts = ("steps", _FORMAT, MAX_STEPS, model.fingerprint, index.fingerprint, index.dataset)
    key = json.dumps((*parts, index.split, lead, layer))
    folder = cache_dir / hashlib.sha256(key.encode()).hexdigest()[:32]
    if not (folder / _ABOUT_FILE).is_file():
        if console is not None:
            message = f"{model.name}: time steps of {index.dataset}, {index.split}"
            console.print(message, soft_wrap=True, markup=False)
        with files.atomic_folder(folder) as half:
            _write(model, index, lead, layer, half)
    shape = json.loads((folder / _ABOUT_FILE).read_text())["shape"]
    with np.load(folder / _WINDOWS_FILE, allow_pickle=False) as stored:
        first, usable = stored["first"], stored["usable"]
    steps = _mapped(folder / _STEPS_FILE, tuple(shape))
    return TimeSteps(steps, first, usable)


def _write(model: Any, index: index_lib.Index, lead: str, layer: str, folder: pathlib.Path) -> None:
    positions = np.flatnonzero(index.usable_leads[:, index.lead_row(lead)])
    recordings = inputs.stored(index, positions, lead)
    stored = store(model, recordings, layer, folder)
    counts = np.zeros(index.num_records, np.int64)
    counts[positions] = np.diff(stored.first)
    first = np.concatenate([[0], np.cumsum(counts)])
    np.savez(folder / _WINDOWS_FILE, first=first, usable=stored.usable)
    (folder / _ABOUT_FILE).write_text(json.dumps({"shape": stored.steps.shape}))


def store(model: Any, recordings: Iterable[Opened], layer: str, folder: pathlib.Path) -> TimeSteps:
    """Writes the time steps of recordings of one lead to a folder, and returns them.

    Args:
        model: Encoder that gives time steps.
        recordings: Recordings with one lead, or with those that the encoder takes at once.
        layer: Name of the layer, or `last`.
        folder: Existing folder.

    Raises:
        UserError: a recording cannot be embedded.
    """
    flat = _FlatSteps(model, layer)
    stream = Stream(flat, slice(0, None), raise_on_finding, each_window=True)
    counts, usable = [], []
    path = folder / _STEPS_FILE
    with path.open("wb") as file:
        for _, windows in itertools.groupby(stream(iter(recordings)), lambda row: row.recording):
            before = len(usable)
            for row in windows:
                file.write(np.ascontiguousarray(row.embedding, "<f4").data)
                usable.append(row.usable)
            counts.append(len(usable) - before)
    first = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
    shape = (len(usable), *flat.shape)
    return TimeSteps(_mapped(path, shape), first, np.array(usable, bool))


def _mapped(path: pathlib.Path, shape: tuple[int, ...]) -> np.ndarray:
    if 0 in shape:  # which cannot be mapped to memory
        return np.zeros(shape, np.float32)
    return np.memmap(path, "<f4", "r", shape=shape)


class _FlatSteps:
    """Encoder whose features are the time steps of another one's layer, side by side."""

    def __init__(self, model: Any, layer: str):
        self._model, self._layer = model, layer
        self.shape = (0, 0)
        """Number of time steps and of features of a step, [n, D], after the first call."""
        self.name: str = model.name
        self.recipe: Recipe = model.recipe
        self.mesh: Mesh = model.mesh
        self.in_channels: int = model.in_channels
        self.fingerprint: str = model.fingerprint
        self.costs: Mapping[str, float] = {}

    def window_rate_hz(self, sample_rate_hz: float) -> float:
        return self._model.window_rate_hz(sample_rate_hz)

    @property
    def num_features(self) -> int:
        return self.shape[0] * self.shape[1]

    @property
    def layers(self) -> Mapping[str, slice]:
        return {self._layer: slice(0, self.num_features)}

    def __call__(self, signal_mv: np.ndarray, sample_rate_hz: float) -> np.ndarray:
        steps = np.asarray(self._model.time_steps(signal_mv, sample_rate_hz, self._layer))
        steps = fewer(steps.astype(np.float32, copy=False))
        self.shape = steps.shape[1], steps.shape[2]
        return steps.reshape(len(steps), -1)
