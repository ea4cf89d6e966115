"""Tests that MATLAB files of WFDB records are accepted only as their headers describe them."""

import struct

import numpy as np
import pytest
import scipy.io
from culprits import refuses

from clef_jax.finding import Defect
from clef_jax.wfdb import matlab_file, record as wfdb_record

SAMPLES = np.arange(-15, 15, dtype="<i2").reshape(2, 15)


def write_matlab_5(path, samples, kind=3):
    """As wfdb2mat writes it: each element has a tag of its own, also the short name."""
    data = samples.T.tobytes()
    parts = [struct.pack("<2I2I", 6, 8, 6, 0), struct.pack("<2I2i", 5, 8, *samples.shape)]
    parts += [struct.pack("<2I8s", 1, 3, b"val"), struct.pack("<2I", kind, len(data)), data]
    body = b"".join(parts)
    head = b"MATLAB 5.0".ljust(124, b"\0") + struct.pack("<H2s2I", 256, b"IM", 14, len(body))
    path.write_bytes(head + body)


def test_a_record_of_a_matlab_5_matrix_is_read(tmp_path):
    write_matlab_5(tmp_path / "r.mat", SAMPLES)
    lines = [f"r.mat 16+192 1000.0(0)/mV 16 0    {name}" for name in ("I", "II")]
    (tmp_path / "r.hea").write_text("\n".join(["r 2 500 15", *lines]) + "\n")
    recording = wfdb_record.read(tmp_path / "r")
    np.testing.assert_array_equal(recording.signal, SAMPLES)
    assert recording.lead_names == ("I", "II")
    np.testing.assert_array_equal(recording.gain_per_mv, [1000, 1000])


def test_a_matrix_that_scipy_writes_is_accepted(tmp_path):
    scipy.io.savemat(tmp_path / "r.mat", {"val": SAMPLES})
    offset = (tmp_path / "r.mat").stat().st_size - -(-SAMPLES.nbytes // 8) * 8
    matlab_file.check(tmp_path / "r.mat", "16", SAMPLES.shape, offset)


@pytest.mark.parametrize(
    ("storage_format", "shape", "offset", "problem"),
    [
        ("16", (2, 14), 192, "header_mismatch"),
        ("16", (2, 15), 24, "header_mismatch"),
        ("32", (2, 15), 192, "unreadable"),
    ],
)
def test_another_shape_position_or_type_is_refused(
    storage_format, shape, offset, problem, tmp_path
):
    write_matlab_5(tmp_path / "r.mat", SAMPLES)
    with refuses("r.mat", error=Defect, problem=problem):
        matlab_file.check(tmp_path / "r.mat", storage_format, shape, offset)


def test_compressed_and_foreign_files_are_refused(tmp_path):
    file = tmp_path / "r.mat"
    scipy.io.savemat(file, {"val": SAMPLES}, do_compression=True)
    for content in (file.read_bytes(), b"MATLAB 5.0", b"", bytes(200)):
        file.write_bytes(content)
        with refuses("r.mat", error=Defect, problem="unreadable"):
            matlab_file.check(file, "16", SAMPLES.shape, 192)


def test_samples_of_8_bits_that_take_16_are_refused(tmp_path):
    write_matlab_5(tmp_path / "r.mat", SAMPLES, kind=2)
    with refuses("r.mat", error=Defect, problem="header_mismatch"):
        matlab_file.check(tmp_path / "r.mat", "80", SAMPLES.shape, 192)


def test_other_files_and_formats_are_not_checked(tmp_path):
    matlab_file.check(tmp_path / "r.dat", "16", (1, 1), 0)
    matlab_file.check(tmp_path / "r.mat", "212", (1, 1), 0)
