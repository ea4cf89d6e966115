"""MATLAB 5 files (`.mat`). MATLAB 4 files with a `.hea` header are WFDB's."""

import math
from collections.abc import Iterator
from pathlib import Path

from clef_jax.finding import Defect
from clef_jax.formats import _array, _matlab_5
from clef_jax.formats._matlab_5 import Variable
from clef_jax.formats._recording import Format, Hints, Opened

_HDF5 = b"\x89HDF"


def open_mat(path: Path, hints: Hints) -> Iterator[Opened]:
    """The recordings of a MATLAB 5 file, whose rate may stand beside them, as `fs` for example.

    Raises:
        Defect: it is of another version, malformed or truncated, or holds no numbers.
    """
    with path.open("rb") as stream:
        head = stream.read(16)
    if head.startswith((_HDF5, b"MATLAB 7.3")):
        detail = f"{path.name} is a MATLAB 7.3 file; save it with -v7 instead."
        raise Defect("unknown_format", detail)
    if not head.startswith(b"MATLAB 5.0"):
        detail = f"{path.name} is no MATLAB 5 file, and there is no WFDB header beside it."
        raise Defect("unknown_format", detail)
    listed = _matlab_5.variables(path)
    known = {name.lower(): name for name in listed}
    facts = _array.Facts(
        where=path.name,
        sample_rate_hz=_number(path, listed, _array.first(known, _array.RATE_NAMES)),
        gain_per_mv=_number(path, listed, _array.first(known, _array.GAIN_NAMES)),
    )
    # Every number is an array here; what is not more than one value is a fact of some kind.
    several = (name for name, found in listed.items() if math.prod(found.shape) > 1)
    signals = _array.choose(several)
    if not signals:
        raise Defect("empty", f"{path.name} holds no signal.")
    for name in signals:
        part = name if len(signals) > 1 else ""
        yield from _array.recordings(_matlab_5.load(path, listed[name]), hints, facts, part)


def _number(path: Path, listed: dict[str, Variable], name: str | None) -> float | None:
    if name is None or math.prod(listed[name].shape) != 1:
        return None
    return float(_matlab_5.load(path, listed[name]).item())


FORMAT = Format(name="MATLAB 5", suffixes=(".mat",), open=open_mat)
