"""Tests that records which only wfdb reads are returned as stored, sample by sample."""

import warnings

import numpy as np
import pytest
from culprits import refuses
from mimic_tree import ecg, write_record

from clef_jax.finding import Defect
from clef_jax.signal.adc import MISSING_ADC
from clef_jax.wfdb import fallback

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # pandas complains about wfdb's own code as it is imported
    import wfdb

pytestmark = pytest.mark.filterwarnings("ignore:The inplace keyword")  # within wfdb.wrsamp


@pytest.fixture
def record(tmp_path):
    """A record of three signals, with a gap in the second one."""
    samples = ecg(1, 700, 3)
    samples[1, 10:20] = MISSING_ADC
    write_record(tmp_path / "r", samples, leads=("I", "II", "V"), gain="100(50)/mV")
    return tmp_path / "r", samples


def test_stored_samples_of_some_signals_and_frames(record):
    path, samples = record
    np.testing.assert_array_equal(fallback.read_frames(path, [0, 1, 2], 0, 700), samples)
    np.testing.assert_array_equal(fallback.read_frames(path, [2, 1], 5, 30), samples[[2, 1], 5:35])


def test_all_samples_of_a_frame_are_returned(tmp_path):
    samples = np.arange(24, dtype="<i2")
    samples.tofile(tmp_path / "r.dat")
    (tmp_path / "r.hea").write_text("r 1 100 8\nr.dat 16x3 200/mV 16 0 0 0 0 I\n")
    np.testing.assert_array_equal(fallback.read_frames(tmp_path / "r", [0], 2, 3), [samples[6:15]])


def test_compressed_records_are_read(tmp_path):
    samples = ecg(1, 700, 2)
    wfdb.wrsamp(
        "r",
        fs=250,
        units=["mV"] * 2,
        sig_name=["I", "II"],
        d_signal=samples.T.astype(np.int64),
        adc_gain=[200.0] * 2,
        baseline=[0] * 2,
        fmt=["516"] * 2,
        write_dir=str(tmp_path),
    )
    got = fallback.read_frames(tmp_path / "r", [0, 1], 100, 500)
    np.testing.assert_array_equal(got, samples[:, 100:600])


def test_a_malformed_record_is_refused(record):
    path, _ = record
    path.with_suffix(".hea").write_text("what is this\n")
    with refuses("wfdb", "r", error=Defect, problem="unreadable"):
        fallback.read_frames(path, [0], 0, 10)
