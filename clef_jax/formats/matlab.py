"""Reads MATLAB 5 files (`.mat`). MATLAB 4 files with a `.hea` header are WFDB records."""

import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path

from clef_jax.finding import Defect
from clef_jax.formats import _array, _matlab_5, _patient, _recording
from clef_jax.formats._matlab_5 import Variable
from clef_jax.formats._recording import Format, Hints, Opened, Patient
from clef_jax.wfdb import header as wfdb_header

_AGE, _SEX = ("age", "age_years"), ("sex", "gender")
_HDF5 = b"\x89HDF"


def open_mat(path: Path, hints: Hints) -> Iterator[Opened]:
    """Yields the recordings of a MATLAB 5 file, which may store their rate as `fs`, for example.

    Raises:
        Defect: the file has another version, is malformed or truncated, or holds no numbers.
    """
    with path.open("rb") as stream:
        head = stream.read(16)
    if head.startswith((_HDF5, b"MATLAB 7.3")):
        detail = f"{path.name} is a MATLAB 7.3 file; save it with -v7 instead."
        raise Defect("unknown_format", detail)
    if not head.startswith(b"MATLAB 5.0"):
        detail = f"{path.name} is not a MATLAB 5 file, and has no WFDB header."
        raise Defect("unknown_format", detail)
    listed = _matlab_5.variables(path)
    # MATLAB stores single numbers as arrays too; only arrays of several values can be signals.
    several = (n for n, v in listed.items() if math.prod(v.shape) > 1 and not v.is_text)
    signals = _array.choose(several)
    if not signals:
        raise Defect("empty", f"{path.name} holds no signal.")
    for name in signals:
        part = name if len(signals) > 1 else ""
        known = _known(listed, name)
        metadata = _metadata(path, listed, known)
        patient = _find_patient(path, listed, known)
        array = _matlab_5.load(path, listed[name])
        for opened in _array.recordings(array, hints, metadata, part):
            yield dataclasses.replace(opened, patient=patient)


def _known(listed: dict[str, Variable], signal: str) -> dict[str, str]:
    """Returns the variables in the struct of the signal or outside by names in lower case."""
    struct = signal.rpartition(".")[0]
    known = {name.lower(): name for name in listed}
    return known | {
        n.lower().rpartition(".")[2]: n for n in listed if n.rpartition(".")[0] == struct
    }


def _find_patient(path: Path, listed: dict[str, Variable], known: dict[str, str]) -> Patient:
    """Returns the age and sex that the file states; what is malformed is unknown."""
    age, sex = _array.first(known, _AGE), _array.first(known, _SEX)
    try:
        years = _text(path, listed, age) or _number(path, listed, age)
        return Patient(age_years=_patient.age(years), male=_patient.male(_text(path, listed, sex)))
    except Defect:
        return Patient()


def _text(path: Path, listed: dict[str, Variable], name: str | None) -> str:
    if name is None or not listed[name].is_text:
        return ""
    return _matlab_5.load_text(path, listed[name])


def _metadata(path: Path, listed: dict[str, Variable], known: dict[str, str]) -> _array.Metadata:
    """Returns the rate, gain, baseline and unit that the file states."""
    return _array.Metadata(
        where=path.name,
        sample_rate_hz=_number(path, listed, _array.first(known, _array.RATE_NAMES)),
        gain_per_mv=_number(path, listed, _array.first(known, _array.GAIN_NAMES)),
        baseline=_number(path, listed, _array.first(known, _array.BASELINE_NAMES)),
        unit=_text(path, listed, _array.first(known, _array.UNIT_NAMES)),
    )


def _number(path: Path, listed: dict[str, Variable], name: str | None) -> float | None:
    if text := _text(path, listed, name):
        return _recording.parse_number(text)
    if name is None or math.prod(listed[name].shape) != 1:
        return None
    return float(_matlab_5.load(path, listed[name]).item())


def _has_no_header(path: Path) -> bool:
    """Returns whether no WFDB header names the file, which would be part of its record."""
    return wfdb_header.of_signal_file(path) is None


FORMAT = Format(name="MATLAB 5", suffixes=(".mat",), looks_like=_has_no_header, open=open_mat)
