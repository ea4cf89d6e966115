"""Describes the conditions of a benchmark: machine, versions, commit, date and load."""

import datetime
import os
import pathlib
import platform
import re
import subprocess
from typing import Any

from clef_jax import files, machine as machine_lib

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "torch")


def machine_name(machine: dict[str, Any]) -> str:
    """Returns the name of the machine: its devices, or the processor and its cores."""
    if machine["platform"] == "cpu":
        return f"{processor()}, {machine['num_cores']} cores"
    several = machine["num_devices"] > 1
    return (
        f"{machine['num_devices']} x {machine['device_kind']}"
        if several
        else machine["device_kind"]
    )


def processor(cpuinfo: pathlib.Path = pathlib.Path("/proc/cpuinfo")) -> str:
    """Returns the name of the processor, or its architecture if the system does not state it."""
    if cpuinfo.exists():
        model = re.search(r"^model name\s*: (.+)$", cpuinfo.read_text(), re.MULTILINE)
        if model:
            return model[1].strip()
    return platform.machine()


def file_name(name: str) -> str:
    """Returns the file name of a machine: `NVIDIA H200` becomes `nvidia_h200.json`."""
    return f"{files.slug(name)}.json"


def versions() -> dict[str, str]:
    """Returns the versions of Python and of the installed packages that affect the results."""
    return {"python": platform.python_version()} | machine_lib.installed_versions(_PACKAGES)


def commit(folder: pathlib.Path) -> str | None:
    """Returns the git commit of a folder, with `+` if files are changed; None without git."""
    try:
        digest = _git(folder, "rev-parse", "HEAD")[:12]
        return digest + "+" if _git(folder, "status", "--porcelain", "-uno") else digest
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(folder: pathlib.Path, *words: str) -> str:
    command = ["git", "-C", str(folder), *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def load_average() -> float | None:
    """Returns the mean number of busy cores in the last minute; None if it is unknown.

    With more than half a core before a measurement, other programs were running and the measured
    times are too long.
    """
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def today() -> str:
    """Returns the date in UTC."""
    return datetime.datetime.now(datetime.UTC).date().isoformat()
