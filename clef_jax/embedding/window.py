"""Cuts signals of any length into an encoder's windows, and assesses their quality.

Shapes: T samples of a signal, W windows, S samples of a window.
"""

import dataclasses
import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from clef_jax.data import quality
from clef_jax.embedding.recipe import Recipe
from clef_jax.errors import UserError, counted
from clef_jax.signal import reference

LEAST_TAIL = 0.1
"""Smallest fraction of a window that must remain after the last complete window, so that another
window, which ends with the signal, is added."""

MIN_SECONDS, MAX_SECONDS = quality.SHORTEST_SECONDS, 400 * 86_400.0
"""Shortest and longest accepted signal; a shorter one may hold no beat."""
MIN_RATE_HZ, MAX_RATE_HZ = 50.0, 100_000.0
"""Lowest and highest accepted sampling rate; below, the waves of a beat fall between the samples.
No ECG is recorded at a higher rate, and a window of one would fill the memory."""
LOW_RATE_HZ = 100.0
"""Rate below which signals are flagged, because it holds less than the encoder's pass band."""

PROBLEMS = {
    "no_samples": "holds no samples",
    "nan_run": "has missing samples",
    "flat_lead": "is flat: nothing was recorded, or the unit is not the stated one",
    "flat_run": "is partly flat",
    "implausible_amplitude": "exceeds the amplitude of an ECG, so the unit may be another one",
    "short": "is shorter than the encoder's window and was completed, by its mirror image unless "
    "the encoder is told what is missing",
    "low_rate": f"is sampled below {LOW_RATE_HZ:g} Hz, so that narrow waves are lost",
}
"""Words for the problems of windows and signals, by code; the subject is the lead."""


def starts(num_samples: int, window_samples: int, stride_samples: int | None = None) -> np.ndarray:
    """Returns the first sample of each window of a signal, int64 [W] with W at least 1.

    Complete windows start at multiples of the stride, which by default is the length of a window;
    a remainder of at least `LEAST_TAIL` windows is covered by a last window that ends with the
    signal.

    Raises:
        ValueError: the stride is not positive, or longer than a window.
    """
    stride = window_samples if stride_samples is None else stride_samples
    if not 0 < stride <= window_samples:
        raise ValueError(
            f"A stride of {stride} does not fit windows of {counted(window_samples, 'sample')}."
        )
    last = max(num_samples - window_samples, 0)
    first = np.arange(0, last + 1, stride)
    if last - first[-1] >= LEAST_TAIL * window_samples:
        first = np.append(first, last)
    return first


def cut(signal: np.ndarray, window_samples: int, first: np.ndarray) -> np.ndarray:
    """Returns the windows [..., W, S] of `signal` [..., T] that start at `first` [W].

    A signal shorter than a window is continued by its mirror image.
    """
    signal = mirrored(signal, window_samples)
    windows = np.lib.stride_tricks.sliding_window_view(signal, window_samples, axis=-1)
    return windows[..., first, :]


def mirrored(signal: np.ndarray, num_samples: int) -> np.ndarray:
    """Continues `signal` [..., T] by its mirror image if it is shorter than `num_samples`."""
    lacking = num_samples - signal.shape[-1]
    if lacking <= 0:
        return signal
    return np.pad(signal, [(0, 0)] * (signal.ndim - 1) + [(0, lacking)], mode="symmetric")


@dataclasses.dataclass(frozen=True, eq=False)
class WindowQuality:
    """Quality measures of windows, with the limits that are applied to prepared data sets."""

    missing_fraction: np.ndarray
    """Fraction of samples that are missing, [W]."""
    flat_fraction: np.ndarray
    """Fraction of intervals of two seconds that are flat, [W]."""
    implausible_fraction: np.ndarray
    """Fraction of samples farther from the median than an ECG can be, [W]."""
    flags: tuple[str, ...] = ()
    """Problem codes of the signal that all windows are from, as `Windower.flags` returns them."""

    @property
    def usable(self) -> np.ndarray:
        """Mask of the windows that are usable, bool [W]."""
        bad = self.missing_fraction + np.maximum(self.flat_fraction, self.implausible_fraction)
        return quality.is_usable(bad, self.flat_fraction)

    @property
    def problems(self) -> list[tuple[str, ...]]:
        """Problem codes of each window, as in a quality report; empty where nothing is wrong."""
        flat = self.flat_fraction >= quality.FLAT_LEAD_FRACTION
        masks = {
            "no_samples": self.missing_fraction == 1,
            "nan_run": (self.missing_fraction > 0) & (self.missing_fraction < 1),
            "flat_lead": flat,
            "flat_run": (self.flat_fraction > 0) & ~flat,
            "implausible_amplitude": self.implausible_fraction > 0,
        }
        return [
            (*(name for name, mask in masks.items() if mask[number]), *self.flags)
            for number in range(len(flat))
        ]


