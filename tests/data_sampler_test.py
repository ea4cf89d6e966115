"""Which patients, records, leads and starts are sampled; more in data_pipeline_test.py."""

import hashlib

import made_index
import numpy as np
import pytest
from culprits import refuses

from clef_jax.config import TrainConfig
from clef_jax.data import training_data

DIGEST = "e9678137f7aaf557105afd5f62ee2002b95b5d65ffbbfdf666ef884737926ae7"
"""SHA-256 of draws from one data set, as they were before runs could have several."""


def make_sampler(index, **settings):
    settings = {"global_batch_size": 8, "window_seconds": 4.0, **settings}
    config = TrainConfig(data_dir="", workdir="", **settings)
    return training_data.make_sampler(training_data.of_indexes([index], config), config)


def test_draws_from_one_data_set_never_change():
    digest = hashlib.sha256()
    for window_start in ("record_start", "random"):
        sampler = make_sampler(made_index.make(), window_start=window_start)
        for step in (0, 3, 5, 6, 7, 100, 1000):
            drawn = sampler.sample(step)
            for values in (drawn.row, drawn.lead, drawn.start):
                digest.update(np.ascontiguousarray(values, np.int64).tobytes())
            assert not drawn.source.any()
    assert digest.hexdigest() == DIGEST


def test_requested_leads_that_the_data_set_has_are_sampled():
    index = made_index.make(lead_names=("V5", "X", "I"))
    sampler = make_sampler(index, leads="I,II,V5")
    assert sampler.lead_names == ("V5", "I")
    assert set(sampler.sample(0).lead.ravel()) == {0, 2}


@pytest.mark.parametrize("lead_names", [("X", "Y"), ("II",)])
def test_a_data_set_without_any_requested_lead_is_refused(lead_names):
    index = made_index.make("lone", lead_names=lead_names)
    with refuses("lone", lead_names[0], problem="missing_lead"):
        make_sampler(index, leads="I")


def test_consecutive_patients_are_passes_in_new_orders_without_repetitions():
    sampler = make_sampler(made_index.make(num_patients=20))
    first = sampler.consecutive_patients(0, 20)
    second = sampler.consecutive_patients(20, 20)
    assert sorted(first) == sorted(second) == list(range(20))
    assert (first != second).any()
    np.testing.assert_array_equal(sampler.consecutive_patients(5, 7), first[5:12])
    counts = np.zeros(20, int)
    for draw in range(0, 19 * 200, 19):  # nearly as many as there are, over the ends of passes
        drawn = sampler.consecutive_patients(draw, 19)
        assert len(set(drawn)) == 19
        np.testing.assert_array_equal(drawn, sampler.consecutive_patients(draw, 19))
        counts += np.bincount(drawn, minlength=20)
    assert counts.min() > 0.93 * counts.max()
