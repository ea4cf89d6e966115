"""What is sampled from several data sets is a function of seed and step, with exact shares."""

import made_index
import numpy as np
import pytest
from culprits import refuses

from clef_jax.config import TrainConfig
from clef_jax.data import training_data
from clef_jax.data.mixed_sampler import CYCLE_STEPS

INDEXES = (
    made_index.make("a", 500, seed=1),
    made_index.make("b", 69, lead_names=("I",), rate_hz=300.0, seed=2),
    made_index.make("c", 900, lead_names=("V2", "II"), seed=3),
)
WEIGHTS = (0.5, 0.2, 0.3)


def make_sampler(batch_from="mixture", dataset="a:.5 b:.2 c:.3", indexes=INDEXES, **settings):
    settings = {"global_batch_size": 64, "window_seconds": 4.0, **settings}
    config = TrainConfig(
        data_dir="", workdir="", dataset=dataset, batch_from=batch_from, **settings
    )
    data = training_data.of_indexes(indexes, config)
    return training_data.make_sampler(data, config)


def patients(drawn):
    """The data set and the patient of each row."""
    rows = zip(drawn.source, drawn.row, strict=True)
    return [(source, INDEXES[source].patient[row]) for source, row in rows]


@pytest.fixture(scope="module")
def drawn():
    """The draws of a complete cycle."""
    sampler = make_sampler()
    return [sampler.sample(step) for step in range(CYCLE_STEPS)]


def test_shares_of_a_thousand_steps_are_the_weights(drawn):
    counts = np.array([np.bincount(x.source, minlength=3) for x in drawn])
    some = counts[:1000]
    np.testing.assert_allclose(some.sum(axis=0) / some.sum(), WEIGHTS, atol=1e-3)
    np.testing.assert_allclose(counts.sum(axis=0), np.array(WEIGHTS) * counts.sum(), atol=0.51)
    assert (np.abs(counts - 64 * np.array(WEIGHTS)) < 1).all()
    for step in range(0, 1000, 20):
        assert len(set(patients(drawn[step]))) == 64


def test_batches_of_one_data_set_are_as_frequent_as_its_weight():
    sampler = make_sampler("one_data_set")
    counts = np.array([sampler.draws(step)[0] for step in range(1000)])
    assert (counts.sum(axis=1) == 1).all()
    np.testing.assert_allclose(counts.mean(axis=0), WEIGHTS, atol=1e-2)  # 24 steps are left
    assert (np.diff(counts.argmax(axis=1)) != 0).sum() > 300  # mixed over time
    for step in range(0, 1000, 50):
        drawn = sampler.sample(step)
        assert set(drawn.source) == {counts[step].argmax()}
        assert len(set(patients(drawn))) == 64


@pytest.mark.parametrize("batch_from", ["mixture", "one_data_set"])
def test_draws_follow_seed_and_step(batch_from):
    sampler, again = make_sampler(batch_from), make_sampler(batch_from)
    other = make_sampler(batch_from, seed=1)
    for step in (5000, 3, 1023, 1024):
        first, second = sampler.sample(step), again.sample(step)
        for name in ("source", "row", "lead", "start"):
            np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
    assert (sampler.sample(3).row != other.sample(3).row).any()


def test_patients_of_a_data_set_are_drawn_equally_often(drawn):
    row = np.concatenate([x.row[x.source == 1] for x in drawn])
    counts = np.bincount(INDEXES[1].patient[row])
    counts = counts[counts > 0]  # some patients have no usable lead
    assert len(counts) == make_sampler().sources[1].num_patients
    assert counts.sum() == pytest.approx(1024 * 64 * 0.2, abs=1)
    assert np.ptp(counts) < 0.1 * counts.mean()


def test_each_data_set_is_sampled_on_the_leads_that_it_has():
    drawn = make_sampler(leads="I,II,V2").sample(0)
    for number, index in enumerate(INDEXES):
        names = {index.lead_names[lead] for lead in drawn.lead[drawn.source == number].ravel()}
        assert names == set(index.lead_names) & {"I", "II", "V2"}
    with refuses("c/1.0.0", "V2", problem="missing_lead"):
        make_sampler(leads="I")


def test_without_weights_every_patient_is_equally_likely():
    sampler = make_sampler(dataset="a b c")
    np.testing.assert_allclose(sampler.weights, np.array([500, 69, 900]) / 1469)
    assert sampler.steps_per_epoch == sampler.num_patients // 64


def test_more_patients_than_a_data_set_has_are_refused():
    available = make_sampler().sources[1].num_patients
    with refuses("103", "b/1.0.0", available, problem="too_few_patients"):
        make_sampler(global_batch_size=512)
    with refuses("b/1.0.0", problem="too_few_patients"):
        make_sampler("one_data_set", global_batch_size=available + 1)
    assert make_sampler().largest_batch == int(available / 0.2)
    assert make_sampler("one_data_set").largest_batch == available


def test_a_weight_that_draws_nothing_is_refused():
    with refuses("b/1.0.0", problem="weight_too_small"):
        make_sampler("one_data_set", dataset="a:1 b:1e-5 c:1")
    rare = make_sampler(dataset="a:1 b:1e-3 c:1")
    draws = np.array([rare.draws(step)[0] for step in range(1024)])
    assert (draws.sum(axis=1) == 64).all()
    assert set(draws[:, 1]) == {0, 1}
