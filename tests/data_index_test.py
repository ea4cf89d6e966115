"""Tests that the index is read back as written, and that errors name the wrong thing."""

import json
import pickle
import time

import numpy as np
import pytest
from culprits import refuses

from clef_jax.data import index

LEADS = ["I", "II", "III"]


def write(folder, quantiles=None, gain=200.0):
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    per_record = {
        "risk": np.array([0.1, np.nan, 0.3, 0.2], np.float32),
        "completeness": np.array([1, 0, 0.5, 0.5], np.float32),
        "usable_leads": np.array([0b111, 0b101, 0b100, 0b010], np.uint16),
        "gain_per_mv": np.full((4, 3), gain, np.float32) if gain else rng.random((4, 3)),
        "baseline": np.zeros((4, 3), np.int32),
        "sample_rate_hz": np.full(4, 500, np.float32),
        "num_samples": np.array([5000, 5000, 4000, 5000]),
    }
    metadata = {
        "dataset": "toy/a/1.0.0",
        "leads": LEADS,
        "fingerprint": "abc",
        "cohort_quantiles": quantiles,
        "settings": {"region": "low"},
        "splits": {"train": {"shards": ["s-0", "s-1"], "shard_lengths": [1, 3]}},
    }
    index.write(folder, metadata, {"train": index.columns([2, 1, 1], per_record)})
    return per_record


def test_everything_comes_back(tmp_path):
    folder = tmp_path / "toy" / "a" / "1.0.0"
    written = write(folder, quantiles=[n / 100 for n in range(101)])
    loaded = index.load(folder, "train")
    assert loaded.num_records == 4
    assert loaded.num_patients == 3
    np.testing.assert_array_equal(loaded.patient, [0, 0, 1, 2])
    np.testing.assert_array_equal(loaded.row, np.arange(4))
    np.testing.assert_array_equal(loaded.patient_offset, [0, 2, 3, 4])
    np.testing.assert_array_equal(loaded.risk, written["risk"])
    np.testing.assert_array_equal(loaded.usable_leads[1], [True, False, True])
    np.testing.assert_array_equal(loaded.usable_leads[3], [False, True, False])
    np.testing.assert_array_equal(loaded.gain_per_mv, written["gain_per_mv"])
    np.testing.assert_array_equal(loaded.num_samples, written["num_samples"])
    assert loaded.common_rate_hz == 500
    assert loaded.baseline.shape == (4, 3)
    assert loaded.shard_paths == (str(folder / "s-0"), str(folder / "s-1"))
    np.testing.assert_allclose(loaded.cohort_quantiles[50], 0.5)
    assert loaded.fingerprint == "abc"
    assert loaded.settings == {"region": "low"}
    again = pickle.loads(pickle.dumps(loaded))
    np.testing.assert_array_equal(again.gain_per_mv, loaded.gain_per_mv)


def test_gains_of_their_own_come_back(tmp_path):
    written = write(tmp_path / "d", gain=None)
    np.testing.assert_array_equal(
        index.load(tmp_path / "d", "train").gain_per_mv, written["gain_per_mv"]
    )


def test_unknown_cohort_quantiles_are_nan(tmp_path):
    write(tmp_path / "d")
    assert np.isnan(index.load(tmp_path / "d", "train").cohort_quantiles).all()


def test_160_000_records_load_in_a_moment(tmp_path):
    count = 160_000
    columns = index.columns(
        np.ones(count, int),
        {
            "risk": np.random.default_rng(0).random(count, np.float32),
            "completeness": np.ones(count, np.float32),
            "usable_leads": np.full(count, 7, np.uint16),
            "gain_per_mv": np.full((count, 3), 200, np.float32),
            "baseline": np.zeros((count, 3), np.int32),
            "sample_rate_hz": np.full(count, 500, np.float32),
            "num_samples": np.full(count, 5000),
        },
    )
    write(tmp_path / "d")
    np.savez_compressed(tmp_path / "d" / "index_train.npz", **columns)
    start = time.perf_counter()
    assert index.load(tmp_path / "d", "train").num_records == count
    assert time.perf_counter() - start < 2
    assert (tmp_path / "d" / "index_train.npz").stat().st_size < 3e6


def test_find_takes_the_default_config_and_the_newest_version(tmp_path):
    for version in ("1.0.0", "1.10.0", "1.9.0"):
        write(tmp_path / "toy" / "a" / version)
    write(tmp_path / "toy" / "b" / "1.0.0")
    write(tmp_path / "plain" / "2.0.0")
    (tmp_path / "toy" / ".config").mkdir()
    note = json.dumps({"default_config_name": "b"})
    (tmp_path / "toy" / ".config" / "metadata.json").write_text(note)
    assert index.find(tmp_path, "toy") == tmp_path / "toy" / "b" / "1.0.0"
    assert index.find(tmp_path, "toy/a") == tmp_path / "toy" / "a" / "1.10.0"
    assert index.find(tmp_path, "toy/a/1.9.0") == tmp_path / "toy" / "a" / "1.9.0"
    assert index.find(tmp_path, "plain") == tmp_path / "plain" / "2.0.0"
    assert index.list_prepared(tmp_path) == ["plain", "toy/a", "toy/b"]


def test_what_is_not_there_is_told(tmp_path):
    with refuses(tmp_path / "nowhere", problem="missing_folder"):
        index.find(tmp_path / "nowhere", "toy")
    write(tmp_path / "toy" / "a" / "1.0.0")
    with refuses("toy/aa", "toy/a", problem="not_prepared"):
        index.find(tmp_path, "toy/aa")
    (tmp_path / "toy" / "c" / "incomplete.XYZ_1.0.0").mkdir(parents=True)
    with refuses("toy/c", problem="half_built"):
        index.find(tmp_path, "toy/c")
    write(tmp_path / "toy" / "d" / "incomplete.XYZ_1.0.0")
    with refuses("toy/d", problem="half_built"):
        index.find(tmp_path, "toy/d")
    (tmp_path / "toy" / "e" / "unfinished_1.0.0").mkdir(parents=True)
    with refuses("toy/e", problem="half_built"):
        index.find(tmp_path, "toy/e")


@pytest.mark.parametrize("name", ["index_train.npz", index.METADATA_FILE])
@pytest.mark.parametrize("keep", [0, 0.5, 0.9])
def test_a_damaged_index_is_named(name, keep, tmp_path):
    write(tmp_path / "d")
    path = tmp_path / "d" / name
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content))])
    with refuses(path, "--overwrite", problem="damaged_index"):
        index.load(tmp_path / "d", "train")


def test_load_tells_what_is_wrong(tmp_path):
    with refuses(tmp_path, "--overwrite", problem="not_prepared"):
        index.load(tmp_path, "train")
    write(tmp_path / "d")
    with refuses("'test'", "train", problem="unknown_split"):
        index.load(tmp_path / "d", "test")
    path = tmp_path / "d" / index.METADATA_FILE
    path.write_text(path.read_text().replace('"format": 2', '"format": 99'))
    with refuses(path, "99", problem="other_format"):
        index.load(tmp_path / "d", "train")
