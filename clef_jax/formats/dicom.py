"""ECG waveforms in DICOM, through pydicom: every multiplex group is a recording.

Format: DICOM PS3.3, C.10.9 (Waveform Module), and PS3.16, CID 3001 (ECG leads). Nothing but the
waveforms is looked at, and what pydicom says of a file is not passed on: it may quote the patient.
"""

import dataclasses
import functools
import math
import struct
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from clef_jax import leads
from clef_jax.finding import Defect
from clef_jax.formats import _array, _recording
from clef_jax.formats._recording import Format, Hints, Note, Opened
from clef_jax.signal import unit as unit_lib

_MAGIC_AT, _MAGIC = 128, b"DICM"
_MAX_FILE_BYTES = 1 << 30
_LINEAR = {8: ("SB", "UB"), 16: ("SS", "US"), 32: ("SL", "UL")}
"""Ways of storing samples that are no sound."""
_CODED = {
    **dict(enumerate(("I", "II", *(f"V{n}" for n in range(1, 7))), start=1)),
    **dict(enumerate(("X", "Y", "Z"), start=16)),
    **dict(enumerate(("III", "aVR", "aVL", "aVF"), start=61)),
}
"""Leads by the last number of their codes, which SCP-ECG (`5.6.3-9-61`) and MDC (`2:61`) share."""
_ERRORS = (ValueError, KeyError, AttributeError, TypeError, IndexError, EOFError, OverflowError)
_ERRORS += (NotImplementedError, struct.error)
"""What pydicom throws at malformed files, together with an error of its own."""


def looks_like(path: Path) -> bool:
    """Whether a file is named as DICOM or begins as such."""
    if path.suffix.lower() in (".dcm", ".dicom"):
        return True
    with path.open("rb") as stream:
        stream.seek(_MAGIC_AT)
        return stream.read(4) == _MAGIC


def open_dicom(path: Path, hints: Hints) -> Iterator[Opened]:
    """The multiplex groups of a file; a group that is no ECG is left out if another one is.

    Raises:
        Defect: it is no DICOM file or malformed, or holds no ECG.
        UserError: pydicom is not installed.
    """
    pydicom = _recording.optional("pydicom", "Reading DICOM")
    errors = (*_ERRORS, pydicom.errors.BytesLengthException)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they quote what stands in the file
        opened, refused = _open_groups(_groups(path, pydicom, errors), hints, errors)
    if not opened:
        raise refused[0]
    notes = tuple(Note(defect.problem, defect.detail) for defect in refused)
    for recording in opened:
        yield dataclasses.replace(recording, notes=(*recording.notes, *notes))


def _open_groups(
    groups: list[Any], hints: Hints, errors: tuple[type[Exception], ...]
) -> tuple[list[Opened], list[Defect]]:
    """The groups that are ECGs, and why others are not."""
    opened, refused = [], []
    for number, group in enumerate(groups):
        try:
            if group.get("WaveformOriginality") == "DERIVED":
                detail = f"Waveform {number} is derived, as averaged beats are, and was left out."
                raise Defect("derived_series", detail)
            opened.append(_open_group(group, str(number) if len(groups) > 1 else "", hints))
        except Defect as defect:
            refused.append(defect)
        except errors as error:
            detail = f"Waveform {number} is malformed ({type(error).__name__})."
            refused.append(Defect("unreadable", detail))
    return opened, refused


def _groups(path: Path, pydicom: Any, errors: tuple[type[Exception], ...]) -> list[Any]:
    """The items of the waveform sequence."""
    if path.stat().st_size > _MAX_FILE_BYTES:
        raise Defect("too_large", f"{path.name} has more than 1 GiB, which is no ECG.")
    try:
        dataset = pydicom.dcmread(path, specific_tags=["WaveformSequence"])
        groups = list(dataset.get("WaveformSequence") or ())
    except pydicom.errors.InvalidDicomError:
        raise Defect("unreadable", f"{path.name} does not begin as DICOM files do.") from None
    except errors as error:
        detail = f"{path.name} is malformed or truncated ({type(error).__name__})."
        raise Defect("unreadable", detail) from None
    if not groups:
        raise Defect("no_ecg_lead", f"{path.name} holds no waveforms.")
    return groups


