"""Reads ECG waveforms of DICOM files with pydicom; every multiplex group is a recording.

Format: DICOM PS3.3, C.10.9 (Waveform Module), and PS3.16, CID 3001 (ECG leads). Only the waveforms,
age, sex and time are read, and pydicom's messages are not shown, because they may quote the file.
"""

import dataclasses
import functools
import io
import math
import os
import struct
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from clef_jax import leads
from clef_jax.finding import Defect
from clef_jax.formats import _array, _dicom_patient, _recording
from clef_jax.formats._recording import Format, Hints, Note, Opened, Patient
from clef_jax.signal import unit as unit_lib

_MAGIC_AT, _MAGIC = 128, b"DICM"
_FIRST_ELEMENTS = (b"\x02\x00\x00\x00", b"\x08\x00")
"""Beginnings of files without the prefix: the group of the metadata, or the first of the data."""
_DEFLATED = b"1.2.840.10008.1.2.1.99"
_GROUP_LENGTH = b"\x02\x00\x00\x00UL\x04\x00"
_MAX_FILE_BYTES = 1 << 30
_MAX_HEAD_BYTES = 1 << 12
"""Number of bytes that hold the prefix and the metadata."""
_PADDING_DISTANCE = 0.1
"""Smallest distance of a padding value from the samples, as a fraction of their range."""
_LINEAR = {8: ("SB", "UB"), 16: ("SS", "US"), 32: ("SL", "UL")}
"""Sample interpretations by number of bits, except those of sound."""
_CODED = {
    **dict(enumerate(("I", "II", *(f"V{n}" for n in range(1, 7))), start=1)),
    **dict(enumerate(("X", "Y", "Z"), start=16)),
    **dict(enumerate(("III", "aVR", "aVL", "aVF"), start=61)),
}
"""Leads by the last number of their codes, which SCP-ECG (`5.6.3-9-61`) and MDC (`2:61`) share."""
_ERRORS = (ValueError, KeyError, AttributeError, TypeError, IndexError, EOFError, OverflowError)
_ERRORS += (NotImplementedError, RecursionError, struct.error, zlib.error)
"""Exceptions that pydicom raises for malformed files, besides its own."""


