"""Recordings come from files, folders and prepared data sets; unreadable ones are reported."""

import dataclasses
import os

import numpy as np
import prepared
import pytest

from clef_jax import formats
from clef_jax.data import index as index_lib
from clef_jax.embedding import inputs
from clef_jax.errors import UserError
from clef_jax.formats import Hints
from clef_jax.signal.adc import MISSING_ADC


def listed(paths, hints=None):
    findings = []
    files = inputs.files([str(path) for path in paths])
    recordings = list(inputs.recordings(files, hints or Hints(), findings.append))
    return recordings, [(finding.record_id, finding.problem) for finding in findings]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "in" / "deep").mkdir(parents=True)
    np.save(tmp_path / "in" / "deep" / "a.npy", np.zeros((2, 800), np.float32))
    np.save(tmp_path / "in" / "b.npy", np.zeros(900, np.float32))
    (tmp_path / "in" / "c.npy").write_bytes(b"broken")
    return tmp_path / "in"


def test_folders_are_walked_in_order_and_bad_files_are_reported(folder):
    found, problems = listed([folder], Hints(sample_rate_hz=100))
    assert [one.name for one in found] == ["b.npy", "deep/a.npy"]
    assert ("c.npy", "unreadable") in problems


def test_a_file_goes_by_its_own_name(folder):
    found, _ = listed([folder / "deep" / "a.npy", folder / "b.npy"], Hints(sample_rate_hz=100))
    assert [one.name for one in found] == ["a.npy", "b.npy"]


def test_what_is_not_there_is_refused(folder):
    with pytest.raises(UserError, match="nothing"):
        listed([folder / "nothing"])


def test_prepared_data_sets_are_read_as_they_are_stored(tmp_path):
    made = prepared.build_simulated("ptb_xl/500hz", tmp_path)
    stored = prepared.examples(made)
    for given in (made.data_path, tmp_path / "data"):
        found, problems = listed([given])
        assert not problems
        assert {one.name.split("/", 1)[1] for one in found} == set(stored)
    index = index_lib.load(made.data_path, "train")
    assert found[0].lead_names == index.lead_names
    for one in found:
        split, record_id = one.name.split("/", 1)
        want = stored[record_id]
        assert split == want["split"]
        got = one.read(100, 700)
        adc = np.asarray(want["signal"])[:, 100:800]
        gain = np.asarray(want["gain_per_mv"], np.float64)[:, None]
        zero = np.asarray(want["baseline"], np.float64)[:, None]
        np.testing.assert_array_equal(np.isnan(got), adc == MISSING_ADC)
        np.testing.assert_allclose(
            got, np.where(adc == MISSING_ADC, np.nan, (adc - zero) / gain), atol=1e-5
        )


def test_names_that_are_no_utf_8_are_written_with_escapes(folder):
    name = os.fsdecode(b"d\xff.npy")
    try:
        np.save(folder / name, np.zeros(800, np.float32))
        (folder / os.fsdecode(b"e\xff.npy")).write_bytes(b"broken")
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    found, problems = listed([folder], Hints(sample_rate_hz=100))
    assert "d\\udcff.npy" in [one.name for one in found]
    assert ("e\\udcff.npy", "unreadable") in problems


def test_a_package_that_is_not_installed_concerns_its_files_alone(folder, monkeypatch):
    def fail(path, hints):
        raise UserError("Install it.", problem="missing_package")

    known = formats.load()["numpy_array"]
    broken = dataclasses.replace(known, open=fail)
    of = formats.find_format
    monkeypatch.setattr(formats, "find_format", lambda p: broken if p.name == "b.npy" else of(p))
    found, problems = listed([folder], Hints(sample_rate_hz=100))
    assert [one.name for one in found] == ["deep/a.npy"]
    assert ("b.npy", "missing_package") in problems


def test_recordings_of_several_folders_have_different_names(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        np.save(tmp_path / name / "x.npy", np.zeros(800, np.float32))
    found, _ = listed([tmp_path / "a", tmp_path / "b"], Hints(sample_rate_hz=100))
    assert [one.name for one in found] == ["x.npy", str(tmp_path / "b" / "x.npy")]
