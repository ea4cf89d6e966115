"""What only the wfdb package can read comes out as stored and in physical units, or is refused."""

import numpy as np
import pytest
from culprits import refuses
from mimic_tree import ecg, write_record

from clef_jax.finding import Defect
from clef_jax.signal.adc import MISSING_ADC
from clef_jax.wfdb import fallback


@pytest.fixture
def record(tmp_path):
    """A record of three signals, with a gap in the second one."""
    samples = ecg(1, 700, 3)
    samples[1, 10:20] = MISSING_ADC
    write_record(tmp_path / "r", samples, leads=("I", "II", "V"), gain="100(50)/mV")
    return tmp_path / "r", samples


def test_stored_samples_of_a_window(record):
    path, samples = record
    np.testing.assert_array_equal(fallback.read_adc(path), samples)
    np.testing.assert_array_equal(fallback.read_adc(path, 5, 30), samples[:, 5:35])
    np.testing.assert_array_equal(fallback.read_adc(path, 690), samples[:, 690:])


def test_physical_samples_of_some_signals(record):
    path, samples = record
    got = fallback.read_physical(path, [2, 1], 5, 30)
    want = np.where(samples == MISSING_ADC, np.nan, (samples - 50.0) / 100)[[2, 1], 5:35]
    np.testing.assert_allclose(got, want, rtol=1e-12)
    assert fallback.read_physical(path, [0, 1], 700, 0).shape == (2, 0)


def test_rate_and_length(record):
    assert fallback.read_rate_and_length(record[0]) == (500.0, 700)


@pytest.mark.parametrize(("form", "value"), [("16", -(1 << 15)), ("212", -2048), ("80", -128)])
def test_the_smallest_value_of_a_format_means_missing(form, value):
    assert fallback.missing_value(form) == value


@pytest.mark.parametrize(
    "read",
    [
        fallback.read_adc,
        fallback.read_rate_and_length,
        lambda path: fallback.read_physical(path, [0], 0, 10),
    ],
)
def test_a_malformed_record_is_refused(read, record):
    path, _ = record
    path.with_suffix(".hea").write_text("what is this\n")
    with refuses("wfdb", "r", error=Defect, problem="unreadable"):
        read(path)


def test_samples_of_more_than_16_bits_are_refused_as_stored(tmp_path):
    header = "r 1 500 4\nr.dat 32 200/mV 32 0 0 0 0 I\n"
    (tmp_path / "r.hea").write_text(header)
    np.array([0, 1, 2, 1 << 20], "<i4").tofile(tmp_path / "r.dat")
    with refuses("16 bits", error=Defect, problem="unreadable"):
        fallback.read_adc(tmp_path / "r")
    want = np.array([[0, 1, 2, 1 << 20]]) / 200
    np.testing.assert_allclose(fallback.read_physical(tmp_path / "r", [0], 0, 4), want)
