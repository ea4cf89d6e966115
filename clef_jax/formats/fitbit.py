"""Reads ECGs of Fitbit and Google watches as their web interfaces export them, in JSON.

Format: the log of ECGs of the Fitbit Web API, and its successor in the Google Health API. Every
reading is a recording of lead I, whose samples divided by the scaling factor are millivolts.
"""

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from clef_jax.finding import Defect
from clef_jax.formats import _array, _failures, _json, _patient, _recording
from clef_jax.formats._recording import Format, Hints, Opened, Patient

_MAX_DEPTH = 6
_RATES = ("samplingFrequencyHz", "samplingFrequencyHertz")
_GAINS = ("scalingFactor", "millivoltsScalingFactor")


def looks_like(path: Path) -> bool:
    """Returns whether a JSON file has samples of such readings."""
    return _json.mentions(path, b'"waveformSamples"', b"amplingFrequencyH")


def open_fitbit(path: Path, hints: Hints) -> Iterator[Opened]:
    """Yields the recording of each reading.

    Raises:
        Defect: the file is malformed or holds no reading, or some readings cannot be read.
    """
    readings = list(_readings(_json.parse_file(path), 0))
    failures, num_read = _failures.Failures(path.name), 0
    for number, reading in enumerate(readings):
        with failures.catch(f"reading {number}"):
            opened = _open(reading, str(number) if len(readings) > 1 else "", hints, path.name)
            num_read += 1
            yield opened
    failures.report(num_read)
    if not num_read:
        raise Defect("no_ecg_lead", f"{path.name} holds no reading with samples.")


def _readings(value: Any, depth: int) -> Iterator[dict[str, Any]]:
    """Yields the objects with samples, wherever they are."""
    if isinstance(value, dict) and "waveformSamples" in value:
        yield value
    elif isinstance(value, dict | list) and depth < _MAX_DEPTH:
        for item in value.values() if isinstance(value, dict) else value:
            yield from _readings(item, depth + 1)


def _open(reading: dict[str, Any], part: str, hints: Hints, where: str) -> Opened:
    rate, gain = (_first(reading, keys) for keys in (_RATES, _GAINS))
    rate = _recording.check_rate(rate or hints.sample_rate_hz, where)
    if gain is not None and gain <= 0:
        raise Defect("wrong_units", f"{where} states an invalid scaling factor.")
    samples = _json.array(reading["waveformSamples"], where)
    factor, known = (1 / gain, True) if gain else _recording.scale("", hints)
    names, notes = _recording.lead_names(("I",), hints, 1)
    interval = reading.get("interval")
    text = _json.text(reading, "startTime") or _json.text(interval, "startTime")
    return Opened(
        part=part,
        lead_names=names,
        sample_rate_hz=rate,
        num_samples=len(samples),
        unit_known=known,
        read=functools.partial(_array.read, samples[None] * factor, 1.0),
        notes=(*notes, *_recording.unit_notes(known)),
        patient=Patient(recorded_at=_patient.iso_time(text)),
    )


def _first(reading: dict[str, Any], keys: tuple[str, ...]) -> float | None:
    """Returns the number of the first key that has one."""
    numbers = (_recording.parse_number(_json.text(reading, key)) for key in keys)
    return next((number for number in numbers if number is not None), None)


FORMAT = Format(name="Fitbit", suffixes=(".json",), looks_like=looks_like, open=open_fitbit)
