"""Reads the data type SampledData of HL7 FHIR, and the codes that name its lead."""

import dataclasses
import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from clef_jax import leads
from clef_jax.finding import Defect
from clef_jax.formats import _json, _recording
from clef_jax.signal import unit as unit_lib

_PIECE_CHARACTERS = 1 << 20
_SAMPLES = re.compile(r"[\d\s.+\-eEuUlL]*", re.ASCII)
_MISSING = {"E", "U", "L", "e", "u", "l"}
"""Codes of samples: an error, and values above and below the limits of detection."""
_SPACE = re.compile(r"\s")
_MAX_GAP_RATIO = 100
"""Largest ratio of the duration of a signal with offsets to that of its samples."""
_EVEN = 1e-3
"""Largest deviation of an offset from the grid, in samples."""

_POTENTIAL = 131328
"""MDC_ECG_ELEC_POTL of ISO/IEEE 11073-10101; the number of a lead is added."""
_NUM_POTENTIALS = 256
_LEAD_NUMBERS = {1: "I", 2: "II", 61: "III", 62: "aVR", 63: "aVL", 64: "aVF", 65: "-aVR"}
_LEAD_NUMBERS |= {2 + number: f"V{number}" for number in range(1, 7)}
_LEAD_NUMBERS |= {8 + number: f"V{number}R" for number in range(2, 8)}
_LEAD_NUMBERS |= {9: "V7", 66: "V8", 67: "V9", 16: "X", 17: "Y", 18: "Z", 19: "CC5", 20: "CM5"}
"""Leads by their numbers in ISO/IEEE 11073-10101, which are those of SCP-ECG."""
_PREFIX = re.compile(r"^MDC[_ ]ECG[_ ](?:LEAD|ELEC[_ ]POTL)[_ ]*", re.IGNORECASE)
_LEAD = re.compile(
    r"\b(?:leads?|ableitung|d[ée]rivation|derivaci[óo]n|derivazione|afleiding|avled\w+|deriva..o)"
    r"\W+(I{1,3}|aV[RLF]|V\d)\b",
    re.IGNORECASE,
)
_ECG_CODES = {"11524-6", "34534-8", "28010-7", "HKElectrocardiogram"}
"""Codes of LOINC and of Apple that stand for an ECG."""
_ECG = re.compile(r"\b(?:ecg|ekg)\b|ele[ck]tro[ck]ardiog|MDC_ECG_ELEC_POTL|HKElectrocard", re.I)
_MAX_LETTERS = 200


@dataclasses.dataclass(frozen=True)
class Samples:
    """A signal of one or several interleaved dimensions."""

    values: np.ndarray
    """float64 [D, T] in the stated unit, NaN where missing."""
    sample_rate_hz: float
    unit: str
    """Unit of voltage as the file writes it; empty if it states none."""
    exceeds_limits: bool
    """Whether values are outside the limits that the file states."""
    num_coded: int
    """Number of samples with a code of the file's own, which are missing."""


def read(sampled: dict[str, Any], hint_hz: float | None, where: str) -> Samples:
    """Returns the samples as origin + factor x data.

    Args:
        sampled: SampledData of STU3, R4 or R5.
        hint_hz: rate in Hz if the file does not state one.
        where: name of the file in messages.

    Raises:
        Defect: a number is malformed, the rate is missing, or the samples are not evenly spaced.
    """
    data, num_coded = _data(sampled, where)
    num_dimensions = _number(sampled, "dimensions", where, default=1)
    if not (num_dimensions.is_integer() and 1 <= num_dimensions <= _recording.MAX_LEADS):
        raise Defect("lead_count", f"{where} states {num_dimensions:g} dimensions of samples.")
    if len(data) % int(num_dimensions):
        detail = (
            f"{where} has {len(data)} samples, which {num_dimensions:g} dimensions cannot share."
        )
        raise Defect("wrong_length", detail)
    origin = _number(sampled.get("origin"), "value", where, default=0)
    factor = _number(sampled, "factor", where, default=1)
    with np.errstate(over="ignore", invalid="ignore"):
        values = (origin + factor * data).reshape(-1, int(num_dimensions)).T
    values, rate = _timed(values, sampled, hint_hz, where)
    low = _number(sampled, "lowerLimit", where, default=-np.inf)
    high = _number(sampled, "upperLimit", where, default=np.inf)
    exceeds = bool(((values < low) | (values > high)).any())
    return Samples(values, rate, _unit(sampled), exceeds, num_coded)


