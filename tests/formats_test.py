"""Tests that formats are discovered, and that a search does not leave its folder."""

import dataclasses
import os
import pathlib

import numpy as np
import pytest
from culprits import refuses
from mimic_tree import LEADS, ecg, write_record

from clef_jax import formats
from clef_jax.finding import Defect

REAL = pathlib.Path(__file__).parents[2] / "shared" / "data" / "original_files"


def found_names(path, survey=None):
    return [str(p.relative_to(path)) for p in formats.find(path, survey)]


def test_every_format_has_suffixes_and_nothing_lists_them():
    loaded = formats.load()
    assert {"wfdb", "numpy_array", "csv_table", "edf", "dicom", "hl7_aecg", "matlab"} <= set(loaded)
    for form in loaded.values():
        assert form.suffixes
        assert all(suffix == suffix.lower() for suffix in form.suffixes)


def test_a_folder_is_searched_in_the_order_of_names(tmp_path):
    write_record(tmp_path / "b" / "r", ecg(1))
    (tmp_path / "b" / "r.atr").write_bytes(b"")
    np.save(tmp_path / "a.npy", ecg(1))
    (tmp_path / "labels.csv").write_text("name,sex\nx,male\ny,female\n")
    (tmp_path / "README.txt").write_text("Please read me. There are 2 recordings.\n")
    (tmp_path / ".hidden.npy").write_bytes(b"")
    (tmp_path / "c.tsv").write_text("")
    survey = formats.Survey()
    assert found_names(tmp_path, survey) == ["a.npy", "b/r.hea", "c.tsv"]
    assert survey.num_others == 2  # an annotation file belongs to its record
    assert not survey.refused


def test_a_matlab_file_belongs_to_its_header_or_stands_alone(tmp_path):
    write_record(tmp_path / "r", ecg(1))
    (tmp_path / "r.mat").write_bytes(b"MATLAB 5.0")
    (tmp_path / "s.mat").write_bytes(b"MATLAB 5.0")
    assert found_names(tmp_path) == ["r.hea", "s.mat"]


def test_a_record_is_found_with_and_without_its_suffix(tmp_path):
    write_record(tmp_path / "r", ecg(1))
    assert list(formats.find(tmp_path / "r")) == [tmp_path / "r"]
    (with_suffix,) = formats.open(tmp_path / "r.hea")
    (without,) = formats.open(tmp_path / "r")
    assert with_suffix.lead_names == without.lead_names == LEADS
    np.testing.assert_array_equal(with_suffix.read(3, 9), without.read(3, 9))


def test_a_list_of_records_stays_in_its_folder(tmp_path):
    inside = tmp_path / "in"
    write_record(inside / "x" / "r1", ecg(1))
    write_record(inside / "y" / "r2", ecg(1))
    write_record(tmp_path / "out", ecg(1))
    (inside / "RECORDS").write_text("x/r1\n\ny/\n../out\n/etc/passwd\nx/none\n")
    survey = formats.Survey()
    paths = list(formats.find(inside / "RECORDS", survey))
    wanted = ["x/r1.hea", "y/r2.hea", "x/none.hea"]
    assert [str(p.relative_to(inside)) for p in paths] == wanted
    assert [f.problem for f in survey.refused] == ["path_outside_source"] * 2
    with refuses(error=Defect, problem="missing_file"):
        next(formats.open(paths[-1]))


