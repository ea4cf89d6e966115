"""Kernels that a real GPU has chosen by measurement, for plans of the same kind of GPU.

XLA writes them with `XLA_FLAGS=--xla_gpu_dump_autotune_results_to=FILE.textproto`, as `make bench`
does on a GPU. They apply to products of the same shapes, so the size and the batch per device of
the plan must be those of the measured step.
"""

import pathlib
import re

from clef_jax.errors import UserError, counted
from clef_jax.planning import gpu_target

OPTION = "--autotune-results"
COMPILER_OPTION = "xla_gpu_load_autotune_results_from"
_DEVICE = re.compile(r'(\bdevice:\s*)"((?:[^"\\]|\\.)*)"')
_CORES = re.compile(r"Cores: (\d+)")


def adapt(path: pathlib.Path, chip: str, folder: pathlib.Path) -> tuple[pathlib.Path, int]:
    """Writes a copy that the compiler of a plan accepts; returns its path and number of choices.

    The compiler compares the description of the device, which has the version of cuDNN and the
    clock of the machine that measured. The copy has the description of the plan's device.

    Args:
        path: file of a real GPU.
        chip: name of the chip that is planned.
        folder: folder for the copy.

    Raises:
        UserError: the file is missing, holds no such results, or those of another kind of GPU.
    """
    path = path.expanduser()
    if not path.is_file():
        raise UserError(
            f"{OPTION}: the file {path} does not exist; check the path.", problem="missing_file"
        )
    text = path.read_text(encoding="utf-8", errors="replace")
    devices = sorted({match[2] for match in _DEVICE.finditer(text)})
    if not devices:
        raise UserError(
            f"{OPTION}: {path} holds no results of XLA's autotuning. Write them on a GPU with "
            "XLA_FLAGS=--xla_gpu_dump_autotune_results_to=FILE.textproto.",
            problem="no_autotune_results",
        )
    wanted = gpu_target.cache_key(chip)
    cores = {_cores(device) for device in devices}
    if cores != {_cores(wanted)}:
        raise UserError(
            f"{OPTION}: {path} was written on a GPU with {', '.join(sorted(cores))} cores, but "
            f"{chip} has {_cores(wanted)}. Plan the kind of GPU that was measured.",
            problem="other_gpu",
        )
    copy = folder / "autotune_results.textproto"
    copy.write_text(_DEVICE.sub(lambda match: f'{match[1]}"{wanted}"', text), encoding="utf-8")
    return copy, len(_DEVICE.findall(text))


def _cores(device: str) -> str:
    match = _CORES.search(device)
    return match[1] if match else "an unknown number of"


def described(num_choices: int) -> str:
    """Returns a sentence about the choices that a plan uses."""
    return (
        f"Matrix products use the kernels that a real GPU chose by measurement where "
        f"{counted(num_choices, 'stored choice')} have their shape; others use the cost model."
    )
