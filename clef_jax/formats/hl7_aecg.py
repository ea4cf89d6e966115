"""HL7 annotated ECG (aECG) files: every sequence set of a measured series is a recording.

Format: HL7 v3, Annotated ECG R1 (2004), the form in which drug trials file ECGs. A beat that was
averaged from others (a derived series) is no recording.
"""

import functools
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from clef_jax.finding import Defect
from clef_jax.formats import _array, _recording
from clef_jax.formats._recording import Format, Hints, Note, Opened
from clef_jax.signal import unit as unit_lib

_MAX_FILE_BYTES = 256 << 20
"""A day of 12 leads has less; the whole file is in memory."""
_HEAD_BYTES = 4096
_LEAD = "MDC_ECG_LEAD_"


class _NoTypes(ElementTree.TreeBuilder):
    """Builds the tree, and stops where a document declares its own types: no ECG does, and they
    may unpack to any size or name other files.
    """

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise Defect("unreadable", "It declares types or entities, which no ECG needs.")


def looks_like(path: Path) -> bool:
    """Whether an XML file is an annotated ECG."""
    with path.open("rb") as stream:
        head = stream.read(_HEAD_BYTES)
    return b"AnnotatedECG" in head.replace(b"\0", b"")  # also in UTF-16


def open_aecg(path: Path, hints: Hints) -> Iterator[Opened]:
    """The sequence sets of a file, rhythm strips and whatever else was measured.

    Raises:
        Defect: it is malformed or truncated, declares types of its own, or holds no ECG.
    """
    if path.stat().st_size > _MAX_FILE_BYTES:
        raise Defect("too_large", f"{path.name} has more than 256 MiB.")
    try:
        root = ElementTree.parse(path, ElementTree.XMLParser(target=_NoTypes())).getroot()
    except (ElementTree.ParseError, LookupError, ValueError) as error:  # the last of encodings
        position = getattr(error, "position", None)
        where = f" in line {position[0]}" if position else ""
        detail = f"{path.name} is malformed or truncated{where}."
        raise Defect("unreadable", detail) from None
    sets = root.findall("{*}component/{*}series/{*}component/{*}sequenceSet")
    if not sets:
        raise Defect("no_ecg_lead", f"{path.name} holds no measured series.")
    derived = len(root.findall(".//{*}derivedSeries"))
    detail = f"{derived} series of averaged beats were left out."
    notes = (Note("derived_series", detail),) if derived else ()
    for number, sequences in enumerate(sets):
        part = str(number) if len(sets) > 1 else ""
        yield _open_set(sequences, part, notes, hints, path.name)


def _open_set(
    sequences: ElementTree.Element, part: str, notes: tuple[Note, ...], hints: Hints, where: str
) -> Opened:
    rate, names, rows, known = None, [], [], []
    for sequence in sequences.findall("{*}component/{*}sequence"):
        code = _attribute(sequence, "{*}code", "code")
        value = sequence.find("{*}value")
        if value is None:
            continue
        if code.startswith("TIME_"):
            rate = _rate(value, where)
        elif code.startswith(_LEAD):
            row, is_known = _samples(value, hints, where)
            # `AVR` and the like stand in the names as words of their own: aVR is AVR there.
            names.append(code.removeprefix(_LEAD).replace("_", " "))
            rows.append(row)
            known.append(is_known)
    rate = _recording.check_rate(rate or hints.sample_rate_hz, where)
    if not rows:
        raise Defect("no_ecg_lead", f"{where} has a series without ECG leads.")
    lengths = sorted({len(row) for row in rows})
    if len(lengths) > 1:
        detail = f"{where} has leads of {lengths[0]} and of {lengths[-1]} samples in one series."
        raise Defect("wrong_length", detail)
    usual, more = _recording.names_of(tuple(names), hints, len(names))
    return Opened(
        part=part,
        lead_names=usual,
        sample_rate_hz=rate,
        num_samples=lengths[0],
        unit_known=all(known),
        read=functools.partial(_array.read, np.stack(rows), 1.0),
        notes=(*notes, *more, *_recording.unit_notes(all(known))),
    )


def _attribute(parent: ElementTree.Element, path: str, name: str) -> str:
    found = parent.find(path)
    return "" if found is None else found.get(name, "")


def _rate(value: ElementTree.Element, where: str) -> float:
    """Samples per second, of the increment from one to the next."""
    increment, unit = (_attribute(value, "{*}increment", name) for name in ("value", "unit"))
    factor = unit_lib.seconds(unit or "s")
    step = _number(increment, where) * (factor or 0)
    if not step > 0:
        raise Defect("wrong_rate", f"{where} has samples {increment!r} {unit!r} apart.")
    # An increment of 0.002 s times a factor is 500 Hz but for the last digits.
    return round(1 / step, 6)


def _samples(value: ElementTree.Element, hints: Hints, where: str) -> tuple[np.ndarray, bool]:
    """float32 [T] millivolts, and whether they are: origin + scale x digits."""
    text = value.findtext("{*}digits") or ""
    try:
        digits = np.array(text.split(), np.float64)
    except ValueError:
        raise Defect("unreadable", f"{where} has digits that are no numbers.") from None
    step = _number(_attribute(value, "{*}scale", "value") or "1", where)
    origin = _number(_attribute(value, "{*}origin", "value") or "0", where)
    unit = _attribute(value, "{*}scale", "unit")
    factor, known = _recording.scale(unit, hints)
    origin_unit = _attribute(value, "{*}origin", "unit") or unit
    shift = origin * (_recording.scale(origin_unit, hints)[0] if origin else 0)
    return _recording.as_float32(shift + digits * (step * factor)), known


def _number(text: str, where: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise Defect("unreadable", f"{where} has {text!r} where a number should be.") from None


FORMAT = Format(name="HL7 aECG", suffixes=(".xml",), looks_like=looks_like, open=open_aecg)
