"""Tests that one bad recording is reported, whatever is wrong with it, and ends no build."""

import contextlib
import dataclasses
import os
import pathlib
import shutil

import numpy as np
import pytest
import tensorflow_datasets as tfds
from culprits import refuses
from mimic_tree import ecg
from prepared import examples, findings, problems

from clef_jax.building import builder
from clef_jax.building.listing import Entry, Listing
from clef_jax.data.record import Layout, Observed, Recording
from clef_jax.finding import Finding

NOT_UTF_8 = os.fsdecode(b"caf\xe9")
ERRORS = {
    "zero": ZeroDivisionError("division by zero"),
    "memory": MemoryError(),
    "disk": OSError(5, "Input/output error"),
    "key": KeyError("gain"),
    "lines": RuntimeError("first line\nsecond line"),
}


def read(source, entry):
    if entry.path in ERRORS:
        raise ERRORS[entry.path]
    if entry.path == "vanish":
        shutil.rmtree(source)
    return Recording(
        signal=ecg(0, num_samples=2500, num_leads=1),
        lead_names=("I",),
        gain_per_mv=np.full(1, 200, np.float32),
        baseline=np.zeros(1, np.int32),
        sample_rate_hz=250.0,
    )


class Toy(builder.RecordingBuilder, skip_registration=True):
    """A data set of the recordings that a test lists."""

    VERSION = tfds.core.Version("1.0.0")
    MANUAL_DOWNLOAD_INSTRUCTIONS = "There is nothing to download."
    LAYOUT = Layout(leads=("I",), sample_rate_hz=250.0, num_samples=2500)
    READ = staticmethod(read)
    ENTRIES: tuple[Entry, ...] = ()

    @contextlib.contextmanager
    def _listing(self, source: pathlib.Path):
        entries = self.ENTRIES
        yield Listing(entries=entries, num_records=len(entries), num_patients=len(entries))


def windows_that_fail(source, entry, max_windows):
    yield entry.window(0, 2500)
    raise ERRORS["zero"]


@pytest.fixture
def build(tmp_path, monkeypatch):
    """Builds the given entries from a folder with one file."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "list.txt").write_text("")

    def build(*entries, **attributes):
        for name, value in {"ENTRIES": entries, **attributes}.items():
            monkeypatch.setattr(Toy, name, value)
        made = Toy(data_dir=tmp_path / "data")
        config = tfds.download.DownloadConfig(manual_dir=str(source))
        made.download_and_prepare(download_config=config)
        return made

    return build


def entry(name, **fields):
    return Entry(record_id=name, patient_id=name, **fields)


def test_a_reader_that_raises_anything_loses_its_own_recording_only(build):
    made = build(entry("good"), *map(entry, ERRORS), entry("last"))
    assert sorted(examples(made)) == ["good", "last"]
    codes = dict.fromkeys(ERRORS, "unreadable") | {"memory": "too_large"}
    assert problems(made) == {(name, code, "quarantined") for name, code in codes.items()}
    details = {f["record_id"]: f["detail"] for f in findings(made)}
    assert "division by zero" in details["zero"]
    assert "Input/output error" in details["disk"]
    assert not any("\n" in detail for detail in details.values())


def test_windows_before_a_failure_are_kept(build):
    made = build(entry("a"), WINDOWS=staticmethod(windows_that_fail))
    assert list(examples(made)) == ["a@0"]
    assert problems(made) == {("a", "unreadable", "quarantined")}


def test_a_name_that_is_not_utf_8_is_stored_with_an_escape(build):
    flat = entry(f"{NOT_UTF_8}/zero", source_record="zero")
    made = build(entry(NOT_UTF_8), flat)
    (example,) = examples(made).values()
    assert example["record_id"] == example["patient_id"] == rb"caf\udce9"
    assert [f["record_id"] for f in findings(made)] == [r"caf\udce9/zero"]


def test_implausible_clinical_values_are_stored_as_missing_and_counted(build):
    values = {
        "high": Observed(age_years=50, sbp_mmhg=301, hdl_mmol_l=1.2),
        "mg": Observed(total_cholesterol_mmol_l=213, hdl_mmol_l=50),
        "good": Observed(sbp_mmhg=300, total_cholesterol_mmol_l=5),
    }
    made = build(*(entry(name, observed=observed) for name, observed in values.items()))
    stored = examples(made)
    assert np.isnan(stored["high"]["sbp_mmhg"])
    assert stored["high"]["hdl_mmol_l"] == np.float32(1.2)
    assert np.isnan(stored["mg"]["total_cholesterol_mmol_l"])
    assert np.isnan(stored["mg"]["hdl_mmol_l"])
    assert stored["good"]["sbp_mmhg"] == 300
    assert made.summary.problems == {("implausible_value", "kept"): 3}
    assert {f["record_id"] for f in findings(made)} == {"high", "mg"}


def test_findings_about_an_entry_are_reported_if_it_is_read(build):
    old = Finding("a", "masked_age", None, "The age is masked.", "kept")
    made = build(entry("a", findings=(old,)))
    assert findings(made) == [dataclasses.asdict(old)]


def test_a_source_that_vanishes_is_not_taken_for_missing_recordings(build, tmp_path):
    with refuses(tmp_path / "source", problem="source_vanished"):
        build(entry("a"), entry("vanish"), entry("b"))
    assert not list((tmp_path / "data").rglob("part-*.npz"))
    assert not list((tmp_path / "data").rglob("1.0.0"))
