"""The scripts print what they would run, and ask for what is missing."""

import shlex
import shutil
import subprocess

import processes
import pytest
import tyro
from culprits import assert_names
from launch_scripts import CASES, FLAGS, LAUNCH, SCRIPTS, commands, manifest, pod, run

from clef_jax import prepare
from clef_jax.training import arguments

PREPARING = [name for name in CASES if name.startswith("prepare")]
PROGRAM = ["-m", "clef_jax.train"]


def trainers(name, done) -> list[list[str]]:
    """The arguments of each training process that a dry run speaks of."""
    if name == "train_gke.sh":
        found = [pod(manifest(done))["containers"][0]["command"]]
    elif name == "train_tpu_pod.sh":
        remote = commands(done)[0][-1].removeprefix("--command=")
        found = [shlex.split(remote.partition(" >>")[0].rpartition("; ")[2])]
    else:
        found = [command for command in commands(done) if command[0] != "sbatch"]
    starts = [command.index("-m") for command in found]
    for start, command in zip(starts, found, strict=True):
        assert command[start : start + 2] == PROGRAM
    return [command[start + 2 :] for start, command in zip(starts, found, strict=True)]


@pytest.mark.parametrize("name", PREPARING)
def test_prints_a_command_that_prepares(name):
    environment, given = CASES[name]
    (command,) = commands(run(name, environment, *given, "--dry-run"))
    assert command[:3] == ["python", "-m", "clef_jax.prepare"]
    config = tyro.cli(prepare.Config, args=command[3:])
    assert config.dataset == given[0]
    assert config.data_dir.name == "my data"
    assert config.strict
    assert config.beam_options is not None
    for option in config.beam_options.split(","):
        assert "=" in option


@pytest.mark.parametrize("name", sorted(set(CASES) - set(PREPARING)))
def test_prints_a_command_that_trains_with_the_flags_as_given(name):
    environment, given = CASES[name]
    (words,) = trainers(name, run(name, environment, *given, "--dry-run"))
    assert tuple(words[-len(FLAGS) :]) == FLAGS
    config = arguments.parse(words)
    assert (config.data_dir, config.workdir) == ("my data", "it's here")
    assert (config.size, config.leads) == ("tiny", "I,II")
    assert config.coordinator_address == (None if "workstation" in name else "auto")


@pytest.mark.parametrize("name", CASES)
def test_asks_for_what_is_missing(name):
    environment, given = CASES[name]
    for variable in environment:
        rest = {key: value for key, value in environment.items() if key != variable}
        done = run(name, rest, *given, "--dry-run")
        assert done.returncode == 2
        assert_names(done.stderr, variable)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_tells_how_it_is_used(script):
    done = run(script.name, {}, "--help")
    assert done.returncode == 2
    assert_names(done.stderr, f"launch/{script.name}", "--dry-run")
    assert "#" not in done.stderr
    assert "SBATCH" not in done.stderr
    if script.name != "train_gke.sh":  # it can train with its defaults alone
        assert run(script.name, CASES[script.name][0]).stderr == done.stderr


def test_every_script_has_a_case():
    assert {script.name for script in SCRIPTS} == set(CASES)


@pytest.mark.parametrize("script", sorted(LAUNCH.glob("*.sh")), ids=lambda path: path.name)
def test_scripts_are_sound(script):
    checker = shutil.which("shellcheck")
    command = [checker, "-x", script] if checker else ["bash", "-n", script]
    assert subprocess.run(command, check=False, cwd=LAUNCH.parent).returncode == 0


@pytest.mark.parametrize("name", ["prepare.Dockerfile", "train.Dockerfile"])
def test_an_image_gets_all_code_and_nothing_else(name):
    ignore = (LAUNCH / f"{name}.dockerignore").read_text().splitlines()
    rules = [line for line in ignore if line and not line.startswith("#")]
    assert rules[0] == "*"
    allowed = {line.removeprefix("!") for line in rules if line.startswith("!")}
    code = {"clef_jax", "datasets", "pyproject.toml", "constraints.txt", "README.md", "LICENSE"}
    assert allowed == code | {"launch"}
    assert all((LAUNCH.parent / entry).exists() for entry in allowed)


def test_stopping_early_is_no_success():
    script = str(LAUNCH / "_stoppable.sh")
    saves = "trap 'echo saved; exit 0' TERM; echo ready; while :; do sleep 0.05; done"
    process = processes.start(["bash", script, "bash", "-c", saves], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.terminate()
    assert process.communicate(timeout=30)[0] == "saved\n"
    assert process.returncode == 75
    for code in (0, 3):
        done = subprocess.run(["bash", script, "bash", "-c", f"exit {code}"], check=False)
        assert done.returncode == code


@pytest.mark.parametrize(("given", "fraction"), [({}, "0.92"), ({"FRACTION": "0.5"}, "0.5")])
def test_a_process_may_use_most_of_a_gpu_unless_the_user_limits_it(given, fraction):
    variable = "XLA_PYTHON_CLIENT_MEM_FRACTION"
    environment = {variable: given["FRACTION"]} if given else {}
    script = f"source {LAUNCH}/_command.sh; printenv {variable}"
    done = subprocess.run(
        ["bash", "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == fraction
