"""Cuts signals of any length into an encoder's windows, and assesses their quality.

Shapes: T samples of a signal, W windows, S samples of a window.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from clef_jax.data import quality
from clef_jax.embedding.recipe import Recipe
from clef_jax.errors import UserError
from clef_jax.signal import reference

LEAST_TAIL = 0.1
"""Smallest fraction of a window that must remain after the last complete window, so that another
window, which ends with the signal, is added."""


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
        raise ValueError(f"A stride of {stride} does not fit windows of {window_samples} samples.")
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
    """Fraction of samples that deviate from the median by more than an ECG can, [W]."""

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
            tuple(name for name, mask in masks.items() if mask[number])
            for number in range(len(flat))
        ]


def worst(qualities: Sequence[WindowQuality]) -> WindowQuality:
    """Returns the measures of the worst of several leads, window by window."""
    return WindowQuality(
        *(
            np.max([getattr(item, field.name) for item in qualities], axis=0)
            for field in dataclasses.fields(WindowQuality)
        )
    )


def assess(windows: np.ndarray, sample_rate_hz: float, *, unit_known: bool = True) -> WindowQuality:
    """Measures the quality of windows [W, S] in millivolts, NaN where missing.

    Where the unit is not known, no amplitude is implausible, and an interval is flat if it stays
    within two ADC units, or if it is constant where samples are not whole numbers.
    """
    missing = ~np.isfinite(windows)
    if missing.any():
        windows = np.where(missing, np.nan, windows)
    if unit_known:
        limit = quality.FLAT_MV
        implausible = np.abs(windows - _medians(windows, missing)[:, None]) > quality.MAX_ECG_MV
    else:
        whole = np.all((windows == np.rint(windows)) | missing)
        limit = quality.FLAT_ADC_UNITS if whole else 0
        implausible = np.zeros(windows.shape, bool)
    return WindowQuality(
        missing_fraction=missing.mean(axis=1),
        flat_fraction=quality.find_flat(windows, missing, sample_rate_hz, limit).fraction,
        implausible_fraction=implausible.mean(axis=1),
    )


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


class Windower:
    """Finds the windows of signals at one rate, and resamples them to the rate of an encoder.

    Args:
        recipe: preprocessing that is applied to a signal before the encoder.
        sample_rate_hz: sampling rate of the signals.
        stride_seconds: time between the starts of consecutive windows; by default their length.
        window_rate_hz: sampling rate of the resampled windows; by default the recipe's.

    Raises:
        UserError: the rate is too low, or the stride does not fit the window.
    """

    def __init__(
        self,
        recipe: Recipe,
        sample_rate_hz: float,
        stride_seconds: float | None = None,
        *,
        window_rate_hz: float | None = None,
    ):
        if not (np.isfinite(sample_rate_hz) and sample_rate_hz > 0):
            raise UserError(f"The sampling rate must be above 0 Hz, not {sample_rate_hz:g}.")
        if recipe.band_hz is not None and 2 * recipe.band_hz[0] >= sample_rate_hz:
            low_hz, high_hz = recipe.band_hz
            raise UserError(
                f"{sample_rate_hz:g} Hz is too low for the {low_hz:g}-{high_hz:g} Hz band-pass; "
                f"use a rate above {2 * low_hz:g} Hz.",
                problem="wrong_rate",
            )
        self.sample_rate_hz = float(sample_rate_hz)
        self.num_samples = recipe.num_samples(sample_rate_hz)
        """Samples of a window at the signal's rate."""
        self.window_rate_hz = window_rate_hz or recipe.sample_rate_hz
        """Sampling rate of resampled windows."""
        self._resampled_count = recipe.num_samples(self.window_rate_hz)
        self._stride = self.num_samples
        if stride_seconds is not None:
            if not 0 < stride_seconds <= recipe.window_seconds:
                raise UserError(
                    f"The stride must be above 0 and at most the window's {recipe.window_seconds:g}"
                    f" s, not {stride_seconds:g} s."
                )
            self._stride = max(1, round(stride_seconds * sample_rate_hz))

    def starts(self, num_samples: int) -> np.ndarray:
        """Returns the first sample of each window of a signal, [W]."""
        return starts(num_samples, self.num_samples, self._stride)

    def resample(self, windows: np.ndarray) -> np.ndarray:
        """Resamples windows [..., S'] to float32 [..., S]; gaps are filled where the number of
        samples changes.

        The ratio is that of the numbers of samples, since a window has a whole number of samples
        even where its rate is fractional.
        """
        if self._resampled_count == windows.shape[-1]:
            return windows.astype(np.float32)
        filled = reference.fill_gaps(np.where(np.isfinite(windows), windows, np.nan))
        return reference.resample_to_count(filled, self._resampled_count).astype(np.float32)
