"""Checks the quality of stored recordings, and of signals in millivolts by the same limits.

Shapes: L leads, N signals of one lead each, T time, I intervals of two seconds.
"""

import collections
import dataclasses
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from clef_jax import leads
from clef_jax.data.record import Amplitude, Layout, Recording
from clef_jax.errors import counted
from clef_jax.finding import Action, Defect, Finding
from clef_jax.signal.adc import MISSING_ADC, RAIL_ADC

MAX_BAD_FRACTION = 0.2
"""Largest fraction of missing, flat or implausible samples in a usable lead. After a gap of 2 of
10 s, the zero-masking and gap filling of training still leave a beat on either side."""
FLAT_MV = 0.03
"""Largest peak-to-peak amplitude of a flat interval. A beat in any lead is several times taller,
and the noise of a connected electrode is not much lower."""
FLAT_ADC_UNITS = 2
"""The same limit for samples in an unknown unit."""
FLAT_INTERVAL_SECONDS = 2.0
"""Length of an interval; it holds a beat at heart rates of 30 per minute and more."""
FLAT_LEAD_FRACTION = 0.9
"""Smallest fraction of flat intervals in a flat lead; a lead with fewer has a flat run."""
MIN_PRESENT_FRACTION = 0.5
"""Smallest fraction of present samples in a flat interval: a few samples between gaps are alike
without being flat."""
MAX_ECG_MV = 10.0
"""Largest plausible amplitude. No heart reaches it at the skin; touched electrodes do."""
SHORTEST_SECONDS = FLAT_INTERVAL_SECONDS
"""Shortest accepted recording; a shorter one may hold no beat."""


class FlatIntervals(NamedTuple):
    """Flat intervals of signals."""

    is_flat: np.ndarray
    """bool [N, I]."""
    fraction: np.ndarray
    """float [N], flat intervals as a fraction of the intervals with enough samples."""
    num_samples: int
    """Length of an interval in samples. The incomplete last interval of a signal is not checked."""


def find_flat(
    signal: np.ndarray, missing: np.ndarray, sample_rate_hz: float, limit: np.ndarray | float
) -> FlatIntervals:
    """Finds the intervals whose peak-to-peak amplitude is at most a limit.

    Args:
        signal: [N, T], either int16 with `MISSING_ADC` or floating point with NaN where missing.
        missing: bool [N, T], the samples that are missing.
        sample_rate_hz: sampling rate of the signals.
        limit: largest amplitude of a flat interval, in the signal's unit; scalar or [N, 1].
    """
    num_samples = min(signal.shape[1], max(1, round(FLAT_INTERVAL_SECONDS * sample_rate_hz)))
    count = signal.shape[1] // num_samples
    shape = (len(signal), count, num_samples)
    intervals = signal[:, : count * num_samples].reshape(shape)
    gaps = missing[:, : count * num_samples].reshape(shape)
    enough = gaps.mean(axis=2) <= 1 - MIN_PRESENT_FRACTION
    is_flat = enough & (_peak_to_peak(intervals, gaps) <= limit)
    fraction = is_flat.sum(axis=1) / np.maximum(enough.sum(axis=1), 1)
    return FlatIntervals(is_flat, fraction, num_samples)


def _peak_to_peak(intervals: np.ndarray, gaps: np.ndarray) -> np.ndarray:
    """Returns the amplitudes [N, I] of intervals [N, I, T]; without samples they are undefined."""
    if intervals.dtype != np.int16:
        # fmin and fmax ignore NaN.
        return np.fmax.reduce(intervals, axis=2) - np.fmin.reduce(intervals, axis=2)
    # A gap is int16's smallest value, so it is never the maximum of an interval with samples.
    filled = np.where(gaps, RAIL_ADC, intervals) if gaps.any() else intervals
    return intervals.max(axis=2) - filled.min(axis=2).astype(np.int32)


def is_usable(bad_fraction: np.ndarray, flat_fraction: np.ndarray) -> np.ndarray:
    """Returns a mask, bool [N], of the signals that can be used for training and embedding.

    Args:
        bad_fraction: [N], fraction of samples that are missing, flat or implausible.
        flat_fraction: [N], fraction of flat intervals, as `find_flat` returns it.
    """
    return (bad_fraction <= MAX_BAD_FRACTION) & (flat_fraction < FLAT_LEAD_FRACTION)


def arrange(recording: Recording, layout: Layout) -> Recording:
    """Returns the recording with the layout's leads, selected by name, in the layout's order.

    Raises:
        Defect: the rate or length differs from the layout's, or a lead is unknown, missing or
            duplicate.
    """
    rate, num_samples = recording.sample_rate_hz, recording.signal.shape[1]
    if not rate > 0 or layout.sample_rate_hz not in (None, rate):
        fixed = layout.sample_rate_hz
        wanted = "" if fixed is None else f" instead of {fixed:g} Hz"
        raise Defect("wrong_rate", f"The sampling rate is {rate:g} Hz{wanted}.")
    if layout.num_samples not in (None, num_samples):
        detail = (
            f"The recording has {counted(num_samples, 'sample')} instead of {layout.num_samples:,}."
        )
        raise Defect("wrong_length", detail)
    if num_samples < SHORTEST_SECONDS * rate:
        detail = (
            f"The recording is shorter than {SHORTEST_SECONDS:g} s: it has "
            f"{counted(num_samples, 'sample')} at {rate:g} Hz."
        )
        raise Defect("too_short", detail)
    names = [_canonical(name) for name in recording.lead_names]
    for name, count in collections.Counter(names).items():
        if count > 1:
            raise Defect("duplicate_lead", f"Lead {name} occurs {counted(count, 'time')}.", name)
    absent = tuple(name for name in layout.leads if name not in names)
    missing = [name for name in absent if name not in layout.optional_leads]
    if missing:
        lead = missing[0] if len(missing) == 1 else None
        raise Defect("missing_lead", f"The recording has no lead {', '.join(missing)}.", lead)
    order = [names.index(name) if name not in absent else 0 for name in layout.leads]
    signal = np.ascontiguousarray(recording.signal[order])
    signal[[name in absent for name in layout.leads]] = MISSING_ADC
    return dataclasses.replace(
        recording,
        signal=signal,
        lead_names=layout.leads,
        gain_per_mv=recording.gain_per_mv[order],
        baseline=recording.baseline[order],
        absent_leads=absent,
        bad_checksums=tuple(_canonical(name) for name in recording.bad_checksums),
    )