class _Reader(io.BufferedReader):
    """Reads a file, and allocates no more than it holds, whatever lengths its elements state."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or size < 0:
            return super().read()
        left = os.fstat(self.fileno()).st_size - self.tell()
        return super().read(min(size, max(left, 0)))


def looks_like(path: Path) -> bool:
    """Returns whether a file has a DICOM suffix, or begins like a DICOM file."""
    if path.suffix.lower() in (".dcm", ".dicom"):
        return True
    with path.open("rb") as stream:
        head = stream.read(_MAGIC_AT + len(_MAGIC))
    return head[_MAGIC_AT:] == _MAGIC or head.startswith(_GROUP_LENGTH)


def open_dicom(path: Path, hints: Hints) -> Iterator[Opened]:
    """Yields a recording for each multiplex group that is an ECG; notes report the other groups.

    Raises:
        Defect: the file is not DICOM or malformed, or no group is an ECG.
        UserError: pydicom is not installed.
    """
    pydicom = _recording.optional("pydicom", "Reading DICOM")
    errors = (*_ERRORS, pydicom.errors.BytesLengthException)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # warnings quote the file
        groups, order, patient = _groups(path, pydicom, errors)
        opened, refused = _open_groups(groups, order, patient, hints, errors)
    if not opened:
        raise refused[0]
    notes = tuple(Note(defect.problem, defect.detail) for defect in refused)
    for recording in opened:
        yield dataclasses.replace(recording, notes=(*recording.notes, *notes))


def _open_groups(
    groups: list[Any],
    order: str,
    patient: Patient,
    hints: Hints,
    errors: tuple[type[Exception], ...],
) -> tuple[list[Opened], list[Defect]]:
    """Returns the groups that are ECGs, and the defects of the others."""
    opened, refused = [], []
    for number, group in enumerate(groups):
        try:
            if group.get("WaveformOriginality") == "DERIVED":
                detail = (
                    f"Waveform {number} is derived, for example averaged beats; it was skipped."
                )
                raise Defect("derived_series", detail)
            part = str(number) if len(groups) > 1 else ""
            recording = _open_group(group, order, part, hints)
            at_group = _dicom_patient.at_group(patient, group, errors)
            opened.append(dataclasses.replace(recording, patient=at_group))
        except Defect as defect:
            refused.append(defect)
        except errors as error:
            detail = f"Waveform {number} is malformed ({type(error).__name__})."
            refused.append(Defect("unreadable", detail))
    return opened, refused


def _groups(
    path: Path, pydicom: Any, errors: tuple[type[Exception], ...]
) -> tuple[list[Any], str, Patient]:
    """Returns the items of the waveform sequence, the byte order, `<` or `>`, and the patient.

    Raises:
        Defect: the file is too large, not DICOM or malformed, or holds no waveforms.
    """
    if path.stat().st_size > _MAX_FILE_BYTES:
        raise Defect("too_large", f"{path.name} exceeds 1 GiB, the largest size of a DICOM file.")
    try:
        with path.open("rb") as stream:
            head = stream.read(_MAX_HEAD_BYTES)
        is_bare = head[_MAGIC_AT:][:4] != _MAGIC and head.startswith(_FIRST_ELEMENTS)
        if _DEFLATED in head:
            _check_deflated(path, head)
        with _Reader(io.FileIO(path)) as stream:
            tags = ["WaveformSequence", *_dicom_patient.TAGS]
            dataset = pydicom.dcmread(stream, force=is_bare, specific_tags=tags)
        groups = list(dataset.get("WaveformSequence") or ())
    except pydicom.errors.InvalidDicomError:
        raise Defect("unreadable", f"{path.name} is not a DICOM file.") from None
    except errors as error:
        detail = f"{path.name} is malformed or truncated ({type(error).__name__})."
        raise Defect("unreadable", detail) from None
    if not groups:
        raise Defect("no_ecg_lead", f"{path.name} holds no waveforms.")
    order = ">" if dataset.original_encoding[1] is False else "<"
    return groups, order, _dicom_patient.read(dataset, errors)


def _check_deflated(path: Path, head: bytes) -> None:
    """Raises Defect if a compressed data set is malformed or too large when uncompressed."""
    at, total = head.find(_GROUP_LENGTH), 0
    if at < 0:
        raise Defect("unreadable", f"{path.name} does not state the size of its metadata.")
    start = at + len(_GROUP_LENGTH) + 4
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    with path.open("rb") as stream:
        stream.seek(start + int.from_bytes(head[start - 4 : start], "little"))
        while block := inflater.unconsumed_tail or stream.read(_MAX_HEAD_BYTES):
            total += len(inflater.decompress(block, 1 << 20))
            if total > _MAX_FILE_BYTES:
                detail = f"{path.name} exceeds 1 GiB when it is uncompressed."
                raise Defect("too_large", detail)


def _open_group(group: Any, order: str, part: str, hints: Hints) -> Opened:
    raw = _samples(group, order)
    stated = group.get("SamplingFrequency")
    rate = hints.sample_rate_hz if stated is None else float(stated)
    rate = _recording.check_rate(rate, "The waveform")
    rows, notes = [], []
    names, known = [], []
    for row, channel in enumerate(group.ChannelDefinitionSequence):
        name = _lead_name(channel)
        unit = _sensitivity_unit(channel)
        if (unit and unit_lib.millivolts(unit) is None) or leads.is_other_signal(name):
            detail = f"The signal {name} is not an ECG in a unit of voltage and was excluded."
            notes.append(Note("other_signal", detail, name))
            continue
        factor, is_known = _recording.scale(unit, hints)
        missing, doubt = _padding(raw[row], group, channel, order)
        notes += [Note("padding_value", doubt, name or None)] if doubt else []
        rows.append(_in_millivolts(raw[row], missing, channel, factor))
        names.append(name)
        known.append(is_known)
    if not rows:
        detail = "None of the waveform's signals is an ECG in a unit of voltage."
        raise Defect("no_ecg_lead", detail)
    names, name_notes = _recording.lead_names(tuple(names), hints, len(names))
    return Opened(
        part=part,
        lead_names=names,
        sample_rate_hz=rate,
        num_samples=raw.shape[1],
        unit_known=all(known),
        read=functools.partial(_array.read, np.stack(rows), 1.0),
        notes=(*notes, *name_notes, *_recording.unit_notes(all(known))),
    )


def _samples(group: Any, order: str) -> np.ndarray:
    """Returns the stored integers [L, T] of a group.

    Raises:
        Defect: the samples have the encoding of sound, or are fewer than the group states.
    """
    bits, encoding = int(group.WaveformBitsAllocated), str(group.WaveformSampleInterpretation)
    if encoding not in _LINEAR.get(bits, ()):
        detail = f"Samples of {bits} bits with the interpretation {encoding!r} are not an ECG."
        raise Defect("unreadable", detail)
    shape = int(group.NumberOfWaveformSamples), int(group.NumberOfWaveformChannels)
    data = group.WaveformData
    if min(shape) < 1 or shape[1] != len(group.ChannelDefinitionSequence):
        raise Defect("unreadable", f"A waveform of {shape[1]} x {shape[0]} samples is malformed.")
    needed = math.prod(shape) * bits // 8
    if len(data) < needed:
        detail = f"The waveform is truncated: {len(data)} bytes instead of {needed}."
        raise Defect("truncated", detail)
    kind = f"{order}{'i' if encoding.startswith('S') else 'u'}{bits // 8}"
    return np.frombuffer(data, kind, math.prod(shape)).reshape(shape).T


def _lead_name(channel: Any) -> str:
    """Returns a channel's name from its code meaning, code or label; empty if it has none."""
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
    codes = (str(unit.get(key, "")) for unit in units for key in ("CodeValue", "CodeMeaning"))
    return next(filter(None, codes), "")


