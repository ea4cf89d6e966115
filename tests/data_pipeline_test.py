"""Tests that the batch of a step depends on seed and step only."""

import dataclasses

import numpy as np
import pytest
import tensorflow_datasets as tfds
from culprits import refuses

from clef_jax import leads
from clef_jax.config import TrainConfig
from clef_jax.data import index as index_lib, pipeline, raw, training_data
from clef_jax.signal.adc import MISSING_ADC


@pytest.fixture(scope="module")
def index(data_dir):
    return index_lib.load(index_lib.find(data_dir, "mimic_iv_ecg/all_records"), "train")


def make_config(**settings):
    settings = {"global_batch_size": 8, **settings}
    return TrainConfig(data_dir="", workdir="", dataset="mimic_iv_ecg/all_records", **settings)


def make_sampler_of(index, **settings):
    return pipeline.make_sampler(index, make_config(**settings))


def fake_index(index, usable):
    """Returns the same index with other usable leads."""
    return dataclasses.replace(index, usable_leads=usable)


def test_draws_follow_seed_and_step(index):
    sampler, again, other = (
        make_sampler_of(index),
        make_sampler_of(index),
        make_sampler_of(index, seed=1),
    )
    for step in (0, 3, 1000):
        np.testing.assert_array_equal(sampler.sample(step).row, again.sample(step).row)
        np.testing.assert_array_equal(sampler.sample(step).lead, again.sample(step).lead)
    assert (sampler.sample(0).row != other.sample(0).row).any()


def test_a_pass_meets_each_patient_at_most_once_and_passes_differ(index):
    sampler = make_sampler_of(index)
    passes = []
    for epoch in range(2):
        steps = range(epoch * sampler.steps_per_epoch, (epoch + 1) * sampler.steps_per_epoch)
        rows = np.concatenate([sampler.sample(step).row for step in steps])
        patients = index.patient[index.position(rows)]
        assert len(np.unique(patients)) == len(patients) == sampler.steps_per_epoch * 8
        passes.append(patients)
    assert (passes[0] != passes[1]).any()


def test_every_record_of_a_patient_is_drawn(index):
    sampler = make_sampler_of(index)
    count = np.bincount(index.patient)
    assert count.max() > 1, "the cohort must hold a patient with several records"
    rows = np.concatenate([sampler.sample(step).row for step in range(400)])
    assert set(rows) == set(index.row[index.usable_leads.any(axis=1)])
    # Patients are equally likely, so the records of one with many are each drawn less often.
    patients = np.bincount(index.patient[index.position(rows)])
    assert patients.max() < 1.5 * patients[patients > 0].min()


def test_second_view_keeps_the_lead_as_often_as_the_paper_says(index):
    sampler = make_sampler_of(index)
    lead = np.concatenate([sampler.sample(step).lead for step in range(1000)])
    want = 0.8 + 0.2 / 12
    error = np.sqrt(want * (1 - want) / len(lead))
    assert abs(np.mean(lead[:, 0] == lead[:, 1]) - want) < 4 * error
    assert np.bincount(lead.ravel(), minlength=12).min() > 0.9 * lead.size / 12


def test_unusable_leads_are_never_drawn(index):
    usable = np.zeros_like(index.usable_leads)
    usable[:, [1, 7]] = True
    sampler = make_sampler_of(fake_index(index, usable))
    lead = np.concatenate([sampler.sample(step).lead for step in range(50)])
    assert set(lead.ravel()) == {1, 7}


def test_records_without_the_lead_are_left_out_and_counted(index):
    usable = np.ones_like(index.usable_leads)
    usable[:5, 0] = False
    sampler = make_sampler_of(fake_index(index, usable), leads="I", global_batch_size=4)
    draws = [sampler.sample(step) for step in range(100)]
    assert sampler.num_excluded == 5
    assert not set(np.concatenate([d.row for d in draws])) & set(index.row[:5])
    assert {*np.concatenate([d.lead for d in draws]).ravel()} == {0}


def test_more_pairs_than_patients_is_refused(index):
    with refuses("--global-batch-size=10000", index.num_patients, problem="too_few_patients"):
        make_sampler_of(index, global_batch_size=10_000)


