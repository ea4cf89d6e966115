"""Preprocessing that the authors of ECGFounder (arXiv 2410.04133) publish, in three variants.

The variants are described here; `encoder.prepare` computes them on the device. Filters run forwards
and backwards, each with an odd extension of three times its number of coefficients, as
`scipy.signal.filtfilt` does by default.
"""

import dataclasses
import types
from collections.abc import Mapping

import numpy as np

from clef_jax.errors import UserError
from clef_jax.signal import edge


@dataclasses.dataclass(frozen=True, kw_only=True)
class Filter:
    """Zero-phase filter."""

    kind: str
    """`notch`, or one of SciPy's kinds of Butterworth filters: `highpass`, `lowpass`, `bandpass`.
    """
    edges_hz: tuple[float, ...]
    """Edges of the pass band, or the frequency of a notch."""
    order: int = 2
    """Order of the Butterworth prototype."""
    quality: float = 30.0
    """Ratio of a notch's frequency to its width."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Preparation:
    """Preprocessing of a window, after which all its leads and samples are scaled together to mean
    0 and standard deviation 1."""

    sentence: str
    """Description for the user."""
    band_hz: tuple[float, float] | None = None
    """Pass band of the filters together; None without filters."""
    filters: tuple[Filter, ...] = ()
    """Filters in the order in which they are applied."""
    median_seconds: float | None = None
    """Length of the running median that is subtracted; None if none is."""
    zero_gaps: bool = False
    """Whether missing samples become zeros instead of being interpolated."""

    def zero_phase(self, sample_rate_hz: float) -> tuple[edge.ZeroPhase, ...]:
        """Returns the coefficients of the filters.

        Raises:
            UserError: a filter does not fit the sampling rate.
        """
        return tuple(_zero_phase(item, sample_rate_hz) for item in self.filters)

    def median_samples(self, sample_rate_hz: float) -> int | None:
        """Returns the odd number of samples of the running median; None if none is subtracted."""
        if self.median_seconds is None:
            return None
        return (int(self.median_seconds * sample_rate_hz) + 1) | 1


def _zero_phase(item: Filter, sample_rate_hz: float) -> edge.ZeroPhase:
    import scipy.signal  # takes half a second, which the import of the package should not cost

    if max(item.edges_hz) >= sample_rate_hz / 2:
        raise UserError(
            f"A filter at {max(item.edges_hz):g} Hz needs a sampling rate above "
            f"{2 * max(item.edges_hz):g} Hz, not {sample_rate_hz:g} Hz.",
            problem="band_above_nyquist",
        )
    if item.kind == "notch":
        rising, falling = scipy.signal.iirnotch(item.edges_hz[0], item.quality, fs=sample_rate_hz)
        sections = np.asarray(scipy.signal.tf2sos(rising, falling))
    else:
        edges = item.edges_hz if item.kind == "bandpass" else item.edges_hz[0]
        made = scipy.signal.butter(item.order, edges, item.kind, fs=sample_rate_hz, output="sos")
        sections = np.asarray(made)
    poles = item.order * len(item.edges_hz) if item.kind != "notch" else 2
    return edge.ZeroPhase(tuple(map(tuple, sections.tolist())), 3 * (poles + 1))


PREPARATIONS: Mapping[str, Preparation] = types.MappingProxyType(
    {
        "filter_bandpass": Preparation(
            sentence="missing samples become 0; a notch at 50 Hz (Q 30) and a Butterworth "
            "band-pass of order 4, 0.67-40 Hz, each forwards and backwards; a running median of "
            "0.4 s is subtracted; all leads and samples are scaled together. This is what "
            "ECGFounder's authors prescribe.",
            band_hz=(0.67, 40.0),
            filters=(
                Filter(kind="notch", edges_hz=(50.0,)),
                Filter(kind="bandpass", edges_hz=(0.67, 40.0), order=4),
            ),
            median_seconds=0.4,
            zero_gaps=True,
        ),
        "paper": Preparation(
            sentence="gaps are interpolated; Butterworth high-pass at 0.5 Hz and low-pass at 50 "
            "Hz, both of order 2, and notches at 50 and 60 Hz (Q 30), each forwards and backwards; "
            "all leads and samples are scaled together. The paper of ECGFounder states neither the "
            "order of the high-pass nor the width of the notches.",
            band_hz=(0.5, 50.0),
            filters=(
                Filter(kind="highpass", edges_hz=(0.5,)),
                Filter(kind="lowpass", edges_hz=(50.0,)),
                Filter(kind="notch", edges_hz=(50.0,)),
                Filter(kind="notch", edges_hz=(60.0,)),
            ),
        ),
        "zscore": Preparation(
            sentence="gaps are interpolated; all leads and samples are scaled together, and "
            "nothing is filtered, as ECGFounder's evaluation on PTB-XL does.",
        ),
    }
)
"""The variants by name; the default is the first."""
