"""Embeddings reach Parquet and NPZ row by row, with where they come from."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from culprits import refuses

from clef_jax.embedding import writer
from clef_jax.embedding.row import Row

FACTS = {"model": "tiny", "fingerprint": "f", "layer": "last"}


def row(number):
    return Row(
        recording=f"folder/record {number} ä",
        lead="aVR",
        start_seconds=10.0 * number,
        duration_seconds=10.0,
        num_windows=1,
        missing_fraction=0.25,
        problems=("nan_run", "flat_run") if number % 2 else (),
        usable=number % 2 == 0,
        embedding=np.arange(3, dtype=np.float32) + number,
    )


def write(path, count):
    with writer.create(path, 3, FACTS) as add:
        for number in range(count):
            add(row(number))


@pytest.mark.parametrize("count", [0, 3, 5000])
def test_parquet_holds_every_row(tmp_path, count):
    path = tmp_path / "new" / "out.parquet"
    write(path, count)
    found = pq.read_table(path)
    assert found.num_rows == count
    assert json.loads(found.schema.metadata[b"clef_jax"]) == FACTS
    features = np.array(found["embedding"].to_pylist(), np.float32).reshape(-1, 3)
    np.testing.assert_array_equal(
        features, [row(n).embedding for n in range(count)] or np.zeros((0, 3))
    )
    for number in range(min(count, 3)):
        stored, given = found.slice(number, 1).to_pylist()[0], row(number)
        assert stored["recording"] == given.recording
        assert tuple(stored["problems"]) == given.problems
        assert stored["usable"] == given.usable
        assert stored["start_seconds"] == given.start_seconds


@pytest.mark.parametrize("count", [0, 5000])
def test_npz_holds_every_row_and_no_pickle(tmp_path, count):
    path = tmp_path / "out.npz"
    write(path, count)
    with np.load(path, allow_pickle=False) as found:
        assert found["embedding"].shape == (count, 3)
        assert found["embedding"].dtype == np.float32
        assert json.loads(str(found["clef_jax"])) == FACTS
        for number in range(min(count, 3)):
            np.testing.assert_array_equal(found["embedding"][number], row(number).embedding)
            assert found["recording"][number] == row(number).recording
            assert tuple(found["problems"][number].split()) == row(number).problems
            assert found["usable"][number] == row(number).usable


@pytest.mark.parametrize("name", ["out.parquet", "out.npz"])
def test_a_failure_leaves_nothing_behind(tmp_path, name):
    def fail():
        with writer.create(tmp_path / name, 3, FACTS) as add:
            add(row(0))
            raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_another_kind_of_file_is_refused(tmp_path):
    with refuses("out.csv", ".parquet", ".npz"):
        writer.check(tmp_path / "out.csv")
