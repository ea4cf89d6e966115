"""Pretrained models and their use: `clef_jax.load(path).embed(signal, sample_rate_hz)`.

Shapes: T samples of a signal, W windows, D features of a layer.
"""

import dataclasses
import pathlib
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from clef_jax import lead_order, mesh as mesh_lib, plugin
from clef_jax.embedding import (
    batch,
    encoder as encoder_lib,
    folder as model_folder,
)
from clef_jax.embedding.encoder import Embedder
from clef_jax.embedding.recipe import Recipe
from clef_jax.embedding.window import Windower, WindowQuality
from clef_jax.errors import UserError
from clef_jax.signal import unit as unit_lib
from clef_jax.signal.adc import MISSING_ADC
from clef_jax.training import CHECKPOINTS_FOLDER

_BATCH_WINDOWS = (1, 8, 64)
"""Numbers of windows in a batch of a device; there are few, because each one is compiled."""
_WINDOWS_TOGETHER = 1024
"""Number of windows that are cut and resampled together."""
_MOST_LEADS = 16
"""An axis of at most this length is taken for leads, not for time."""


def load(path: str | pathlib.Path, mesh: Mesh | None = None) -> "Pretrained":
    """Loads the model at a path: a training run, a model folder, or a file of weights.

    Files are Lightning `.ckpt`, PyTorch `.pt` or `.pth`, or `.safetensors`, with the reference's
    names; the model size is inferred from the shapes, and the preprocessing is the paper's.

    Args:
        mesh: devices to run on; by default this process's own.

    Raises:
        UserError: the path does not exist or holds no model; the message says which.
    """
    mesh = mesh or mesh_lib.make_mesh(jax.local_devices())
    where = pathlib.Path(path).expanduser()
    if where.is_dir():
        return Pretrained(_of_folder(where, mesh))
    if where.is_file():
        from clef_jax.embedding import weight_file  # only files of weights need it

        return Pretrained(weight_file.read(where, mesh).model)
    raise UserError(f"No model found at {path}.{_nearby(where)}")


def _of_folder(folder: pathlib.Path, mesh: Mesh) -> Embedder:
    if (folder / CHECKPOINTS_FOLDER).is_dir():
        from clef_jax.embedding import run  # Orbax, which it needs, takes a second to import

        return run.load(folder, mesh)
    if (folder / model_folder.CONFIG).is_file():
        return model_folder.load(folder, mesh)
    for parent in (folder, folder.parent):
        if parent.name == CHECKPOINTS_FOLDER:
            raise UserError(
                f"{folder} is inside a training run; give the run itself: {parent.parent}."
            )
    raise UserError(
        f"{folder} holds no model: neither {CHECKPOINTS_FOLDER}/ of a training run nor "
        f"{model_folder.CONFIG} of a model folder."
    )


def _nearby(path: pathlib.Path) -> str:
    if not path.parent.is_dir():
        return f" The folder {path.parent} does not exist."
    names = [entry.name for entry in path.parent.iterdir()]
    return plugin.did_you_mean(path.name, names) or " Check the path."


@dataclasses.dataclass(frozen=True, eq=False)
class EmbeddedWindows:
    """Embeddings, start times and quality of the windows of a signal."""

    features: np.ndarray
    """Embedding of each window, float32 [W, D]."""
    start_seconds: np.ndarray
    """Start of each window in seconds from the start of the signal, [W]."""
    quality: WindowQuality

    def mean(self) -> np.ndarray:
        """Returns the embedding of the signal, float32 [D]; see `batch.MeanFeatures`."""
        return batch.mean(self.features, self.quality.usable)


