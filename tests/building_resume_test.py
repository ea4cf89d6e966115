"""Tests that a resumed build reuses complete shards of the same inputs, and no others."""

import fcntl
import json
import os
import pathlib
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
from building_builder_test import Toy, build, content
from culprits import refuses

from clef_jax.building import builder, clinical, resume


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A source of 200 recordings of as many patients, which gives seven shards."""
    folder = tmp_path_factory.mktemp("source")
    names = [f"p{number:03}_0" for number in range(200)]
    (folder / "list.txt").write_text("\n".join(names))
    rng = np.random.default_rng(0)
    for name in names:
        np.save(folder / f"{name}.npy", rng.integers(-500, 500, (3, 2500)).astype(np.int16))
    return folder


@pytest.fixture(scope="module")
def straight(source, tmp_path_factory):
    return content(build(source, tmp_path_factory.mktemp("straight")).data_path)


def stop_after(shards):
    done = []

    def watch(report):
        done.append(report.num_done)
        if len(done) == shards:
            raise KeyboardInterrupt

    return watch


def stop(source, data_dir, shards=3, **options):
    with pytest.raises(KeyboardInterrupt):
        build(source, data_dir, watch=stop_after(shards), **options)
    version_dir = data_dir / "toy" / "every" / "1.0.0"
    assert not version_dir.exists()
    assert resume.num_shards(version_dir) == shards
    return version_dir


def test_the_same_bytes_as_without_a_stop(source, straight, tmp_path):
    version_dir = stop(source, tmp_path)
    made = build(source, tmp_path)
    assert content(made.data_path) == straight
    assert made.summary.num_kept == 3 * 32
    assert made.summary.num_read == 200 - 3 * 32
    assert made.summary.num_stored == 200
    assert [p.name for p in version_dir.parent.iterdir()] == ["1.0.0"]


def test_workers_go_on_from_it_too(source, straight, tmp_path):
    stop(source, tmp_path)
    made = build(source, tmp_path, workers=2)
    assert content(made.data_path) == straight
    assert made.summary.num_kept == 3 * 32


def test_other_settings_take_nothing_over(source, tmp_path):
    stop(source, tmp_path)
    assert build(source, tmp_path, compression="zstd").summary.num_kept == 0


def test_starting_afresh_takes_nothing_over(source, straight, tmp_path):
    stop(source, tmp_path)
    made = build(source, tmp_path, overwrite=True)
    assert made.summary.num_kept == 0
    assert content(made.data_path) == straight


def test_another_list_takes_over_what_is_alike(source, tmp_path):
    stop(source, tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    names = (source / "list.txt").read_text().split()
    (other / "list.txt").write_text("\n".join([*names[:40], *names[41:]]))
    for name in names:
        (other / f"{name}.npy").symlink_to(source / f"{name}.npy")
    (tmp_path / "moved").symlink_to(other)
    assert build(other, tmp_path).summary.num_kept == 0  # another folder may hold other samples


def test_a_damaged_shard_is_written_again(source, straight, tmp_path):
    version_dir = stop(source, tmp_path)
    folder = resume.shard_folder(version_dir)
    with (folder / "part-00001").open("ab") as file:
        file.write(b"x")
    (folder / "part-00002").unlink()
    made = build(source, tmp_path)
    assert made.summary.num_kept == 32
    assert content(made.data_path) == straight


def test_findings_and_numbers_of_kept_shards_come_back(source, tmp_path):
    version_dir = stop(source, tmp_path)
    folder = resume.shard_folder(version_dir)
    made = Toy(data_dir=tmp_path, config="every", options=builder.Options())
    with made._listing(source) as listing:
        tasks = list(made._tasks(listing, source, folder))
    kept = resume.read(tasks[0])
    assert kept is not None
    again = resume.shard.write(tasks[0])
    for name in ("split", "num_read", "num_bytes", "digest", "findings", "patient_counts"):
        assert getattr(kept, name) == getattr(again, name), name
    assert kept.label_counts == again.label_counts
    for name, column in again.columns.items():
        np.testing.assert_array_equal(kept.columns[name], column)
        assert kept.columns[name].dtype == column.dtype
    assert resume.read(tasks[5]) is None


def test_two_builds_do_not_mix(source, tmp_path):
    version_dir = tmp_path / "toy" / "every" / "1.0.0"
    with (
        resume.lock_folder(version_dir, tmp_path),
        refuses(version_dir, problem="build_in_progress"),
    ):
        build(source, tmp_path)


@pytest.mark.faults
def test_a_shard_folder_that_is_moved_ends_the_build_and_stays_whole(
    source, straight, tmp_path, fault_log
):
    version_dir = tmp_path / "toy" / "every" / "1.0.0"
    folder, moved = resume.shard_folder(version_dir), tmp_path / "moved"

    def move(report):
        folder.rename(moved)

    with refuses(version_dir, folder, problem="moved"):
        build(source, tmp_path, watch=move)
    assert not version_dir.parent.exists() or not list(version_dir.parent.iterdir())
    assert [p.name for p in moved.glob("*.npz")] == ["part-00000.npz"]
    (moved / "lock").unlink()  # of a process that lives: this one
    moved.rename(folder)
    made = build(source, tmp_path)
    assert made.summary.num_kept == 32
    assert content(made.data_path) == straight
    fault_log()


@pytest.mark.faults
def test_a_build_whose_folder_is_taken_over_ends_and_leaves_it_alone(source, tmp_path, fault_log):
    version_dir = tmp_path / "toy" / "every" / "1.0.0"
    lock = resume.shard_folder(version_dir) / "lock"
    owner = {}

    def take_over(report):
        owner.update(json.loads(lock.read_text()) | {"token": "of another", "host": "elsewhere"})
        lock.write_text(json.dumps(owner))

    with refuses(version_dir, "elsewhere", problem="taken_over"):
        build(source, tmp_path, watch=take_over)
    assert json.loads(lock.read_text()) == owner
    assert resume.num_shards(version_dir) == 2
    assert not version_dir.exists()
    fault_log()


@pytest.mark.parametrize("host", ["", "another"])
def test_a_build_that_was_killed_is_taken_over_on_its_host_at_once(source, tmp_path, host):
    version_dir = tmp_path / "toy" / "every" / "1.0.0"
    code = (
        "import os, pathlib, socket, sys\n"
        "from clef_jax.building import resume\n"
        "if sys.argv[2]: socket.gethostname = lambda: sys.argv[2]\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "with resume.lock_folder(folder, folder): os._exit(0)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(version_dir), host], check=True)
    file = resume.shard_folder(version_dir) / "lock"
    assert json.loads(file.read_text())["host"] == (host or socket.gethostname())
    if host:  # its last heartbeat was a minute ago
        os.utime(file, (time.time() - 61, time.time() - 61))
    build(source, tmp_path)
    assert [p.name for p in version_dir.parent.iterdir()] == ["1.0.0"]


def test_what_a_killed_build_left_is_swept(source, tmp_path):
    parent = tmp_path / "toy" / "every"
    dead = parent / "incomplete.ABC123_1.0.0"
    dead.mkdir(parents=True)
    (dead / "quality.jsonl").write_text("{}")
    build(source, tmp_path)
    assert [p.name for p in parent.iterdir()] == ["1.0.0"]


def test_settings_that_change_the_risk_are_part_of_the_key(source, tmp_path):
    made = Toy(data_dir=tmp_path, config="every", options=builder.Options())
    with made._listing(source) as listing:
        task = next(made._tasks(listing, source, pathlib.Path(tmp_path)))
    keys = set()
    for region in ("low", "high"):
        scorer = clinical.Scorer(
            score="score2", region=region, median_of_men={}, median_of_women={}
        )
        keys.add(resume._key(resume.dataclasses.replace(task, scorer=scorer)))
    assert len(keys) == 2


def test_file_systems_without_locks_will_do(source, straight, tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    left = tmp_path / "toy" / "every" / "incomplete.ABC123_1.0.0"
    left.mkdir(parents=True)
    assert content(build(source, tmp_path).data_path) == straight
    assert left.exists()  # its owner may be at work
