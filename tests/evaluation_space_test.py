"""The sample of recordings that geometry measures, and its embeddings."""

import jax
import numpy as np
import pytest
from culprits import refuses

from clef_jax import mesh as mesh_lib
from clef_jax.data import index as index_lib
from clef_jax.embedding import encoder as encoder_lib
from clef_jax.evaluation import space

ONE = mesh_lib.make_mesh(jax.devices()[:1])


@pytest.fixture(scope="module")
def splits(data_dir):
    folder = index_lib.find(data_dir, "mimic_iv_ecg/all_records")
    return {split: index_lib.load(folder, split) for split in index_lib.splits(folder)}


@pytest.fixture(scope="module")
def encoder():
    return encoder_lib.random("tiny", ONE, seed=0)


@pytest.fixture(scope="module")
def layer(encoder):
    return encoder_lib.layer_slice(encoder, "last")


@pytest.fixture(scope="module")
def sample(encoder, splits, layer):
    return space.take(encoder, splits, "I", layer)


def test_embeddings_are_of_few_recordings_of_a_patient(splits, sample):
    np.testing.assert_allclose(np.linalg.norm(sample.embedding, axis=1), 1)
    assert np.bincount(sample.patient).max() <= space.RECORDINGS_OF_A_PATIENT
    num_train = sum(index.num_records for name, index in splits.items() if name == "train")
    assert sample.in_training_split.sum() <= num_train


def test_risk_and_sample_belong_together(encoder, splits, layer, sample):
    again = space.take(encoder, splits, "I", layer)
    np.testing.assert_array_equal(again.embedding, sample.embedding)
    risks = np.concatenate([index.risk for index in splits.values()])
    assert set(sample.risk[np.isfinite(sample.risk)]) <= set(risks.astype(float))


def test_other_splits_come_before_the_training_split(encoder, splits, monkeypatch):
    index = next(iter(splits.values()))
    twice = {"train": index, "validation": index}
    monkeypatch.setattr(space, "MAX_RECORDINGS", 10)
    positions = list(space._choose(twice, "I", encoder, seed=0))
    assert {split for split, _ in positions} == {"validation"}
    monkeypatch.setattr(space, "MAX_RECORDINGS", 10**6)
    positions = list(space._choose(twice, "I", encoder, seed=0))
    names = [split for split, _ in positions]
    assert names == sorted(names, reverse=True)
    assert set(names) == {"train", "validation"}
    rows = [row for split, row in positions if split == "train"]
    assert rows == sorted(set(rows))


def test_variants_are_of_the_same_recordings(sample):
    assert {f"noise of {noise:g} mV" for noise in space.NOISE_MV} <= set(sample.variants)
    for numbers, embedding in sample.variants.values():
        assert len(numbers) == len(embedding) <= space.STABILITY_RECORDINGS
        np.testing.assert_allclose(np.linalg.norm(embedding, axis=1), 1)


def test_a_missing_lead_is_named(encoder, splits, layer):
    with refuses("X1"):
        space.take(encoder, splits, "X1", layer)


def test_too_few_recordings_are_refused(encoder, splits, layer, monkeypatch):
    monkeypatch.setattr(space, "MAX_RECORDINGS", space.MIN_RECORDINGS - 1)
    with refuses(str(space.MIN_RECORDINGS)):
        space.take(encoder, splits, "I", layer)