def test_batches_hold_the_stored_samples(index):
    config = make_config()
    sampler = pipeline.make_sampler(index, config)
    batch = next(pipeline.make_batches(sampler, config, first_step=2))
    builder = tfds.builder_from_directory(index.version_dir)
    source = builder.as_data_source("train")
    draw = sampler.sample(2)
    for i, row in enumerate(draw.row):
        example = source[int(row)]
        names = [name.decode() for name in example["lead_names"]]
        for view in range(2):
            name = leads.STANDARD_12[batch["lead"][i, view]]
            stored = example["signal"][names.index(name)]
            np.testing.assert_array_equal(batch["adc"][i, view], stored)
        np.testing.assert_allclose(batch["risk"][i], example["risk"])
        np.testing.assert_allclose(batch["completeness"][i], example["completeness"])
        np.testing.assert_allclose(batch["gain_per_mv"][i], example["gain_per_mv"][draw.lead[i]])


def test_views_start_anywhere_if_asked(index):
    config = make_config(window_start="random", window_seconds=4.0)
    sampler = pipeline.make_sampler(index, config)
    starts = np.concatenate([sampler.sample(step).start for step in range(100)])
    assert starts.min() >= 0
    assert starts.max() <= 3000
    assert np.ptp(starts) > 2800
    assert (starts[:, 0] != starts[:, 1]).mean() > 0.99
    np.testing.assert_array_equal(
        sampler.sample(7).start, pipeline.make_sampler(index, config).sample(7).start
    )
    plain = make_sampler_of(index, window_seconds=4.0)
    assert not plain.sample(7).start.any()
    np.testing.assert_array_equal(plain.sample(7).row, sampler.sample(7).row)
    np.testing.assert_array_equal(plain.sample(7).lead, sampler.sample(7).lead)


def test_the_samples_are_those_from_the_start_on(index):
    config = make_config(window_start="random", window_seconds=4.0)
    sampler = pipeline.make_sampler(index, config)
    draw, reader = sampler.sample(2), raw.Reader(index)
    batch = next(pipeline.make_batches(sampler, config, first_step=2))
    for place in range(8):
        whole = reader.read(draw.row[place : place + 1], draw.lead[place : place + 1])[0]
        for view in range(2):
            first = draw.start[place, view]
            want = whole[view, first : first + 2000]
            np.testing.assert_array_equal(batch["adc"][place, view], want)


def test_a_window_as_long_as_the_record_has_one_start(index):
    sampler = make_sampler_of(index, window_start="random")
    assert not sampler.sample(0).start.any()


def test_starting_late_gives_the_same_batches(index):
    config = make_config()
    sampler = pipeline.make_sampler(index, config)
    stream = pipeline.make_batches(sampler, config, first_step=0)
    straight = [next(stream) for _ in range(4)][3]
    late = next(pipeline.make_batches(sampler, config, first_step=3))
    for name in straight:
        np.testing.assert_array_equal(straight[name], late[name])


@pytest.mark.slow
def test_any_number_of_readers_gives_the_same_batches(index):
    def batches(first_step, num, **settings):
        config = make_config(**settings)
        stream = pipeline.make_batches(
            pipeline.make_sampler(index, config), config, first_step=first_step
        )
        return [next(stream) for _ in range(num)]

    want = batches(0, 6)
    got = batches(0, 3, read_processes=2) + batches(3, 3, read_threads=3, read_ahead_batches=1)
    for first_batch, second_batch in zip(got, want, strict=True):
        for name in second_batch:
            np.testing.assert_array_equal(first_batch[name], second_batch[name])


@pytest.mark.parametrize("num_processes", [2, 4])
def test_a_run_goes_on_with_other_numbers_of_hosts(index, monkeypatch, num_processes):
    config = make_config()
    sampler = pipeline.make_sampler(index, config)
    stream = pipeline.make_batches(sampler, config, first_step=0)
    whole = [next(stream) for _ in range(5)][4]
    monkeypatch.setattr(pipeline.jax, "process_count", lambda: num_processes)
    parts = []
    for process in range(num_processes):
        monkeypatch.setattr(pipeline.jax, "process_index", lambda process=process: process)
        parts.append(next(pipeline.make_batches(sampler, config, first_step=4)))
    for name in whole:
        joined = np.concatenate([part[name] for part in parts])
        np.testing.assert_array_equal(joined, whole[name])


