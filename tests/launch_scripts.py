"""The scripts of `launch/`, and how tests call them."""

import os
import pathlib
import shlex
import subprocess

import yaml

LAUNCH = pathlib.Path(__file__).parents[1] / "launch"
SCRIPTS = sorted(LAUNCH.glob("[!_]*.sh"))
FLAGS = ("--data-dir=my data", "--workdir=it's here", "--size=tiny", "--leads=I,II")
"""Flags of the trainer that a shell would take apart if they were not quoted."""

CASES = {
    "prepare_dataflow.sh": (
        {"PROJECT": "p", "REGION": "r", "SCRATCH": "gs://b/s", "IMAGE": "i"},
        ("mimic_iv_ecg", "tables", "gs://b/raw", "my data", "--strict"),
    ),
    "prepare_flink.sh": ({"FLINK": "h:8081"}, ("ptb_xl/100hz", "raw", "my data", "--strict")),
    "train_workstation.sh": ({}, FLAGS),
    "train_slurm.sh": ({}, FLAGS),
    "train_tpu_pod.sh": ({"TPU": "t", "ZONE": "z"}, ("start", *FLAGS)),
    "train_gke.sh": (
        {
            "NAME": "run",
            "IMAGE": "registry/image:1",
            "TOPOLOGY": "v5e:4x8",
            "DATA": "gs://bucket",
            "WORK": "claim",
        },
        FLAGS,
    ),
}
"""Script to the settings that it needs, and arguments."""


def run(name, environment, *arguments, **settings):
    """The finished script, with no other settings than these in its environment."""
    return subprocess.run(
        ["bash", LAUNCH / name, *arguments],
        env={"PATH": os.environ["PATH"]} | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        **settings,
    )


def commands(done) -> list[list[str]]:
    """The commands that a dry run printed, as lists of words; comments are left out."""
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if not line.startswith("#")]
    return [shlex.split(line) for line in lines]


def manifest(done) -> dict:
    """The JobSet that a dry run printed."""
    assert done.returncode == 0, done.stderr
    return yaml.safe_load(done.stdout)


def pod(jobset) -> dict:
    """The pods of a JobSet's slices."""
    return jobset["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]


def stub(folder: pathlib.Path, name: str, *lines: str) -> pathlib.Path:
    """A program of these shell commands, to be found in `folder` instead of the real one."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text("\n".join(["#!/usr/bin/env bash", *lines, ""]))
    path.chmod(0o755)
    return path


def with_stubs(folder: pathlib.Path) -> dict[str, str]:
    """An environment in which programs of `folder` come first."""
    return {"PATH": f"{folder}:{os.environ['PATH']}", "HOME": str(folder), "STUBS": str(folder)}
