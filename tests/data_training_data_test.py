"""The prepared data sets of a run."""

import dataclasses

import made_index
import numpy as np
import pytest
from culprits import refuses

from clef_jax.config import TrainConfig
from clef_jax.data import selection, training_data

BOTH = "mimic_iv_ecg:0.75 any_rate:0.25"


def make_config(data_dir="", dataset="a b", **settings):
    return TrainConfig(data_dir=str(data_dir), workdir="", dataset=dataset, **settings)


def with_risk(index, risk):
    return dataclasses.replace(index, risk=np.resize(risk, index.num_records).astype(np.float32))


def test_two_data_sets_are_opened_with_their_weights(mixed_dir):
    data = training_data.load(make_config(mixed_dir, BOTH))
    assert data.weights == (0.75, 0.25)
    assert data.sample_rate_hz == 500
    assert data.window_samples(2.0) == (1000, 600)
    assert data.stored_samples(2.0) == (600, 1000)
    assert np.isfinite(data.indexes[1].risk).sum() == 38
    identity = data.identity()
    assert set(identity.values()) == {index.fingerprint for index in data.indexes}
    for about, index in zip(data.describe(), data.indexes, strict=True):
        assert about["fingerprint"] == index.fingerprint
        assert about["settings"] == index.settings
    stored, filled = data.describe()
    assert (stored["score"], filled["score"]) == ("score2", "age_sex")
    assert filled["leads"] == ["I"]


def test_one_data_set_is_used_as_it_is(mixed_dir):
    data = training_data.load(make_config(mixed_dir, "any_rate"))
    (index,) = data.indexes
    assert data.identity() == {"data set": index.fingerprint}
    assert (data.sample_rate_hz, data.stored_samples(2.0)) == (300, ())
    assert np.isnan(index.risk).all()
    assert data.cohort_quantiles is index.cohort_quantiles
    other_rate = training_data.load(make_config(mixed_dir, "any_rate", encoder_rate_hz=100.0))
    assert (other_rate.sample_rate_hz, other_rate.stored_samples(2.0)) == (100, (600,))


def test_validation_patients_are_those_of_the_data_sets_that_have_enough(monkeypatch):
    sizes = {"a": 40, "b": 10, "c": 60}
    indexes = [with_risk(made_index.make(name, 100), [0.1]) for name in ("a", "b", "c", "d")]
    data = training_data.of_indexes(indexes, make_config(dataset="a:1 b:1 c:3 d:5"))

    def splits(version_dir):
        return ("train", "validation") if version_dir.name in sizes else ("train",)

    def load(version_dir, split):
        made = made_index.make(version_dir.name, sizes[version_dir.name])
        return dataclasses.replace(with_risk(made, [0.2]), split=split)

    monkeypatch.setattr(training_data.index_lib, "splits", splits)
    monkeypatch.setattr(training_data.index_lib, "load", load)
    kept = training_data.for_checks(data, 32)
    assert [index.dataset for index in kept.indexes] == ["a/1.0.0", "c/1.0.0"]
    assert {index.split for index in kept.indexes} == {"validation"}
    assert kept.weights == pytest.approx((0.25, 0.75))
    assert training_data.for_checks(data, 100) is data


def test_quantiles_count_patients_by_weight():
    low = with_risk(made_index.make("a", 500), np.linspace(0, 0.1, 7))
    high = with_risk(made_index.make("b", 50), np.linspace(0.2, 0.4, 5))
    unknown = made_index.make("c", 80)
    data = training_data.of_indexes([low, high, unknown], make_config(dataset="a:1 b:3 c:9"))
    quantiles = data.cohort_quantiles
    assert (quantiles[0], quantiles[-1]) == pytest.approx((0, 0.4))
    assert (quantiles < 0.15).mean() == pytest.approx(0.25, abs=0.02)
    assert (np.diff(quantiles) >= 0).all()
    alone = training_data.of_indexes([unknown, unknown], make_config())
    assert np.isnan(alone.cohort_quantiles).all()


def test_quantiles_of_equal_weights_are_those_of_the_patients():
    risks = np.random.default_rng(0).random(100)
    halves = [with_risk(made_index.make(n, 50), risks) for n in ("a", "b")]
    data = training_data.of_indexes(halves, make_config(dataset="a b"))
    first = np.concatenate([index.risk[index.patient_offset[:-1]] for index in halves])
    want = np.quantile(first, np.linspace(0, 1, 101))
    np.testing.assert_allclose(data.cohort_quantiles, want, atol=1e-6)


def test_a_condition_excludes_where_its_field_is_known(mixed_dir):
    data = training_data.load(make_config(mixed_dir, BOTH))
    ours, other = selection.exclude_each(data.indexes, "patient_id=p07,p08")
    assert ours is data.indexes[0]
    assert other.num_patients == 38
    for text, problem in (
        ("strat_fold=1", "unknown_field"),
        ("patient_id=nobody", "excludes_nothing"),
    ):
        with refuses(text.partition("=")[0], problem=problem):
            selection.exclude_each(data.indexes, text)
