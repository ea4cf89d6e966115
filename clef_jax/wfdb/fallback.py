"""Reads records in compressed storage formats with the wfdb package."""

import pathlib
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from clef_jax.errors import counted
from clef_jax.finding import Defect

_ERRORS = (ValueError, IndexError, KeyError, TypeError, AttributeError, OSError, ImportError)
"""Exceptions that wfdb raises for malformed files; the last where a codec is not installed."""


def read_frames(
    path: pathlib.Path, rows: Sequence[int], start_frame: int, num_frames: int
) -> np.ndarray:
    """Returns the stored samples, integers [len(rows), T], of some signals and frames.

    Args:
        path: path of a record of one segment, without extension.
        rows: numbers of the signals, which have the same number of samples per frame.
        start_frame: first frame.
        num_frames: number of frames, at least 1.

    Raises:
        Defect: wfdb cannot read the record, or returns fewer samples.
    """
    end = start_frame + num_frames
    try:
        record = _package().rdrecord(
            str(path),
            physical=False,
            smooth_frames=False,  # otherwise wfdb returns the mean of each frame
            sampfrom=start_frame,
            sampto=end,
            channels=list(rows),
        )
        samples = np.stack(record.e_d_signal)
        per_frame = record.samps_per_frame[0]
    except _ERRORS as error:
        detail = f"wfdb cannot read the record {path.name} ({type(error).__name__}: {error})."
        raise Defect("unreadable", detail) from error
    if samples.shape != (len(rows), num_frames * per_frame):
        detail = f"wfdb reads {samples.shape[-1]:,} of {counted(num_frames * per_frame, 'sample')}."
        raise Defect("unreadable", detail)
    return samples


def _package() -> Any:
    # Importing wfdb takes half a second, and most archives never need it.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pandas warns of wfdb's own code at import
        import wfdb

    return wfdb
