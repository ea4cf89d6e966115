"""Ctrl-C saves, a second one ends at once, and time spent stopped does not count as useful."""

import os
import signal
import time

import pytest
from culprits import assert_names
from train_command import (
    HANG_SECONDS,
    await_step,
    finish,
    kill_after,
    lost_bytes,
    seconds_to_end,
    start,
    start_together,
    user_bytes,
)

from clef_jax import errors
from clef_jax.training import CHECKPOINTS_FOLDER, saved_run, timeline

pytestmark = [pytest.mark.slow, pytest.mark.faults]


@pytest.mark.parametrize("read_processes", [0, 2])
def test_ctrl_c_saves_and_the_next_start_goes_on(data_dir, tmp_path, survived, read_processes):
    reading = {"read_processes": read_processes}
    process = start(data_dir, tmp_path, cheap_seconds=0.1, **reading)
    await_step(process, tmp_path, 7)
    signal_all(process)
    output = end(process, 0)
    assert seconds_to_end[-1] < 30
    stopped = saved_run.newest_step(tmp_path)
    assert stopped is not None
    assert_names(output, f"after step {stopped}", "Ctrl-C")
    assert "Traceback" not in output
    finish(start(data_dir, tmp_path, cheap_seconds=0.0))
    assert survived(tmp_path) == 0


def end(process, code) -> str:
    """What a process says that was asked to end, which it does with this exit code."""
    begin = time.monotonic()
    output, _ = process.communicate(timeout=HANG_SECONDS)
    seconds_to_end.append(time.monotonic() - begin)
    assert process.returncode == code, output
    return output


def signal_all(process):
    """Sends what a terminal does: Ctrl-C to all processes of the group."""
    os.killpg(process.pid, signal.SIGINT)


def test_a_second_ctrl_c_ends_at_once_and_loses_no_checkpoint(data_dir, tmp_path, survived):
    slow = """
import time
from clef_jax.training import loop
save = loop.Loop.save
def save_slowly(self, state, step, last):
    if last:
        print("saves", flush=True)
        time.sleep(60)
    save(self, state, step, last=last)
loop.Loop.save = save_slowly
"""
    process = start(data_dir, tmp_path, cheap_seconds=0.1, before=slow)
    await_step(process, tmp_path, 12)
    process.send_signal(signal.SIGINT)
    while "saves" not in process.stdout.readline():
        assert process.poll() is None
    before = user_bytes(tmp_path / CHECKPOINTS_FOLDER)
    process.send_signal(signal.SIGINT)
    end(process, errors.INTERRUPTED)
    assert seconds_to_end[-1] < 5
    lost = lost_bytes(before, tmp_path / CHECKPOINTS_FOLDER)
    finish(start(data_dir, tmp_path, cheap_seconds=0.0))
    assert survived(tmp_path, lost_bytes=lost) >= 1


def test_ctrl_c_to_two_processes_stops_both_at_one_step(data_dir, tmp_path, survived):
    together = start_together(data_dir, tmp_path, cheap_seconds=0.1)
    await_step(together[0], tmp_path, 7)
    for process in together:
        process.send_signal(signal.SIGINT)
    outputs = [end(process, 0) for process in together]
    stopped = saved_run.newest_step(tmp_path)
    assert_names(outputs[0], f"after step {stopped}")
    for process in start_together(data_dir, tmp_path, cheap_seconds=0.0):
        finish(process)
    assert survived(tmp_path, same_bits=False) == 0


def test_time_spent_stopped_does_not_count_as_useful(data_dir, tmp_path, survived):
    process = start(data_dir, tmp_path, cheap_seconds=0.2)
    await_step(process, tmp_path, 6)
    process.send_signal(signal.SIGSTOP)
    time.sleep(8)
    process.send_signal(signal.SIGCONT)
    finish(process)
    history = timeline.summary(tmp_path)
    assert history is not None
    assert history.total_seconds > 8
    assert history.useful_seconds < history.total_seconds - 7.5
    assert survived(tmp_path) == 0


def test_kill_9_of_a_stopped_run_loses_nothing(data_dir, tmp_path, survived):
    process = start(data_dir, tmp_path, cheap_seconds=0.1)
    await_step(process, tmp_path, 8)
    process.send_signal(signal.SIGSTOP)
    kill_after(process, tmp_path, 1)
    finish(start(data_dir, tmp_path, cheap_seconds=0.0))
    survived(tmp_path)


def test_a_request_after_the_decision_to_go_on_still_saves(data_dir, tmp_path, survived):
    late = """
import os, signal
from clef_jax.training import logs
restart, num_restarts = logs.Clock.restart, [0]
def restart_and_stop(clock):
    restart(clock)
    num_restarts[0] += 1
    if num_restarts[0] == 13:  # one at the start, then one after each step
        os.kill(os.getpid(), signal.SIGTERM)
logs.Clock.restart = restart_and_stop
"""
    output = finish(start(data_dir, tmp_path, cheap_seconds=0.0, before=late))
    assert_names(output, "after step 13")
    assert saved_run.newest_step(tmp_path) == 13
    finish(start(data_dir, tmp_path, cheap_seconds=0.0))
    assert survived(tmp_path) == 0
