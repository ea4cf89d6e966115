"""Processes on one machine: their shares, their ends, and what signals do to them.

Stubs stand in for the trainer; launch_loopback_test.py runs the real one.
"""

import signal
import subprocess
import time

import processes
import pytest
from culprits import assert_names
from launch_scripts import LAUNCH, commands, run, stub, with_stubs

NAME = "train_workstation.sh"
READS_ITS_NUMBER = (
    "trap '' INT",  # bash's own way with Ctrl-C aside, a trainer hears SIGTERM only
    'for flag in "$@"; do case $flag in --process-id=*) number=${flag#*=} ;; esac; done',
)
SAVES = "trap 'sleep 0.3; echo saved; exit 0' TERM; echo ready; while :; do sleep 0.05; done"
DEAF = "trap '' TERM; echo ready; while :; do sleep 0.05; done"


def start(folder, num_processes, *trainer, **settings):
    """The script with a trainer of these shell commands."""
    stub(folder, "python", *READS_ITS_NUMBER, *trainer)
    numbers = {"PROCESSES": str(num_processes)} | settings
    return processes.start(
        ["bash", LAUNCH / NAME, "--workdir=x"],
        env=with_stubs(folder) | numbers,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def read_lines(process, num_lines):
    return sorted(process.stdout.readline() for _ in range(num_lines))


def end(process) -> tuple[str, str]:
    return process.communicate(timeout=30)


def visible_gpus(done) -> list[str | None]:
    """The GPUs of each process, None for all."""
    found = []
    for command in commands(done):
        own = dict(word.split("=", 1) for word in command if word.startswith("CUDA_VISIBLE"))
        found.append(own.get("CUDA_VISIBLE_DEVICES"))
    return found


def test_each_process_is_told_its_part_and_meets_the_others_on_this_machine_only():
    one, two = commands(run(NAME, {"PROCESSES": "2", "PORT": "4321"}, "--size=tiny", "--dry-run"))
    assert one == [
        *("env", "JAX_COORDINATOR_BIND_ADDRESS=127.0.0.1:4321", "python", "-m", "clef_jax.train"),
        *("--coordinator-address=127.0.0.1:4321", "--num-processes=2", "--process-id=0"),
        "--size=tiny",
    ]
    assert two == [word.replace("process-id=0", "process-id=1") for word in one]


def test_ports_are_drawn_until_one_is_free():
    first, second = (
        commands(run(NAME, {"PROCESSES": "2"}, "--size=tiny", "--dry-run"))[0][1] for _ in range(2)
    )
    assert first != second


def test_gpus_are_shared_evenly_or_not_at_all(tmp_path):
    stub(tmp_path, "nvidia-smi", "seq 0 7")
    machine = with_stubs(tmp_path)
    four = run(NAME, machine | {"PROCESSES": "4"}, "--size=tiny", "--dry-run")
    assert visible_gpus(four) == ["0,1", "2,3", "4,5", "6,7"]
    assert visible_gpus(run(NAME, machine, "--size=tiny", "--dry-run")) == [None]
    three = run(NAME, machine | {"PROCESSES": "3"}, "--size=tiny", "--dry-run")
    assert three.returncode == 2
    assert_names(three.stderr, "8 GPUs", "3 processes")
    some = machine | {"PROCESSES": "2", "CUDA_VISIBLE_DEVICES": "5,7"}
    assert visible_gpus(run(NAME, some, "--size=tiny", "--dry-run")) == ["5", "7"]


def test_a_number_of_processes_that_is_none_is_told():
    done = run(NAME, {"PROCESSES": "0"}, "--size=tiny", "--dry-run")
    assert done.returncode == 2
    assert "PROCESSES=0" in done.stderr


def test_each_line_tells_its_process_and_all_success_is_success(tmp_path):
    process = start(tmp_path, 2, "echo out; echo err >&2")
    out, err = end(process)
    assert sorted(out.splitlines()) == ["[0] err", "[0] out", "[1] err", "[1] out"]
    assert (process.returncode, err) == (0, "")


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("num_processes", [1, 2])
def test_a_signal_reaches_all_and_is_waited_for(tmp_path, sent, num_processes):
    process = start(tmp_path, num_processes, SAVES)
    read_lines(process, num_processes)
    process.send_signal(sent)
    out, _ = end(process)
    assert out.count("saved") == num_processes
    assert process.returncode == 0


def test_the_first_failure_stops_the_others_and_is_the_exit_code(tmp_path):
    process = start(tmp_path, 3, f"if ((number == 1)); then sleep 0.5; exit 7; fi; {SAVES}")
    out, err = end(process)
    assert process.returncode == 7
    assert_names(err, "Process 1", "7")
    assert out.count("saved") == 2


def test_a_process_that_does_not_stop_is_killed_after_the_grace(tmp_path):
    began = time.monotonic()
    dies = "if ((number == 0)); then sleep 0.5; kill -KILL $$; fi"
    process = start(tmp_path, 2, f"{dies}; {DEAF}", GRACE_SECONDS="1")
    _, err = end(process)
    assert process.returncode == 128 + signal.SIGKILL
    assert_names(err, "Process 0", "137")
    assert 1.4 < time.monotonic() - began < 10


def test_processes_that_do_not_end_with_the_others_are_killed(tmp_path):
    process = start(tmp_path, 2, f"if ((number == 0)); then exit 0; fi; {DEAF}", SAVE_SECONDS="1")
    end(process)
    assert process.returncode == 128 + signal.SIGKILL


def test_saving_when_asked_to_stop_has_a_bound(tmp_path):
    process = start(tmp_path, 2, DEAF, SAVE_SECONDS="1")
    read_lines(process, 2)
    process.terminate()
    end(process)
    assert process.returncode == 128 + signal.SIGKILL
