"""A prepared data set is read back to the last byte, and damage is told."""

import json
import pathlib
import shutil

import pytest
import rich.console
from culprits import assert_names, one_line

from clef_jax import prepare
from clef_jax.building import check, check_report
from clef_jax.data import index


@pytest.fixture
def copy(data_dir, tmp_path):
    """A data folder of its own, to be damaged."""
    found = index.find(data_dir, "mimic_iv_ecg/all_records")
    shutil.copytree(found, tmp_path / "mimic_iv_ecg" / "all_records" / found.name)
    return tmp_path


def main(data_dir, *more):
    flags = ["--check", "--dataset=mimic_iv_ecg/all_records", f"--data-dir={data_dir}"]
    return prepare.main([*flags, "--workers=1", *more])


def test_shows_what_there_is(copy, capsys):
    main(copy)
    shown = one_line(capsys.readouterr().out)
    folder = index.find(copy, "mimic_iv_ecg/all_records")
    one = index.load(folder, "train")
    assert_names(shown, f"recordings {one.num_records:,}", f"patients {one.num_patients:,}")
    assert_names(shown, "500 Hz 100.0%", "10 s 100.0%", "female", "risk 0")
    assert_names(shown, one.fingerprint[:12])
    assert (folder / check_report.PICTURE_FILE).stat().st_size > 10_000


def test_any_number_of_workers_counts_the_same(copy):
    folder = index.find(copy, "mimic_iv_ecg/all_records")
    console = rich.console.Console(quiet=True)
    one, two = (check.scan(folder, console, workers) for workers in (1, 2))
    assert one.parts == two.parts
    assert one.intact


def shard_of(data_dir):
    folder = index.find(data_dir, "mimic_iv_ecg/all_records")
    return sorted(folder.glob("*array_record*"))[0]


def swap_bytes(path):
    """One sample of one recording becomes another."""
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


def test_what_is_not_prepared_is_told(tmp_path, capsys):
    with pytest.raises(SystemExit) as caught:
        main(tmp_path / "nothing")
    assert caught.value.code == 1
    assert_names(capsys.readouterr().err, tmp_path / "nothing", "python -m clef_jax.prepare")


def test_no_identifier_is_printed(copy, capsys):
    main(copy)
    shown = capsys.readouterr().out
    folder = index.find(copy, "mimic_iv_ecg/all_records")
    reader = check.raw.Reader(index.load(folder, "train"))
    for name in ("patient_id", "record_id"):
        for text in reader.texts(range(20), name):
            assert text not in shown
