"""Disks that are full and files that are damaged cost at most the steps since a checkpoint."""

import pathlib
import shutil
import signal

import numpy as np
import pytest
from culprits import assert_names
from train_command import HANG_SECONDS, fail, final_params, finish, kill_after, start

from clef_jax.data import index
from clef_jax.training import CHECKPOINTS_FOLDER, checkpoint, saved_run

pytestmark = [pytest.mark.slow, pytest.mark.faults]


def test_a_full_disk_is_told_ends_the_run_if_it_stays_and_loses_nothing(
    data_dir, tmp_path, undisturbed_cheap, fault_log
):
    full = """
import resource, signal
from clef_jax.training import loop
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
save = loop.Loop.save
def save_on_a_full_disk(self, state, step, last):
    if step == 10:
        self.checkpoints.wait()
        resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))
    save(self, state, step, last=last)
loop.Loop.save = save_on_a_full_disk
"""
    process = start(data_dir, tmp_path, cheap_seconds=0.0, before=full, log_every_steps=100)
    told = fail(process, HANG_SECONDS)
    assert_names(told, "step 10", "step 15", "step 5", "Error:", tmp_path)
    # Nor do threads of TensorStore print theirs while the failed save is abandoned.
    for text in ("Traceback", "Event loop is closed", 'File "', "clef_jax/training/"):
        assert text not in told
    sentence = told.rpartition("Error: The checkpoint")[2]
    assert_names(sentence, "step 15", "step 5")
    assert "after step 5" in finish(start(data_dir, tmp_path, cheap_seconds=0.0))
    for got, want in zip(final_params(tmp_path), final_params(undisturbed_cheap), strict=True):
        np.testing.assert_array_equal(got, want)
    fault_log(repeated="at least 10")


def test_a_disk_that_is_full_for_a_moment_costs_nothing(data_dir, tmp_path, survived):
    full = """
import resource, signal
from clef_jax.training import loop
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
save, limit = loop.Loop.save, resource.getrlimit(resource.RLIMIT_FSIZE)
def save_on_a_full_disk(self, state, step, last):
    if step == 24:
        self.checkpoints.wait()
        resource.setrlimit(resource.RLIMIT_FSIZE, (8192, limit[1]))
        start = self.checkpoints._start
        def start_when_there_is_room(*arguments):
            self.checkpoints._start = start_with_room
            start(*arguments)
        def start_with_room(*arguments):
            resource.setrlimit(resource.RLIMIT_FSIZE, limit)
            start(*arguments)
        self.checkpoints._start = start_when_there_is_room
    save(self, state, step, last=last)
loop.Loop.save = save_on_a_full_disk
"""
    output = finish(start(data_dir, tmp_path, cheap_seconds=0.0, before=full))
    assert_names(output, "step 24", tmp_path)
    assert survived(tmp_path) == 0


def test_a_corrupted_newest_checkpoint_costs_the_steps_since_the_one_before(
    data_dir, tmp_path, survived
):
    stopped = start(data_dir, tmp_path, cheap_seconds=0.1)
    kill_after(stopped, tmp_path, 12, signal.SIGTERM)
    folder = tmp_path / CHECKPOINTS_FOLDER
    newest = folder / str(saved_run.newest_step(tmp_path))
    largest = max((p for p in newest.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 1
    largest.write_bytes(content)
    output = " ".join(finish(start(data_dir, tmp_path, cheap_seconds=0.0)).split())
    assert_names(output, f"step {newest.name}", "after step 10")
    assert list((tmp_path / checkpoint.DAMAGED_FOLDER).iterdir())
    assert survived(tmp_path) >= 1


def test_a_truncated_shard_is_named_and_mended_by_a_copy(data_dir, tmp_path, survived):
    copy = tmp_path / "data"
    shutil.copytree(data_dir, copy)
    shard = pathlib.Path(index.load(index.find(copy, "mimic_iv_ecg"), "train").shard_paths[0])
    whole = shard.read_bytes()
    shard.write_bytes(whole[: len(whole) // 2])
    told = fail(start(copy, tmp_path / "run", cheap_seconds=0.0), HANG_SECONDS)
    assert_names(told, shard, "--check")
    shard.write_bytes(whole)
    finish(start(copy, tmp_path / "run", cheap_seconds=0.0))
    survived(tmp_path / "run")