def test_processes_share_the_batch_in_order(index, monkeypatch):
    config = make_config()
    sampler = pipeline.make_sampler(index, config)
    whole = next(pipeline.make_batches(sampler, config, first_step=0))
    monkeypatch.setattr(pipeline.jax, "process_count", lambda: 2)
    parts = []
    for process in range(2):
        monkeypatch.setattr(pipeline.jax, "process_index", lambda process=process: process)
        parts.append(next(pipeline.make_batches(sampler, config, first_step=0)))
    for name in whole:
        joined = np.concatenate([part[name] for part in parts])
        np.testing.assert_array_equal(joined, whole[name])


def test_a_window_longer_than_the_records_is_refused(index):
    with refuses("--window-seconds", "15000", "5000", problem="window_too_long"):
        pipeline.make_sampler(index, make_config(window_seconds=30.0))


def test_records_shorter_than_a_window_are_left_out(index):
    lengths = index.num_samples.copy()
    lengths[::2] = 4000
    some = dataclasses.replace(index, num_samples=lengths)
    sampler = pipeline.make_sampler(some, make_config())
    assert sampler.num_excluded >= (lengths == 4000).sum()
    rows = np.concatenate([sampler.sample(step).row for step in range(20)])
    assert (lengths[index.position(rows)] == 5000).all()
    short = pipeline.make_sampler(some, make_config(window_seconds=8.0))
    assert short.num_excluded < sampler.num_excluded


def test_records_of_several_rates_are_refused(index):
    rates = index.sample_rate_hz.copy()
    rates[0] = 250
    with refuses("250 to 500 Hz", problem="several_rates"):
        pipeline.make_sampler(dataclasses.replace(index, sample_rate_hz=rates), make_config())


BOTH = "mimic_iv_ecg:0.5 any_rate:0.5"


@pytest.fixture(scope="module")
def mixed(mixed_dir):
    """Settings, data and sampler of a run on two data sets of other leads and rates."""
    config = dataclasses.replace(
        make_config(window_seconds=2.0), data_dir=str(mixed_dir), dataset=BOTH
    )
    data = training_data.load(config)
    return config, data, pipeline.make_sampler(data, config)


def test_mixed_batches_hold_the_stored_samples_and_their_lengths(mixed):
    config, data, sampler = mixed
    batch = next(pipeline.make_batches(sampler, config, first_step=3))
    drawn = sampler.sample(3)
    assert batch["adc"].shape == (8, 2, 1000)
    lengths = np.array(sampler.stored_samples)[batch["stored_length"]]
    np.testing.assert_array_equal(lengths, np.where(drawn.source == 0, 1000, 600))
    assert set(drawn.source) == {0, 1}
    for i, (source, row) in enumerate(zip(drawn.source, drawn.row, strict=True)):
        index, length = data.indexes[source], lengths[i]
        want = raw.Reader(index).read([row], drawn.lead[i : i + 1], length)[0]
        np.testing.assert_array_equal(batch["adc"][i, :, :length], want)
        assert (batch["adc"][i, :, length:] == MISSING_ADC).all()
        position = index.position(row)
        assert batch["risk"][i] == pytest.approx(index.risk[position], nan_ok=True)
        name = leads.STANDARD_12[batch["lead"][i, 0]]
        assert name == index.lead_names[drawn.lead[i, 0]]
    np.testing.assert_array_equal(batch["risk"], pipeline.sampled_risk(sampler, 3))
    ids = pipeline.sampled_records(sampler, 3)
    assert [":p" in text for text in ids] == (drawn.source == 1).tolist()


def test_processes_share_a_mixed_batch_in_order(mixed, monkeypatch):
    config, _, sampler = mixed
    whole = next(pipeline.make_batches(sampler, config, first_step=9))
    monkeypatch.setattr(pipeline.jax, "process_count", lambda: 4)
    parts = []
    for process in range(4):
        monkeypatch.setattr(pipeline.jax, "process_index", lambda process=process: process)
        parts.append(next(pipeline.make_batches(sampler, config, first_step=9)))
    for name in whole:
        joined = np.concatenate([part[name] for part in parts])
        np.testing.assert_array_equal(joined, whole[name])


def test_a_batch_of_one_data_set_has_rows_of_that_one_only(mixed):
    config, data, _ = mixed
    config = dataclasses.replace(config, batch_from="one_data_set")
    stream = pipeline.make_batches(pipeline.make_sampler(data, config), config, first_step=0)
    numbers = [set(next(stream)["stored_length"].tolist()) for _ in range(12)]
    assert {len(number) for number in numbers} == {1}
    assert set.union(*numbers) == {0, 1}
