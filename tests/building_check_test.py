"""Tests that all bytes of a prepared data set are verified, and damage is reported."""

import errno
import json
import pathlib
import shutil

import pytest
import rich.console
from culprits import assert_names, one_line

from clef_jax import prepare
from clef_jax.building import check, check_page, check_report
from clef_jax.data import index


@pytest.fixture
def copy(data_dir, tmp_path):
    """Returns a copy of the data folder, to be damaged."""
    version_dir = index.find(data_dir, "mimic_iv_ecg/all_records")
    shutil.copytree(version_dir, tmp_path / "mimic_iv_ecg" / "all_records" / version_dir.name)
    return tmp_path


def main(data_dir, *more):
    flags = ["--check", "--dataset=mimic_iv_ecg/all_records", f"--data-dir={data_dir}"]
    return prepare.main([*flags, "--workers=1", *more])


def test_shows_what_there_is(copy, capsys):
    main(copy)
    shown = one_line(capsys.readouterr().out)
    folder = index.find(copy, "mimic_iv_ecg/all_records")
    first = index.load(folder, "train")
    assert_names(shown, f"recordings {first.num_records:,}", f"patients {first.num_patients:,}")
    assert_names(shown, "500 Hz 100.0%", "10 s 100.0%", "female", "risk 0")
    assert_names(shown, first.fingerprint[:12])
    assert (folder / check_page.PAGE_FILE).stat().st_size > 10_000


def test_any_number_of_workers_counts_the_same(copy):
    folder = index.find(copy, "mimic_iv_ecg/all_records")
    console = rich.console.Console(quiet=True)
    first, second = (check.scan(folder, console, workers) for workers in (1, 2))
    assert first.counts == second.counts
    assert first.intact


def shard_of(data_dir):
    folder = index.find(data_dir, "mimic_iv_ecg/all_records")
    return sorted(folder.glob("*array_record*"))[0]


def swap_bytes(path):
    """Changes one sample of one recording."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(bytes(data))


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("spoil", [swap_bytes, cut, pathlib.Path.unlink])
def test_a_damaged_shard_is_named(spoil, copy, capsys):
    path = shard_of(copy)
    spoil(path)
    with pytest.raises(SystemExit) as caught:
        main(copy)
    assert caught.value.code == 1
    shown = capsys.readouterr()
    assert_names(shown.out, path.name)
    assert_names(shown.err, copy, "--overwrite")
    assert "Traceback" not in shown.err


def test_another_fingerprint_is_told(copy, capsys):
    path = index.find(copy, "mimic_iv_ecg/all_records") / index.METADATA_FILE
    facts = json.loads(path.read_text())
    path.write_text(json.dumps(facts | {"fingerprint": "0" * 64}))
    with pytest.raises(SystemExit) as caught:
        main(copy)
    assert caught.value.code == 1
    shown = capsys.readouterr().out
    assert_names(shown, index.METADATA_FILE, "0" * 12)
    assert "array_record" not in shown  # no shard is named as damaged


@pytest.mark.parametrize("name", ["index_train.npz", index.METADATA_FILE])
def test_a_damaged_index_is_named(name, copy, capsys):
    path = index.find(copy, "mimic_iv_ecg/all_records") / name
    cut(path)
    with pytest.raises(SystemExit) as caught:
        main(copy)
    assert caught.value.code == 1
    assert_names(capsys.readouterr().err, path, "--overwrite")


def test_read_only_data_is_checked_without_a_plot(copy, capsys, monkeypatch):
    def refuse(*_, **__):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(pathlib.Path, "write_text", refuse)
    main(copy)  # ends with exit code 0
    shown = one_line(capsys.readouterr().out)
    folder = index.find(copy, "mimic_iv_ecg/all_records")
    assert_names(shown, folder / check_page.PAGE_FILE, "Read-only file system", "unchanged")
    assert not [path for path in folder.iterdir() if check_page.PAGE_FILE in path.name]


def test_what_is_not_prepared_is_told(tmp_path, capsys):
    with pytest.raises(SystemExit) as caught:
        main(tmp_path / "nothing")
    assert caught.value.code == 1
    assert_names(capsys.readouterr().err, tmp_path / "nothing", "clef-jax prepare")


def test_no_identifier_is_printed(copy, capsys):
    main(copy)
    shown = capsys.readouterr().out
    folder = index.find(copy, "mimic_iv_ecg/all_records")
    reader = check.raw.Reader(index.load(folder, "train"))
    shown += (folder / check_page.PAGE_FILE).read_text()
    for name in ("patient_id", "record_id"):
        for text in reader.texts(range(20), name):
            assert text not in shown


def test_a_table_of_findings_without_any_is_a_sentence(copy, capsys):
    main(copy)
    folder = index.find(copy, "mimic_iv_ecg/all_records")
    result = check.scan(folder, rich.console.Console(quiet=True), 1)
    for counts in result.counts.values():
        counts.by_lead.clear()
    assert check_report.NO_FINDING in list(check_report.tables(result))
    assert check_report.NO_FINDING in check_page.render(result)


def test_absent_classes_are_counted_rather_than_listed(copy):
    result = check.scan(
        index.find(copy, "mimic_iv_ecg/all_records"), rich.console.Console(quiet=True), 1
    )
    label = {"name": "rhythm", "classes": ["a", "b", "c"], "unit": "", "description": "The rhythm."}
    result.metadata["labels"] = [label]
    for split in result.metadata["splits"].values():
        split["label_counts"] = {"rhythm": {"b": 3}}
    rows, absent = check_report.label_rows(result, label)
    assert [row[0] for row in rows] == ["b"]
    assert absent == ["a", "c"]
    assert_names(check_page.render(result), "2 of 3 classes", "a, c")
