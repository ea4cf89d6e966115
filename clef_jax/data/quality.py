"""What makes a recording, or a lead of it, unfit, and how it is reported.

Shapes: L leads, T time, W windows.
"""

import collections
import dataclasses
from collections.abc import Iterator

import numpy as np

from clef_jax import leads
from clef_jax.data.record import Amplitude, Layout, Recording
from clef_jax.finding import Action, Defect, Finding
from clef_jax.signal.adc import MISSING_ADC

MAX_BAD_FRACTION = 0.2
"""A lead is unusable beyond this share of bad samples: the longest gap that training's own
zero-masking and gap filling leaves a beat of ordinary rate on both sides of is about 2 of 10 s."""
FLAT_MV = 0.03
"""A beat in any lead is several times taller, and a connected electrode's noise not much lower."""
FLAT_STEPS = 2
"""The same in steps of the converter, where nothing is known of millivolts."""
FLAT_WINDOW_SECONDS = 2.0
"""Holds a beat down to a rate of 30 per minute."""
FLAT_LEAD_FRACTION = 0.9
"""From this share of flat windows on the lead is called flat, below it has a flat run."""
MAX_ECG_MV = 10.0
"""No heart gives more at the skin; electrodes being touched do."""
SHORTEST_SECONDS = FLAT_WINDOW_SECONDS
"""A recording that is shorter may hold no beat at all."""
RAIL_ADC = 32767
"""The largest sample; the smallest is `MISSING_ADC`, so a clipped low sample is one above it."""


def arrange(recording: Recording, layout: Layout) -> Recording:
    """The recording with the layout's leads in the layout's order, found by name.

    Raises:
        Defect: another rate or length, or a lead that is unknown, missing or there twice.
    """
    rate, num_samples = recording.sample_rate_hz, recording.signal.shape[1]
    if not rate > 0 or layout.sample_rate_hz not in (None, rate):
        fixed = layout.sample_rate_hz
        wanted = "" if fixed is None else f" instead of {fixed:g} Hz"
        raise Defect("wrong_rate", f"Sampled at {rate:g} Hz{wanted}.")
    if layout.num_samples not in (None, num_samples):
        detail = f"{num_samples} samples instead of {layout.num_samples}."
        raise Defect("wrong_length", detail)
    if num_samples < SHORTEST_SECONDS * rate:
        detail = f"{num_samples} samples at {rate:g} Hz are less than {SHORTEST_SECONDS:g} s."
        raise Defect("too_short", detail)
    names = [_canonical(name) for name in recording.lead_names]
    for name, count in collections.Counter(names).items():
        if count > 1:
            raise Defect("duplicate_lead", f"Lead {name} is there {count} times.", name)
    absent = tuple(name for name in layout.leads if name not in names)
    missing = [name for name in absent if name not in layout.optional_leads]
    if missing:
        lead = missing[0] if len(missing) == 1 else None
        raise Defect("missing_lead", f"It has no lead {', '.join(missing)}.", lead)
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
        raise Defect("unknown_lead", f"No lead is called {name!r}.") from None


