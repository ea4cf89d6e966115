"""Tests files that were compressed with gzip, xz and bzip2."""

import bz2
import gc
import gzip
import lzma
import os
import shutil
import subprocess
import sys
import tempfile
import zlib

import benchmark_modules
import numpy as np
import pytest

from clef_jax import formats
from clef_jax.finding import Defect
from clef_jax.formats import _recording, _unpacked

fuzz = benchmark_modules.load("fuzz")
zip_archive = benchmark_modules.load("fuzz_seeds.zip_archive")

DATA = np.random.default_rng(0).normal(size=(2, 500)).astype(np.float32)
TABLE = "I (mV),II (mV)\n" + "\n".join(f"{a:.6f},{b:.6f}" for a, b in DATA.T) + "\n"
HINTS = formats.Hints(sample_rate_hz=500, units="mV")
COMPRESS = {".gz": gzip.compress, ".xz": lzma.compress, ".bz2": bz2.compress}


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    """Puts temporary files into a folder of their own, which must be empty at the end."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    gc.collect()
    assert not list(folder.iterdir())


def refusal(path, hints=HINTS):
    with pytest.raises(Defect) as caught:
        list(formats.open(path, hints))
    assert caught.value.detail.endswith(".")
    return caught.value


@pytest.mark.parametrize("suffix", COMPRESS)
def test_the_inner_name_decides_the_format(tmp_path, suffix):
    path = tmp_path / f"ecg.CSV{suffix}"
    path.write_bytes(COMPRESS[suffix](TABLE.encode()))
    assert list(formats.find(tmp_path)) == [path]
    (opened,) = formats.open(path, HINTS)
    assert opened.name == path.name
    assert opened.lead_names == ("I", "II")
    np.testing.assert_allclose(opened.read(0, 500), DATA, atol=1e-6)


def test_files_that_are_read_by_window_live_as_long_as_their_recordings(tmp_path, own_folder):
    np.save(tmp_path / "x.npy", DATA)
    path = tmp_path / "x.npy.gz"
    path.write_bytes(gzip.compress((tmp_path / "x.npy").read_bytes()))
    (opened,) = formats.open(path, HINTS)
    gc.collect()
    assert len(list(own_folder.iterdir())) == 1
    np.testing.assert_array_equal(opened.read(100, 50), DATA[:, 100:150])
    del opened
    gc.collect()
    assert not list(own_folder.iterdir())


def test_several_streams_are_one_file(tmp_path):
    half = len(TABLE) // 2
    for suffix, compress in COMPRESS.items():
        path = tmp_path / f"x.csv{suffix}"
        parts = (TABLE[:half].encode(), TABLE[half:].encode())
        path.write_bytes(b"".join(map(compress, parts)))
        (opened,) = formats.open(path, HINTS)
        np.testing.assert_allclose(opened.read(0, 500), DATA, atol=1e-6)


def test_damaged_files_are_recordings_that_are_refused(tmp_path):
    for suffix, compress in COMPRESS.items():
        path = tmp_path / f"x.csv{suffix}"
        whole = compress(TABLE.encode())
        damaged = bytearray(whole)
        damaged[len(whole) // 2] ^= 0x55
        for data in (whole[:-20], bytes(damaged)):
            path.write_bytes(data)
            assert list(formats.find(path)) == [path]
            assert refusal(path).problem == "unreadable"


def test_other_files_are_not_recordings(tmp_path):
    for name, text in {
        "labels.csv.gz": b"id,label\n1,2\n2,3\n",
        "notes.txt.gz": b"This is a text.\n",
        "x.tar.gz": b"\0" * 2000,
        "syslog.2.gz": b"a line\n",
        "page.html.gz": b"<html></html>",
    }.items():
        (tmp_path / name).write_bytes(gzip.compress(text))
    survey = formats.Survey()
    assert not list(formats.find(tmp_path, survey))
    assert survey.others == {".gz": 5}


def test_archives_in_archives_are_refused(tmp_path):
    path = tmp_path / "x.csv.gz.gz"
    path.write_bytes(gzip.compress(gzip.compress(TABLE.encode())))
    assert refusal(path).problem == "nested_archive"


@pytest.mark.parametrize("suffix", COMPRESS)
def test_bombs_are_refused_while_they_are_decompressed(tmp_path, suffix, own_folder, monkeypatch):
    monkeypatch.setattr(_recording, "SMALL_BYTES", 1 << 20)
    monkeypatch.setattr(_recording, "MAX_RATIO", 100)
    path = tmp_path / f"x.csv{suffix}"
    path.write_bytes(COMPRESS[suffix](b"0\n" * (4 << 20)))
    assert refusal(path).problem == "too_large"


def test_xz_states_how_much_memory_it_takes(tmp_path):
    small = lzma.compress(TABLE.encode(), filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 16}])
    header = bytearray(small)
    header[small.index(b"\x21\x01") + 2] = 37  # a dictionary of 1.5 GiB
    start, length = 12, (header[12] + 1) * 4
    checksum = zlib.crc32(bytes(header[start : start + length - 4]))
    header[start + length - 4 : start + length] = checksum.to_bytes(4, "little")
    assert len(lzma.decompress(bytes(header))) == len(TABLE)
    path = tmp_path / "x.csv.xz"
    path.write_bytes(bytes(header))
    assert refusal(path).problem == "unreadable"


def test_a_full_disk_is_reported(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=0))
    path = tmp_path / "x.csv.gz"
    path.write_bytes(gzip.compress(TABLE.encode()))
    assert refusal(path).problem == "no_space"


def test_a_forked_process_leaves_the_files(tmp_path):
    path = tmp_path / "x.csv.gz"
    path.write_bytes(gzip.compress(TABLE.encode()))
    code = (
        "import os, pathlib, sys\n"
        "from clef_jax.formats import _unpacked\n"
        "folder = _unpacked.Folder()\n"
        "if os.fork() == 0:\n"
        "    del folder\n"
        "    os._exit(0)\n"
        "os.wait()\n"
        "assert folder.path.is_dir()\n"
    )
    environment = {**os.environ, "TMPDIR": tempfile.gettempdir()}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)


@pytest.mark.parametrize("name", sorted(set(formats.load()) - {"compressed", "zip_archive"}))
def test_every_format_is_recognised_by_its_beginning(tmp_path, name, monkeypatch):
    monkeypatch.setattr(_unpacked, "BEGINNING_BYTES", 4096)
    if not (benchmark_modules.FOLDER / "fuzz_seeds" / f"{name}.py").is_file():
        pytest.skip("a format of another package has no small recordings here")
    for seed in benchmark_modules.load("fuzz_seeds").write(name):
        packed = tmp_path / "x.zip"
        packed.write_bytes(zip_archive.zipped({f"a/{n}": d for n, d in seed.files.items()}))
        assert fuzz.read(packed, HINTS) == "reading"
        if len(seed.files) == 1:
            packed = tmp_path / f"{seed.opened}.gz"
            packed.write_bytes(gzip.compress(seed.files[seed.opened]))
            assert fuzz.read(packed, HINTS) == "reading"


def test_an_empty_file_is_said_to_be_empty(tmp_path):
    path = tmp_path / "x.csv.gz"
    path.write_bytes(gzip.compress(b""))
    assert refusal(path).problem == "empty"