def _canonical(name: str) -> str:
    try:
        return leads.canonical(name)
    except ValueError:
        raise Defect("unknown_lead", f"Unknown lead {name!r}.") from None


def check(
    recording: Recording, record_id: str, amplitude: Amplitude = "mv"
) -> tuple[np.ndarray, list[Finding]]:
    """Checks all leads of a recording.

    Args:
        recording: a recording as `arrange` returns it.
        record_id: the recording's id in findings.
        amplitude: as in `record.Layout`.

    Returns:
        A mask, bool [L], of the usable leads, and the findings of all leads. If no lead is usable,
        the last finding states that the recording is quarantined.
    """
    missing = recording.signal == MISSING_ADC
    implausible, clipped = _extreme(recording, missing, amplitude)
    limit = FLAT_MV * recording.gain_per_mv[:, None]
    intervals = find_flat(
        recording.signal,
        missing,
        recording.sample_rate_hz,
        FLAT_ADC_UNITS if amplitude == "arbitrary" else limit,
    )
    bad = missing | clipped | implausible
    flat = np.repeat(intervals.is_flat, intervals.num_samples, axis=1)
    bad[:, : flat.shape[1]] |= flat
    usable = is_usable(bad.mean(axis=1), intervals.fraction)
    masks = {
        "nan_run": (missing, "has no value"),
        "clipped": (clipped, "is clipped at the limit of the ADC"),
        "implausible_amplitude": (implausible, f"exceeds {MAX_ECG_MV:g} mV"),
    }
    findings = []
    for number, name in enumerate(recording.lead_names):
        if name in recording.absent_leads:
            detail = f"The recording has no lead {name}; the lead is stored as missing."
            findings.append(Finding(record_id, "missing_lead", name, detail, "lead_unusable"))
            continue
        action: Action = "kept" if usable[number] else "lead_unusable"
        for problem, (mask, words) in masks.items():
            if mask[number].any():
                detail = f"{_percent(mask[number].mean())} of lead {name} {words}."
                findings.append(Finding(record_id, problem, name, detail, action))
        findings += _flat_findings(record_id, name, intervals.fraction[number], action, amplitude)
        if name in recording.bad_checksums:
            detail = f"The samples of lead {name} contradict the checksum in the header."
            findings.append(Finding(record_id, "checksum_mismatch", name, detail, "kept"))
    if not usable.any():
        detail = "No lead is usable."
        findings.append(Finding(record_id, "no_usable_lead", None, detail, "quarantined"))
    return usable, findings


def _extreme(
    recording: Recording, missing: np.ndarray, amplitude: Amplitude
) -> tuple[np.ndarray, np.ndarray]:
    """Returns masks, bool [L, T] each, of implausible and of clipped samples.

    Implausible samples exceed `MAX_ECG_MV`; clipped samples are at the limit of the ADC.
    """
    signal, zero = recording.signal, recording.baseline
    clipped = (signal == RAIL_ADC) | (signal == -RAIL_ADC)
    if amplitude == "arbitrary":
        return np.zeros_like(missing), clipped
    if amplitude == "mv_with_offset":
        known = np.ma.array(signal, mask=missing)
        zero = np.ma.median(known, axis=1).filled(0).astype(np.int64)
    # The limits are in ADC units: comparing int16 takes a tenth of the time of converting to mV.
    limit = MAX_ECG_MV * recording.gain_per_mv
    high = np.clip(zero + limit, -RAIL_ADC, RAIL_ADC).astype(np.int16)
    low = np.clip(zero - limit, -RAIL_ADC, RAIL_ADC).astype(np.int16)
    implausible = ((signal > high[:, None]) | (signal < low[:, None])) & ~missing
    return implausible & ~clipped, clipped


def _flat_words(amplitude: Amplitude) -> str:
    return f"{FLAT_ADC_UNITS} ADC units" if amplitude == "arbitrary" else f"{FLAT_MV:g} mV"


def _flat_findings(
    record_id: str, name: str, fraction: float, action: Action, amplitude: Amplitude
) -> Iterator[Finding]:
    if fraction >= FLAT_LEAD_FRACTION:
        detail = f"Lead {name} stays within {_flat_words(amplitude)}: no signal was recorded."
        yield Finding(record_id, "flat_lead", name, detail, action)
    elif fraction > 0:
        detail = f"{_percent(fraction)} of lead {name} stays within {_flat_words(amplitude)}."
        yield Finding(record_id, "flat_run", name, detail, action)


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.2g} %" if fraction < 0.995 else f"{100 * fraction:.4g} %"
