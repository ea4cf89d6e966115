"""Tests that numbers of MATLAB 5 files are loaded, and no other contents."""

import contextlib
import struct

import numpy as np
import pytest
import scipy.io
from culprits import assert_names

from clef_jax import formats
from clef_jax.finding import Defect
from clef_jax.formats import Hints

SIGNAL = np.random.default_rng(0).normal(size=(3, 600))


def refusal(path, hints=None):
    with pytest.raises(Defect) as caught:
        list(formats.open(path, hints))
    return caught.value


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("transposed", [False, True])
def test_signal_and_rate_are_read(compressed, transposed, tmp_path):
    path = tmp_path / "x.mat"
    variables = {"ECG": SIGNAL.T if transposed else SIGNAL, "Fs": 250.0, "age": [[60, 61]]}
    scipy.io.savemat(path, variables, do_compression=compressed)
    (recording,) = formats.open(path, Hints(units="mV", lead_names=("i", "ii", "iii")))
    assert recording.sample_rate_hz == 250
    assert recording.lead_names == ("I", "II", "III")
    np.testing.assert_array_equal(recording.read(1, 99), SIGNAL[:, 1:100].astype(np.float32))


@pytest.mark.parametrize("kind", ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"])
def test_every_class_of_numbers_is_as_scipy_reads_it(kind, tmp_path):
    path = tmp_path / "x.mat"
    stored = np.arange(1, 101).reshape(2, 50).astype(kind)
    scipy.io.savemat(path, {"name": "text", "ecg": stored, "yes": stored > 3, "z": stored * 1j})
    (recording,) = formats.open(path, Hints(sample_rate_hz=9, units="mV"))
    np.testing.assert_array_equal(recording.read(0, 50), scipy.io.loadmat(path)["ecg"])


def test_a_shape_that_its_numbers_contradict_is_refused(tmp_path):
    path = tmp_path / "x.mat"
    scipy.io.savemat(path, {"ecg": SIGNAL, "fs": 500})
    data = path.read_bytes()
    for shape in ((3, 601), (3, 599), (-3, 600), (1 << 30, 1 << 30)):
        changed = data.replace(struct.pack("<2i", 3, 600), struct.pack("<2i", *shape))
        assert changed != data
        path.write_bytes(changed)
        assert refusal(path).problem in ("truncated", "unreadable", "too_large")


def test_cells_and_structs_of_several_elements_are_never_loaded(tmp_path):
    cell = np.empty((1, 2), object)
    cell[:] = [[SIGNAL, "text"]]
    many = np.zeros((1, 2), [("data", object)])
    many["data"] = [[SIGNAL, SIGNAL]]
    scipy.io.savemat(tmp_path / "x.mat", {"ecg": many, "cell": cell, "fs": 500})
    assert refusal(tmp_path / "x.mat").problem == "empty"


@pytest.mark.parametrize("compressed", [False, True])
def test_a_signal_in_a_struct_is_read_with_its_rate(compressed, tmp_path):
    path = tmp_path / "x.mat"
    inner = {"sex": "Male", "age": 63, "data": SIGNAL, "fs": 250, "yes": SIGNAL > 0}
    variables = {"ECG": inner, "cfg": {"window": [[1, 2, 3]], "fs": 9}}
    scipy.io.savemat(path, variables, do_compression=compressed)
    (recording,) = formats.open(path, Hints(units="mV"))
    assert (recording.name, recording.sample_rate_hz) == ("x.mat", 250)
    np.testing.assert_array_equal(recording.read(1, 99), SIGNAL[:, 1:100].astype(np.float32))


def test_structs_have_rates_of_their_own_and_lie_in_structs(tmp_path):
    path = tmp_path / "x.mat"
    first, second = {"signal": SIGNAL, "Fs": 250}, {"signal": SIGNAL[:2]}
    scipy.io.savemat(path, {"a": first, "b": {"deep": second}, "fs": 500})
    recordings = {r.name: r for r in formats.open(path)}
    rates = {name: recording.sample_rate_hz for name, recording in recordings.items()}
    assert rates == {"x.mat#a.signal": 250, "x.mat#b.deep.signal": 500}
    got = recordings["x.mat#b.deep.signal"].read(0, 600)
    np.testing.assert_array_equal(got, SIGNAL[:2].astype(np.float32))


def test_a_signal_outside_structs_has_priority(tmp_path):
    path = tmp_path / "x.mat"
    scipy.io.savemat(path, {"info": {"data": [[1, 2]]}, "trace": SIGNAL, "fs": 500, "val": SIGNAL})
    (recording,) = formats.open(path)
    assert recording.num_samples == 600


def test_the_stated_unit_and_baseline_hold(tmp_path):
    path = tmp_path / "x.mat"
    scipy.io.savemat(path, {"val": SIGNAL * 1000, "fs": 500, "units": "uV"})
    (recording,) = formats.open(path)
    assert recording.unit_known
    np.testing.assert_allclose(recording.read(0, 600), SIGNAL, rtol=1e-5)
    scipy.io.savemat(path, {"val": SIGNAL * 200 + 1024, "fs": 500, "gain": 200, "base": 1024})
    (recording,) = formats.open(path)
    np.testing.assert_allclose(recording.read(0, 600), SIGNAL, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("compressed", [False, True])
def test_a_damaged_struct_is_refused(compressed, tmp_path):
    path = tmp_path / "x.mat"
    scipy.io.savemat(path, {"ECG": {"data": SIGNAL}, "fs": 500}, do_compression=compressed)
    data = path.read_bytes()
    for at in range(128, 300, 4):
        path.write_bytes(data[:at] + b"\xff\xff\xff\x7f" + data[at + 4 :])
        with contextlib.suppress(Defect):
            list(formats.open(path))


def test_a_rate_must_be_known(tmp_path):
    scipy.io.savemat(tmp_path / "x.mat", {"ecg": SIGNAL})
    assert refusal(tmp_path / "x.mat").problem == "no_rate"


@pytest.mark.parametrize("length", [20, 130, 200, 9000])
def test_truncated_files_are_refused(length, tmp_path):
    path = tmp_path / "x.mat"
    scipy.io.savemat(path, {"ecg": SIGNAL, "fs": 500})
    path.write_bytes(path.read_bytes()[:length])
    assert refusal(path).problem in ("unreadable", "unknown_format", "truncated")


@pytest.mark.parametrize(
    ("head", "hint"),
    [(b"MATLAB 7.3 MAT-file", "-v7"), (b"\x89HDF\r\n", "-v7"), (b"x" * 99, "x.mat")],
)
def test_other_versions_are_refused(head, hint, tmp_path):
    (tmp_path / "x.mat").write_bytes(head + bytes(200))
    defect = refusal(tmp_path / "x.mat")
    assert defect.problem == "unknown_format"
    assert_names(defect.detail, hint)


def test_a_file_that_unpacks_to_anything_is_refused(tmp_path):
    path = tmp_path / "x.mat"
    scipy.io.savemat(path, {"ecg": np.zeros((12, 700_000)), "fs": 500}, do_compression=True)
    assert refusal(path).problem == "too_large"
