"""Embeddings are written row by row to Parquet and NPZ, with their metadata."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from culprits import refuses
from fault_costs import lost_bytes, user_bytes
from full_disk import no_file_above

from clef_jax.embedding import settings, writer
from clef_jax.embedding.row import Row
from clef_jax.finding import Finding

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
        settings.check_suffix(tmp_path / "out.csv")


@pytest.mark.parametrize("name", ["out.parquet", "out.npz"])
def test_tables_are_replaced_and_other_files_are_not(tmp_path, name):
    path, report = tmp_path / name, tmp_path / f"{name}.quality.jsonl"
    writer.check_outputs(path, report, overwrite=False)
    write(path, 2)
    with writer.create_report(report) as file:
        file.write(Finding("a\udcff", "no_rate", None, "It has no rate.", "quarantined").to_json())
    writer.check_outputs(path, report, overwrite=False)
    for file in (path, report):
        kept = file.read_bytes()
        file.write_bytes(b'{"mine": 1}')
        with refuses(file, "--overwrite", problem="foreign_file"):
            writer.check_outputs(path, report, overwrite=False)
        writer.check_outputs(path, report, overwrite=True)
        file.write_bytes(kept)
    if name == "out.parquet":
        pq.write_table(pa.table({"embedding": [1.0]}), path)
    else:
        np.savez(path, embedding=np.ones(3))
    with refuses(path, problem="foreign_file"):
        writer.check_outputs(path, report, overwrite=False)


@pytest.mark.faults
@pytest.mark.parametrize("name", ["out.parquet", "out.npz"])
def test_a_full_disk_leaves_the_old_table(tmp_path, name, fault_log):
    path = tmp_path / name
    write(path, 3)
    before = path.read_bytes()
    at_first = user_bytes(tmp_path)
    with no_file_above(4096), refuses(path, problem="not_written"):
        write(path, 20_000)
    assert path.read_bytes() == before
    assert [item.name for item in tmp_path.iterdir()] == [name]
    fault_log(lost_bytes=lost_bytes(at_first, tmp_path))


def test_a_report_appears_when_it_is_complete(tmp_path):
    path = tmp_path / "new" / "out.quality.jsonl"

    def fail():
        with writer.create_report(path) as report:
            report.write("half")
            raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        fail()
    assert list(path.parent.iterdir()) == []
