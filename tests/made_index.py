"""Indexes of data sets that are nowhere stored, for tests of what is sampled from them."""

import pathlib

import numpy as np

from clef_jax import leads
from clef_jax.data import index as index_lib


def make(name="toy", num_patients=50, *, lead_names=leads.STANDARD_12, rate_hz=500.0, seed=0):
    """An index of one to three recordings of ten seconds for each patient."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, 4, num_patients)
    n, num_leads = counts.sum(), len(lead_names)
    return index_lib.Index(
        version_dir=pathlib.Path(name),
        dataset=f"{name}/1.0.0",
        split="train",
        lead_names=tuple(lead_names),
        sample_rate_hz=np.full(n, rate_hz, np.float32),
        num_samples=np.full(n, round(10 * rate_hz)),
        patient=np.repeat(np.arange(num_patients), counts),
        row=np.arange(n),
        risk=np.full(n, np.nan, np.float32),
        completeness=np.zeros(n, np.float32),
        usable_leads=rng.random((n, num_leads)) < 0.9,
        gain_per_mv=np.ones((n, num_leads), np.float32),
        baseline=np.zeros((n, num_leads), np.int32),
        patient_offset=np.concatenate([[0], np.cumsum(counts)]),
        cohort_quantiles=np.full(101, np.nan, np.float32),
        fingerprint=f"fingerprint of {name}",
        shard_paths=(),
        shard_lengths=np.array([n]),
        settings={"region": "moderate"},
    )