def test_links_out_of_the_folder_and_in_circles_are_refused(tmp_path):
    inside = tmp_path / "in"
    write_record(inside / "r", ecg(1))
    np.save(tmp_path / "secret.npy", ecg(1))
    write_record(tmp_path / "x", ecg(1))
    write_record(inside / "s", ecg(1))
    (inside / "s.dat").unlink()
    (inside / "s.dat").symlink_to(tmp_path / "x.dat")
    (inside / "link.npy").symlink_to(tmp_path / "secret.npy")
    (inside / "again.hea").symlink_to(inside / "r.hea")
    (inside / "deep").mkdir()
    (inside / "deep" / "circle").symlink_to(inside)
    (inside / "deep" / "up").symlink_to(tmp_path)
    (inside / "deep" / "beside").symlink_to(inside / "deep")
    survey = formats.Survey()
    assert found_names(inside, survey) == ["again.hea", "r.hea"]
    refused = {pathlib.Path(f.record_id).name: f.problem for f in survey.refused}
    assert refused == {
        "s.dat": "path_outside_source",
        "s.hea": "path_outside_source",
        "link.npy": "path_outside_source",
        "up": "path_outside_source",
        "circle": "link_to_folder",
        "beside": "link_to_folder",
    }


def test_what_is_not_there_is_told_with_what_is_near(tmp_path):
    (tmp_path / "record.npy").write_bytes(b"")
    with refuses(tmp_path / "recrod.npy", "record.npy"):
        list(formats.find(tmp_path / "recrod.npy"))


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("x.npy", b"", "empty"),
        ("x.md", b"text", "unknown_format"),
        ("none.npy", None, "missing_file"),
    ],
)
def test_files_of_no_use_are_refused(name, content, problem, tmp_path):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with refuses(error=Defect, problem=problem):
        next(formats.open(tmp_path / name))


@pytest.mark.parametrize(
    ("hint", "culprits"),
    [
        ({"units": "mv"}, ("'mv'", "mV")),
        ({"sample_rate_hz": 0}, ("rate", "0")),
        ({"gain_per_mv": -1}, ("gain", "-1")),
        ({"sample_rate_hz": "500"}, ("rate", "'500'")),
        ({"gain_per_mv": [200]}, ("gain", "[200]")),
    ],
)
def test_hints_without_sense_are_refused(hint, culprits):
    with refuses(*culprits):
        formats.Hints(**hint)


@pytest.mark.skipif(not REAL.is_dir(), reason="there are no real recordings beside the project")
def test_all_real_recordings_open_or_say_why_not():
    survey, seen, refused = formats.Survey(), {}, {}
    of_text = formats.Hints(sample_rate_hz=500, gain_per_mv=200)
    for path in formats.find(REAL, survey):
        try:
            (seen[path.name],) = formats.open(path, of_text if path.suffix == ".txt" else None)
        except Defect as defect:
            refused[path.name] = defect.problem
    assert refused == {"y.npy": "no_rate"}  # labels
    assert survey.others == {".csv": 3, ".md": 2}
    assert len(seen) == 35
    for recording in seen.values():
        window = recording.read(recording.num_samples - 700, 700)
        assert window.shape == (len(recording.lead_names), 700)
        assert window.dtype == np.float32
        assert 0.1 < np.nanmax(np.abs(window)) < 10
    assert seen["100.hea"].lead_names == ("MLII", "V5")
    assert seen["code_15_2657522.mat"].sample_rate_hz == 400
    assert not seen["code_15_2657522.mat"].unit_known
    text = np.loadtxt(REAL / "cinc2011" / "1002867.txt", delimiter=",")
    window = seen["1002867.txt"].read(10, 99)
    np.testing.assert_allclose(window, text[10:109, 1:].T / 200, rtol=1e-6)


def test_pipes_sockets_and_devices_are_not_opened(tmp_path):
    write_record(tmp_path / "r", ecg(1))
    write_record(tmp_path / "s", ecg(1))
    (tmp_path / "s.dat").unlink()
    for name in ("a.hea", "b.csv", "c", "d.xml", "s.dat"):
        os.mkfifo(tmp_path / name)
    (tmp_path / "link.npy").symlink_to(tmp_path / "c")
    survey = formats.Survey()
    assert found_names(tmp_path, survey) == ["r.hea"]
    refused = {pathlib.Path(f.record_id).name: f.problem for f in survey.refused}
    wanted = ("a.hea", "b.csv", "d.xml", "link.npy", "s.hea", "s.dat")
    assert refused == dict.fromkeys(wanted, "not_a_file")
    assert survey.others == {formats.SPECIAL: 1}
    with refuses("a.hea", error=Defect, problem="not_a_file"):
        next(formats.open(tmp_path / "a.hea"))
    with refuses(tmp_path / "a.hea"):
        list(formats.find(tmp_path / "a.hea"))


