"""A job of SLURM: its tasks, and what the time limit, scancel and preemption do to it.

Stubs stand in for SLURM's own commands, and write down how they were called.
"""

import shutil
import signal
import subprocess

import processes
import pytest
from launch_scripts import LAUNCH, commands, run, stub, with_stubs

NAME = "train_slurm.sh"
JOB = {"SLURM_JOB_ID": "12", "SLURM_GPUS_ON_NODE": "8", "SLURM_NTASKS_PER_NODE": "8"}
TRAIN = ["python", "-m", "clef_jax.train", "--coordinator-address=auto", "--leads=I, II"]
STEP = ["srun", "--label", "--kill-on-bad-exit=1", "--cpus-per-task=16", *TRAIN]
NOTES_CALL = 'echo "$(basename "$0") $*" >>"$STUBS/calls"'
SAVES = "trap 'echo saved; exit 0' TERM; echo ready; while :; do sleep 0.05; done"


@pytest.fixture
def machine(tmp_path):
    """SLURM whose processes run until they are asked to stop."""
    stub(tmp_path, "srun", 'echo $$ >"$STUBS/step"', SAVES)
    # As SLURM does it, past srun: the batch script is left alone.
    stub(tmp_path, "scancel", NOTES_CALL, 'kill -TERM "$(cat "$STUBS/step")"')
    stub(tmp_path, "scontrol", NOTES_CALL)
    return tmp_path


def calls(machine) -> list[str]:
    path = machine / "calls"
    return path.read_text().splitlines() if path.exists() else []


def start_job(machine) -> subprocess.Popen:
    """The script as SLURM runs it: a copy of it elsewhere, started in the submission's folder."""
    spooled = shutil.copy(LAUNCH / NAME, machine / "slurm_script")
    process = processes.start(
        ["bash", spooled, "--workdir=x"],
        env=with_stubs(machine) | JOB | {"SLURM_SUBMIT_DIR": str(LAUNCH.parent)},
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_shows_what_is_submitted_and_what_the_job_runs():
    given = {"SLURM_CPUS_PER_TASK": "16"}
    submitted, step = commands(run(NAME, given, "--leads=I, II", "--dry-run"))
    assert submitted == ["sbatch", str(LAUNCH / NAME), "--leads=I, II"]
    assert step == STEP
    assert commands(run(NAME, given | JOB, "--leads=I, II", "--dry-run")) == [STEP]


def test_called_outside_of_a_job_it_submits_itself(tmp_path):
    stub(tmp_path, "sbatch", 'printf "<%s>" "$@"')
    done = run(NAME, with_stubs(tmp_path), "--leads=I, II")
    assert done.stdout == f"<{LAUNCH / NAME}><--leads=I, II>"


def test_asks_slurm_for_a_warning_to_the_script_and_for_another_turn():
    text = (LAUNCH / NAME).read_text()
    options = [line.removeprefix("#SBATCH ") for line in text.splitlines() if "#SBATCH -" in line]
    assert {"--requeue", "--open-mode=append", "--signal=B:USR1@120"} <= set(options)
    assert any(option.startswith("--time=") for option in options)
    before_commands = text.partition("\nset -euo")[0]  # sbatch reads none after the first command
    assert before_commands.count("#SBATCH -") == len(options)


def test_gpus_without_a_process_are_told(machine):
    done = run(NAME, with_stubs(machine) | JOB | {"SLURM_NTASKS_PER_NODE": "1"}, "--size=tiny")
    assert done.returncode == 2
    assert "--ntasks-per-node=8" in done.stderr


def test_before_the_time_limit_it_saves_and_goes_back_to_the_queue(machine):
    process = start_job(machine)
    process.send_signal(signal.SIGUSR1)
    assert process.communicate(timeout=30)[0] == "saved\n"
    assert process.returncode == 0
    assert calls(machine) == ["scancel --signal=TERM 12", "scontrol requeue 12"]


def test_a_cancelled_job_waits_for_its_processes_and_does_not_come_back(machine):
    process = start_job(machine)
    process.terminate()  # SLURM sends it to the script and to the processes
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.3)
    subprocess.run(["kill", "-TERM", (machine / "step").read_text().strip()], check=True)
    assert process.communicate(timeout=30)[0] == "saved\n"
    assert process.returncode == 0
    assert calls(machine) == []


def test_a_failure_is_the_jobs_failure(machine):
    stub(machine, "srun", "exit 9")
    assert run(NAME, with_stubs(machine) | JOB, "--size=tiny").returncode == 9
    assert calls(machine) == []
