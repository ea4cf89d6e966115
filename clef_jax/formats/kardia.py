"""Reads ECGs of AliveCor's KardiaMobile as the interface of Kardia exports them, in JSON.

Format: "Single ECG" of the Kardia API: counts of some nanovolts, with one lead or the six limb
leads, raw and as the application filters them. The raw ones are read.
"""

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from clef_jax.finding import Defect
from clef_jax.formats import _array, _json, _patient, _recording
from clef_jax.formats._recording import Format, Hints, Opened, Patient

_KINDS = ("raw", "enhanced")


def looks_like(path: Path) -> bool:
    """Returns whether a JSON file has samples as the interface of Kardia exports them."""
    if _json.mentions(path, b'"samples"', b'"frequency"', b'"amplitudeResolution"'):
        return True
    return _json.mentions(path, b'"algorithmDetermination"', b'"recordedAt"')


def open_kardia(path: Path, hints: Hints) -> Iterator[Opened]:
    """Yields the recordings of a file, which has one or a list of them.

    Raises:
        Defect: the file is malformed, or has no samples that can be read.
    """
    document = _json.parse_file(path)
    listed = document if isinstance(document, list) else [document]
    for number, item in enumerate(listed):
        yield _open(item, str(number) if len(listed) > 1 else "", hints, path.name)


def _open(item: Any, part: str, hints: Hints, where: str) -> Opened:
    """Returns the recording of an item.

    Raises:
        Defect: it has no samples of a KardiaMobile, or a number is malformed.
    """
    data = item.get("data", item) if isinstance(item, dict) else {}
    blocks = {kind: data.get(kind) for kind in _KINDS} if isinstance(data, dict) else {}
    if isinstance(data, dict) and "samples" in data:
        blocks["raw"] = data
    kinds = [kind for kind in _KINDS if isinstance(blocks.get(kind), dict)]
    block = (blocks[kinds[0]] if kinds else None) or {}
    samples = block.get("samples")
    if not isinstance(samples, dict) or not samples:
        detail = f"{where} has no samples of a KardiaMobile; exports of 12 leads are not read."
        raise Defect("no_ecg_lead", detail)
    stated = _recording.parse_number(_json.text(block, "frequency"))
    rate = _recording.check_rate(stated or hints.sample_rate_hz, where)
    rows = [_json.array(values, where) for values in samples.values()]
    lengths = sorted({len(row) for row in rows})
    if len(lengths) > 1:
        detail = f"{where} has leads of {lengths[0]} and of {lengths[-1]} samples."
        raise Defect("wrong_length", detail)
    nanovolts = _recording.parse_number(_json.text(block, "amplitudeResolution"))
    if nanovolts is not None and nanovolts <= 0:
        raise Defect("wrong_units", f"{where} states an invalid resolution of its samples.")
    gain = 1e6 / nanovolts if nanovolts else None
    factor, known = _recording.scale("", hints, gain)
    if gain:
        factor, known = 1 / gain, True
    names, notes = _recording.lead_names(tuple(samples), hints, len(rows))
    filters = "AliveCor's enhancing filter" if kinds[0] == "enhanced" else ""
    return Opened(
        part=part,
        lead_names=names,
        sample_rate_hz=rate,
        num_samples=lengths[0],
        unit_known=known,
        read=functools.partial(_array.read, np.stack(rows) * factor, 1.0),
        notes=(
            *_recording.loss_notes(filters=filters, rate_hz=rate),
            *notes,
            *_recording.unit_notes(known),
        ),
        patient=Patient(recorded_at=_patient.iso_time(_json.text(item, "recordedAt"))),
    )


FORMAT = Format(
    name="AliveCor Kardia", suffixes=(".json",), looks_like=looks_like, open=open_kardia
)
