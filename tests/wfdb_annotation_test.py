"""Tests that annotations are read as wfdb reads them, or rejected with the reason."""

import warnings

import numpy as np
import pytest
from culprits import refuses

from clef_jax.finding import Defect
from clef_jax.simulation import fixture
from clef_jax.wfdb import annotation as wfdb_annotation

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # pandas complains about wfdb's own code as it is imported
    import wfdb
    import wfdb.io.annotation

pytestmark = pytest.mark.filterwarnings("ignore:The inplace keyword")  # within wfdb.rdann


def sample_annotations(seed, num):
    """Samples, symbols and notes with short and long intervals, and beats on top of each other."""
    rng = np.random.default_rng(seed)
    intervals = rng.choice([0, 1, 200, 1023, 1024, 70_000, 200_000], num)
    symbols = rng.choice(list("NSVQ+"), num).tolist()
    notes = [rng.choice(["(N", ")", "(AFIB", "(AFL"]) if s == "+" else "" for s in symbols]
    return np.cumsum(intervals), symbols, notes


def same_as_wfdb(path):
    ours, theirs = wfdb_annotation.read(path), wfdb.rdann(str(path), "atr")
    np.testing.assert_array_equal(ours.sample, theirs.sample)
    assert list(ours.symbol) == theirs.symbol
    assert list(ours.note) == [note.strip("\0 ") for note in theirs.aux_note]
    return ours


@pytest.mark.parametrize("seed", range(5))
def test_reads_what_wfdb_writes(seed, tmp_path):
    sample, symbols, notes = sample_annotations(seed, 300)
    wfdb.wrann(
        "r",
        "atr",
        sample,
        symbols,
        aux_note=notes,
        chan=np.arange(300) % 3,
        num=np.arange(300) % 5,
        subtype=np.arange(300) % 7,
        fs=250,
        write_dir=str(tmp_path),
    )
    ours = same_as_wfdb(tmp_path / "r")
    np.testing.assert_array_equal(ours.sample, sample)
    assert list(ours.note) == notes


@pytest.mark.parametrize("seed", range(5))
def test_reads_what_the_simulation_writes(seed, tmp_path):
    sample, symbols, notes = sample_annotations(seed, 300)
    listed = list(zip(sample.tolist(), symbols, notes, strict=True))
    fixture.write_annotations(tmp_path / "r", listed)
    ours = same_as_wfdb(tmp_path / "r")
    assert list(zip(ours.sample.tolist(), ours.symbol, ours.note, strict=True)) == listed


def test_symbols_are_those_of_the_format():
    known = {
        label.label_store: label.symbol
        for label in wfdb.io.annotation.ann_labels
        if label.label_store and label.symbol.strip()
    }
    assert {code: known.get(code) for code in wfdb_annotation.SYMBOLS} == wfdb_annotation.SYMBOLS


def test_notes_that_look_like_words_of_their_own_are_text(tmp_path):
    note = "\0\0".join(["a" * 3, "\xff" * 4, "bb"])
    fixture.write_annotations(tmp_path / "r", [(5, "+", note), (9, "N", "")])
    annotations = wfdb_annotation.read(tmp_path / "r")
    assert annotations.sample.tolist() == [5, 9]
    assert annotations.note[0] == note


@pytest.mark.parametrize("data", [b"", bytes(2), bytes(20)])
def test_files_without_annotations(data, tmp_path):
    (tmp_path / "r.atr").write_bytes(data)
    annotations = wfdb_annotation.read(tmp_path / "r")
    assert (len(annotations.sample), annotations.symbol, annotations.note) == (0, (), ())


def test_an_unknown_code_has_no_symbol(tmp_path):
    (tmp_path / "r.atr").write_bytes(np.array([45 << 10 | 7, 1 << 10 | 1, 0], "<u2").tobytes())
    annotations = wfdb_annotation.read(tmp_path / "r")
    assert annotations.symbol == ("", "N")
    assert annotations.sample.tolist() == [7, 8]


def whole(path):
    fixture.write_annotations(path, [(5, "N", ""), (5000, "+", "(AFIB"), (5100, "V", "")])
    return path.with_suffix(".atr").read_bytes()


@pytest.mark.parametrize("length", [1, 2, 3, 4, 7, 9, 13, 15, 19])
def test_a_truncated_file_is_refused(length, tmp_path):
    data = whole(tmp_path / "r")
    assert len(data) > length
    (tmp_path / "r.atr").write_bytes(data[:length])
    with refuses("r.atr", error=Defect, problem="unreadable"):
        wfdb_annotation.read(tmp_path / "r")


def test_other_faults_are_named(tmp_path):
    with refuses("r.atr", error=Defect, problem="missing_annotation"):
        wfdb_annotation.read(tmp_path / "r")
    back, forward = ([1 << 10 | 7, 59 << 10, *skip, 1 << 10, 0] for skip in ((-1, -2), (0, 2)))
    (tmp_path / "r.atr").write_bytes(np.array(forward).astype("<u2").tobytes())
    assert wfdb_annotation.read(tmp_path / "r").sample.tolist() == [7, 9]
    (tmp_path / "r.atr").write_bytes(np.array(back).astype("<u2").tobytes())
    with refuses("r.atr", error=Defect, problem="unreadable"):
        wfdb_annotation.read(tmp_path / "r")
    (tmp_path / "d.atr").mkdir()
    with refuses("d.atr", error=Defect, problem="unreadable"):
        wfdb_annotation.read(tmp_path / "d")


def test_definitions_of_symbols_are_used_and_are_no_annotations(tmp_path):
    wfdb.wrann(
        "r",
        "atr",
        np.array([10, 20, 30, 40]),
        ["N", "%", "$", "V"],
        custom_labels=[(41, "%", "a symbol of this file"), (42, "$", "and another")],
        fs=360,
        write_dir=str(tmp_path),
    )
    words = np.frombuffer((tmp_path / "r.atr").read_bytes(), "<u2")
    assert (words >> 10 == 22).sum() > 2  # the file holds its definitions as notes
    annotations = wfdb_annotation.read(tmp_path / "r")
    assert annotations.sample.tolist() == [10, 20, 30, 40]
    assert annotations.symbol == ("N", "%", "$", "V")
    assert annotations.time_resolution_hz == 360


def test_notes_after_an_unfinished_definition_stay(tmp_path):
    notes = [(0, '"', "## annotation type definitions"), (0, '"', "41 own text")]
    fixture.write_annotations(tmp_path / "r", [*notes, (5, "N", ""), (9, '"', "42 is a note")])
    annotations = wfdb_annotation.read(tmp_path / "r")
    assert annotations.sample.tolist() == [5, 9]
    assert annotations.note == ("", "42 is a note")
    assert annotations.time_resolution_hz is None