def _open_group(group: Any, part: str, hints: Hints) -> Opened:
    rate = _recording.check_rate(float(group.SamplingFrequency), "The waveform")
    raw = _samples(group)
    rows, notes = [], []
    names, known = [], []
    for row, channel in enumerate(group.ChannelDefinitionSequence):
        name = _lead_name(channel)
        unit = _sensitivity_unit(channel)
        if (unit and unit_lib.millivolts(unit) is None) or leads.is_other_signal(name):
            detail = f"The signal {name} is no ECG in volts and was left out."
            notes.append(Note("other_signal", detail, name))
            continue
        factor, is_known = _recording.scale(unit, hints)
        rows.append(_in_millivolts(raw[row], group, channel, factor))
        names.append(name)
        known.append(is_known)
    if not rows:
        raise Defect("no_ecg_lead", "None of the waveform's signals is an ECG in volts.")
    usual, more = _recording.names_of(tuple(names), hints, len(names))
    return Opened(
        part=part,
        lead_names=usual,
        sample_rate_hz=rate,
        num_samples=raw.shape[1],
        unit_known=all(known),
        read=functools.partial(_array.read, np.stack(rows), 1.0),
        notes=(*notes, *more, *_recording.unit_notes(all(known))),
    )


def _samples(group: Any) -> np.ndarray:
    """Stored integers [L, T] of a group.

    Raises:
        Defect: they are sound, or fewer than the group says.
    """
    bits, form = int(group.WaveformBitsAllocated), str(group.WaveformSampleInterpretation)
    if form not in _LINEAR.get(bits, ()):
        raise Defect("unreadable", f"Samples of {bits} bits in the form {form!r} are no ECG.")
    shape = int(group.NumberOfWaveformSamples), int(group.NumberOfWaveformChannels)
    data = group.WaveformData
    if min(shape) < 1 or shape[1] != len(group.ChannelDefinitionSequence):
        raise Defect("unreadable", f"A waveform of {shape[1]} x {shape[0]} samples is malformed.")
    needed = math.prod(shape) * bits // 8
    if len(data) < needed:
        detail = f"The waveform is truncated: {len(data)} bytes instead of {needed}."
        raise Defect("truncated", detail)
    kind = f"<{'i' if form.startswith('S') else 'u'}{bits // 8}"
    return np.frombuffer(data, kind, math.prod(shape)).reshape(shape).T


def _lead_name(channel: Any) -> str:
    """By its meaning, else by its code, else by its label; empty if it has none."""
    sources = channel.get("ChannelSourceSequence") or ()
    texts = [str(source.get("CodeMeaning", "")) for source in sources]
    for text in texts:
        if leads.is_standard(text):
            return text
    for source in sources:
        code = str(source.get("CodeValue", "")).replace(":", "-").rpartition("-")[2]
        if code.isdecimal() and int(code) in _CODED:
            return _CODED[int(code)]
    return next(filter(None, [*texts, str(channel.get("ChannelLabel", ""))]), "")


def _sensitivity_unit(channel: Any) -> str:
    units = channel.get("ChannelSensitivityUnitsSequence") or ()
    return next((str(unit.get("CodeValue", "")) for unit in units), "")


def _in_millivolts(raw: np.ndarray, group: Any, channel: Any, factor: float) -> np.ndarray:
    """float32 [T]: (sample x sensitivity x correction + baseline) in the channel's unit."""
    step = float(channel.get("ChannelSensitivity") or 1)
    step *= float(channel.get("ChannelSensitivityCorrectionFactor") or 1)
    values = (raw * step + float(channel.get("ChannelBaseline") or 0)) * factor
    padding = group.get("WaveformPaddingValue")
    if isinstance(padding, bytes):
        padding = int.from_bytes(padding, "little", signed=raw.dtype.kind == "i")
    if padding is not None:
        values[raw == padding] = np.nan
    return _recording.as_float32(values)


FORMAT = Format(
    name="DICOM",
    suffixes=(".dcm", ".dicom", ""),
    extra="formats",
    looks_like=looks_like,
    open=open_dicom,
)
