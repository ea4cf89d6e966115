"""Reads Philips Sierra XML files, version 1.03 and 1.04, as ECG machines and archives export them.

Averaged (representative) beats and vectorcardiograms are not recordings.
"""

import base64
import binascii
import functools
from collections.abc import Iterator
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np

from clef_jax import leads
from clef_jax.errors import counted
from clef_jax.finding import Defect
from clef_jax.formats import _array, _recording, _sierra_settings, _xli, _xml
from clef_jax.formats._recording import Format, Hints, Note, Opened
from clef_jax.formats._sierra_settings import Settings

_VERSIONS = ("1.03", "1.04", "1.04.01", "1.04.02")
_MAX_TEXT = 16 << 20
"""Largest accepted text of values in decimal digits."""
_MAX_SAMPLES = 16 << 20
"""Largest accepted number of values; 20 minutes of 12 leads at 1000 Hz are 14 million."""
_SMOOTHER = 8
"""How much smaller the steps between samples must be in the other order of bytes."""
_CALIBRATION_UV = 1000
_ROUNDING = 2
"""Largest difference from Einthoven's and Goldberger's equations by rounding, in units."""


def looks_like(path: Path) -> bool:
    """Returns whether the root of an XML file is that of Philips."""
    return _xml.root_name(path) == "restingecgdata"


def open_sierra(path: Path, hints: Hints) -> Iterator[Opened]:
    """Yields a recording for each element of waveforms, of which files have usually one.

    Raises:
        Defect: the file is malformed, holds no waveforms or stores them in a way that is not read.
    """
    root = _xml.parse(path)
    notes = _document_notes(root)
    elements = [*root.findall(".//{*}parsedwaveforms"), *root.findall(".//{*}leadwaveforms")]
    elements = [element for element in elements if len(element) or (element.text or "").strip()]
    if not elements:
        if root.find(".//{*}unparsedwaveforms") is not None:
            detail = f"{path.name} holds no waveforms, but refers to another file of them."
            raise Defect("missing_file", detail)
        raise Defect("no_ecg_lead", f"{path.name} holds no waveforms.")
    patient = _sierra_settings.patient(root)
    for number, waves in enumerate(elements):
        settings = _sierra_settings.read(waves, root, path.name)
        names, rows, own_notes = _leads(waves, settings, hints, path.name)
        rate = _recording.check_rate(settings.rate_hz or hints.sample_rate_hz, path.name)
        lead_names, name_notes = _recording.lead_names(names, hints, len(rows))
        step = settings.resolution_uv
        factor, known = _recording.scale("uV" if step else "", hints)
        loss = _sierra_settings.loss_notes(settings, rate)
        yield Opened(
            part=str(number) if len(elements) > 1 else "",
            lead_names=lead_names,
            sample_rate_hz=rate,
            num_samples=rows.shape[1],
            unit_known=known,
            read=functools.partial(_array.read, rows - settings.offset, factor * (step or 1)),
            notes=(*notes, *own_notes, *loss, *name_notes, *_recording.unit_notes(known)),
            patient=patient,
        )


def _document_notes(root: Element) -> list[Note]:
    notes = []
    version = _sierra_settings.child_text(root, "documentinfo/documentversion")
    if version not in _VERSIONS:
        detail = f"The version {version[:20]!r} of the format is not known; it was read as 1.04."
        notes.append(Note("unknown_version", detail))
    beats = len(root.findall(".//{*}repbeat")) + len(root.findall(".//{*}vcg"))
    if beats:
        detail = f"{beats} derived series (averaged beats or vectors) were skipped."
        notes.append(Note("derived_series", detail))
    return notes


def _leads(
    waves: Element, settings: Settings, hints: Hints, where: str
) -> tuple[tuple[str, ...], np.ndarray, list[Note]]:
    """Returns names, values, float64 [L, T], and notes of the leads of an element."""
    notes: list[Note] = []
    if len(waves):
        labels, rows = _from_parts(waves, settings, where)
    else:
        labels, rows = _from_channels(waves, settings, hints, where, notes)
    names, name_notes = _plain_names(labels, settings)
    rows, names, limb_notes = _restore(rows, names, settings, where)
    signal = np.stack(rows)
    return tuple(names), signal, [*notes, *name_notes, *limb_notes, *_calibration(signal, settings)]


