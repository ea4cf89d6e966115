"""Kernels that a real GPU has chosen by measurement, for plans of the same kind of GPU.

XLA writes them with `XLA_FLAGS=--xla_gpu_dump_autotune_results_to=FILE.textproto`, as `make bench`
does on a GPU. They apply to products of the same shapes, so the size and the batch per device of
the plan must be those of the measured step.
"""

import pathlib
import re

from clef_jax.errors import UserError, counted, printable
from clef_jax.planning import gpu_target

OPTION = "--autotune-results"
COMPILER_OPTION = "xla_gpu_load_autotune_results_from"
_DEVICE = re.compile(r'(\bdevice:\s*)"((?:[^"\\]|\\.)*)"')
_KIND = re.compile(r"Cores: (\d+).*Memory bandwidth: (\d+) GB/s")


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
    if path.is_dir():
        raise UserError(f"{OPTION}: {path} is a folder; name a file.", problem="is_a_folder")
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
    others = [device for device in devices if _kind(device) != _kind(wanted)]
    if others:
        raise UserError(
            f"{OPTION}: {path} was written on another GPU than {chip}: {printable(others[0])}. "
            "Plan the kind of GPU that was measured.",
            problem="other_gpu",
        )
    copy = folder / "autotune_results.textproto"
    copy.write_text(_DEVICE.sub(lambda match: f'{match[1]}"{wanted}"', text), encoding="utf-8")
    return copy, len(_DEVICE.findall(text))


def _kind(device: str) -> tuple[str, ...] | None:
    """Returns what tells the kinds of GPU apart in a description: cores and GB/s of memory."""
    match = _KIND.search(device)
    return match.groups() if match else None


def described(num_choices: int) -> str:
    """Returns a sentence about the choices that a plan uses."""
    return (
        f"The file holds {counted(num_choices, 'choice')} of kernels that a real GPU made by "
        "measurement. Matrix products of other shapes use the cost model."
    )
