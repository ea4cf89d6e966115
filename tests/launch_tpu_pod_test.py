"""What is sent to the hosts of a TPU slice does there what it says; a folder plays the host."""

import pathlib
import subprocess
import time

import pytest
from launch_scripts import commands, run, stub, with_stubs

NAME = "train_tpu_pod.sh"
SLICE = {"TPU": "slice", "ZONE": "zone"}
SAVES = "trap 'echo saved; exit 0' TERM; while :; do sleep 0.05; done"


@pytest.fixture
def host(tmp_path):
    """A home with the package installed; its trainer tells its arguments and runs until asked."""
    (tmp_path / "clef_jax" / ".venv").mkdir(parents=True)
    stub(tmp_path / "clef_jax" / ".venv" / "bin", "python", 'printf "<%s>\\n" "$@"', SAVES)
    # gcloud hands the command to a shell in the host's home.
    stub(
        tmp_path,
        "gcloud",
        'for word in "$@"; do case $word in --command=*) line=${word#*=} ;; esac; done',
        'cd "$HOME" && exec bash -c "$line"',
    )
    yield tmp_path
    pid = tmp_path / "clef_jax" / "train.pid"
    if pid.exists():
        subprocess.run(["kill", "-KILL", pid.read_text().strip()], check=False, capture_output=True)


def call(host: pathlib.Path, *words: str):
    return run(NAME, with_stubs(host) | SLICE, *words)


def log(host) -> list[str]:
    return (host / "clef_jax" / "train.log").read_text().splitlines()


def wait_for_log(host, text):
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if (host / "clef_jax" / "train.log").exists() and text in log(host):
            return
        time.sleep(0.02)
    raise AssertionError(f"{text} does not come")


def test_starts_tells_and_stops_with_saving(host):
    assert "ended" in call(host, "status").stdout
    started = call(host, "start", "--workdir=it's here", "--leads=I, II")
    assert started.returncode == 0, started.stderr
    assert started.stdout.endswith(": started\n")
    wait_for_log(host, "<--leads=I, II>")
    assert log(host) == [
        *("<-m>", "<clef_jax.train>", "<--coordinator-address=auto>"),
        *("<--workdir=it's here>", "<--leads=I, II>"),
    ]
    told = call(host, "status").stdout.splitlines()
    assert told[0].endswith(": training")
    assert told[1:] == log(host)[-3:]
    again = call(host, "start", "--workdir=other")
    assert again.returncode == 1
    assert "already training" in again.stdout
    stopped = call(host, "stop")
    assert stopped.returncode == 0
    assert stopped.stdout.endswith(": ended\n")
    assert log(host)[-1] == "saved"
    assert ": ended" in call(host, "status").stdout


def test_a_start_after_the_end_adds_to_the_log(host):
    for number in (1, 2):
        call(host, "start", f"--seed={number}")
        wait_for_log(host, f"<--seed={number}>")
        call(host, "stop")
    assert log(host).count("saved") == 2


def test_stopping_what_does_not_run_is_no_error(host):
    assert call(host, "stop").returncode == 0


def test_speaks_to_all_hosts_of_the_slice():
    (status,) = commands(run(NAME, SLICE | {"PROJECT": "p"}, "status", "--dry-run"))
    start = ["gcloud", "compute", "tpus", "tpu-vm", "ssh", "slice"]
    assert status[:-1] == [*start, "--zone=zone", "--worker=all", "--project=p"]


def test_installs_what_is_committed_with_the_tested_versions():
    pack, copy, install = commands(run(NAME, SLICE, "install", "--dry-run"))
    archive = pathlib.Path(pack[-2].removeprefix("--output="))
    assert (pack[0], pack[-1]) == ("git", "HEAD")
    assert copy[:5] == ["gcloud", "compute", "tpus", "tpu-vm", "scp"]
    assert copy[5:7] == [str(archive), f"slice:{archive.name}"]
    assert "--worker=all" in copy
    assert "-c constraints.txt '.[tpu]'" in install[-1]
    assert (
        subprocess.run(
            ["bash", "-n", "-c", install[-1].removeprefix("--command=")], check=False
        ).returncode
        == 0
    )


def test_an_unknown_verb_is_answered_with_the_help():
    done = run(NAME, SLICE, "begin")
    assert done.returncode == 2
    assert "launch/train_tpu_pod.sh status" in done.stderr