def _padding(
    raw: np.ndarray, group: Any, channel: Any, order: str
) -> tuple[np.ndarray | None, str]:
    """Returns a mask, bool [T], of the samples that are padding, and a sentence if they may not be.

    Some writers state 0 by habit. A value among those of the signal is therefore no padding, unless
    it is the smallest or largest that the samples can have.
    """
    padding = group.get("WaveformPaddingValue")
    if isinstance(padding, bytes) and len(padding) >= raw.dtype.itemsize:
        width, is_signed = raw.dtype.itemsize, raw.dtype.kind == "i"
        byte_order = "big" if order == ">" else "little"
        padding = int.from_bytes(padding[:width], byte_order, signed=is_signed)
    if not isinstance(padding, int) or not (mask := raw == padding).any():
        return None, ""
    limits = [int(np.iinfo(raw.dtype).min), int(np.iinfo(raw.dtype).max)]
    if bits := int(channel.get("WaveformBitsStored") or 0):
        limits += [-1 << (bits - 1), (1 << (bits - 1)) - 1, (1 << bits) - 1]
    others = raw[~mask].astype(np.int64)
    if (padding in limits and padding != 0) or not len(others):
        return mask, ""
    distance, spread = np.abs(others - padding).min(), others.max() - others.min()
    if distance > _PADDING_DISTANCE * spread:
        return mask, ""
    return None, f"The padding value {padding} is also a value of the signal; it was kept."


def _in_millivolts(
    raw: np.ndarray, missing: np.ndarray | None, channel: Any, factor: float
) -> np.ndarray:
    """Returns a channel in millivolts, float32 [T].

    The samples are (stored integer x sensitivity x correction + baseline) in the channel's unit.
    """
    step = float(channel.get("ChannelSensitivity") or 1)
    step *= float(channel.get("ChannelSensitivityCorrectionFactor") or 1)
    values = (raw * step + float(channel.get("ChannelBaseline") or 0)) * factor
    if missing is not None:
        values[missing] = np.nan
    return _recording.as_float32(values)


FORMAT = Format(
    name="DICOM",
    suffixes=(".dcm", ".dicom", ""),
    extra="formats",
    looks_like=looks_like,
    open=open_dicom,
)
