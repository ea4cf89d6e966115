"""Faults, put into real runs: nothing is lost beyond the last checkpoint, nothing hangs.

Each test adds a line to a log that is printed at the end: `pytest -m faults -s`.
"""

import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import time

import numpy as np
import pytest
from culprits import assert_names
from train_command import (
    STEPS,
    assert_same_bits,
    await_step,
    fail,
    final_params,
    finish,
    kill_after,
    losses,
    start,
    start_together,
)

from clef_jax.data import index
from clef_jax.training import CHECKPOINTS_FOLDER, checkpoint, loop, timeline, watch

pytestmark = [pytest.mark.slow, pytest.mark.faults]

SLOW_STEPS = """
import time
from clef_jax.training import logs
done = logs.Clock.step_done
def slow(self):
    time.sleep(0.5)
    done(self)
logs.Clock.step_done = slow
"""
"""Code that gives a test time to disturb a run before its last step."""

HANG_SECONDS = 90
"""No test waits longer for a process that ought to end by itself."""


@pytest.fixture(scope="module")
def undisturbed(data_dir, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("undisturbed")
    finish(start(data_dir, workdir))
    return workdir


@pytest.fixture(scope="module")
def log():
    lines = []
    yield lines.append
    if lines:
        print("\nfault | survived | examples lost | steps done again")  # noqa: T201
        print("\n".join(lines))  # noqa: T201


@pytest.fixture
def survived(log, request, data_dir, undisturbed):
    """Asserts that a run ended as the undisturbed one did, and notes what it cost."""

    def check(workdir, *, same_bits=True):
        if same_bits:
            assert_same_bits(workdir, undisturbed)
        else:
            for got, want in zip(final_params(workdir), final_params(undisturbed), strict=True):
                np.testing.assert_allclose(got, want, atol=1e-3)
        steps = [line["step"] for line in read_metrics(workdir)]
        assert steps == list(range(1, STEPS + 1)), "every batch once, in order"
        again = timeline.summary(workdir).num_repeated_steps
        log(f"{request.node.name} | yes | 0 | {again}")
        return again

    return check


def read_metrics(workdir):
    lines = (pathlib.Path(workdir) / "metrics.jsonl").read_text().splitlines()
    return [line for line in map(json.loads, lines) if "loss" in line]


def test_kill_9_at_random_moments_changes_no_bit(data_dir, tmp_path, survived):
    moments = random.Random(0)
    output = ""
    for _ in range(3):
        process = start(data_dir, tmp_path)
        output += kill_after(process, tmp_path, moments.randrange(6, 20))
    output += finish(start(data_dir, tmp_path))
    assert "after step" in output
    assert survived(tmp_path) <= 3 * 5


def test_kill_9_within_a_save_changes_no_bit(data_dir, tmp_path, survived):
    process = start(data_dir, tmp_path, checkpoint_every_steps=2)
    folder, deadline = tmp_path / CHECKPOINTS_FOLDER, time.monotonic() + HANG_SECONDS
    await_step(process, tmp_path, 5)
    while not list(folder.glob("*.orbax-checkpoint-tmp")):
        assert time.monotonic() < deadline
        assert process.poll() is None
    process.kill()
    process.communicate()
    assert list(folder.glob("*.orbax-checkpoint-tmp")), "killed too late to show anything"
    finish(start(data_dir, tmp_path))
    assert not list(folder.glob("*.orbax-checkpoint-tmp")), "what was left is cleared away"
    survived(tmp_path)


def test_sigterm_saves_and_repeats_nothing(data_dir, tmp_path, survived):
    kill_after(start(data_dir, tmp_path), tmp_path, 12, signal.SIGTERM)
    finish(start(data_dir, tmp_path))
    assert survived(tmp_path) == 0


def test_a_full_disk_is_told_ends_the_run_if_it_stays_and_loses_nothing(
    data_dir, tmp_path, undisturbed, log
):
    full = """
import resource, signal
from clef_jax.training import loop
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
save = loop.Loop.save
def save_on_a_full_disk(self, state, step, last):
    if step == 10:
        resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))
    save(self, state, step, last=last)
loop.Loop.save = save_on_a_full_disk
"""
    told = fail(start(data_dir, tmp_path, before=full, log_every_steps=100), HANG_SECONDS)
    assert_names(told, "step 10", "step 15", "step 5", "Error:", tmp_path)
    assert_names(told.partition("Error:")[2], "step 15", "step 5")
    assert "after step 5" in finish(start(data_dir, tmp_path))
    for got, want in zip(final_params(tmp_path), final_params(undisturbed), strict=True):
        np.testing.assert_array_equal(got, want)
    log("test_a_full_disk | yes | 0 | at least 10")


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
    output = finish(start(data_dir, tmp_path, before=full))
    assert_names(output, "step 24", tmp_path)
    assert survived(tmp_path) == 0


def test_a_corrupted_newest_checkpoint_costs_the_steps_since_the_one_before(
    data_dir, tmp_path, survived
):
    kill_after(start(data_dir, tmp_path), tmp_path, 12, signal.SIGTERM)
    folder = tmp_path / CHECKPOINTS_FOLDER
    newest = folder / str(checkpoint.newest_step(tmp_path))
    largest = max((p for p in newest.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 1
    largest.write_bytes(content)
    output = " ".join(finish(start(data_dir, tmp_path)).split())
    assert_names(output, f"step {newest.name}", "after step 10")
    assert list((tmp_path / checkpoint.DAMAGED_FOLDER).iterdir())
    assert survived(tmp_path) >= 1


def test_a_truncated_shard_is_named_and_mended_by_a_copy(data_dir, tmp_path, survived):
    copy = tmp_path / "data"
    shutil.copytree(data_dir, copy)
    shard = pathlib.Path(index.load(index.find(copy, "mimic_iv_ecg"), "train").shard_paths[0])
    whole = shard.read_bytes()
    shard.write_bytes(whole[: len(whole) // 2])
    told = fail(start(copy, tmp_path / "run"), HANG_SECONDS)
    assert_names(told, shard, "--check")
    shard.write_bytes(whole)
    finish(start(copy, tmp_path / "run"))
    survived(tmp_path / "run")


def test_a_batch_that_is_not_finite_is_skipped_and_its_records_named(data_dir, tmp_path, log):
    broken = """
import numpy as np
from clef_jax.data import pipeline
read = pipeline._Batches.__getitem__
def read_with_nan(self, step):
    batch = read(self, step)
    if step == 6:
        batch["gain_per_mv"] = np.full_like(batch["gain_per_mv"], np.nan)
    return batch
pipeline._Batches.__getitem__ = read_with_nan
"""
    output = finish(start(data_dir, tmp_path, before=broken))
    assert_names(output, "Step 7")
    lines = read_metrics(tmp_path)
    assert [line["step"] for line in lines if line["loss"] is None] == [7]
    assert lines[-1]["num_skipped"] == 1
    kept = [json.loads(x) for x in (tmp_path / loop.NONFINITE_FILE).read_text().splitlines()]
    assert [line["step"] for line in kept] == [7]
    assert len(kept[0]["record_ids"]) == 8
    log("test_a_batch_that_is_not_finite | yes | 0 | 0")


def test_a_stalled_reader_ends_the_run_in_time_and_loses_nothing(data_dir, tmp_path, survived):
    stalled = """
import time
from clef_jax.data import pipeline
read = pipeline._Batches.__getitem__
def read_or_hang(self, step):
    if step >= 12:
        time.sleep(3600)
    return read(self, step)
pipeline._Batches.__getitem__ = read_or_hang
"""
    told = fail(start(data_dir, tmp_path, before=stalled, stall_timeout_seconds=6), HANG_SECONDS)
    assert_names(told, "6 s", "step 13", data_dir, "stalled_process_0.txt")
    assert "read_or_hang" in (tmp_path / "stalled_process_0.txt").read_text()
    finish(start(data_dir, tmp_path))
    assert survived(tmp_path) <= 5


def test_kill_9_of_a_reading_process_ends_the_run_in_time(data_dir, tmp_path, survived):
    process = start(data_dir, tmp_path, before=SLOW_STEPS, read_processes=2)
    await_step(process, tmp_path, 6)
    listed = subprocess.run(
        ["ps", "-ww", "-o", "pid=,args=", "--ppid", str(process.pid)],
        capture_output=True,
        text=True,
        check=True,
    )
    readers = [line.split()[0] for line in listed.stdout.splitlines() if "spawn_main" in line]
    assert len(readers) == 2
    os.kill(int(readers[0]), signal.SIGKILL)
    assert_names(fail(process, HANG_SECONDS), "--read-processes", "--read-ahead-batches")
    finish(start(data_dir, tmp_path, read_processes=1))
    survived(tmp_path)


def test_a_clock_that_jumps_changes_nothing(data_dir, tmp_path, survived):
    """A week forward within the first save, which Orbax gives up, and back later."""
    jumping = """
import time
from clef_jax.training import checkpoint
real, offset = time.time, [0.0]
time.time = lambda: real() + offset[0]
start, jumps = checkpoint.Checkpoints._start, iter([6e5, -1e6])
def start_and_jump(self, *arguments):
    start(self, *arguments)
    offset[0] += next(jumps, 0.0)
checkpoint.Checkpoints._start = start_and_jump
"""
    process = start(data_dir, tmp_path, before=jumping)
    kill_after(process, tmp_path, 17)
    finish(start(data_dir, tmp_path, before=jumping))
    survived(tmp_path)


def test_eight_devices_then_four_then_one_see_the_same_examples(data_dir, tmp_path, survived):
    kill_after(start(data_dir, tmp_path, num_devices=8), tmp_path, 6, signal.SIGTERM)
    kill_after(start(data_dir, tmp_path, num_devices=4), tmp_path, 13, signal.SIGTERM)
    finish(start(data_dir, tmp_path, num_devices=1, shard_optimizer=True, num_microbatches=2))
    assert survived(tmp_path, same_bits=False) == 0


def test_sigterm_to_one_of_two_processes_stops_both_at_one_step(data_dir, tmp_path, survived):
    """Begun by one process, gone on with by two, of which one is asked to stop."""
    kill_after(start(data_dir, tmp_path), tmp_path, 6, signal.SIGTERM)
    together = start_together(data_dir, tmp_path)
    await_step(together[0], tmp_path, 10)
    together[1].send_signal(signal.SIGTERM)
    outputs = [finish(process) for process in together]
    stopped = checkpoint.newest_step(tmp_path)
    assert_names(outputs[0], f"after step {stopped}")
    assert stopped < STEPS
    for process in start_together(data_dir, tmp_path):
        finish(process)
    assert survived(tmp_path, same_bits=False) == 0


def test_kill_9_of_one_of_two_processes_ends_the_other_and_loses_nothing(
    data_dir, tmp_path, survived
):
    together = start_together(data_dir, tmp_path)
    await_step(together[0], tmp_path, 12)
    together[1].kill()
    together[1].communicate()
    output, _ = together[0].communicate(timeout=HANG_SECONDS)
    assert together[0].returncode not in (0, None), output
    assert watch.AGAIN in " ".join(output.split())
    for process in start_together(data_dir, tmp_path):
        finish(process)
    assert survived(tmp_path, same_bits=False) <= 10
    assert len(losses(tmp_path)) == STEPS
