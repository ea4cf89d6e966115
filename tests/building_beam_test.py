"""Tests that a Beam pipeline writes the same bytes as worker processes."""

import shutil
import sys

import pytest
from building_builder_test import content
from culprits import assert_names
from prepare_test import make_source

from clef_jax import prepare
from clef_jax.building import beam
from clef_jax.data import index

OPTIONS = "runner=DirectRunner,direct_num_workers=1"


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return make_source(tmp_path_factory.mktemp("beam"), patients=80)


def main(source, data_dir, *more):
    flags = [f"--source={source}", f"--data-dir={data_dir}", "--workers=1", *more]
    prepare.main(flags)
    return index.find(data_dir, "mimic_iv_ecg")


def test_the_same_bytes(source, tmp_path):
    plain = main(source, tmp_path / "plain")
    piped = main(source, tmp_path / "piped", f"--beam-options={OPTIONS}")
    assert content(piped) == content(plain)
    assert [p.name for p in piped.parent.iterdir()] == ["1.0.0"]


def test_options_as_beam_writes_them(source, tmp_path):
    options = OPTIONS.replace("runner", "--runner", 1).replace(",", " --")
    assert beam._flags(options) == beam._flags(OPTIONS)
    main(source, tmp_path, f"--beam-options={options}")


def test_workers_that_see_neither_folder(source, tmp_path):
    """Splits the source: tables stay, recordings move to another folder, as in a bucket."""
    plain = main(source, tmp_path / "plain")
    here, bucket = tmp_path / "here", tmp_path / "bucket"
    shutil.copytree(source, bucket / "raw")
    here.mkdir()
    shutil.copytree(source / "hosp", here / "hosp")
    shutil.copy(source / "record_list.csv", here)
    (bucket / "scratch").mkdir()
    remote = [f"--remote-source={bucket}/raw", f"--remote-scratch={bucket}/scratch/"]
    piped = main(here, tmp_path / "piped", f"--beam-options={OPTIONS}", *remote)
    assert content(piped) == content(plain)
    assert not list((bucket / "scratch").iterdir())


def test_half_of_the_remote_folders_is_refused(source, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(source, tmp_path, f"--beam-options={OPTIONS}", "--remote-source=gs://b/raw")
    assert_names(capsys.readouterr().err, "--remote-source", "--remote-scratch")


def test_a_failing_worker_is_named_and_finished_shards_are_kept(
    source, tmp_path, monkeypatch, capsys
):
    from clef_jax.building import shard

    real, written, broken = shard.write, [], [2]

    def write(task):
        if task.assignment.number in broken:
            raise OSError("No space left on device")
        written.append(task.assignment.number)
        return real(task)

    monkeypatch.setattr(shard, "write", write)
    with pytest.raises(SystemExit):
        main(source, tmp_path, f"--beam-options={OPTIONS}")
    shown = capsys.readouterr().err
    assert_names(shown, "Beam", "No space left")
    assert "Traceback" not in shown
    broken.clear()
    main(source, tmp_path, f"--beam-options={OPTIONS}")
    assert 2 in written
    assert len(set(written)) == len(written) > 1


def test_what_a_failed_pipeline_left_in_the_bucket_is_used(source, tmp_path, monkeypatch):
    from clef_jax.building import shard

    scratch = tmp_path / "scratch"
    scratch.mkdir()
    flags = [
        f"--beam-options={OPTIONS}",
        f"--remote-source={source}",
        f"--remote-scratch={scratch}",
    ]
    real, written = shard.write, []

    def write(task):
        written.append(task.assignment.number)
        if len(written) == 2:
            raise OSError("No space left on device")
        return real(task)

    monkeypatch.setattr(shard, "write", write)
    with pytest.raises(SystemExit):
        main(source, tmp_path / "data", *flags)
    assert len(list(scratch.glob("*.npz"))) == 1
    main(source, tmp_path / "data", *flags)
    assert written.count(written[0]) == 1


def test_without_beam_a_sentence_says_what_to_install(source, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    with pytest.raises(SystemExit):
        main(source, tmp_path, f"--beam-options={OPTIONS}")
    assert_names(capsys.readouterr().err, "--beam-options", "clef_jax[beam]")