def _number(parent: Any, key: str, where: str, default: float | None = None) -> float:
    text = _json.text(parent, key)
    if not text and default is not None and not (isinstance(parent, dict) and key in parent):
        return float(default)
    number = _recording.parse_number(text)
    if number is None:
        raise Defect("unreadable", f"{where} has no number as {key} of its samples.")
    return number


def _unit(sampled: dict[str, Any]) -> str:
    """Returns the unit of the origin; no unit for `1` and for units such as `{counts}`."""
    units = [_json.text(sampled, "origin", key) for key in ("code", "unit")]
    known = [unit for unit in units if unit_lib.millivolts(unit) is not None]
    named = [unit for unit in units if unit and unit != "1" and not unit.startswith(("{", "["))]
    return next(iter(known or named), "")[:_MAX_LETTERS]


def _data(sampled: dict[str, Any], where: str) -> tuple[np.ndarray, int]:
    """Returns the samples before scaling, float64 [N], and the number of those that are codes."""
    text = sampled.get("data")
    if not isinstance(text, str) or not text.strip():
        raise Defect("empty", f"{where} has no samples in its data.")
    if not sampled.get("codeMap") and not _SAMPLES.fullmatch(text):
        raise Defect("unreadable", f"{where} has samples that are neither numbers nor E, U or L.")
    pieces, num_coded = [], 0
    for tokens in _tokens(text):
        try:
            pieces.append(np.array([_token(token) for token in tokens], np.float64))
        except ValueError:
            if not sampled.get("codeMap"):
                detail = f"{where} has samples that are neither numbers nor E, U or L."
                raise Defect("unreadable", detail) from None
            numbers = [_recording.parse_number(token.replace(",", "x")) for token in tokens]
            coded = [number is None for number in numbers]
            num_coded += sum(c and t not in _MISSING for c, t in zip(coded, tokens, strict=True))
            pieces.append(np.array(numbers, np.float64))
    return np.concatenate(pieces), num_coded


def _token(token: str) -> str:
    return "nan" if token in _MISSING else token


def _tokens(text: str) -> Iterator[list[str]]:
    """Yields the words of a long text in pieces, so that not all are in memory."""
    start = 0
    while start < len(text):
        space = _SPACE.search(text, start + _PIECE_CHARACTERS)
        stop = space.end() if space else len(text)
        yield text[start:stop].split()
        start = stop


def _timed(
    values: np.ndarray, sampled: dict[str, Any], hint_hz: float | None, where: str
) -> tuple[np.ndarray, float]:
    """Returns the samples [D, T], with NaN in gaps of their offsets, and their rate in Hz."""
    unit = _json.text(sampled, "intervalUnit") or "ms"
    seconds = unit_lib.seconds(unit) if len(unit) < _MAX_LETTERS else None
    if seconds is None:
        raise Defect("wrong_rate", f"{where} states an interval in a unit that is none of time.")
    key = "interval" if "interval" in sampled else "period"
    text = _json.text(sampled, key)
    if not text and key not in sampled and sampled.get("offsets"):
        return _spread(values, sampled, seconds, where)
    if not text and key not in sampled:
        return values, _recording.check_rate(hint_hz, where)
    step = _number(sampled, key, where) * (seconds if key == "interval" else 1e-3)
    if not step > 0:
        raise Defect("wrong_rate", f"{where} states an invalid {key} of its samples.")
    return values, _recording.check_rate(_rate(step, text), where)