@dataclasses.dataclass(frozen=True, eq=False)
class Pretrained:
    """An encoder with its preprocessing, as `load` returns it."""

    embedder: Embedder

    @property
    def name(self) -> str:
        return self.embedder.name

    @property
    def recipe(self) -> Recipe:
        """Preprocessing that is applied to a signal before the encoder."""
        return self.embedder.recipe

    @property
    def layers(self) -> dict[str, int]:
        """Number of features of each available layer, by the layer's name."""
        return {name: part.stop - part.start for name, part in self.embedder.layers.items()}

    @property
    def in_channels(self) -> int:
        """Number of leads that the encoder takes together."""
        return self.embedder.in_channels

    @property
    def fingerprint(self) -> str:
        """SHA-256 digest of the weights and the preprocessing."""
        return self.embedder.fingerprint

    def save(self, folder: str | pathlib.Path) -> pathlib.Path:
        """Writes a model folder: weights, configuration, preprocessing, fingerprint, card."""
        return model_folder.save(self.embedder, folder)

    def embed(
        self,
        signal: Any,
        sample_rate_hz: float,
        layer: str | int | None = None,
        lead: str | int | None = None,
        *,
        lead_names: Sequence[str] | None = None,
        unit: str | None = None,
        stride_seconds: float | None = None,
        each_window: bool = False,
    ) -> np.ndarray:
        """Embeds signals of any length at any rate.

        Args:
            signal: [..., T], one or many signals, for example [12, T]; NaN (or -32768 among
                integers) is missing. The layout [T, 12] of wfdb is accepted, too.
            sample_rate_hz: sampling rate of `signal` in Hz.
            layer: name in `layers`, number from 1, or `all`; by default the last layer.
            lead: the only row to embed, by name or by number from 0; by default all rows. Names
                need `lead_names`, except for the 12 usual leads, whose order is inferred from the
                signal.
            lead_names: names of the rows, in any spelling.
            unit: mV, uV, V or adc (unknown unit); by default adc for integers, otherwise mV.
            stride_seconds: time between the starts of consecutive windows; by default the length
                of a window.
            each_window: return the embedding of every window instead of their mean.

        Returns:
            The embeddings, float32 [..., D], or [..., W, D] with `each_window`. A signal longer
            than the encoder's window is cut into windows, whose usable embeddings are averaged; a
            shorter signal is continued by its mirror image.

        Raises:
            UserError: the signal, rate, lead, layer or unit is invalid; the message says why.

        Warns:
            UserWarning: a window is flat, is mostly missing, or exceeds the amplitude of an ECG.
        """
        rows = _one_lead(_rows(signal, lead_names), lead, lead_names)
        signal_mv, unit_known = _to_mv(rows, unit)
        num_leads = self._check_leads(signal_mv)
        leading = signal_mv.shape[: -1 if num_leads == 1 else -2]
        signals = signal_mv.reshape(-1, num_leads, signal_mv.shape[-1])
        windower = batch.make_windower(self.embedder, sample_rate_hz, stride_seconds)
        embedded = list(self._embed(signals, windower, self.part(layer), unit_known))
        _warn(embedded)
        out = np.stack([x.features if each_window else x.mean() for x in embedded])
        return out.reshape(*leading, *out.shape[1:])

    def windows(
        self,
        signal_mv: np.ndarray,
        sample_rate_hz: float,
        layer: str | int | None = None,
        *,
        unit_known: bool = True,
        stride_seconds: float | None = None,
    ) -> EmbeddedWindows:
        """Embeds every window of a signal [T], or [C, T] for an encoder of C leads.

        Raises:
            UserError: the signal, rate or layer is invalid, as in `embed`.
        """
        self._check_leads(signal_mv)
        windower = batch.make_windower(self.embedder, sample_rate_hz, stride_seconds)
        signals = np.atleast_2d(signal_mv)[None]
        return next(self._embed(signals, windower, self.part(layer), unit_known))

    def _embed(
        self, signals_mv: np.ndarray, windower: Windower, part: slice, unit_known: bool
    ) -> Iterator[EmbeddedWindows]:
        """Yields the embedded windows of each of the signals [N, C, T], in bounded batches."""
        first = windower.starts(signals_mv.shape[-1])
        group_size = max(1, _WINDOWS_TOGETHER // len(first))
        for start in range(0, len(signals_mv), group_size):
            group = [
                batch.cut(signal, windower, first, unit_known=unit_known)
                for signal in signals_mv[start : start + group_size]
            ]
            windows_mv = np.concatenate([windows.signal_mv for windows in group])
            rate_hz = windower.window_rate_hz
            features = batch.encode(self.embedder, windows_mv, rate_hz, _BATCH_WINDOWS)[:, part]
            by_signal = np.split(features, len(group))
            for windows, rows in zip(group, by_signal, strict=True):
                yield EmbeddedWindows(rows, first / windower.sample_rate_hz, windows.quality)

    def part(self, layer: str | int | None) -> slice:
        """Returns the slice of a layer's features among those of all layers.

        Raises:
            UserError: the layer is unknown; the message lists the available ones.
        """
        if layer == "all":
            return slice(0, self.embedder.num_features)
        if isinstance(layer, int):
            layer = f"stage_{layer}"
        return encoder_lib.layer_slice(self.embedder, layer or "last")

    def _check_leads(self, signal_mv: np.ndarray) -> int:
        """Returns the number of leads of the encoder; raises if the signal has another number."""
        wanted = self.in_channels
        if wanted > 1 and (signal_mv.ndim < 2 or signal_mv.shape[-2] != wanted):
            raise UserError(
                f"This encoder takes {wanted} leads at once, [..., {wanted}, samples], but got an "
                f"array of shape {list(signal_mv.shape)}; choose no single lead.",
                problem="wrong_lead_count",
            )
        return wanted


def _rows(signal: Any, lead_names: Sequence[str] | None) -> np.ndarray:
    """Returns `signal` as an array [..., T] with time as the last axis."""
    rows = np.asarray(signal)
    if rows.ndim == 0 or rows.size == 0:
        raise UserError(f"The signal is empty: it has the shape {list(rows.shape)}.")
    if not (np.issubdtype(rows.dtype, np.floating) or np.issubdtype(rows.dtype, np.integer)):
        raise UserError(f"The signal must be real numbers, not {rows.dtype}.")
    if rows.ndim == 2 and rows.shape[1] <= _MOST_LEADS < rows.shape[0]:
        rows = rows.T
    if rows.shape[-1] <= _MOST_LEADS:
        raise UserError(
            f"A signal of shape {list(rows.shape)} has only {rows.shape[-1]} samples along its "
            "last axis, which is time."
        )
    if lead_names is not None and (rows.ndim < 2 or rows.shape[-2] != len(lead_names)):
        raise UserError(
            f"{len(lead_names)} lead names do not fit a signal of shape {list(rows.shape)}."
        )
    return rows


def _one_lead(
    rows: np.ndarray, lead: str | int | None, lead_names: Sequence[str] | None
) -> np.ndarray:
    """Selects the requested lead of rows [..., L, T]; returns all rows if `lead` is None."""
    if lead is None:
        return rows
    if rows.ndim == 1:
        if isinstance(lead, str) or lead == 0:
            return rows  # a single signal has no other lead
        raise UserError(f"There is no lead {lead} in a single signal.")
    count = rows.shape[-2]
    if isinstance(lead, str):
        named = lead_names is not None
        row = lead_order.find(lead, lead_names) if named else lead_order.find_unnamed(lead, rows)
        return rows[..., row, :]
    if not 0 <= lead < count:
        raise UserError(f"There is no lead {lead}; the {count} rows are 0 to {count - 1}.")
    return rows[..., lead, :]


def _to_mv(rows: np.ndarray, unit: str | None) -> tuple[np.ndarray, bool]:
    """Returns millivolts, NaN where samples are missing, and whether the unit is known."""
    whole = np.issubdtype(rows.dtype, np.integer)
    unit = unit or ("adc" if whole else "mV")
    known = unit != "adc"
    factor = unit_lib.millivolts(unit) if known else 1.0
    if factor is None:
        raise UserError(plugin.unknown("unit", unit, unit_lib.UNITS))
    signal = rows.astype(np.float64)
    if whole:
        signal[rows == MISSING_ADC] = np.nan
    signal[~np.isfinite(signal)] = np.nan
    return signal * factor, known


def _warn(embedded: Sequence[EmbeddedWindows]) -> None:
    """Warns about unusable windows and about implausible amplitudes."""
    problems = [name for x in embedded for window in x.quality.problems for name in window]
    descriptions = {
        "no_samples": "hold no sample at all",
        "flat_lead": "are flat: nothing was recorded, or it is not in mV (say unit=...)",
        "implausible_amplitude": "reach more than an ECG can, so they may not be in mV "
        "(say unit=...)",
    }
    for name, words in descriptions.items():
        if count := problems.count(name):
            total = sum(len(x.features) for x in embedded)
            warnings.warn(f"{count} of {total} windows {words}.", stacklevel=3)
    unusable = sum(int((~x.quality.usable).sum()) for x in embedded)
    if unusable and not any(problems.count(name) for name in descriptions):
        warnings.warn(f"{unusable} windows are mostly missing or flat.", stacklevel=3)
