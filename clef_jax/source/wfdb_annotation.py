"""Reads the annotations of WFDB records: beats, and the notes that mark where rhythms begin."""

import dataclasses
import pathlib

import numpy as np

from clef_jax.data.quality import Defect

# What wfdb's own reader throws at malformed files.
_WFDB_ERRORS = (ValueError, IndexError, KeyError, TypeError, AttributeError, OSError)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Annotations:
    """N annotations in the order of time."""

    sample: np.ndarray
    """int64 [N]."""
    symbol: tuple[str, ...]
    """`N` for a normal beat, `V` for a ventricular one, `+` for a change of rhythm."""
    note: tuple[str, ...]
    """For example `(AFIB` at a change of rhythm; empty for most."""


def read(path: pathlib.Path, extension: str = "atr") -> Annotations:
    """Reads `path`.EXTENSION.

    Raises:
        Defect: there is none, or it cannot be read.
    """
    import wfdb  # half a second to import, and most archives never need it

    file = path.with_name(f"{path.name}.{extension}")
    if not file.is_file():
        raise Defect("missing_annotation", f"The annotation file {file.name} does not exist.")
    try:
        found = wfdb.rdann(str(path), extension)
    except _WFDB_ERRORS as error:
        detail = f"wfdb cannot read {file.name} ({type(error).__name__}: {error})."
        raise Defect("unreadable", detail) from error
    assert found.symbol is not None
    assert found.aux_note is not None
    return Annotations(
        sample=np.asarray(found.sample, np.int64),
        symbol=tuple(found.symbol),
        note=tuple(note.strip("\0 ") for note in found.aux_note),
    )
