"""Recognises the files of CODE-15 %, which state neither rate nor leads nor unit.

Layout (Ribeiro et al. 2021, Zenodo 4916206): `exam_id` [N] and `tracings` [N, 4096, 12] at 400 Hz,
leads DI, DII, DIII, AVR, AVL, AVF, V1 to V6, zeros at both ends. Its documentation says both
"1e-4 V" and that volts are multiplied by 1000; the samples are millivolts, as in the conversion of
the PhysioNet Challenge 2025. The sister file of CODE-test has no ids and another order of leads,
and is not recognised.
"""

from typing import Any

import numpy as np

from clef_jax import leads
from clef_jax.formats import _hdf5_file
from clef_jax.formats._hdf5_file import Group
from clef_jax.formats._recording import Note

RATE_HZ = 400.0
LEAD_NAMES = leads.STANDARD_12
_SHAPE = (4096, 12)
_MAX_VERIFIED = 8
"""Number of recordings whose limb leads are compared."""
_MAX_RESIDUAL = 0.25
"""Largest root mean square of aVR + (I + II) / 2, as a fraction of that of the limb leads."""
_CODE_TEST = (5, 3, 4)
"""Rows of aVR, aVL and aVF in files with the order of CODE-test."""


def detect(group: Group, name: str, node: Any, where: str) -> tuple[Note, ...] | None:
    """Returns notes on what is assumed if an array has the layout of CODE-15 %; else None."""
    ids = group.arrays.get("exam_id")
    if ids is None or ids.dtype.kind not in "iu" or name.lower() != "tracings":
        return None
    if node.dtype.kind != "f" or node.shape[1:] != _SHAPE or ids.shape[:1] != node.shape[:1]:
        return None
    blocks = []
    for row in range(min(len(node), _MAX_VERIFIED)):
        block = _hdf5_file.read(node, (row, slice(0, 4096), slice(0, 12)), where)[:, :6]
        blocks.append(np.nan_to_num(block.astype(np.float64).T, posinf=0, neginf=0))
    stored = np.concatenate(blocks, axis=1)
    if _fits(stored[[0, 1, 2, *_CODE_TEST]]) and not _fits(stored):
        return None
    detail = (
        f"{where} has the layout of CODE-15 %; where nothing else is stated, 400 Hz, the leads I "
        "to V6 and millivolts were assumed."
    )
    notes = [Note("assumed_convention", detail)]
    if stored.any() and not _fits(stored):
        detail = f"The limb leads of {where} contradict each other; their order may be another."
        notes.append(Note("inconsistent_leads", detail))
    return tuple(notes)


def _fits(limb: np.ndarray) -> bool:
    """Returns whether limb leads [6, T] obey the law of Einthoven and Goldberger's equations."""
    one, two, three, right, left, foot = limb
    residuals = (two - one - three, right + (one + two) / 2, left - one + two / 2)
    residuals = np.stack([*residuals, foot - two + one / 2])
    return bool((residuals**2).mean() <= _MAX_RESIDUAL**2 * (limb**2).mean())