def check(
    recording: Recording, record_id: str, amplitude: Amplitude = "mv"
) -> tuple[np.ndarray, list[Finding]]:
    """Looks at every lead: bool [L], the usable ones, and what was found.

    The recording is to be quarantined if no lead is usable; then a finding says so.

    Args:
        amplitude: as in `record.Layout`.
    """
    missing = recording.signal == MISSING_ADC
    beyond_mv, clipped = _extreme(recording, missing, amplitude)
    flat, flat_fraction = _flat(recording, missing, amplitude)
    bad_fraction = (missing | clipped | beyond_mv | flat).mean(axis=1)
    usable = (bad_fraction <= MAX_BAD_FRACTION) & (flat_fraction < FLAT_LEAD_FRACTION)
    shares = {
        "nan_run": (missing, "has no value"),
        "clipped": (clipped, "is clipped at the converter's rail"),
        "implausible_amplitude": (beyond_mv, f"is beyond {MAX_ECG_MV:g} mV"),
    }
    findings = []
    for number, name in enumerate(recording.lead_names):
        if name in recording.absent_leads:
            detail = f"It has no lead {name}; the lead is stored as missing."
            findings.append(Finding(record_id, "missing_lead", name, detail, "lead_unusable"))
            continue
        action: Action = "kept" if usable[number] else "lead_unusable"
        for problem, (mask, words) in shares.items():
            if mask[number].any():
                share = _percent(mask[number].mean())
                detail = f"{share} of lead {name} {words}."
                findings.append(Finding(record_id, problem, name, detail, action))
        findings += _flat_findings(record_id, name, flat_fraction[number], action, amplitude)
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
    """bool [L, T]: samples beyond any ECG's amplitude, and samples at the converter's rail."""
    signal, zero = recording.signal, recording.baseline
    clipped = (signal == RAIL_ADC) | (signal == -RAIL_ADC)
    if amplitude == "arbitrary":
        return np.zeros_like(missing), clipped
    if amplitude == "mv_with_offset":
        known = np.ma.array(signal, mask=missing)
        zero = np.ma.median(known, axis=1).filled(0).astype(np.int64)
    # In the signal's own units: comparing int16 is ten times faster than converting to millivolts.
    reach = MAX_ECG_MV * recording.gain_per_mv
    high = np.clip(zero + reach, -RAIL_ADC, RAIL_ADC).astype(np.int16)
    low = np.clip(zero - reach, -RAIL_ADC, RAIL_ADC).astype(np.int16)
    beyond = ((signal > high[:, None]) | (signal < low[:, None])) & ~missing
    return beyond & ~clipped, clipped


def _flat(
    recording: Recording, missing: np.ndarray, amplitude: Amplitude
) -> tuple[np.ndarray, np.ndarray]:
    """bool [L, T]: samples in windows without any signal; and the share of such windows, [L]."""
    num_leads, num_samples = recording.signal.shape
    width = min(num_samples, round(FLAT_WINDOW_SECONDS * recording.sample_rate_hz))
    count = num_samples // width
    shape = (num_leads, count, width)
    windows = recording.signal[:, : count * width].reshape(shape)
    gaps = missing[:, : count * width].reshape(shape)
    if missing.any():
        lowest = np.where(gaps, RAIL_ADC, windows).min(axis=2).astype(np.int32)
    else:
        lowest = windows.min(axis=2).astype(np.int32)
    height = windows.max(axis=2) - lowest  # a gap is the smallest value and never the maximum
    # A few samples between gaps are alike without being flat.
    told = gaps.mean(axis=2) <= 0.5
    limit = FLAT_STEPS if amplitude == "arbitrary" else FLAT_MV * recording.gain_per_mv[:, None]
    flat = told & (height <= limit)  # [L, W]
    samples = np.zeros(recording.signal.shape, bool)
    samples[:, : count * width] = np.repeat(flat, width, axis=1)
    return samples, flat.sum(axis=1) / np.maximum(told.sum(axis=1), 1)


def _flat_words(amplitude: Amplitude) -> str:
    return f"{FLAT_STEPS} converter steps" if amplitude == "arbitrary" else f"{FLAT_MV:g} mV"


def _flat_findings(
    record_id: str, name: str, fraction: float, action: Action, amplitude: Amplitude
) -> Iterator[Finding]:
    if fraction >= FLAT_LEAD_FRACTION:
        detail = f"Lead {name} stays within {_flat_words(amplitude)}: it recorded nothing."
        yield Finding(record_id, "flat_lead", name, detail, action)
    elif fraction > 0:
        detail = f"{_percent(fraction)} of lead {name} stays within {_flat_words(amplitude)}."
        yield Finding(record_id, "flat_run", name, detail, action)


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.2g} %" if fraction < 0.995 else f"{100 * fraction:.4g} %"
