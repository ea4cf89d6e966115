"""One training process that is killed, stopped or moved: nothing is lost beyond a checkpoint.

Each test of a fault adds a line to a table that is printed at the end: `pytest -m faults -s`. Steps
are cheap here; train_test.py stops and resumes runs with the real step.
"""

import random
import signal
import time

import pytest
from train_command import HANG_SECONDS, await_step, finish, kill_after, start

from clef_jax.training import CHECKPOINTS_FOLDER

pytestmark = [pytest.mark.slow, pytest.mark.faults]


def test_kill_9_at_random_moments_changes_no_bit(data_dir, tmp_path, survived):
    moments = random.Random(0)
    output = ""
    for _ in range(3):
        process = start(data_dir, tmp_path, cheap_seconds=0.1)
        output += kill_after(process, tmp_path, moments.randrange(6, 20))
    output += finish(start(data_dir, tmp_path, cheap_seconds=0.0))
    assert "after step" in output
    assert survived(tmp_path) <= 3 * 5


def test_kill_9_within_a_save_changes_no_bit(data_dir, tmp_path, survived):
    process = start(data_dir, tmp_path, cheap_seconds=0.1, checkpoint_every_steps=2)
    folder, deadline = tmp_path / CHECKPOINTS_FOLDER, time.monotonic() + HANG_SECONDS
    await_step(process, tmp_path, 5)
    while not list(folder.glob("*.orbax-checkpoint-tmp")):
        assert time.monotonic() < deadline
        assert process.poll() is None
    process.kill()
    process.communicate()
    assert list(folder.glob("*.orbax-checkpoint-tmp")), "killed too late to show anything"
    finish(start(data_dir, tmp_path, cheap_seconds=0.0))
    assert not list(folder.glob("*.orbax-checkpoint-tmp")), "what was left is cleared away"
    survived(tmp_path)


def test_eight_devices_then_four_then_one_see_the_same_examples(data_dir, tmp_path, survived):
    first = start(data_dir, tmp_path, cheap_seconds=0.1, num_devices=8)
    kill_after(first, tmp_path, 6, signal.SIGTERM)
    second = start(data_dir, tmp_path, cheap_seconds=0.1, num_devices=4)
    kill_after(second, tmp_path, 13, signal.SIGTERM)
    finish(start(data_dir, tmp_path, cheap_seconds=0.0, shard_optimizer=True, num_microbatches=2))
    assert survived(tmp_path, same_bits=False) == 0


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
    process = start(data_dir, tmp_path, cheap_seconds=0.1, before=jumping)
    kill_after(process, tmp_path, 17)
    finish(start(data_dir, tmp_path, cheap_seconds=0.0, before=jumping))
    survived(tmp_path)
