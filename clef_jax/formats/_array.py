"""Plain arrays as recordings: which axis is time, what a step means.

Shapes: L leads, T time, N recordings.
"""

import dataclasses
import functools
from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from clef_jax.finding import Defect
from clef_jax.formats import _recording
from clef_jax.formats._recording import Hints, Opened

SIGNAL_NAMES = ("signal", "signals", "ecg", "ekg", "val", "feats", "data", "x", "tracings")
RATE_NAMES = ("sample_rate_hz", "fs", "curr_sample_rate", "sample_rate", "sampling_rate", "freq")
GAIN_NAMES = ("gain_per_mv", "gain")
LEAD_NAMES = ("lead_names", "leads", "sig_name")
UNIT_NAMES = ("units", "unit")
_CLEAR = 4
"""Time is the longer axis if it is so many times as long: 12 leads of 48 samples are clear."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Facts:
    """What a file says beside its array."""

    where: str
    """The file's name."""
    sample_rate_hz: float | None = None
    gain_per_mv: float | None = None
    unit: str = ""
    lead_names: tuple[str, ...] | None = None


def check_kind(dtype: np.dtype, shape: tuple[int, ...], where: str) -> None:
    """Raises Defect for anything but real numbers in 1 to 3 dimensions."""
    if dtype.hasobject:
        raise Defect("unreadable", f"{where} holds Python objects, which are never loaded.")
    if dtype.kind not in "iuf" or not 1 <= len(shape) <= 3:
        detail = f"{where} holds {dtype} of shape {shape}, which is no signal."
        raise Defect("unreadable", detail)
    if 0 in shape:
        raise Defect("empty", f"{where} holds no samples: its shape is {shape}.")


def choose(names: Iterable[str]) -> list[str]:
    """The arrays that are signals by their names; all of them if none has such a name."""
    names = list(names)
    named = [name for name in names if name.lower() in SIGNAL_NAMES]
    return named or names


def first(known: Mapping[str, str], names: Iterable[str]) -> str | None:
    """The own name of the first array that has one of the names, whatever its case.

    Args:
        known: own names by names in lower case.
    """
    return next((known[name] for name in names if name in known), None)


def recordings(array: np.ndarray, hints: Hints, facts: Facts, part: str = "") -> Iterator[Opened]:
    """The recordings of [T], [L, T], [T, L], [N, L, T] or [N, T, L]; numbers them if N is there.

    Raises:
        Defect: it cannot be told which axis is time, or the rate is not known.
    """
    check_kind(array.dtype, array.shape, facts.where)
    rate = _recording.check_rate(hints.sample_rate_hz or facts.sample_rate_hz, facts.where)
    facts = dataclasses.replace(facts, sample_rate_hz=rate)
    shape = array.shape[-2:] if array.ndim > 1 else (1, array.shape[0])
    time_last = _time_is_last((shape[0], shape[1]), hints, facts)
    if array.ndim < 3:
        view = array.reshape(shape)
        yield _opened(view if time_last else view.T, hints, facts, part)
        return
    for number, view in enumerate(array):
        name = f"{part}/{number}" if part else str(number)
        yield _opened(view if time_last else view.T, hints, facts, name)


def _time_is_last(shape: tuple[int, int], hints: Hints, facts: Facts) -> bool:
    names = facts.lead_names or hints.lead_names or ()
    fits = [length == len(names) for length in shape]
    if shape[0] == 1 or fits == [True, False]:
        return True
    if shape[1] == 1 or fits == [False, True]:
        return False
    if max(shape) < _CLEAR * min(shape) or min(shape) > _recording.MAX_LEADS:
        detail = (
            f"{facts.where} has the shape {shape}, and it is not clear which axis is time. Name "
            "the leads with the command, or store [recordings, leads, time]."
        )
        raise Defect("ambiguous_shape", detail)
    return shape[1] > shape[0]


def _opened(signal: np.ndarray, hints: Hints, facts: Facts, part: str) -> Opened:
    num_leads, num_samples = signal.shape
    if num_leads > _recording.MAX_LEADS:
        raise Defect("lead_count", f"{facts.where} has {num_leads} leads, which no ECG has.")
    names, notes = _recording.names_of(facts.lead_names, hints, num_leads)
    factor, known = _recording.scale(facts.unit, hints, facts.gain_per_mv)
    assert facts.sample_rate_hz is not None
    return Opened(
        part=part,
        lead_names=names,
        sample_rate_hz=facts.sample_rate_hz,
        num_samples=num_samples,
        unit_known=known,
        read=functools.partial(read, signal, factor),
        notes=(*notes, *_recording.unit_notes(known)),
    )


def read(signal: np.ndarray, factor: float, start: int, num_samples: int) -> np.ndarray:
    """float32 [L, num_samples] of [L, T], which may be mapped from a file.

    Infinite values are missing, and so is the smallest value of signed integers, as in WFDB.
    """
    _recording.check_window(start, num_samples, signal.shape[1])
    window = np.ascontiguousarray(signal[:, start : start + num_samples])
    with np.errstate(over="ignore", invalid="ignore"):
        millivolts = window.astype(np.float64) * factor
    if window.dtype.kind == "i":
        millivolts[window == np.iinfo(window.dtype).min] = np.nan
    return _recording.as_float32(millivolts)
