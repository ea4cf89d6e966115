"""Tests that a folder has one owner, and that the folder of a dead owner is taken over."""

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import processes
import pytest
from culprits import assert_names, refuses

from clef_jax import folder_lock
from clef_jax.folder_lock import FolderLock, InUseError, LostError

BEAT_SECONDS, SILENCE_SECONDS = 0.2, 2.0

OWNER = """
import pathlib, socket, sys, time
from clef_jax.folder_lock import FolderLock
path, host = pathlib.Path(sys.argv[1]), sys.argv[2]
if host:
    socket.gethostname = lambda: host
with FolderLock(path, beat_seconds=0.2, silence_seconds=2.0):
    print("owns", flush=True)
    time.sleep(100)
"""


def owner(path, host=""):
    """A process that owns the folder of a path, on a host of this name."""
    process = processes.start(
        [sys.executable, "-c", OWNER, str(path), host], stdout=subprocess.PIPE
    )
    assert process.stdout.readline() == "owns\n"
    return process


def lock(path, reports=None):
    return FolderLock(
        path,
        beat_seconds=BEAT_SECONDS,
        silence_seconds=SILENCE_SECONDS,
        report=[].append if reports is None else reports.append,
    )


@pytest.fixture
def path(tmp_path):
    return tmp_path / "folder" / "run.lock"


def end(process):
    process.kill()
    process.communicate()


def test_the_file_names_its_owner_beats_and_disappears(path):
    with lock(path):
        first = json.loads(path.read_text())
        assert (first["host"], first["process"]) == (socket.gethostname(), os.getpid())
        time.sleep(1.0 + 3 * BEAT_SECONDS)
        later = json.loads(path.read_text())
        assert later.pop("heartbeat") > first.pop("heartbeat")
        assert later == first
    assert list(path.parent.iterdir()) == []


def test_a_living_process_keeps_its_folder_even_while_it_is_stopped(path):
    process = owner(path)
    process.send_signal(signal.SIGSTOP)
    time.sleep(1.5 * SILENCE_SECONDS)
    with refuses(path.parent, process.pid, socket.gethostname(), error=InUseError), lock(path):
        pass
    process.send_signal(signal.SIGCONT)


def test_two_locks_of_one_process_exclude_each_other(path):
    with lock(path), refuses(os.getpid(), problem="in_use"), lock(path):
        pass


@pytest.mark.parametrize("collected", [True, False])
def test_the_folder_of_a_dead_process_is_taken_over_at_once(path, collected):
    process, reports = owner(path), []
    process.kill()
    if collected:
        process.communicate()
    else:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    begin = time.monotonic()
    with lock(path, reports) as mine:
        assert time.monotonic() - begin < SILENCE_SECONDS / 2
        mine.check()
    assert_names(" ".join(reports), path.parent, process.pid)


def test_another_process_of_the_same_number_is_not_the_owner(path):
    process = owner(path)
    end(process)
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"process": os.getpid()}))
    with lock(path):
        pass


def test_a_process_on_another_host_keeps_its_folder_while_it_beats(path):
    process = owner(path, "another")
    begin = time.monotonic()
    with refuses("another", process.pid, error=InUseError), lock(path):
        pass
    assert time.monotonic() - begin < SILENCE_SECONDS


def test_the_folder_of_a_silent_host_is_taken_over_when_its_heartbeat_is_old(path):
    end(owner(path, "another"))
    reports = []
    begin = time.monotonic()
    with lock(path, reports):
        waited = time.monotonic() - begin
    assert 0.5 * SILENCE_SECONDS < waited < 3 * SILENCE_SECONDS
    assert_names(reports[0], "another", path.parent)
    end(owner(path, "another"))
    os.utime(path, (time.time() - 60, time.time() - 60))
    begin = time.monotonic()
    with lock(path):
        assert time.monotonic() - begin < SILENCE_SECONDS / 2


def test_a_host_that_restarted_and_a_container_of_the_same_name_count_as_another_host(path):
    process = owner(path)
    content = json.loads(path.read_text())
    end(process)
    path.write_text(json.dumps(content | {"machine": "another boot", "process": os.getpid()}))
    begin = time.monotonic()
    with lock(path):
        assert time.monotonic() - begin > 0.5 * SILENCE_SECONDS


def test_locks_of_versions_without_heartbeats_are_understood(path):
    path.parent.mkdir()
    path.touch()
    with path.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        with refuses(path.parent, problem="in_use"), lock(path):
            pass
    with lock(path) as mine:
        assert mine.exclusive
        with path.open("w") as stream, pytest.raises(BlockingIOError):
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)


def no_flock(monkeypatch, how):
    if how == "file system":

        def refuse(*_):
            raise OSError(37, "No locks available")

        monkeypatch.setattr(fcntl, "flock", refuse)
    else:
        monkeypatch.setitem(sys.modules, "fcntl", None)  # as on Windows


@pytest.mark.parametrize("how", ["file system", "no module"])
def test_it_works_without_flock(path, monkeypatch, how):
    no_flock(monkeypatch, how)
    with lock(path) as mine:
        assert not mine.exclusive
        with refuses(os.getpid(), problem="in_use"), lock(path):
            pass
    end(owner(path))
    with lock(path) as mine:
        mine.check()
    path.touch()
    os.utime(path, (time.time() - 60, time.time() - 60))
    with lock(path):
        pass


@pytest.mark.parametrize("flock", [True, False])
def test_of_many_that_take_over_at_once_one_succeeds(path, monkeypatch, flock):
    if not flock:
        no_flock(monkeypatch, "file system")
    end(owner(path))
    together, owners, done = threading.Barrier(8), [], threading.Event()

    def take():
        together.wait()
        try:
            with lock(path) as mine:
                owners.append(mine)
                done.wait(30)
        except InUseError:
            pass

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    time.sleep(4 * SILENCE_SECONDS)
    assert len(owners) == 1
    done.set()
    for thread in threads:
        thread.join()
    assert not path.exists()


def test_a_folder_that_moved_or_was_deleted_is_lost(path):
    with lock(path) as mine:
        mine.check()
        moved = path.parent.with_name("moved")
        path.parent.rename(moved)
        with refuses(path.parent, problem="moved", error=LostError):
            mine.check()
        time.sleep(3 * BEAT_SECONDS)
        assert not path.parent.exists()
    assert (moved / path.name).exists()


def test_a_folder_that_another_host_took_over_is_lost_and_left_to_it(path):
    with lock(path) as mine:
        content = json.loads(path.read_text())
        path.unlink()
        path.write_text(json.dumps(content | {"host": "another", "token": "other"}))
        with refuses("another", problem="taken_over", error=LostError):
            mine.check()
        before = path.read_bytes()
        time.sleep(3 * BEAT_SECONDS)
        assert path.read_bytes() == before
    assert path.read_bytes() == before


def test_a_disk_without_space_leaves_no_lock(path, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(folder_lock.os, "fsync", fail)
    with refuses(path, "No space left", problem="not_written"), lock(path):
        pass
    assert list(path.parent.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    folder = tmp_path / "file" / "folder"
    with refuses(folder, problem="out_unwritable"), lock(folder / "run.lock"):
        pass


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_a_lock_that_is_no_file_is_refused_and_kept(make, tmp_path):
    path = tmp_path / "run.lock"
    make(path)
    with refuses(path, problem="not_a_file"), folder_lock.FolderLock(path):
        pass
    assert path.exists()
