"""Reads what a Philips Sierra XML file states about its waveforms and its patient."""

import dataclasses
import datetime
import re
from collections.abc import Callable
from xml.etree.ElementTree import Element

from clef_jax import leads
from clef_jax.finding import Defect
from clef_jax.formats import _patient, _recording
from clef_jax.formats._recording import Note, Patient

_YEARS_PER = {"years": 1, "months": 1 / 12, "weeks": 7 / 365.25, "days": 1 / 365.25}
_YEARS_PER["hours"] = _YEARS_PER["days"] / 24
_MAX_AGE_YEARS = 125
_UNCOMPRESSED = ("", "none", "no", "false", "uncompressed")
_WORD_BITS = (8, 16, 32)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of waveforms; None or empty for what the file does not state."""

    encoding: str
    """Encoding of the values in lower case: `base64`, `hex` or `plain`."""
    is_compressed: bool
    """Whether the values are compressed by XLI."""
    labels: tuple[str, ...]
    """Names of the leads."""
    num_stated: int | None
    """T by the stated duration and rate."""
    rate_hz: float | None
    device_rate_hz: float | None
    resolution_uv: float | None
    """Microvolts per unit of the values."""
    offset: float
    """Value of 0 mV."""
    is_signed: bool
    bits: int
    """Size of an uncompressed value."""
    filters: str
    """Filters in words."""
    is_upsampled: bool
    is_derived: bool
    """Whether the device computed all leads from other electrodes."""


def read(waves: Element, root: Element, where: str) -> Settings:
    """Returns the settings of waveforms: their own attributes, else those of the acquisition.

    Args:
        waves: element that holds values.
        root: root of the document.
        where: name of the file in messages.

    Raises:
        Defect: the values are stored in a way that is not read.
    """
    details = root.find("{*}dataacquisition/{*}signalcharacteristics")
    details = Element("none") if details is None else details

    def stated(*names: str) -> str:
        values = (waves.get(name) or child_text(details, name) for name in names)
        return next((value.strip() for value in values if value and value.strip()), "")

    rate = _positive(stated("samplespersecond", "samplingrate"))
    duration_ms = _positive(stated("durationperchannel"))
    bits = _positive(stated("bitspersample", "nbitspersample"))
    is_compressed = _is_compressed(waves, where)
    if bits not in (None, *_WORD_BITS) and not is_compressed:
        raise Defect("unreadable", f"{where} stores values of {bits:g} bits, which are not read.")
    offset = stated("signaloffset")
    number = _recording.parse_number(offset or "0")
    if number is None:
        raise Defect("unreadable", f"{where} has {offset[:40]!r} where an offset should be.")
    kind = f"{stated('acquisitiontype')} {stated('leadset')}".upper()
    return Settings(
        encoding=(waves.get("dataencoding") or "Base64").strip().lower(),
        is_compressed=is_compressed,
        labels=_labels(waves, root),
        num_stated=round(duration_ms * rate / 1000) if duration_ms and rate else None,
        rate_hz=rate,
        device_rate_hz=_positive(child_text(details, "samplingrate")),
        resolution_uv=_positive(stated("resolution", "signalresolution")),
        offset=number,
        is_signed=stated("signalsigned").lower() != "false",
        bits=int(bits or 16),
        filters=_filters(stated),
        is_upsampled=(waves.get("upsampled") or "").lower() == "true",
        is_derived="EASI" in kind or "MIDA" in kind,
    )


def child_text(parent: Element, path: str) -> str:
    """Returns the text of the element at a path of local names; an empty text without it."""
    return (parent.findtext("/".join(f"{{*}}{name}" for name in path.split("/"))) or "").strip()


def loss_notes(settings: Settings, rate_hz: float) -> tuple[Note, ...]:
    """Returns notes on what was lost before the file was written."""
    notes = _recording.loss_notes(
        filters=settings.filters,
        device_rate_hz=settings.device_rate_hz,
        rate_hz=rate_hz,
        step_mv=(settings.resolution_uv or 0) / 1000,
    )
    if settings.is_upsampled and not any(note.problem == "upsampled" for note in notes):
        notes += (Note("upsampled", "The sampling rate was increased after the recording."),)
    return notes


def patient(root: Element) -> Patient:
    """Returns what a file states about its patient and its time."""
    data = root.find("{*}patient/{*}generalpatientdata")
    data = Element("none") if data is None else data
    recorded_at = None
    for name in ("dataacquisition", "reportinfo"):
        element = root.find(f"{{*}}{name}")
        if element is not None and recorded_at is None:
            recorded_at = _time(element.get("date") or "", element.get("time") or "")
    born = _patient.date(child_text(data, "age/dateofbirth"))
    age = _patient.age_between(born, recorded_at.date() if recorded_at else None)
    for unit, years_per in _YEARS_PER.items():
        number = _recording.parse_number(child_text(data, f"age/{unit}"))
        if age is None and number is not None and 0 <= number * years_per <= _MAX_AGE_YEARS:
            age = number * years_per
    sex = child_text(data, "sex") or child_text(data, "gender")
    return Patient(age_years=age, male=_patient.male(sex), recorded_at=recorded_at)


def _time(date: str, clock: str) -> datetime.datetime | None:
    """Returns a time, without a fraction of a second; None without a valid date and time."""
    match = (
        re.match(r"\d{4}-\d\d-\d\d$", date.strip()),
        re.match(r"(\d\d:\d\d(?::\d\d)?)(?:\.\d+)?(Z|[+-]\d\d:\d\d)?$", clock.strip()),
    )
    if match[0] is None or match[1] is None:
        return None
    zone = (match[1][2] or "").replace("Z", "+00:00")
    try:
        return datetime.datetime.fromisoformat(f"{match[0][0]}T{match[1][1]}{zone}")
    except ValueError:
        return None


def _positive(text: str) -> float | None:
    number = _recording.parse_number(text)
    return number if number is not None and number > 0 else None


def _is_compressed(waves: Element, where: str) -> bool:
    """Returns whether values are compressed by XLI; raises Defect for another compression."""
    method = (waves.get("compression") or waves.get("compressmethod") or "").strip()
    flag = (waves.get("compressflag") or "True").strip().lower()
    if method.lower() in _UNCOMPRESSED or flag == "false":
        return False
    if method.upper() != "XLI":
        detail = f"{where} is compressed by {method[:40]!r}, which is not read; only XLI is."
        raise Defect("unreadable", detail)
    return True


def _labels(waves: Element, root: Element) -> tuple[str, ...]:
    """Returns the names of the leads, empty texts for unknown ones.

    Files before version 1.04 state only the kind of leads.
    """
    labels = re.split(r"[\s,;]+", (waves.get("leadlabels") or "").strip())
    number = _positive(waves.get("numberofleads") or "")
    if labels[0]:
        return tuple(labels if number is None else labels[: int(number)])
    details = "dataacquisition/signalcharacteristics"
    channels = _positive(child_text(root, f"{details}/numberchannelsvalid"))
    channels = channels or _positive(child_text(root, f"{details}/numberchannelsallocated"))
    names = root.findall("{*}measurements/{*}leadmeasurements/{*}leadmeasurement")
    measured = tuple(element.get("leadname") or "" for element in names)
    kinds = (child_text(root, f"{details}/{name}") for name in ("acquisitiontype", "leadset"))
    is_standard = any(re.match(r"STD-1[2-8]|10-WIRE", kind.upper()) for kind in kinds)
    if channels is not None and channels == len(measured) and all(measured):
        return measured
    if (is_standard and channels is None) or (channels is not None and channels >= 12):
        return leads.STANDARD_12
    return ("",) * int(min(number or 0, _recording.MAX_LEADS + 1))


def _filters(stated: Callable[..., str]) -> str:
    """Returns the filters in words, from the function that returns what the file states."""
    low, high = stated("hipass"), stated("lowpass")
    band = re.fullmatch(r"([\d.,]+)\s*-\s*([\d.,]+)", stated("signalbandwidth"))
    if band is not None:
        low, high = low or band[1], high or band[2]
    words = []
    if _positive(low) and _positive(high):
        words.append(f"{_positive(low):g} to {_positive(high):g} Hz")
    elif _positive(low) or _positive(high):
        words.append(f"from {low} Hz" if _positive(low) else f"up to {high} Hz")
    if stated("notchfiltered").lower() == "true":
        numbers = re.findall(r"\d+(?:\.\d+)?", stated("notchfilterfreqs"))
        words.append(f"{'/'.join(numbers)} Hz notch" if numbers else "notch")
    if stated("artfiltered").lower() == "true":
        words.append("muscle artefact filter")
    return ", ".join(words)