def _rate(step: float, text: str) -> float:
    """Returns the rate in Hz of a step in seconds.

    A rounded step such as 3.33 ms is that of the only whole rate that is rounded to it.

    Args:
        step: seconds between samples.
        text: number that states the step, whose digits show how exact it is.
    """
    rate = round(1 / step, 6)
    digits = re.fullmatch(r"\d*\.(\d+)", text)
    if rate == round(rate) or digits is None:
        return rate
    error = 0.5 * 10.0 ** -len(digits[1]) / float(text)
    lowest, highest = np.ceil(rate / (1 + error)), np.floor(rate / (1 - error))
    return float(lowest) if lowest == highest else rate


def _spread(
    values: np.ndarray, sampled: dict[str, Any], seconds: float, where: str
) -> tuple[np.ndarray, float]:
    """Returns samples at stated offsets on an even grid, with NaN where none is, and their rate."""
    try:
        offsets = np.array(_json.text(sampled, "offsets").split(), np.float64) * seconds
    except ValueError:
        raise Defect("unreadable", f"{where} has offsets that are not numbers.") from None
    steps = np.diff(offsets)
    if len(offsets) != values.shape[1] or not (len(steps) and (steps > 0).all()):
        detail = f"{where} has {len(offsets)} offsets that do not increase for each of its samples."
        raise Defect("uneven_time", detail)
    step = float(np.median(steps))
    rounded = round(1 / step)
    if abs(1 / step - rounded) < 1e-3 / step:
        step = 1 / max(rounded, 1)
    places = (offsets - offsets[0]) / step
    if places[-1] > _MAX_GAP_RATIO * len(offsets):
        raise Defect("uneven_time", f"{where} has offsets with gaps longer than its signal.")
    columns = np.rint(places).astype(np.int64)
    if (np.abs(places - columns) > max(_EVEN, 1e-9 * len(offsets))).any():
        raise Defect("uneven_time", f"{where} has offsets that are not evenly spaced.")
    spread = np.full((len(values), columns[-1] + 1), np.nan)
    spread[:, columns] = values
    return spread, _recording.check_rate(round(1 / step, 6), where)


def texts(concept: Any) -> list[str]:
    """Returns codes, displays and text of a CodeableConcept."""
    codings = _json.entries(concept, "coding")
    found = [_json.text(coding, key) for coding in codings for key in ("code", "display")]
    return [text for text in (*found, _json.text(concept, "text")) if 0 < len(text) < _MAX_LETTERS]


def lead_name(concept: Any) -> str | None:
    """Returns the lead that a code names, an empty text for an unnamed ECG lead, else None."""
    candidates = texts(concept)
    numbers = [int(text) for text in candidates if re.fullmatch(r"\d{6}", text, re.ASCII)]
    potentials = [n for n in numbers if 0 <= n - _POTENTIAL < _NUM_POTENTIALS]
    named = [_LEAD_NUMBERS[n - _POTENTIAL] for n in potentials if n - _POTENTIAL in _LEAD_NUMBERS]
    if named:
        return leads.normalize(named[0])
    bare = [_PREFIX.sub("", text).replace("_", " ").strip() for text in candidates]
    for text in bare:
        if leads.is_standard(text) or leads.stands_for(text):
            return leads.normalize(text)
    for text in bare:
        if match := _LEAD.search(text):
            return leads.normalize(match[1])
    for text in bare:
        if re.fullmatch(r"V\d{1,2}R?", text, re.IGNORECASE):
            return text.upper()
    if any("HKElectrocardiogram" in text for text in candidates):
        return "I"  # Apple's only lead
    return "" if potentials or is_ecg(concept) else None


def dimension_names(concept: Any, num_dimensions: int) -> list[str]:
    """Returns the names of interleaved leads from a text such as `I, II, III`; else empty texts."""
    for text in texts(concept):
        names = [name for name in re.split(r"[\s,;/|]+", text) if name]
        if len(names) == num_dimensions and all(map(leads.is_standard, names)):
            return names
    return [""] * num_dimensions


def is_ecg(concept: Any) -> bool:
    """Returns whether a code stands for an ECG, whatever its lead."""
    return any(text in _ECG_CODES or _ECG.search(text) for text in texts(concept))


def is_other(concept: Any) -> bool:
    """Returns whether a code stands for another signal, such as a pulse wave."""
    return any(leads.is_other_signal(text) for text in texts(concept))