def worst(qualities: Sequence[WindowQuality]) -> WindowQuality:
    """Returns the measures of the worst of several leads, window by window."""
    return WindowQuality(
        missing_fraction=np.max([item.missing_fraction for item in qualities], axis=0),
        flat_fraction=np.max([item.flat_fraction for item in qualities], axis=0),
        implausible_fraction=np.max([item.implausible_fraction for item in qualities], axis=0),
        flags=qualities[0].flags,
    )


def assess(windows: np.ndarray, sample_rate_hz: float, *, unit_known: bool = True) -> WindowQuality:
    """Measures the quality of windows [W, S] in millivolts, NaN where missing.

    If the unit is unknown, no amplitude is implausible, and an interval is flat if it stays within
    two ADC units, or, if samples of its window are not whole numbers, if it is constant.
    """
    missing = ~np.isfinite(windows)
    if missing.any():
        windows = np.where(missing, np.nan, windows)
    if unit_known:
        limit = quality.FLAT_MV
        implausible = np.abs(windows - _medians(windows, missing)[:, None]) > quality.MAX_ECG_MV
    else:
        whole = np.all((windows == np.rint(windows)) | missing, axis=1, keepdims=True)
        limit = np.where(whole, quality.FLAT_ADC_UNITS, 0)
        implausible = np.zeros(windows.shape, bool)
    return WindowQuality(
        missing_fraction=missing.mean(axis=1),
        flat_fraction=quality.find_flat(windows, missing, sample_rate_hz, limit).fraction,
        implausible_fraction=implausible.mean(axis=1),
    )


def warn(qualities: Sequence[WindowQuality], *, stacklevel: int) -> None:
    """Warns about unusable windows, implausible amplitudes, and short or slow signals.

    Args:
        stacklevel: which caller the warning names, as `warnings.warn` counts them.
    """
    problems = [name for item in qualities for window in item.problems for name in window]
    descriptions = {
        "no_samples": "hold no samples",
        "flat_lead": "are flat: nothing was recorded, or the signal is not in mV (set unit=...)",
        "implausible_amplitude": "exceed the amplitude of an ECG, so the signal may not be in mV "
        "(set unit=...)",
    }
    for name, words in descriptions.items():
        if count := problems.count(name):
            total = sum(len(item.usable) for item in qualities)
            warnings.warn(f"{count} of {counted(total, 'window')} {words}.", stacklevel=stacklevel)
    for name in ("short", "low_rate"):
        if name in problems:
            warnings.warn(f"The signal {PROBLEMS[name]}.", stacklevel=stacklevel)
    unusable = sum(int((~item.usable).sum()) for item in qualities)
    if unusable and not any(problems.count(name) for name in descriptions):
        text = f"Mostly missing or flat: {counted(unusable, 'window')}."
        warnings.warn(text, stacklevel=stacklevel)


