"""Reading that stalls or is killed ends the run in time, and nothing is lost."""

import os
import signal
import subprocess

import pytest
from culprits import assert_names
from train_command import HANG_SECONDS, await_step, fail, finish, start

pytestmark = [pytest.mark.slow, pytest.mark.faults]


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
    process = start(data_dir, tmp_path, cheap_seconds=0.0, before=stalled, stall_timeout_seconds=3)
    told = fail(process, HANG_SECONDS)
    assert_names(told, "3 s", "step 13", data_dir, "stalled_process_0.txt")
    assert "read_or_hang" in (tmp_path / "stalled_process_0.txt").read_text()
    finish(start(data_dir, tmp_path, cheap_seconds=0.0))
    assert survived(tmp_path) <= 5


def test_kill_9_of_a_reading_process_ends_the_run_in_time(data_dir, tmp_path, survived):
    process = start(data_dir, tmp_path, cheap_seconds=0.3, read_processes=2)
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
    finish(start(data_dir, tmp_path, cheap_seconds=0.0, read_processes=1))
    survived(tmp_path)
