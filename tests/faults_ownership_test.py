"""A workdir has one run at a time; a workdir that is taken away ends the run, and loses nothing."""

import shutil
import signal

import pytest
from culprits import assert_names
from train_command import (
    HANG_SECONDS,
    await_step,
    fail,
    finish,
    kill_after,
    lost_bytes,
    start,
    start_together,
    user_bytes,
)

from clef_jax.training import CHECKPOINTS_FOLDER, logs, ownership

pytestmark = [pytest.mark.slow, pytest.mark.faults]

ON_A_HOST = """
import socket
from clef_jax import folder_lock
socket.gethostname = lambda: {!r}
defaults = folder_lock.FolderLock.__init__.__kwdefaults__
defaults["beat_seconds"], defaults["silence_seconds"] = 0.2, 4.0
"""


def test_a_second_run_in_one_workdir_is_refused_and_the_first_is_undisturbed(
    data_dir, tmp_path, survived
):
    first = start(data_dir, tmp_path, cheap_seconds=1.0)
    await_step(first, tmp_path, 3)
    told = fail(start(data_dir, tmp_path, cheap_seconds=0.0), HANG_SECONDS)
    assert_names(told, tmp_path, first.pid, "--workdir")
    finish(first)
    assert survived(tmp_path) == 0
    assert not (tmp_path / ownership.LOCK_FILE).exists()


def test_runs_of_two_hosts_exclude_each_other_and_a_silent_one_is_replaced(
    data_dir, tmp_path, survived
):
    first = start(data_dir, tmp_path, cheap_seconds=1.0, before=ON_A_HOST.format("pod-a"))
    await_step(first, tmp_path, 3)
    second = start(data_dir, tmp_path, cheap_seconds=0.0, before=ON_A_HOST.format("pod-b"))
    assert_names(fail(second, HANG_SECONDS), tmp_path, "pod-a", first.pid)
    kill_after(first, tmp_path, 6)
    output = finish(start(data_dir, tmp_path, cheap_seconds=0.0, before=ON_A_HOST.format("pod-c")))
    assert_names(output, tmp_path, "pod-a")
    assert survived(tmp_path) <= 10


def test_a_run_whose_workdir_another_host_took_over_ends_and_leaves_it(
    data_dir, tmp_path, survived
):
    first = start(data_dir, tmp_path, cheap_seconds=0.1, before=ON_A_HOST.format("pod-a"))
    await_step(first, tmp_path, 3)
    first.send_signal(signal.SIGSTOP)
    finish(start(data_dir, tmp_path, cheap_seconds=0.0, before=ON_A_HOST.format("pod-b")))
    before = user_bytes(tmp_path)
    first.send_signal(signal.SIGCONT)
    assert_names(fail(first, HANG_SECONDS), tmp_path)
    survived(tmp_path, lost_bytes=lost_bytes(before, tmp_path))
    assert user_bytes(tmp_path).keys() == before.keys()


def test_a_workdir_that_moves_ends_the_run_which_resumes_there(data_dir, tmp_path, survived):
    workdir, moved = tmp_path / "run", tmp_path / "moved"
    process = start(data_dir, workdir, cheap_seconds=0.1)
    await_step(process, workdir, 13)
    before = user_bytes(workdir / CHECKPOINTS_FOLDER)
    workdir.rename(moved)
    assert_names(fail(process, HANG_SECONDS), workdir, "--workdir")
    lost = lost_bytes(before, moved / CHECKPOINTS_FOLDER)
    finish(start(data_dir, moved, cheap_seconds=0.0))
    assert survived(moved, lost_bytes=lost) <= 10
    assert not (workdir / logs.METRICS_FILE).exists()


def test_a_workdir_that_is_deleted_ends_the_run(data_dir, tmp_path, survived):
    workdir = tmp_path / "run"
    process = start(data_dir, workdir, cheap_seconds=0.1)
    await_step(process, workdir, 8)
    shutil.rmtree(workdir, ignore_errors=True)
    told = fail(process, HANG_SECONDS)
    assert_names(told, workdir)
    assert "Traceback" not in told
    shutil.rmtree(workdir, ignore_errors=True)
    finish(start(data_dir, workdir, cheap_seconds=0.0))
    survived(workdir)


def test_process_0_owns_the_workdir_of_two_processes(data_dir, tmp_path, survived):
    together = start_together(data_dir, tmp_path, cheap_seconds=1.0)
    await_step(together[0], tmp_path, 3)
    told = fail(start(data_dir, tmp_path, cheap_seconds=0.0), HANG_SECONDS)
    assert_names(told, tmp_path, together[0].pid)
    for process in together:
        finish(process)
    assert survived(tmp_path, same_bits=False) == 0


def test_processes_wait_while_process_0_waits_for_a_silent_host(data_dir, tmp_path, survived):
    """A preempted run returns on other hosts before its last heartbeat is old."""
    slow = ON_A_HOST.replace("4.0", "25.0")
    first = start(data_dir, tmp_path, cheap_seconds=0.1, before=slow.format("pod-a"))
    await_step(first, tmp_path, 6)
    kill_after(first, tmp_path, 6)
    together = start_together(
        data_dir,
        tmp_path,
        cheap_seconds=0.0,
        before=slow.format("pod-b"),
        join_timeout_seconds=10,
    )
    outputs = [finish(process) for process in together]
    assert_names(outputs[0], tmp_path, "pod-a")
    survived(tmp_path, same_bits=False)
