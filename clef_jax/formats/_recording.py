"""What every format gives: recordings that are read window by window, in millivolts.

Shapes: L leads, T time.
"""

import dataclasses
import importlib
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from clef_jax import leads, plugin
from clef_jax.errors import UserError
from clef_jax.finding import Defect, Finding
from clef_jax.signal import unit as unit_lib
from clef_jax.signal.unit import UNITS

MAX_BYTES = 8 << 30
"""No single recording is larger once it is unpacked; two weeks of 3 leads at 500 Hz are 7 GB."""
MAX_RATIO = 1000
"""What unpacks to more than this many times its size holds no signal."""
SMALL_BYTES = 64 << 20
"""Below, unpacking can do no harm, and the zeros of a lead that fell off do shrink so far."""
MAX_LEADS = 64


@dataclasses.dataclass(frozen=True, kw_only=True)
class Hints:
    """What the user says of files that do not say it themselves.

    Raises:
        UserError: a value makes no sense; says which are known.
    """

    sample_rate_hz: float | None = None
    units: str | None = None
    """`mV`, `uV`, `V`, or `adc` for steps of a converter."""
    lead_names: tuple[str, ...] | None = None
    """In the order of the file."""
    gain_per_mv: float | None = None
    """Steps of the converter for one millivolt."""

    def __post_init__(self):
        for name, value in (("rate", self.sample_rate_hz), ("gain", self.gain_per_mv)):
            if value is not None and not (value > 0 and math.isfinite(value)):
                raise UserError(f"The {name} of the input must be more than 0, not {value:g}.")
        if self.units is not None and self.units not in UNITS:
            raise UserError(plugin.unknown("unit", self.units, UNITS))


@dataclasses.dataclass(frozen=True)
class Note:
    """Something that the user should know of a recording that can be used."""

    problem: str
    """A short stable code, as in `quality.Finding`."""
    detail: str
    """One sentence."""
    lead: str | None = None

    def finding(self, record_id: str) -> Finding:
        return Finding(record_id, self.problem, self.lead, self.detail, "kept")


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Opened:
    """One recording, of which nothing but the description is in memory unless its format is
    compressed or text.
    """

    name: str = ""
    """What to call it: the file's name, and `#` and `part` if the file holds several. `open` sets
    it."""
    part: str = ""
    """Which of the file's recordings; empty if it holds one."""
    lead_names: tuple[str, ...]
    """As `leads.usual` spells them; empty where the file names none."""
    sample_rate_hz: float
    num_samples: int
    """T."""
    unit_known: bool
    """False if the amplitudes are in no unit that is known, and not in millivolts."""
    read: Callable[[int, int], np.ndarray]
    """(start_sample, num_samples) to float32 [L, num_samples] millivolts, NaN where missing.
    Raises Defect if that is not inside of the recording, or can no longer be read."""
    notes: tuple[Note, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Format:
    """One way of storing recordings."""

    name: str
    suffixes: tuple[str, ...]
    """In lower case, with the dot; empty for files without."""
    extra: str | None = None
    """The optional packages of clef_jax that it needs."""
    looks_like: Callable[[Path], bool] = lambda path: True
    """Whether a file with such a suffix means to be a recording, by a look at its beginning. A
    broken recording still does; a table of labels or a text to read does not."""
    open: Callable[[Path, Hints], Iterator[Opened]]
    """Raises Defect."""
    parts: Callable[[Path, tuple[str, ...]], set[str]] = lambda folder, names: set()
    """Which files of a folder belong to recordings of others; gets the names in that folder."""


def optional(module: str, what: str) -> Any:
    """Imports a package that not everyone has.

    Raises:
        UserError: it is not installed; says how to install it.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module.partition(".")[0]:
            raise
        raise UserError(f"{what} needs {error.name}: pip install 'clef_jax[formats]'.") from None


def check_window(start: int, num_samples: int, length: int) -> None:
    """Raises Defect if a window is not inside of its recording."""
    if start < 0 or num_samples < 0 or start + num_samples > length:
        detail = f"Samples {start} to {start + num_samples} are not inside of its {length} samples."
        raise Defect("window_outside_record", detail)


def as_float32(millivolts: np.ndarray) -> np.ndarray:
    """The same in float32, with NaN for whatever is infinite or too large for any voltage."""
    with np.errstate(over="ignore", invalid="ignore"):
        narrow = np.asarray(millivolts, np.float32)
    return np.where(np.isfinite(narrow), narrow, np.float32(np.nan))


def check_size(num_bytes: int, stored_bytes: int, what: str) -> None:
    """Raises Defect if something claims to unpack to more than any recording."""
    bomb = num_bytes > SMALL_BYTES and num_bytes > MAX_RATIO * stored_bytes
    if num_bytes > MAX_BYTES or bomb:
        detail = f"{what} claims {num_bytes:,} bytes out of {stored_bytes:,}; it was not unpacked."
        raise Defect("too_large", detail)


def check_rate(rate: float | None, where: str) -> float:
    """A rate that was found, or none.

    Raises:
        Defect: there is none, or it is no rate.
    """
    if rate is None:
        detail = f"{where} says no sampling rate; give the rate with the command."
        raise Defect("no_rate", detail)
    if not (rate > 0 and math.isfinite(rate)):
        raise Defect("wrong_rate", f"{where} says a sampling rate of {rate:g} Hz.")
    return float(rate)


def names_of(
    own: tuple[str, ...] | None, hints: Hints, num_leads: int
) -> tuple[tuple[str, ...], tuple[Note, ...]]:
    """Names of all leads, the file's own if it has any, and what is to be said of them.

    Raises:
        Defect: the user names another number of leads.
    """
    if own is None or not any(own):
        own = hints.lead_names
        if own is not None and len(own) != num_leads:
            detail = f"It has {num_leads} leads, and {len(own)} are named for it."
            raise Defect("lead_count", detail)
    names = tuple(leads.usual(name) for name in own or ("",) * num_leads)
    unnamed = sum(not name for name in names)
    notes = []
    if unnamed:
        notes.append(Note("unnamed_lead", f"{unnamed} of its {num_leads} leads have no name."))
    twice = sorted({name for name in names if name and names.count(name) > 1})
    if twice:
        notes.append(Note("duplicate_lead", f"Several leads are called {', '.join(twice)}."))
    return names, tuple(notes)


def scale(unit: str, hints: Hints, gain_per_mv: float | None = None) -> tuple[float, bool]:
    """Millivolts of one step as stored, and whether that is known; 1 if it is not.

    Args:
        unit: as the file says, empty if it says none; then the user's word counts.
        gain_per_mv: as the file says.

    Raises:
        Defect: the file's unit is no unit of voltage.
    """
    factor = unit_lib.millivolts(unit) if unit else None
    if unit and factor is None:
        raise Defect("wrong_units", f"Its unit {unit!r} is no unit of voltage.")
    if factor is None and hints.units not in (None, "adc"):
        factor = unit_lib.millivolts(hints.units or "")
    gain = gain_per_mv or hints.gain_per_mv
    if factor is None and gain is not None:
        factor = 1 / gain
    return (1.0, False) if factor is None else (factor, True)


def unit_notes(known: bool) -> tuple[Note, ...]:
    """What is to be said of amplitudes without unit."""
    detail = "Its amplitudes are in no unit that is known."
    return () if known else (Note("unknown_units", detail),)
