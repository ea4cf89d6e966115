"""The comparison with independent readers: it agrees with what is right and sees what is wrong."""

import argparse

import benchmark_modules
import numpy as np
import pytest
from prepare_test import make_source

from clef_jax import formats
from clef_jax.simulation import fixture

pytest.importorskip("wfdb")
real_data = benchmark_modules.load("real_data")
DATASET = "mimic_iv_ecg/all_records"


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return make_source(tmp_path_factory.mktemp("real"))


@pytest.fixture(scope="module")
def arguments(tmp_path_factory):
    data_dir = tmp_path_factory.mktemp("data")
    return argparse.Namespace(data_dir=data_dir, expected=None, workers=1)


def test_prepared_data_agree(source, arguments):
    row = real_data.compare_prepared(DATASET, source, arguments)
    assert row.disagreements == []
    assert (row.recordings, row.samples) == (11, 11 * 12 * 5000)
    assert row.values == 11 * (2 + 2 * 12 + 4)
    assert row.not_compared == {"missing_file": 1}


def test_every_difference_of_prepared_data_is_seen(source, arguments, tmp_path, monkeypatch):
    read_wfdb = real_data.independent_readers.read_wfdb

    def read_otherwise(header):
        reference = read_wfdb(header)
        if header.stem == "40000002":
            reference.adc[3, 17] += 1
            reference.gain_per_mv[0] *= 2
        return reference

    monkeypatch.setattr(real_data.independent_readers, "read_wfdb", read_otherwise)
    monkeypatch.setattr(real_data.prepare, "main", lambda flags: None)  # the folder is prepared
    table = tmp_path / "expected.csv"
    path = "files/p1000/p10000001/s40000001/40000001"
    table.write_text(f"path,age_years,male\n{path},41,1\n")  # she is a woman
    arguments = argparse.Namespace(**vars(arguments) | {"expected": table})
    row = real_data.compare_prepared(DATASET, source, arguments)
    assert [text.partition(": ")[0].partition(" ")[2] for text in row.disagreements] == [
        "male",
        "I gain",
        "aVR",
    ]


def test_files_are_compared_or_counted(tmp_path):
    adc = np.arange(2000, dtype=np.int16).reshape(2, 1000)
    fixture.write_wfdb(
        tmp_path / "record", adc, leads=("I", "II"), sample_rate_hz=250, gain="200(5)/mV"
    )
    (tmp_path / "notes.md").write_text("No recording.")
    row = real_data.compare_files(tmp_path, None)
    assert row.disagreements == []
    assert row.recordings == 2  # the record by its header, and by its samples
    assert row.samples == 2 * 2000
    assert sum(row.not_compared.values()) == 1
    (opened,) = formats.open(tmp_path / "record.hea")
    (reference,) = real_data.independent_readers.read_file(tmp_path / "record.hea")
    reference.millivolts[1, 999] += 0.01
    real_data.compare_opened(row, "record", opened, reference)
    assert row.disagreements == ["record: 1 of 2000 samples differ"]
