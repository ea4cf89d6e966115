"""Tests zip archives of recordings."""

import gc
import gzip
import io
import stat
import struct
import tempfile
import zipfile

import benchmark_modules
import numpy as np
import pytest

from clef_jax import formats
from clef_jax.finding import Defect
from clef_jax.formats import _recording, _zip_members

benchmark_modules.load("fuzz_seeds")
zip_archive = benchmark_modules.load("fuzz_seeds.zip_archive")
DATA = np.random.default_rng(0).normal(size=(2, 500)).astype(np.float32)
TABLE = ("I (mV),II (mV)\n" + "\n".join(f"{a:.6f},{b:.6f}" for a, b in DATA.T) + "\n").encode()
HINTS = formats.Hints(sample_rate_hz=500)


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    """Puts temporary files into a folder of their own, which must be empty at the end."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    gc.collect()
    assert not list(folder.iterdir())


def write(tmp_path, files, **more):
    path = tmp_path / "x.zip"
    path.write_bytes(zip_archive.zipped(files, **more))
    return path


def read(path):
    """Returns the names of the recordings, and the defect after them, with code `none` if none."""
    names, defects = [], [Defect("none", "Nothing is wrong.")]
    try:
        for opened in formats.open(path, HINTS):
            assert opened.read(0, opened.num_samples).shape[1] == opened.num_samples
            names.append(opened.name)
    except Defect as raised:
        defects.append(Defect(raised.problem, raised.detail))
    assert defects[-1].detail.endswith(".")
    return names, defects[-1]


def array(data=DATA):
    buffer = io.BytesIO()
    np.save(buffer, data)
    return buffer.getvalue()


def record(name, data):
    """A record of WFDB with signals in its own file, and an annotation file."""
    text = f"{name} 1 250 {len(data)}\n{name}.dat 16 1000(0)/mV 16 0 0 0 0 II\n"
    samples = np.round(data * 1000).astype("<i2")
    return {f"{name}.hea": text.encode(), f"{name}.dat": samples.tobytes(), f"{name}.atr": b"\0\0"}


def test_recordings_are_named_after_their_paths(tmp_path):
    arrays = io.BytesIO()
    np.savez(arrays, a=DATA, b=DATA)
    files = {
        "top.csv": TABLE,
        "a/b/x.npy": array(),
        "a/b/both.npz": arrays.getvalue(),
        "a/x.csv.gz": gzip.compress(TABLE),
        "w\\back.csv": TABLE,
        "a/readme.pdf": b"%PDF-1.4",
        "a/labels.csv": b"id,label\n1,2\n2,3\n",
        "a/notes.txt": b"Nothing here is a table.\n",
        "__MACOSX/a/._x.csv": b"\0\5\x16\7",
        "a/.hidden.csv": TABLE,
    }
    path = write(tmp_path, files)
    assert list(formats.find(tmp_path)) == [path]
    names, defect = read(path)
    assert defect.problem == "none"
    parts = ["top.csv", "a/x.csv.gz", "a/b/both.npz#a", "a/b/both.npz#b", "a/b/x.npy", "w/back.csv"]
    assert names == [f"x.zip#{part}" for part in parts]


def test_records_of_wfdb_are_unpacked_with_their_signals(tmp_path):
    folder = {
        f"r/{n}": data for n, data in {**record("a", DATA[0]), **record("b", DATA[1])}.items()
    }
    folder["r/RECORDS"] = b"a\nb\n"
    opened = list(formats.open(write(tmp_path, folder)))
    assert [item.name for item in opened] == ["x.zip#r/a.hea", "x.zip#r/b.hea"]
    for item, row in zip(opened, DATA, strict=True):
        np.testing.assert_allclose(item.read(0, 500)[0], row, atol=6e-4)


def test_segments_of_wfdb_are_one_recording(tmp_path):
    parts = {**record("m_1", DATA[0]), **record("m_2", DATA[1])}
    parts["m.hea"] = b"m/2 1 250 1000\nm_1 500\nm_2 500\n"
    (opened,) = formats.open(write(tmp_path, parts))
    assert opened.name == "x.zip#m.hea"
    np.testing.assert_allclose(opened.read(0, 1000)[0], DATA.reshape(-1), atol=6e-4)


def test_only_recordings_in_use_are_on_the_disk(tmp_path, own_folder):
    path = write(tmp_path, {f"{number}.npy": array(DATA + number) for number in range(5)})
    num_folders = []
    for number, opened in enumerate(formats.open(path, HINTS)):
        np.testing.assert_array_equal(opened.read(0, 500), DATA + number)
        num_folders.append(len(list(own_folder.iterdir())))
    assert max(num_folders) <= 2


def test_members_that_cannot_be_read_are_counted(tmp_path):
    files = {
        "a.csv": TABLE,
        "b.npy": array()[:-40],
        "c.edf": b"0       " + b"x" * 20,
        "d.hea": b"d 1 250 500\nd.dat 16 1000/mV 16 0 0 0 0 II\n",
        "e.csv": TABLE,
    }
    names, defect = read(write(tmp_path, files))
    assert names == ["x.zip#a.csv", "x.zip#e.csv"]
    assert "3 of 5" in defect.detail
    assert "b.npy" in defect.detail


def test_nested_archives_are_refused_by_name(tmp_path):
    inner = zip_archive.zipped({"x.csv": TABLE})
    path = write(
        tmp_path, {"a.csv": TABLE, "in/inner.zip": inner, "z.zip.gz": gzip.compress(inner)}
    )
    names, defect = read(path)
    assert names == ["x.zip#a.csv"]
    assert defect.problem == "nested_archive"
    assert "2 of 3" in defect.detail
    assert "z.zip.gz" in defect.detail
    alone = write(tmp_path, {"inner.zip": inner})
    assert read(alone)[1].problem == "nested_archive"


@pytest.mark.parametrize("name", ["../x.csv", "a/../../x.csv", "/etc/x.csv", "C:\\x.csv"])
def test_paths_that_leave_the_archive_are_refused(tmp_path, name, own_folder):
    folder = tmp_path / "deep" / "deeper"
    folder.mkdir(parents=True)
    names, defect = read(write(folder, {"a.csv": TABLE, name: TABLE}))
    assert names == ["x.zip#a.csv"]
    assert defect.problem == "path_outside_source"
    assert not [p for p in tmp_path.rglob("*.csv") if p.parent.parent != own_folder]


def test_links_are_refused(tmp_path):
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("a.csv", "Current"):  # the second might be a link of an application
            info = zipfile.ZipInfo(name)
            info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
            archive.writestr(info, "/etc/passwd")
        archive.writestr("b.csv", TABLE)
    names, defect = read(path)
    assert names == ["x.zip#b.csv"]
    assert defect.problem == "not_a_file"
    assert "1 of 2" in defect.detail


def flagged(data, *, flag=0, method=None):
    """Returns an archive whose members claim to be encrypted or compressed by another method."""
    data = bytearray(data)
    for magic, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        start = data.find(magic)
        while start >= 0:
            data[start + offset] |= flag
            if method is not None:
                struct.pack_into("<H", data, start + offset + 2, method)
            start = data.find(magic, start + 4)
    return bytes(data)


@pytest.mark.parametrize(
    ("change", "problem"),
    [({"flag": 1}, "encrypted"), ({"method": 9}, "unsupported_compression")],
)
def test_encrypted_members_and_other_methods_are_refused(tmp_path, change, problem):
    path = tmp_path / "x.zip"
    path.write_bytes(flagged(zip_archive.zipped({"a.csv": TABLE}), **change))
    assert list(formats.find(path)) == [path]
    assert read(path)[1].problem == problem


def test_members_of_the_same_name_are_refused(tmp_path):
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.csv", TABLE)
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("a.csv", TABLE)
    names, defect = read(path)
    assert not names
    assert defect.problem == "duplicate_member"


def test_damaged_archives_are_refused(tmp_path):
    whole = write(tmp_path, {"a.csv": TABLE, "b.csv": TABLE}).read_bytes()
    path = tmp_path / "x.zip"
    path.write_bytes(whole[:-30])
    assert list(formats.find(path)) == [path]
    assert read(path)[1].problem == "unreadable"
    damaged = bytearray(whole)
    damaged[200] ^= 0xFF
    path.write_bytes(bytes(damaged))
    names, defect = read(path)
    assert names == ["x.zip#b.csv"]
    assert defect.problem == "unreadable"


def test_other_archives_are_not_recordings(tmp_path):
    (tmp_path / "a.zip").write_bytes(
        zip_archive.zipped({"x.pdf": b"%PDF", "l.csv": b"id,age\n1,2\n"})
    )
    (tmp_path / "b.zip").write_bytes(b"<html>not found</html>")
    (tmp_path / "c.zip").write_bytes(zip_archive.zipped({}))
    (tmp_path / "d.docx").write_bytes(zip_archive.zipped({"word/x.xml": b"<x/>"}))
    survey = formats.Survey()
    assert not list(formats.find(tmp_path, survey))
    assert survey.others == {".zip": 3, ".docx": 1}


def test_bombs_are_refused_while_they_are_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(_recording, "SMALL_BYTES", 4 << 20)
    monkeypatch.setattr(_recording, "MAX_RATIO", 100)
    bomb = b"0,1\n" * (2 << 20)
    names, defect = read(write(tmp_path, {"a.csv": TABLE, "b.csv": bomb}))
    assert names == ["x.zip#a.csv"]
    assert defect.problem == "too_large"
    many = {f"{number:02}.csv": bomb[: 3 << 20] for number in range(20)}
    names, defect = read(write(tmp_path, many))
    assert defect.problem == "too_large"
    assert len(names) <= 2


def test_stated_sizes_are_not_believed(tmp_path, monkeypatch):
    monkeypatch.setattr(_recording, "SMALL_BYTES", 4 << 20)
    monkeypatch.setattr(_recording, "MAX_RATIO", 100)
    data = bytearray(zip_archive.zipped({"b.csv": b"0,1\n" * (2 << 20)}))
    struct.pack_into("<L", data, data.index(b"PK\1\2") + 20, 1 << 31)  # the compressed size
    path = tmp_path / "x.zip"
    path.write_bytes(bytes(data))
    assert read(path)[1].problem in ("too_large", "unreadable")


def test_numbers_of_members_are_bounded_before_they_are_listed(tmp_path, monkeypatch):
    path = write(tmp_path, {f"{number}.csv": b"" for number in range(50)})
    monkeypatch.setattr(_zip_members, "MAX_MEMBERS", 40)
    listed = []
    monkeypatch.setattr(zipfile.ZipFile, "__init__", lambda *_, **__: listed.append(1))
    assert read(path)[1].problem == "too_large"
    assert not listed


def test_an_empty_member_is_said_to_be_empty(tmp_path):
    names, defect = read(write(tmp_path, {"a.npy": array(), "b.csv": b""}))
    assert (names, defect.problem) == (["x.zip#a.npy"], "empty")
    assert "b.csv" in defect.detail
