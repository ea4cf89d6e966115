"""Gives the recordings of a data set without clinical data a risk by age and sex.

Shapes: N records.
"""

import dataclasses

import numpy as np

from clef_jax import risk
from clef_jax.data import index as index_lib, metadata

SCORE = "age_sex"
"""Name of the score."""

_REGION = "moderate"
"""Risk region of data sets that state none."""


def fill(index: index_lib.Index) -> index_lib.Index:
    """Returns the index with the risk that `prepare --score=age_sex` would have stored.

    Reading age and sex takes a pass over all records of the split. The index itself is returned if
    any risk is known, or age and sex of no recording.
    """
    if np.isfinite(index.risk).any():
        return index
    score = risk.load()[SCORE]
    values = {name: np.full(index.num_records, np.nan) for name in score.inputs}
    for i, record in enumerate(metadata.read_records(index, np.arange(index.num_records))):
        for name, column in values.items():
            column[i] = record[name]
    for name, column in values.items():
        limits = risk.LIMITS.get(name)
        if limits is not None:
            column[limits.outside(column)] = np.nan
    known = np.isfinite(np.stack(list(values.values())))
    if not known.all(axis=0).any():
        return index
    region = index.settings.get("region", _REGION)
    return dataclasses.replace(
        index,
        risk=score.function(**values, region=region).astype(np.float32),
        completeness=known.mean(axis=0).astype(np.float32),
    )
