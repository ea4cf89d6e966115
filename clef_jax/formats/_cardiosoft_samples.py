"""Parses the samples of GE CardioSoft XML files, and finds the order of mixed leads.

Shapes: L leads, T time, N values.
"""

import re
import warnings

import numpy as np

from clef_jax.finding import Defect

_ALLOWED = re.compile(r"[-+\d.,;\s]*")
_SPACE = re.compile(r"\s+")
_GAP = re.compile(r",(?=,)")
_MIN_GAIN = 2.0
"""How many times smoother the leads must be in another order than the usual one."""


def parse(text: str, where: str) -> np.ndarray:
    """Returns the numbers of a text, float32 [N]; NaN between two commas.

    Commas, semicolons or spaces separate the numbers, and lines end with or without a comma.

    Raises:
        Defect: the text holds anything else.
    """
    if not _ALLOWED.fullmatch(text) or ("," in text and ";" in text):
        raise Defect("unreadable", f"{where} has samples that are not numbers.")
    joined = _SPACE.sub(" ", text.replace(";", ",")).strip()
    joined = joined.replace(" ,", ",").replace(", ", ",").replace(" ", ",").removesuffix(",")
    if not joined:
        return np.zeros(0, np.float32)
    joined = _GAP.sub(",nan", f"nan{joined}" if joined.startswith(",") else joined)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # NumPy warns of a text that it reads in part
        try:
            values = np.fromstring(joined, np.float64, sep=",")
        except (ValueError, DeprecationWarning):
            values = np.zeros(0)
    if len(values) != joined.count(",") + 1:
        raise Defect("unreadable", f"{where} has samples that are not numbers.")
    return values.astype(np.float32)


def unmix(values: np.ndarray, num_leads: int, block: int) -> np.ndarray:
    """Returns mixed samples by lead, [L, T]; values after the last complete second are dropped.

    CardioSoft writes a second of the first lead, then the same second of the next one. The
    description of the format has a sample of each lead instead; that order is taken if the leads
    are much smoother in it, as neighbouring samples of an ECG are similar.

    Args:
        values: samples of all leads, [N].
        num_leads: number of leads.
        block: number of samples of a second of one lead.
    """
    if num_leads == 1:
        return values[np.newaxis]
    usual, other = (_in_blocks(values, num_leads, size) for size in (block, 1))
    # In less than a second, the order cannot be found; nothing is returned.
    return other if usual.size and _roughness(other) * _MIN_GAIN < _roughness(usual) else usual


def _in_blocks(values: np.ndarray, num_leads: int, block: int) -> np.ndarray:
    num_blocks = len(values) // (num_leads * block)
    blocks = values[: num_blocks * num_leads * block].reshape(num_blocks, num_leads, block)
    return blocks.transpose(1, 0, 2).reshape(num_leads, -1)


def _roughness(signal: np.ndarray) -> float:
    """Returns the mean difference of neighbouring samples; infinity if there are none."""
    differences = np.abs(np.diff(signal))
    known = differences[np.isfinite(differences)]
    return float(known.mean()) if known.size else float("inf")