def _from_channels(
    waves: Element, settings: Settings, hints: Hints, where: str, notes: list[Note]
) -> tuple[list[str], list[np.ndarray]]:
    """Returns names and values, float64 [T], of leads that one text holds one after the other.

    Devices also store channels that they do not use. They are left out if the file names the leads
    itself, or if they hold nothing.
    """
    labels = list(settings.labels)
    is_given = not any(labels) and hints.lead_names is not None
    labels = list(hints.lead_names or ()) if is_given else labels
    rows = _from_text("".join(waves.itertext()), settings, len(labels), where, notes)
    if len(rows) < len(labels):
        raise Defect("truncated", f"{where} holds {len(rows)} of {counted(len(labels), 'lead')}.")
    used = rows[: len(labels)] if labels else rows
    if not waves.get("leadlabels"):
        used = used + [row for row in rows[len(used) :] if np.count_nonzero(row) > len(row) // 10]
    if is_given and len(used) != len(labels):
        detail = (
            f"The recording has {counted(len(used), 'lead')}, but {len(labels)} lead names were "
            "given."
        )
        raise Defect("lead_count", detail)
    lengths = sorted({len(row) for row in used})
    if not lengths or not lengths[-1]:
        raise Defect("empty", f"{where} holds no samples.")
    if len(lengths) > 1:
        detail = f"{where} has leads of {lengths[0]} and of {lengths[-1]} samples."
        raise Defect("wrong_length", detail)
    if settings.num_stated not in (None, lengths[0]):
        detail = f"The recording has {lengths[0]} of {settings.num_stated} samples."
        notes.append(Note("wrong_length", detail))
    return labels + [""] * (len(used) - len(labels)), used


def _plain_names(labels: list[str], settings: Settings) -> tuple[list[str], list[Note]]:
    """Returns names without the `d` of leads that the device computed, and a note on those."""
    names = []
    for label in labels:
        base = label[:-1]
        is_derived = label.endswith("d") and leads.is_ecg(base) and base not in labels
        names.append(base if is_derived else label)
    derived = [name for name, label in zip(names, labels, strict=True) if name != label]
    derived = names if settings.is_derived else derived
    detail = f"The device computed the leads {', '.join(derived)} from other electrodes."
    return names, [Note("computed_lead", detail)] if derived else []


def _restore(
    rows: list[np.ndarray], names: list[str], settings: Settings, where: str
) -> tuple[list[np.ndarray], tuple[str, ...], list[Note]]:
    """Returns the leads with samples for differences, without those that cannot be restored."""
    spelled = [leads.normalize(name) for name in names]
    own = dict(zip(spelled, rows, strict=True))
    is_unclear = any(spelled.count(name) > 1 for name in ("I", "II", *_xli.LIMB))
    is_unclear |= "" in spelled and not {"I", "II"} & set(spelled)
    if settings.is_compressed and is_unclear:
        detail = (
            f"{where} does not name each of its leads; some are differences from others, which "
            "only their names tell. Give the lead names."
        )
        raise Defect("unnamed_lead", detail)
    if is_unclear or not (settings.is_compressed or _holds_differences(own)):
        return rows, tuple(names), []
    lost = _xli.rebuild(own)
    if "-aVR" in spelled:
        lost.append("-aVR")
    kept = [number for number, name in enumerate(spelled) if name not in lost]
    if not kept:
        raise Defect("no_ecg_lead", f"{where} has no lead that can be restored.")
    detail = f"Differences of {', '.join(lost)} were excluded: the leads that complete them miss."
    notes = [Note("missing_lead", detail)] if lost else []
    restored = [own[spelled[n]] if spelled[n] in _xli.LIMB else rows[n] for n in kept]
    return restored, tuple(names[number] for number in kept), notes


def _holds_differences(own: dict[str, np.ndarray]) -> bool:
    """Returns whether limb leads are stored as differences, though nothing says so.

    This is so if they are nearly zero where I and II say that they are not.
    """
    for name in ("III", "aVR"):
        predicted = _xli.predict(own, name)
        if name not in own or predicted is None:
            return False
        is_zero = np.abs(own[name]) <= _ROUNDING
        if is_zero.mean() < 0.9 or (np.abs(predicted) <= _ROUNDING).mean() > 0.5:
            return False
    return True


def _calibration(signal: np.ndarray, settings: Settings) -> list[Note]:
    """Returns a note if all leads end with the same rectangular pulse of 1 mV."""
    is_same = (signal == signal[0]).all(axis=0)
    differs = np.flatnonzero(~is_same)
    start = differs[-1] + 1 if len(differs) else 0
    levels = np.unique(signal[0, start:])
    step = settings.resolution_uv or 0
    if len(signal) < 2 or len(levels) != 2 or abs(levels[1] * step - _CALIBRATION_UV) > step:
        return []
    where = f"The last {signal.shape[1] - start} samples"
    detail = f"{where} of all leads hold a calibration pulse of 1 mV, not an ECG."
    return [Note("calibration_pulse", detail)]


def _from_parts(
    waves: Element, settings: Settings, where: str
) -> tuple[list[str], list[np.ndarray]]:
    """Returns names and values, float64 [T] with NaN in gaps, of leads in elements of their own."""
    parts, size, num_samples = [], 0, 0
    for part in waves.findall("{*}leadwaveform"):
        text = "".join(part.itertext())
        (row, *others) = _from_text(text, settings, 1, where, []) or [np.empty(0)]
        start_ms = _recording.parse_number(part.get("starttime") or "0")
        rate = settings.rate_hz
        if others or start_ms is None or start_ms < 0 or (start_ms and rate is None):
            raise Defect("unreadable", f"A lead of {where} has no valid place in time.")
        start = round(start_ms * (rate or 0) / 1000)
        parts.append((part.get("leadname") or "", start, row))
        num_samples, size = max(num_samples, start + len(row)), size + len(text)
    labels = list(dict.fromkeys(label for label, _, _ in parts))
    if not labels or not num_samples:
        raise Defect("empty", f"{where} holds no samples.")
    _recording.check_size(8 * num_samples * len(labels), size, where)
    rows = {label: np.full(num_samples, np.nan) for label in labels}
    for label, start, row in parts:
        rows[label][start : start + len(row)] = row
    return labels, list(rows.values())


def _from_text(
    text: str, settings: Settings, num_labels: int, where: str, notes: list[Note]
) -> list[np.ndarray]:
    """Returns the values of each channel, float64 [T], that a text encodes."""
    if settings.encoding == "plain" and not settings.is_compressed:
        values = _decimal(text, where)
    else:
        data = _bytes(text, settings.encoding, where)
        if settings.is_compressed:
            return [row.astype(np.float64) for row in _xli.decode(data, where)]
        values = _words(data, settings, where, notes)
    length = settings.num_stated if num_labels != 1 else None
    if length is None and not num_labels:
        detail = f"{where} states neither leads nor a length. Give the lead names."
        raise Defect("unnamed_lead", detail)
    if length is None:
        length, rest = divmod(len(values), num_labels)
        if rest:
            detail = f"{where} has {len(values)} samples for {counted(num_labels, 'lead')}."
            raise Defect("wrong_length", detail)
    if length and len(values) % length:
        problem = "truncated" if len(values) < length * num_labels else "wrong_length"
        detail = f"{where} has {len(values)} samples, which are no leads of {length} samples."
        raise Defect(problem, detail)
    return list(values.reshape(-1, length)) if length else []


def _decimal(text: str, where: str) -> np.ndarray:
    if len(text) > _MAX_TEXT:
        raise Defect("too_large", f"{where} holds more than {_MAX_TEXT:,} characters of samples.")
    try:
        values = np.array(text.replace(",", " ").split(), np.float64)
    except ValueError:
        raise Defect("unreadable", f"{where} has samples that are not numbers.") from None
    return np.where(np.isfinite(values), values, np.nan)


def _bytes(text: str, encoding: str, where: str) -> bytes:
    stripped = "".join(text.split())
    try:
        if encoding == "hex":
            return bytes.fromhex(stripped)
        if encoding == "base64":
            return base64.b64decode(stripped, validate=True)
    except (binascii.Error, ValueError):
        detail = f"{where} has samples that are no {encoding} text, or are truncated."
        raise Defect("unreadable", detail) from None
    detail = f"{where} encodes its samples as {encoding[:40]!r}, which is not read."
    raise Defect("unreadable", detail)


def _words(data: bytes, settings: Settings, where: str, notes: list[Note]) -> np.ndarray:
    """Returns uncompressed values, float64; the smoother order of bytes is taken.

    The format does not state the order. Devices write little-endian words.
    """
    kind = f"{'i' if settings.is_signed else 'u'}{settings.bits // 8}"
    if len(data) % (settings.bits // 8):
        raise Defect("truncated", f"{where} ends within a sample.")
    if len(data) // (settings.bits // 8) > _MAX_SAMPLES:
        raise Defect("too_large", f"{where} holds more than {_MAX_SAMPLES:,} samples.")
    little, big = (np.frombuffer(data, f"{order}{kind}").astype(np.float64) for order in "<>")
    steps = [np.abs(np.diff(values)).sum() for values in (little, big)]
    has_low_bytes = any(data[:: settings.bits // 8])
    if _SMOOTHER * steps[1] < steps[0] and has_low_bytes:
        detail = "The samples were read with the most significant byte first."
        notes.append(Note("byte_order", detail))
        return big
    return little


FORMAT = Format(
    name="Philips Sierra XML", suffixes=(".xml",), looks_like=looks_like, open=open_sierra
)
