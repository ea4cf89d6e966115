"""Processes that cannot train together say so, in time; none of them compiles anything."""

import json
import signal
import time

import jax
import pytest
from train_command import fail, flags, free_address, start, start_together

from clef_jax import processes, train
from clef_jax.config import TrainConfig

pytestmark = pytest.mark.slow
WITHIN_SECONDS = 60

# Waits as a run does, but for ever, once all processes have agreed.
WAITING = """
import time
from clef_jax import processes
real = processes.agree
def agree(*arguments):
    real(*arguments)
    print("agreed", flush=True)
    time.sleep(600)
processes.agree = agree
"""


def test_versions_of_what_computes_are_told():
    found = processes.software()
    assert found["jax"] == jax.__version__
    assert {"Python", "jaxlib", "flax", "numpy", "clef_jax"} <= set(found)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"coordinator_address": "nowhere"}, "must be HOST:PORT, or auto"),
        ({"coordinator_address": "127.0.0.1:1"}, "needs --num-processes=N"),
        (
            {"coordinator_address": "127.0.0.1:1", "num_processes": 2, "process_id": 2},
            "from 0 to N - 1",
        ),
        (
            {"coordinator_address": "no.such.host.invalid:1", "num_processes": 2, "process_id": 1},
            "does not know the host no.such.host.invalid",
        ),
    ],
)
def test_an_address_that_cannot_be_is_refused(settings, sentence, data_dir, tmp_path, capsys):
    with pytest.raises(SystemExit):
        train.main(flags(data_dir, tmp_path, **settings))
    assert sentence in " ".join(capsys.readouterr().err.split())


def test_no_cluster_to_ask_is_told(data_dir, tmp_path):
    told = fail(start(data_dir, tmp_path, coordinator_address="auto"), WITHIN_SECONDS)
    assert "found no cluster here" in told


def alone(data_dir, workdir, address, process_id):
    return start(
        data_dir,
        workdir,
        coordinator_address=address,
        num_processes=2,
        process_id=process_id,
        join_timeout_seconds=5,
    )


def test_a_process_that_does_not_come_is_told_by_the_one_that_waits(data_dir, tmp_path):
    address = free_address()
    told = fail(alone(data_dir, tmp_path, address, 0), WITHIN_SECONDS)
    assert f"Not all 2 processes came to {address} within 5 s" in told


def test_a_wrong_coordinator_is_told(data_dir, tmp_path):
    address = free_address()
    told = fail(alone(data_dir, tmp_path, address, 1), WITHIN_SECONDS)
    assert f"Process 0 did not answer at {address} within 5 s" in told


def test_an_address_in_use_is_told(data_dir, tmp_path):
    import socket

    with socket.socket() as other:
        other.bind(("0.0.0.0", 0))
        other.listen()
        address = f"127.0.0.1:{other.getsockname()[1]}"
        told = fail(alone(data_dir, tmp_path, address, 0), WITHIN_SECONDS)
    assert "Is another program using that port?" in told


def test_other_settings_on_one_host_are_told_by_all(data_dir, tmp_path):
    each = {1: {"seed": 7, "read_threads": 1}}
    zero, one = start_together(data_dir, tmp_path, each=each)
    told = fail(one, WITHIN_SECONDS)
    assert "Process 1 differs from process 0 in --seed (7, there 42). Start all" in told
    assert "Process 1 failed: Process 1 differs" in fail(zero, WITHIN_SECONDS)


def test_other_software_on_one_host_is_told(data_dir, tmp_path):
    older = (
        "from clef_jax import processes; real = processes.software; "
        "processes.software = lambda: real() | {'jax': '0.4.1'}"
    )
    _, one = together = start_together(data_dir, tmp_path, each={1: {"before": older}})
    assert f"differs from process 0 in jax ('0.4.1', there '{jax.__version__}')" in fail(
        one, WITHIN_SECONDS
    )
    fail(together[0], WITHIN_SECONDS)


def test_other_data_on_one_host_is_told(data_dir, tmp_path):
    other = {1: {"dataset": "mimic_iv_ecg/all_records"}}
    zero, one = start_together(data_dir, tmp_path, each=other)
    assert "the data set" in fail(one, WITHIN_SECONDS)
    fail(zero, WITHIN_SECONDS)


def test_data_that_one_host_lacks_is_told_by_all(data_dir, tmp_path):
    zero, one = start_together(data_dir, tmp_path, each={1: {"data_dir": tmp_path / "none"}})
    assert "does not exist" in fail(one, WITHIN_SECONDS)
    assert "Process 1 failed: The data folder" in fail(zero, WITHIN_SECONDS)


def test_a_workdir_that_is_not_shared_is_told(data_dir, tmp_path):
    hurry = "from clef_jax import processes; processes.SHARED_FOLDER_SECONDS = 1.0"
    each = {1: {"workdir": tmp_path / "b", "before": hurry}}
    zero, one = start_together(data_dir, tmp_path / "a", each=each)
    told = fail(one, WITHIN_SECONDS)
    assert f"Process 1 finds another folder at {tmp_path / 'b'} than process 0 does" in told
    fail(zero, WITHIN_SECONDS)


def test_a_checkpoint_that_one_host_does_not_see_is_told(data_dir, tmp_path):
    (tmp_path / "b" / "checkpoints" / "500").mkdir(parents=True)
    zero, one = start_together(data_dir, tmp_path / "a", each={1: {"workdir": tmp_path / "b"}})
    assert "the newest checkpoint in its workdir (step 500, there None)" in fail(
        one, WITHIN_SECONDS
    )
    fail(zero, WITHIN_SECONDS)


@pytest.mark.parametrize("signalled", [0, 1])
@pytest.mark.parametrize("which", [signal.SIGKILL, signal.SIGSTOP])
def test_a_process_that_falls_silent_ends_the_others(data_dir, tmp_path, which, signalled):
    silence = 4.0
    before = f"{WAITING}\nprocesses.SILENCE_SECONDS = {silence}\nprocesses.BEAT_SECONDS = 0.5"
    together = start_together(data_dir, tmp_path, before=before)
    for process in together:
        while "agreed" not in process.stdout.readline():
            assert process.poll() is None
    start_seconds = time.monotonic()
    together[signalled].send_signal(which)
    other = together[1 - signalled]
    other.wait(timeout=WITHIN_SECONDS)
    assert time.monotonic() - start_seconds < WITHIN_SECONDS
    told = " ".join(other.stdout.read().split())
    if signalled == 1:
        assert "Process 1 was not heard of for 4 s" in told
    elif which == signal.SIGSTOP:
        assert "Process 0 does not answer any more" in told
    if (which, signalled) == (signal.SIGKILL, 0):
        assert other.returncode not in (0, None)  # JAX itself may be the first to notice
    else:
        assert other.returncode == 1
        assert "Started again with the same command" in told
    together[signalled].kill()
    for process in together:
        process.communicate(timeout=WITHIN_SECONDS)


def test_settings_of_the_machine_may_differ():
    mine = {"config": {"read_threads": 8, "workdir": "a", "seed": 1}, "data": {}, "software": {}}
    theirs = {"config": {"read_threads": 2, "workdir": "b", "seed": 1}, "data": {}, "software": {}}
    processes._refuse_differences(3, mine, json.loads(json.dumps(theirs)))
    names = set(TrainConfig.__dataclass_fields__)
    assert processes._OWN - {"read_processes"} <= names
