"""Interface of all formats: recordings that are read by window, in millivolts.

Shapes: L leads, T time.
"""

import dataclasses
import datetime
import importlib
import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from clef_jax import leads, plugin
from clef_jax.errors import UserError, WrongArgument, counted
from clef_jax.finding import Defect, Finding
from clef_jax.signal import unit as unit_lib
from clef_jax.signal.unit import UNITS

MAX_BYTES = 8 << 30
"""Largest uncompressed size of a recording; two weeks of 3 leads at 500 Hz take 7 GB."""
MAX_RATIO = 1000
"""Largest compression ratio of a signal."""
SMALL_BYTES = 64 << 20
"""Largest uncompressed size that is accepted at any ratio: it is harmless, and the zeros of a
disconnected lead do compress beyond `MAX_RATIO`."""
MAX_LEADS = 64
"""Largest accepted number of leads."""
MAX_VALUE = 1e13
"""Largest value that is a sample, in millivolts or an unknown unit. Libraries fill gaps with larger
ones: 1e20 in masked arrays of NumPy, 9.97e36 in NetCDF, or the largest float32."""
MAX_UNNAMED_LEADS = 18
"""Largest accepted number of leads without names; more are rather beats, features or an EEG."""

_NUMBER = re.compile(r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?", re.ASCII)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Hints:
    """Values for what a file does not state; None for what the user does not know either.

    Raises:
        UserError: a rate or gain is not positive, or the unit is unknown.
    """

    sample_rate_hz: float | None = None
    """Sampling rate in Hz."""
    units: str | None = None
    """Unit of the samples: `mV`, `uV`, `V`, or `adc` for ADC units."""
    lead_names: tuple[str, ...] | None = None
    """Names of all leads, in the order of the file."""
    gain_per_mv: float | None = None
    """ADC units per millivolt."""

    def __post_init__(self):
        for name, value in (("rate", self.sample_rate_hz), ("gain", self.gain_per_mv)):
            if value is not None and not isinstance(value, int | float | np.number):
                raise UserError(f"The {name} of the input must be a number, not {value!r}.")
            if value is not None and not (value > 0 and math.isfinite(value)):
                raise UserError(f"The {name} of the input must be above 0, not {value:g}.")
        if self.units is not None and self.units not in UNITS:
            raise WrongArgument(plugin.unknown("unit", self.units, UNITS))

    @classmethod
    def of_settings(cls, settings: "FileSettings") -> "Hints":
        """Returns what the settings of a command state about files that do not state it."""
        return cls(
            sample_rate_hz=settings.sample_rate_hz,
            units=settings.unit,
            lead_names=settings.lead_names,
            gain_per_mv=settings.gain_per_mv,
        )


class FileSettings(Protocol):
    """Settings of commands that read files, for what a file does not state itself."""

    @property
    def sample_rate_hz(self) -> float | None: ...
    @property
    def unit(self) -> str | None: ...
    @property
    def lead_names(self) -> tuple[str, ...] | None: ...
    @property
    def gain_per_mv(self) -> float | None: ...


@dataclasses.dataclass(frozen=True)
class Note:
    """A problem of a recording that can be used nevertheless."""

    problem: str
    """A short stable code, as in `finding.Finding`. What was lost before or in the file has the
    codes `derived_series` (averaged beats, which are skipped), `lossy_compression`, `upsampled`,
    `device_filter` and `low_precision` (see `loss_notes`)."""
    detail: str
    """One sentence."""
    lead: str | None = None

    def finding(self, record_id: str) -> Finding:
        """Returns the finding that reports the note about a recording that is kept."""
        return Finding(record_id, self.problem, self.lead, self.detail, "kept")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Patient:
    """Patient and time that a file states; None for what it does not state.

    These values never appear in logs, messages or notes, and so not in the text of this object.
    """

    age_years: float | None = dataclasses.field(default=None, repr=False)
    """Age at the recording; ages over 89 may be stored as 90 or 91."""
    male: bool | None = dataclasses.field(default=None, repr=False)
    recorded_at: datetime.datetime | None = dataclasses.field(default=None, repr=False)
    """Start of the recording; without a time zone if the file states none."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Opened:
    """An opened recording. Its samples are in memory only if its format is compressed or text."""

    name: str = ""
    """The file's name, followed by `#` and `part` if the file holds several; set by `open`."""
    part: str = ""
    """Name of the recording in its file; empty if the file holds one."""
    lead_names: tuple[str, ...]
    """Names as `leads.normalize` spells them; empty texts for leads without a name."""
    sample_rate_hz: float
    num_samples: int
    """T, the length of the recording in samples."""
    unit_known: bool
    """Whether the samples that `read` returns are millivolts; otherwise their unit is unknown."""
    read: Callable[[int, int], np.ndarray]
    """Takes start sample and number of samples of a window, and returns float32 [L, num_samples] in
    millivolts, NaN where missing. Raises Defect if the window exceeds the recording or cannot be
    read."""
    notes: tuple[Note, ...] = ()
    patient: Patient = Patient()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Format:
    """A file format of recordings."""

    name: str
    suffixes: tuple[str, ...]
    """Suffixes in lower case, with the dot; an empty text for files without a suffix."""
    extra: str | None = None
    """The extra of clef_jax whose packages it needs; by default none."""
    looks_like: Callable[[Path], bool] = lambda path: True
    """Returns whether a file with such a suffix is a recording, judged by its beginning. This holds
    for a damaged recording, but not for a table of labels or a text."""
    open: Callable[[Path, Hints], Iterator[Opened]]
    """Yields the recordings of a file; raises Defect."""
    parts: Callable[[Path, tuple[str, ...]], set[str]] = lambda folder, names: set()
    """Takes a folder and the names in it, and returns those that belong to the recordings of other
    files, for example signal files of headers; by default none."""


def optional(module: str, what: str) -> Any:
    """Imports and returns an optional package.

    Args:
        module: name of the package.
        what: what needs it, the subject of the message.

    Raises:
        UserError: the package is not installed; the message says how to install it.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module.partition(".")[0]:
            raise
        raise UserError(
            f"{what} needs {error.name}: pip install 'clef_jax[formats]'.",
            problem="missing_package",
        ) from None


def parse_number(text: str) -> float | None:
    """Returns the finite number that a text states, with a decimal point or comma; else None."""
    text = text.strip()
    if text.count(",") == 1 and "." not in text:
        text = text.replace(",", ".")
    return float(text) if _NUMBER.fullmatch(text) and math.isfinite(float(text)) else None


def check_window(start: int, num_samples: int, length: int) -> None:
    """Raises Defect if a window exceeds its recording of `length` samples."""
    if start < 0 or num_samples < 0 or start + num_samples > length:
        detail = (
            f"Samples {start} to {start + num_samples} exceed the recording's {length} samples."
        )
        raise Defect("window_outside_record", detail)


def as_float32(millivolts: np.ndarray) -> np.ndarray:
    """Returns the array in float32, with NaN for values that are infinite or exceed `MAX_VALUE`."""
    with np.errstate(over="ignore", invalid="ignore"):
        narrow = np.asarray(millivolts, np.float32)
        return np.where(np.abs(narrow) <= MAX_VALUE, narrow, np.float32(np.nan))


def check_size(num_bytes: int, stored_bytes: int, what: str) -> None:
    """Checks the size that compressed data states, before it is decompressed.

    Args:
        num_bytes: stated uncompressed size.
        stored_bytes: size in the file.
        what: name of the data in the message.

    Raises:
        Defect: the stated size is implausible for a recording.
    """
    is_bomb = num_bytes > SMALL_BYTES and num_bytes > MAX_RATIO * stored_bytes
    if num_bytes > MAX_BYTES or is_bomb:
        detail = (
            f"{what} was not decompressed: its {stored_bytes:,} bytes would become {num_bytes:,}."
        )
        raise Defect("too_large", detail)


def check_rate(rate: float | None, where: str) -> float:
    """Returns a sampling rate in Hz after checking it.

    Args:
        rate: sampling rate in Hz; None if neither the file nor the user states it.
        where: name of the file in the message.

    Raises:
        Defect: the rate is None, not positive or not finite.
    """
    if rate is None:
        raise Defect(
            "no_rate", f"{where} does not state a sampling rate; give it with --sample-rate-hz."
        )
    if not (rate > 0 and math.isfinite(rate)):
        raise Defect("wrong_rate", f"{where} states an invalid sampling rate: {rate:g} Hz.")
    return float(rate)


def lead_names(
    own: tuple[str, ...] | None, hints: Hints, num_leads: int
) -> tuple[tuple[str, ...], tuple[Note, ...]]:
    """Returns the names of all leads, and notes on missing and duplicate names.

    Args:
        own: names that the file states; the hints are used if it states none, and if all leads are
            given and none has the name of a lead, as for `ECG`.
        hints: values for what the file does not state.
        num_leads: number of leads of the recording.

    Raises:
        Defect: the recording has more leads than an ECG, or the hints name another number.
    """
    if num_leads > MAX_LEADS:
        raise Defect(
            "lead_count", f"The recording is not an ECG: it has {counted(num_leads, 'lead')}."
        )
    given = hints.lead_names is not None and len(hints.lead_names) == num_leads
    known = any(leads.is_standard(name) or leads.stands_for(name) for name in own or ())
    if own is None or not any(own) or (given and not known):
        own = hints.lead_names
        if own is not None and len(own) != num_leads:
            detail = (
                f"The recording has {counted(num_leads, 'lead')}, but {len(own)} lead names were "
                "given."
            )
            raise Defect("lead_count", detail)
    names = tuple(leads.normalize(name) for name in own or ("",) * num_leads)
    unnamed = sum(not name for name in names)
    notes = []
    if unnamed:
        detail = f"No name is known for {unnamed} of the recording's {counted(num_leads, 'lead')}."
        notes.append(Note("unnamed_lead", detail))
    duplicates = sorted({name for name in names if name and names.count(name) > 1})
    if duplicates:
        notes.append(Note("duplicate_lead", f"Several leads are named {', '.join(duplicates)}."))
    return names, tuple(notes)


def scale(unit: str, hints: Hints, gain_per_mv: float | None = None) -> tuple[float, bool]:
    """Returns the millivolts per stored unit and whether they are known; 1 if they are not.

    Args:
        unit: unit that the file states; empty if it states none, then the hints are used.
        hints: values for what the file does not state.
        gain_per_mv: ADC units per millivolt that the file states; None if it states none.

    Raises:
        Defect: the file's unit is not a unit of voltage.
    """
    factor = unit_lib.millivolts(unit) if unit else None
    if unit and factor is None:
        raise Defect("wrong_units", f"The recording's unit {unit!r} is not a unit of voltage.")
    if factor is None and hints.units not in (None, "adc"):
        factor = unit_lib.millivolts(hints.units or "")
    gain = gain_per_mv or hints.gain_per_mv
    if factor is None and gain is not None:
        factor = 1 / gain
    return (1.0, False) if factor is None else (factor, True)


def unit_notes(known: bool) -> tuple[Note, ...]:
    """Returns a note if the unit of the amplitudes is unknown."""
    detail = "The unit of the recording's amplitudes is unknown."
    return () if known else (Note("unknown_units", detail),)


_COARSE_MV = 0.01
"""Steps above this size, in millivolts, are reported: usual devices store steps of 1 to 5 uV."""


def loss_notes(
    *, filters: str = "", device_rate_hz: float | None = None, rate_hz: float, step_mv: float = 0
) -> tuple[Note, ...]:
    """Returns notes on what the device removed from a signal before it wrote the file.

    Args:
        filters: the device's filters in words, such as `0.05 to 150 Hz, 60 Hz notch`; empty if the
            file states none.
        device_rate_hz: rate at which the device sampled the signal, if the file states it.
        rate_hz: rate of the samples in the file.
        step_mv: size of a step of the stored integers in millivolts; 0 if unknown.
    """
    notes = []
    if filters:
        notes.append(Note("device_filter", f"The device filtered the signal: {filters}."))
    if device_rate_hz is not None and device_rate_hz < rate_hz:
        detail = f"The device sampled at {device_rate_hz:g} Hz; the file has {rate_hz:g} Hz."
        notes.append(Note("upsampled", detail))
    if step_mv > _COARSE_MV:
        detail = f"The samples have steps of {step_mv * 1000:g} uV."
        notes.append(Note("low_precision", detail))
    return tuple(notes)
