"""The scripts print what they would run, and ask for what is missing."""

import os
import pathlib
import shlex
import shutil
import subprocess

import pytest
import tyro

from clef_jax import prepare

LAUNCH = pathlib.Path(__file__).parents[1] / "launch"
SCRIPTS = sorted(LAUNCH.glob("[!_]*.sh"))
CASES = {
    "prepare_dataflow.sh": (
        {"PROJECT": "p", "REGION": "r", "SCRATCH": "gs://b/s", "IMAGE": "i"},
        ["mimic_iv_ecg", "tables", "gs://b/raw", "data", "--strict"],
    ),
    "prepare_flink.sh": ({"FLINK": "h:8081"}, ["ptb_xl/100hz", "raw", "data", "--strict"]),
}


def run(name, environment, *arguments):
    clean = {"PATH": os.environ["PATH"]}
    return subprocess.run(
        ["bash", LAUNCH / name, *arguments],
        env=clean | environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("name", CASES)
def test_prints_a_command_that_is_understood(name):
    environment, arguments = CASES[name]
    done = run(name, environment, *arguments, "--dry-run")
    assert done.returncode == 0, done.stderr
    command = shlex.split(done.stdout)
    assert command[:3] == ["python", "-m", "clef_jax.prepare"]
    config = tyro.cli(prepare.Config, args=command[3:])
    assert config.dataset == arguments[0]
    assert config.strict
    assert config.beam_options is not None
    for option in config.beam_options.split(","):
        assert "=" in option


@pytest.mark.parametrize("name", CASES)
def test_asks_for_what_is_missing(name):
    environment, arguments = CASES[name]
    for variable in environment:
        rest = {key: value for key, value in environment.items() if key != variable}
        done = run(name, rest, *arguments, "--dry-run")
        assert done.returncode == 2
        assert f"Set {variable};" in done.stderr
    done = run(name, environment)
    assert done.returncode == 2
    assert done.stderr.startswith("Prepares a data set on")


def test_every_script_has_a_case():
    assert {script.name for script in SCRIPTS} == set(CASES)


@pytest.mark.parametrize("script", sorted(LAUNCH.glob("*.sh")), ids=lambda path: path.name)
def test_scripts_are_sound(script):
    checker = shutil.which("shellcheck")
    command = [checker, "-x", script] if checker else ["bash", "-n", script]
    assert subprocess.run(command, check=False, cwd=LAUNCH.parent).returncode == 0
