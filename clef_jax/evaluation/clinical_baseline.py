"""Clinical baseline: predicts tasks from age, sex and systolic pressure.

An encoder that predicts no better adds nothing to these three.

Shapes: N recordings, M columns of metadata, K outputs.
"""

import numpy as np

from clef_jax.embedding.prepared import Embedded

COLUMNS = ("age_years", "male", "sbp_mmhg")
"""Metadata of the patient that the baseline uses."""
_TYPICAL = np.array([60.0, 0.5, 130.0])
"""Typical values, which are subtracted from the columns. They are constants, because the mean of a
split would make the features of its recordings depend on each other."""
_SAME_CORRELATION = 0.999
"""Correlation above which a column counts as identical to the target."""


def features(split: Embedded, excluded: tuple[str, ...] = ()) -> np.ndarray:
    """Returns the values of the columns and whether they are known, float32 [N, 2 M].

    Rows are NaN where an encoder has no features either, so that all models predict the same
    recordings.

    Args:
        split: Embedded split with the metadata of its recordings.
        excluded: Columns to omit, because they are the target of the task.
    """
    values = _values(split)
    known = np.isfinite(values)
    centred = np.where(known, values - _TYPICAL[None, :], 0.0)
    kept = [column for column, name in enumerate(COLUMNS) if name not in excluded]
    columns = np.concatenate([centred[:, kept], known[:, kept]], axis=1).astype(np.float32)
    columns[~split.usable] = np.nan
    return columns


def leaking(split: Embedded, target: np.ndarray) -> tuple[str, ...]:
    """Returns the columns that are the target itself, possibly shifted and scaled.

    Args:
        split: Embedded split with the metadata of its recordings.
        target: Targets of the task, [N, K]; NaN where unknown.
    """
    return tuple(
        name
        for name, values in zip(COLUMNS, _values(split).T, strict=True)
        if any(_is_same(values, column) for column in target.T)
    )


def _values(split: Embedded) -> np.ndarray:
    """Returns the columns, float64 [N, M]; NaN where unknown."""
    return np.array([[record[name] for name in COLUMNS] for record in split.metadata], float)


def _is_same(values: np.ndarray, target: np.ndarray) -> bool:
    known = np.isfinite(values) & np.isfinite(target)
    values, target = values[known], target[known]
    if len(values) < 2 or values.std() == 0 or target.std() == 0:
        return False
    return bool(abs(np.corrcoef(values, target)[0, 1]) > _SAME_CORRELATION)
