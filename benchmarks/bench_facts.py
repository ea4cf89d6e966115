"""What a benchmark's figures belong to: the machine, the versions, the day."""

import datetime
import os
import pathlib
import platform
import re
import subprocess
from typing import Any

from clef_jax import files, machine as machine_lib

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "torch")


def named(machine: dict[str, Any]) -> str:
    """What the machine is called: its devices, or the processor and its cores."""
    if machine["platform"] == "cpu":
        return f"{processor()}, {machine['num_cores']} cores"
    several = machine["num_devices"] > 1
    return (
        f"{machine['num_devices']} x {machine['device_kind']}"
        if several
        else machine["device_kind"]
    )


def processor(cpuinfo: pathlib.Path = pathlib.Path("/proc/cpuinfo")) -> str:
    """The processor's own name, or its architecture where the system does not tell."""
    if cpuinfo.exists():
        found = re.search(r"^model name\s*: (.+)$", cpuinfo.read_text(), re.MULTILINE)
        if found:
            return found[1].strip()
    return platform.machine()


def file_name(name: str) -> str:
    """A machine's name as that of its file: `NVIDIA H200` is `nvidia_h200.json`."""
    return f"{files.name_of(name)}.json"


def versions() -> dict[str, str]:
    """Of Python and of the packages that the figures depend on, those that are installed."""
    return {"python": platform.python_version()} | machine_lib.installed_versions(_PACKAGES)


def commit(folder: pathlib.Path) -> str | None:
    """The git commit of a folder, with `+` where files were changed; None without git."""
    try:
        found = _git(folder, "rev-parse", "HEAD")[:12]
        return found + "+" if _git(folder, "status", "--porcelain", "-uno") else found
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(folder: pathlib.Path, *words: str) -> str:
    command = ["git", "-C", str(folder), *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def load_average() -> float | None:
    """Cores that were busy over the last minute; None where the system does not tell.

    Above half a core before a measurement starts, others were at work and its times are too long.
    """
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def today() -> str:
    return datetime.datetime.now(datetime.UTC).date().isoformat()