def test_other_files_are_counted_by_kind(tmp_path):
    write_record(tmp_path / "r", ecg(1))
    for name in ("notes.MD", "b.md", "RECORDS", "RECORDS-adults", "LICENSE", "a.001", "x.xml"):
        (tmp_path / name).write_text("<other/>")
    survey = formats.Survey()
    assert found_names(tmp_path, survey) == ["r.hea"]
    assert survey.others == {".md": 2, "RECORDS": 2, formats.NO_SUFFIX: 2, ".xml": 1}
    assert survey.num_others == 7


def test_a_file_of_a_known_suffix_is_not_told_that_the_suffix_is_unknown(tmp_path):
    (tmp_path / "x.xml").write_text("<other/>")
    with refuses("x.xml", "HL7 aECG", error=Defect, problem="unknown_format") as caught:
        next(formats.open(tmp_path / "x.xml"))
    assert ".csv" not in caught.value.detail
    (tmp_path / "x").write_text("<other/>")
    with refuses("x", "no suffix", "SCP-ECG", error=Defect, problem="unknown_format"):
        next(formats.open(tmp_path / "x"))


@pytest.mark.parametrize("error", [MemoryError(), ZeroDivisionError(), OSError(5, "broken")])
def test_a_reader_that_raises_anything_refuses_its_file(tmp_path, monkeypatch, error):
    def fail(*arguments):
        raise error

    np.save(tmp_path / "x.npy", ecg(1))
    known = formats.load()["numpy_array"]
    (recording,) = formats.open(tmp_path / "x.npy", formats.Hints(sample_rate_hz=500))
    broken = dataclasses.replace(
        known, open=lambda path, hints: iter([dataclasses.replace(recording, read=fail)])
    )
    monkeypatch.setattr(formats, "find_format", lambda path: broken)
    (opened,) = formats.open(tmp_path / "x.npy")
    with refuses("x.npy", error=Defect):
        opened.read(0, 10)
    monkeypatch.setattr(formats, "find_format", lambda path: dataclasses.replace(known, open=fail))
    with refuses("x.npy", error=Defect):
        next(formats.open(tmp_path / "x.npy"))
    monkeypatch.setattr(formats, "find_format", fail)
    with refuses("x.npy", error=Defect):
        next(formats.open(tmp_path / "x.npy"))


def test_links_in_a_circle_do_not_hide_a_folder(tmp_path):
    write_record(tmp_path / "r", ecg(1))
    (tmp_path / "a.npy").symlink_to(tmp_path / "b.npy")
    (tmp_path / "b.npy").symlink_to(tmp_path / "a.npy")
    (tmp_path / "gone.npy").symlink_to(tmp_path / "nothing")
    paths = list(formats.find(tmp_path))
    assert tmp_path / "r.hea" in paths
    for path in (path for path in paths if path.suffix == ".npy"):
        with pytest.raises(Defect):
            next(formats.open(path))


def test_lines_of_a_list_that_name_no_file_are_refused(tmp_path):
    write_record(tmp_path / "r", ecg(1))
    (tmp_path / "RECORDS").write_bytes(b"r\n" + b"x" * 5000 + b"\n\xff\n")
    survey = formats.Survey()
    paths = list(formats.find(tmp_path / "RECORDS", survey))
    assert paths[0] == tmp_path / "r.hea"
    for path in paths[1:]:
        with pytest.raises(Defect):
            next(formats.open(path))
    assert len(paths) + len(survey.refused) == 3
