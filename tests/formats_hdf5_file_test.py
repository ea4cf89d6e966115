"""Tests what HDF5 files may claim: links, filters, bombs, and files that are none."""

import gc
import importlib
import os
import sys
import time
import zlib

import benchmark_modules
import numpy as np
import pytest
from culprits import assert_names

from clef_jax import formats
from clef_jax.finding import Defect
from clef_jax.formats import Hints

h5py = pytest.importorskip("h5py")
seeds = benchmark_modules.load("fuzz_seeds")
encoder = importlib.import_module("fuzz_seeds.hdf5")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "x.h5"


def noise(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def create(path):
    """Returns a new file, also where the one of the same name is still open."""
    path.unlink(missing_ok=True)
    return h5py.File(path, "w")


def write(path, attributes=None, **arrays):
    with create(path) as file:
        for name, array in arrays.items():
            file[name.replace("__", "/")] = array
        file.attrs.update(attributes or {})
    return path


def everything(recording):
    return recording.read(0, recording.num_samples)


def refusal(path, **hints):
    with pytest.raises(Defect) as caught:
        list(formats.open(path, Hints(**hints)))
    assert caught.value.detail.endswith(".")
    return caught.value


def test_links_and_samples_of_other_files_are_not_opened(path, tmp_path):
    other = write(tmp_path / "other.h5", {"fs": 500}, ecg=noise(2, 600))
    raw = tmp_path / "raw.bin"
    raw.write_bytes(noise(600).tobytes())
    with create(path) as file:
        file["ecg"] = h5py.ExternalLink(str(other), "/ecg")
    assert refusal(path, sample_rate_hz=500).problem == "path_outside_source"
    layout = h5py.VirtualLayout((2, 600), "f8")
    layout[:] = h5py.VirtualSource(str(other), "ecg", (2, 600))
    with create(path) as file:
        file.create_virtual_dataset("ecg", layout)
    assert refusal(path, sample_rate_hz=500).problem == "path_outside_source"
    with create(path) as file:
        file.create_dataset("ecg", (600,), "f8", external=[(str(raw), 0, 4800)])
    assert refusal(path, sample_rate_hz=500).problem == "path_outside_source"
    with create(path) as file:
        file["group/ecg"] = noise(2, 600)
        file["ecg"] = h5py.SoftLink("/group/ecg")
        file["group/again"] = file["/"]
        file["out"] = h5py.ExternalLink(str(other), "/ecg")
    read = formats.open(path, Hints(sample_rate_hz=500))
    assert next(read).part == "group"
    with pytest.raises(Defect) as caught:
        next(read)
    assert caught.value.problem == "path_outside_source"


def test_unknown_filters_are_refused_by_name(path):
    with create(path) as file:
        options = {"chunks": (600,), "compression": 32001, "allow_unknown_filter": True}
        array = file.create_dataset("ecg", (600,), "f4", **options)
        array.id.write_direct_chunk((0,), b"blosc")
    defect = refusal(path, sample_rate_hz=500)
    assert defect.problem == "unreadable"
    assert_names(defect.detail, "32001")


def test_bombs_are_refused(path):
    zeros = zlib.compress(bytes(200 << 20), 9)
    with create(path) as file:
        array = file.create_dataset("ecg", (2, 600), "f4", chunks=(2, 600), compression="gzip")
        array.id.write_direct_chunk((0, 0), zeros)
    (recording,) = formats.open(path, Hints(sample_rate_hz=500))
    for _ in range(2):
        with pytest.raises(Defect) as caught:
            recording.read(0, 600)
        assert caught.value.problem == "too_large"
    with create(path) as file:
        options = {"chunks": (1, 12, 5000), "compression": "gzip"}
        array = file.create_dataset("ecg", (100_000, 12, 5000), "f4", **options)
        array[0] = 1
    assert refusal(path, sample_rate_hz=500).problem == "too_large"
    with create(path) as file:
        array = file.create_dataset("ecg", (12, 10**9), "f4", chunks=(12, 10**7))
        array[0, :10] = 1
    assert refusal(path, sample_rate_hz=500).problem == "too_large"
    with create(path) as file:
        file.create_dataset("ecg", (12, 10**9), "f4")
    assert refusal(path, sample_rate_hz=500).problem == "empty"


def test_arrays_that_are_no_signals_are_refused(path):
    with create(path) as file:
        file.create_dataset("ecg", (3,), h5py.vlen_dtype("f4"))
    assert refusal(path, sample_rate_hz=500).problem == "unreadable"
    for array in (noise(2, 600) * 1j, noise(2, 2, 2, 600)):
        write(path, ecg=array)
        assert refusal(path, sample_rate_hz=500).problem == "unreadable"


def test_other_files_with_the_suffix_are_no_recordings(tmp_path):
    (tmp_path / "x.h5").write_bytes(b"\x0e\x03\x13\x01" + bytes(5000))
    assert refusal(tmp_path / "x.h5").problem == "unknown_format"
    whole = write(tmp_path / "y.hdf5", {"fs": 500}, ecg=noise(2, 600)).read_bytes()
    (tmp_path / "z.hdf").write_bytes(whole[:3000])
    assert refusal(tmp_path / "z.hdf").problem == "unreadable"


def test_a_file_behind_a_user_block_is_read(path):
    path.write_bytes(encoder.write(lambda f: f.update(ecg=noise(2, 600)), userblock_size=2048))
    (recording,) = formats.open(path, Hints(sample_rate_hz=500, units="mV"))
    np.testing.assert_array_equal(everything(recording), noise(2, 600).astype("f4"))


def test_chunks_of_many_recordings_are_inflated_once(path):
    with create(path) as file:
        options = {"chunks": (200, 2, 100), "compression": "gzip", "compression_opts": 1}
        file.create_dataset("ecg", data=noise(200, 2, 5000).astype("f4"), **options)
    seconds = []
    for recording in formats.open(path, Hints(sample_rate_hz=500)):
        begin = time.process_time()
        recording.read(0, 5000)
        seconds.append(time.process_time() - begin)
    assert sum(seconds[1:]) < 50 * seconds[0]  # of 199 recordings


@pytest.mark.skipif(sys.platform != "linux", reason="open files are listed by Linux")
def test_files_are_closed_when_their_recordings_are_gone(path):
    write(path, {"fs": 500}, ecg=noise(2, 2, 600))
    gc.disable()
    try:
        for _ in range(3):
            recordings = list(formats.open(path))
            assert str(path) in _open_files()
            del recordings
        assert str(path) not in _open_files()
    finally:
        gc.enable()


def _open_files():
    links = (f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd"))
    return {os.readlink(link) for link in links if os.path.islink(link)}