def _medians(windows: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """Returns the median of the known samples of each window, [W]; 0 where none is known.

    A plain median per window takes a third of a masked one's time.
    """
    medians = np.zeros(len(windows), windows.dtype)
    for number, (window, gaps) in enumerate(zip(windows, missing, strict=True)):
        known = window[~gaps] if gaps.any() else window
        if len(known):
            medians[number] = np.median(known)
    return medians


def number(value: Any, what: str, unit: str) -> float:
    """Returns a number that a user gave.

    Raises:
        UserError: the value is a text or anything else that is no number.
    """
    try:
        array = np.asarray(value)
    except (ValueError, TypeError):
        array = np.asarray(None)
    if array.ndim or array.dtype.kind not in "iuf":
        raise UserError(
            f"The {what} must be a number in {unit}, not {value!r}.", problem="not_a_number"
        )
    return float(array)


def min_seconds(recipe: Recipe) -> float:
    """Returns the length in seconds below which a signal has no embedding."""
    return min(MIN_SECONDS, recipe.window_seconds)


def _check_rate(sample_rate_hz: Any) -> float:
    """Returns a sampling rate in Hz; raises UserError if signals of that rate are not embedded."""
    rate_hz = number(sample_rate_hz, "sampling rate", "Hz")
    if not (math.isfinite(rate_hz) and rate_hz > 0):
        raise UserError(
            f"The sampling rate must be above 0 Hz, not {rate_hz:g}.", problem="wrong_rate"
        )
    if not MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ:
        side = "low" if rate_hz < MIN_RATE_HZ else "high"
        raise UserError(
            f"{rate_hz:g} Hz is too {side} for an ECG; give a signal of {MIN_RATE_HZ:g} to "
            f"{MAX_RATE_HZ:,.0f} Hz, and check that the rate is that of the signal.",
            problem="wrong_rate",
        )
    return rate_hz


class Windower:
    """Finds the windows of signals at one rate, and resamples them to the rate of an encoder.

    Args:
        recipe: preprocessing that is applied to a signal before the encoder.
        sample_rate_hz: sampling rate of the signals.
        stride_seconds: time between the starts of consecutive windows; by default their length.
        window_rate_hz: sampling rate of the resampled windows; by default the recipe's.

    Raises:
        UserError: the rate is too low or too high, or the stride is longer than a window.
    """

    def __init__(
        self,
        recipe: Recipe,
        sample_rate_hz: float,
        stride_seconds: float | None = None,
        *,
        window_rate_hz: float | None = None,
    ):
        sample_rate_hz = _check_rate(sample_rate_hz)
        if recipe.band_hz is not None and 2 * recipe.band_hz[0] >= sample_rate_hz:
            low_hz, high_hz = recipe.band_hz
            raise UserError(
                f"{sample_rate_hz:g} Hz is too low for the {low_hz:g}-{high_hz:g} Hz band-pass; "
                f"use a rate above {2 * low_hz:g} Hz.",
                problem="wrong_rate",
            )
        self.sample_rate_hz = sample_rate_hz
        self.num_samples = recipe.num_samples(sample_rate_hz)
        """Number of samples of a window at the signal's rate."""
        self.window_rate_hz = window_rate_hz or recipe.sample_rate_hz
        """Sampling rate of resampled windows."""
        self.num_resampled = recipe.num_samples(self.window_rate_hz)
        """Number of samples of a resampled window."""
        self._pads_short, self._zero_gaps = recipe.pads_short, recipe.zero_gaps
        self.stride = self.num_samples
        """Number of samples between the starts of consecutive windows."""
        self._min_seconds = min_seconds(recipe)
        if stride_seconds is not None:
            stride_seconds = number(stride_seconds, "stride", "seconds")
            if not 0 < stride_seconds <= recipe.window_seconds:
                raise UserError(
                    f"The stride must be above 0 and at most the window's {recipe.window_seconds:g}"
                    f" s, not {stride_seconds:g} s."
                )
            self.stride = max(1, round(stride_seconds * sample_rate_hz))

    def starts(self, num_samples: int) -> np.ndarray:
        """Returns the first sample of each window of a signal, [W].

        Raises:
            UserError: the signal is too short or too long.
        """
        seconds = num_samples / self.sample_rate_hz
        if num_samples < math.floor(self._min_seconds * self.sample_rate_hz):
            raise UserError(
                f"The signal lasts {seconds:.6g} s ({counted(num_samples, 'sample')} at "
                f"{self.sample_rate_hz:g} Hz), which is too short to hold a beat; give at least "
                f"{self._min_seconds:g} s, and check the sampling rate.",
                problem="too_short",
            )
        if seconds > MAX_SECONDS:
            raise UserError(
                f"The signal claims to last {seconds / 86_400:,.0f} days, more than the "
                f"{MAX_SECONDS / 86_400:g} days that are read; check the sampling rate.",
                problem="too_long",
            )
        return starts(num_samples, self.num_samples, self.stride)

    def num_padded(self, num_samples: int) -> int:
        """Returns how many samples precede a short signal in a window, at the signal's rate.

        They are missing for the encoder. Other encoders receive the signal's mirror image behind
        it, and the number is 0.
        """
        return max(0, self.num_samples - num_samples) if self._pads_short else 0

    def flags(self, num_samples: int) -> tuple[str, ...]:
        """Returns the problem codes that the length and the rate of a signal imply."""
        short = ("short",) if num_samples < self.num_samples else ()
        return (*short, "low_rate") if self.sample_rate_hz < LOW_RATE_HZ else short

    def resample(self, windows: np.ndarray, num_padded: int = 0) -> np.ndarray:
        """Resamples windows [..., S'] to float32 [..., S]; fills gaps if the lengths differ.

        The ratio is that of the numbers of samples, because a window has a whole number of samples
        even at a fractional rate.

        Args:
            num_padded: number of first samples that become missing, as `num_padded` returns it.
        """
        if self.num_resampled == windows.shape[-1]:
            resampled = windows.astype(np.float32)
        else:
            missing = 0 if self._zero_gaps else np.nan
            filled = reference.fill_gaps(np.where(np.isfinite(windows), windows, missing))
            resampled = reference.resample_to_count(filled, self.num_resampled).astype(np.float32)
        padding = math.ceil(num_padded * self.num_resampled / windows.shape[-1])
        resampled[..., :padding] = np.nan
        return resampled
