"""Makes recordings of plain arrays: infers which axis is time, and scales to millivolts.

Shapes: L leads, T time, N recordings.
"""

import dataclasses
import functools
from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from clef_jax.errors import counted
from clef_jax.finding import Defect
from clef_jax.formats import _recording
from clef_jax.formats._recording import Hints, Opened

SIGNAL_NAMES = ("signal", "signals", "ecg", "ekg", "val", "feats", "data", "x", "tracings")
RATE_NAMES = ("sample_rate_hz", "fs", "curr_sample_rate", "sample_rate", "sampling_rate", "freq")
RATE_NAMES += ("samplerate", "samplingrate", "sampling_frequency")
GAIN_NAMES = ("gain_per_mv", "gain")
BASELINE_NAMES = ("baseline", "base", "adc_zero")
LEAD_NAMES = ("lead_names", "leads", "sig_name")
UNIT_NAMES = ("units", "unit")
_MIN_ASPECT_RATIO = 4
"""Ratio of the axes from which the longer one is time, as for 12 leads of 48 samples."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Metadata:
    """Metadata that a file states beside its array; None or empty for what it does not state."""

    where: str
    """The file's name."""
    sample_rate_hz: float | None = None
    gain_per_mv: float | None = None
    baseline: float | None = None
    """ADC units of 0 mV, which hold where the gain converts the samples."""
    unit: str = ""
    lead_names: tuple[str, ...] | None = None


def check_kind(dtype: np.dtype, shape: tuple[int, ...], where: str) -> None:
    """Checks that an array holds real numbers in 1 to 3 dimensions.

    Args:
        dtype: type of the array.
        shape: shape of the array.
        where: name of the array in messages.

    Raises:
        Defect: it does not, or it is empty.
    """
    if dtype.hasobject:
        raise Defect("unreadable", f"{where} holds Python objects, which are never loaded.")
    if dtype.kind not in "iuf" or not 1 <= len(shape) <= 3:
        detail = f"{where} is not a signal: it holds {dtype} of shape {shape}."
        raise Defect("unreadable", detail)
    if 0 in shape:
        raise Defect("empty", f"{where} holds no samples: its shape is {shape}.")


def choose(names: Iterable[str]) -> list[str]:
    """Returns the arrays whose names are those of signals; all arrays if none has such a name.

    Arrays in structs, such as `ECG.data`, count only if no other array has the name of a signal.
    """
    names = list(names)
    signals = [name for name in names if name.lower() in SIGNAL_NAMES]
    fields = [name for name in names if name.lower().rpartition(".")[2] in SIGNAL_NAMES]
    return signals or fields or [name for name in names if "." not in name] or names


def first(known: Mapping[str, str], names: Iterable[str]) -> str | None:
    """Returns the actual name of the first of some names that exists; None if none exists.

    Args:
        known: actual names by names in lower case.
        names: names in lower case, the preferred one first.
    """
    return next((known[name] for name in names if name in known), None)


def recordings(
    array: np.ndarray, hints: Hints, metadata: Metadata, part: str = ""
) -> Iterator[Opened]:
    """Yields the recordings of an array.

    Args:
        array: [T], [L, T], [T, L], [N, L, T] or [N, T, L].
        hints: values for what the file does not state.
        metadata: what the file states.
        part: name of the array in its file, if that holds several. With an axis N, the number of
            the recording is appended.

    Raises:
        Defect: the axis of time or the sampling rate is unknown, or the array is not a signal.
    """
    check_kind(array.dtype, array.shape, metadata.where)
    rate = _recording.check_rate(metadata.sample_rate_hz or hints.sample_rate_hz, metadata.where)
    metadata = dataclasses.replace(metadata, sample_rate_hz=rate)
    shape = array.shape[-2:] if array.ndim > 1 else (1, array.shape[0])
    time_last = time_is_last((shape[0], shape[1]), hints, metadata)
    if array.ndim < 3:
        view = array.reshape(shape)
        yield _opened(view if time_last else view.T, hints, metadata, part)
        return
    for number, view in enumerate(array):
        name = f"{part}/{number}" if part else str(number)
        yield _opened(view if time_last else view.T, hints, metadata, name)


def time_is_last(shape: tuple[int, int], hints: Hints, metadata: Metadata) -> bool:
    """Returns whether the last of the two axes of a recording is time.

    Raises:
        Defect: either axis may be time.
    """
    names = metadata.lead_names or hints.lead_names or ()
    fits = [length == len(names) for length in shape]
    if shape[0] == 1 or fits == [True, False]:
        return True
    if shape[1] == 1 or fits == [False, True]:
        return False
    most = _recording.MAX_LEADS if names else _recording.MAX_UNNAMED_LEADS
    if max(shape) < _MIN_ASPECT_RATIO * min(shape) or min(shape) > most:
        detail = (
            f"The axis of time in {metadata.where} is ambiguous: its shape is {shape}. Give the "
            "lead names, or store the array as [recordings, leads, time]."
        )
        raise Defect("ambiguous_shape", detail)
    return shape[1] > shape[0]


def _opened(signal: np.ndarray, hints: Hints, metadata: Metadata, part: str) -> Opened:
    num_leads, num_samples = signal.shape
    if num_leads > _recording.MAX_LEADS:
        detail = f"{metadata.where} is not an ECG: it has {counted(num_leads, 'lead')}."
        raise Defect("lead_count", detail)
    names, notes = _recording.lead_names(metadata.lead_names, hints, num_leads)
    factor, known = _recording.scale(metadata.unit, hints, metadata.gain_per_mv)
    has_gain = known and not metadata.unit and hints.units in (None, "adc")
    baseline = metadata.baseline if has_gain else None
    assert metadata.sample_rate_hz is not None
    return Opened(
        part=part,
        lead_names=names,
        sample_rate_hz=metadata.sample_rate_hz,
        num_samples=num_samples,
        unit_known=known,
        read=functools.partial(read, signal, factor, baseline=baseline or 0.0),
        notes=(*notes, *_recording.unit_notes(known)),
    )


def read(
    signal: np.ndarray, factor: float, start: int, num_samples: int, *, baseline: float = 0.0
) -> np.ndarray:
    """Returns a window of a signal in millivolts, float32 [L, num_samples], NaN where missing.

    Infinite values are missing, and so is the smallest value of signed integers, as in WFDB.

    Args:
        signal: [L, T], possibly a memory map of a file.
        factor: millivolts per stored unit.
        start: first sample of the window.
        num_samples: length of the window in samples.
        baseline: stored value of 0 mV.

    Raises:
        Defect: the window exceeds the signal.
    """
    _recording.check_window(start, num_samples, signal.shape[1])
    window = np.ascontiguousarray(signal[:, start : start + num_samples])
    with np.errstate(over="ignore", invalid="ignore"):
        millivolts = (window.astype(np.float64) - baseline) * factor
    if window.dtype.kind == "i":
        millivolts[window == np.iinfo(window.dtype).min] = np.nan
    return _recording.as_float32(millivolts)
