"""Finds and reads the window of a recording whose answer is explained.

Shapes: C leads that the encoder takes at once, W windows, D features that the head reads, T samples
of a window at the recording's rate, S samples of a window at the encoder's rate, n segments.
"""

import dataclasses

import numpy as np

from clef_jax.embedding import batch, window as window_lib
from clef_jax.embedding.encoder import Encoder
from clef_jax.embedding.lead_selection import Lead
from clef_jax.embedding.window import Windower
from clef_jax.errors import UserError, counted
from clef_jax.formats import Opened

BATCH_SIZES = (16,)
"""Numbers of windows that each device encodes at a time: one, because each one is compiled."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Scan:
    """Features and quality of windows of a recording."""

    first: np.ndarray
    """First sample of each window, int [W]."""
    features: np.ndarray
    """Features that the head reads, float32 [W, D]."""
    usable: np.ndarray
    """bool [W]"""
    problems: tuple[tuple[str, ...], ...]
    """Problem codes of each window."""

    @property
    def mean(self) -> np.ndarray:
        """Features of the recording, float32 [D]: the mean over usable windows."""
        return batch.mean(self.features, self.usable)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Window:
    """The window whose answer is explained."""

    start_seconds: float
    """Start of the window in seconds from the start of the recording."""
    sample_rate_hz: float
    """Rate of the recording."""
    recorded_mv: np.ndarray
    """The window as it was recorded, [C, T] in mV, NaN where nothing was recorded."""
    encoder_mv: np.ndarray
    """The window as the encoder takes it, float32 [C, S]."""
    encoder_rate_hz: float
    """Rate of `encoder_mv`."""
    seconds: float
    """Length of the window."""
    problems: tuple[str, ...]
    """Problem codes of the window."""

    def is_recorded(self, num_segments: int) -> np.ndarray:
        """Returns which of the segments were recorded for the most part, bool [n].

        The others lie in a gap, or after the end of a short recording.
        """
        present = np.asarray(np.isfinite(self.recorded_mv).all(axis=0))
        parts = np.split(present, edges(num_segments, len(present))[1:-1])
        return np.array([part.mean() >= 0.5 if len(part) else False for part in parts])


def edges(num_segments: int, num_samples: int) -> np.ndarray:
    """Returns the first sample of each segment of a window, and the window's end, int [n + 1]."""
    return np.rint(np.linspace(0, num_samples, num_segments + 1)).astype(int)


def starts(windower: Windower, opened: Opened, start_seconds: float | None) -> np.ndarray:
    """Returns the first samples of the windows among which one is explained, [W].

    Args:
        windower: windower for the rate of the recording.
        opened: the recording.
        start_seconds: start of the only window; by default all windows of the recording.

    Raises:
        UserError: the recording is too short, or the window does not lie within it.
    """
    first = windower.starts(opened.num_samples)
    if start_seconds is None:
        return first
    start_seconds = window_lib.number(start_seconds, "start of the window", "seconds")
    last = max(0, opened.num_samples - windower.num_samples)
    sample = round(start_seconds * opened.sample_rate_hz) if np.isfinite(start_seconds) else -1
    if not 0 <= sample <= last:
        window_seconds = windower.num_samples / opened.sample_rate_hz
        raise UserError(
            f"A window of {window_seconds:g} s from {start_seconds:g} s exceeds the recording of "
            f"{opened.num_samples / opened.sample_rate_hz:g} s; start from 0 to "
            f"{last / opened.sample_rate_hz:g} s.",
            problem="window_outside_recording",
        )
    return np.array([sample])


def scan(
    encoder: Encoder, part: slice, windower: Windower, opened: Opened, lead: Lead, first: np.ndarray
) -> Scan:
    """Encodes windows of a recording, a bounded number of them at a time.

    Args:
        encoder: encoder that gives the features of the head.
        part: slice of these features.
        windower: windower for the rate of the recording.
        opened: the recording.
        lead: the lead or leads.
        first: first sample of each window, [W].

    Raises:
        UserError: no window is usable, so that there is no answer to explain.
        Defect: the samples cannot be read.
    """
    features, usable, problems = [], [], []
    for begin in range(0, len(first), batch.BATCH_WINDOWS):
        some = first[begin : begin + batch.BATCH_WINDOWS]
        (windows,) = batch.read(opened, [lead.rows], windower, some)
        rate_hz = windower.window_rate_hz
        encoded = batch.encode(encoder, windows.signal_mv, rate_hz, BATCH_SIZES)
        features.append(encoded[:, part])
        usable.append(windows.quality.usable & np.isfinite(features[-1]).all(axis=1))
        problems += windows.quality.problems
    scanned = Scan(
        first=first,
        features=np.concatenate(features),
        usable=np.concatenate(usable),
        problems=tuple(problems),
    )
    if not scanned.usable.any():
        what = sorted({code for codes in problems for code in codes})
        reason = " and ".join(str(window_lib.PROBLEMS.get(code, code)) for code in what)
        raise UserError(
            f"Lead {lead.name} of {opened.name} {reason or 'has no features'}, in "
            f"{counted(len(first), 'window')}: there is no answer to explain.",
            problem="no_answer",
        )
    return scanned


def read(
    windower: Windower, opened: Opened, lead: Lead, first: int, problems: tuple[str, ...]
) -> Window:
    """Reads the window that starts at the sample `first`.

    Raises:
        Defect: the samples cannot be read.
    """
    (windows,) = batch.read(opened, [lead.rows], windower, np.array([first]))
    count = min(windower.num_samples, opened.num_samples - first)
    recorded_mv = opened.read(first, count)[list(lead.rows)]
    lacking = windower.num_samples - count
    before = lacking if windower.num_padded(opened.num_samples) else 0
    recorded_mv = np.pad(
        recorded_mv, [(0, 0), (before, lacking - before)], constant_values=np.float32(np.nan)
    )
    return Window(
        start_seconds=first / opened.sample_rate_hz,
        sample_rate_hz=opened.sample_rate_hz,
        recorded_mv=recorded_mv,
        encoder_mv=windows.signal_mv[0],
        encoder_rate_hz=windower.window_rate_hz,
        seconds=windower.num_samples / opened.sample_rate_hz,
        problems=problems,
    )
