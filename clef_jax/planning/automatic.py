"""Chooses remat and the number of microbatches where they are `auto`: the cheapest that fit.

Keeping all activations is cheapest. Recomputing each block (remat), or encoding a batch in parts,
both compute the forward pass a second time, and parts fill a device less; remat within parts
computes it a third time. So the candidates are in that order, and the first that fits is taken.
"""

import dataclasses
from collections.abc import Callable, Iterator

import jax
import numpy as np
import rich.console
import rich.table
from jax.experimental import multihost_utils
from jax.sharding import Mesh

from clef_jax import mesh as mesh_lib
from clef_jax.chip import Chip, by_device_kind
from clef_jax.config import AUTO_MICROBATCHES, AUTO_REMAT, TrainConfig
from clef_jax.errors import UserError, counted
from clef_jax.planning import memory as memory_lib, printing, step as step_lib
from clef_jax.planning.memory import Memory

_UNIT = 2**20
"""Bytes in which processes exchange their memory, as numbers that float32 holds exactly enough."""
_FAR = 1.2
"""A candidate whose memory by shapes exceeds the device's by this factor is not compiled."""


@dataclasses.dataclass(frozen=True)
class Trial:
    """A candidate and the memory that it needs."""

    config: TrainConfig
    memory: Memory
    is_compiled: bool
    """Whether the memory is that of the compiler; otherwise it is counted from shapes."""


MemoryOf = Callable[[TrainConfig], tuple[Memory, bool]]
"""Maps settings without `auto` to the memory of a step, and whether a compiler assigned it."""


def candidates(config: TrainConfig, num_devices: int) -> Iterator[TrainConfig]:
    """Yields settings without `auto`, the cheapest first.

    Args:
        config: settings of the run.
        num_devices: number of devices, which divide the batch evenly.
    """
    rows = config.global_batch_size // num_devices
    parts = [config.num_microbatches]
    if config.num_microbatches == AUTO_MICROBATCHES:
        parts = [number for number in range(1, rows + 1) if not rows % number]
    remats = [False, True] if config.remat is AUTO_REMAT else [bool(config.remat)]
    pairs = [(remat, number) for number in parts for remat in remats]
    for remat, number in sorted(pairs, key=_recomputed):
        yield dataclasses.replace(config, remat=remat, num_microbatches=number)


def _recomputed(pair: tuple[bool, int]) -> tuple[int, int]:
    """Returns how often the forward pass is computed again, and the number of parts."""
    remat, num_microbatches = pair
    return remat + (num_microbatches > 1), num_microbatches


def choose(
    config: TrainConfig, num_devices: int, memory_of: MemoryOf
) -> tuple[TrainConfig, list[Trial]]:
    """Returns the settings without `auto`, and the candidates that were tried.

    Raises:
        UserError: no candidate fits.
    """
    trials: list[Trial] = []
    for candidate in candidates(config, num_devices):
        memory, is_compiled = memory_of(candidate)
        trials.append(Trial(candidate, memory, is_compiled))
        if memory.fits is not False:
            return candidate, trials
    last = trials[-1].memory
    fixed = [] if config.remat is AUTO_REMAT else ["--remat=auto"]
    fixed += [] if config.num_microbatches == AUTO_MICROBATCHES else ["--num-microbatches=auto"]
    advice = " and ".join(fixed) or "a smaller --global-batch-size or more devices"
    raise UserError(
        f"The step does not fit: with {_named(trials[-1])}, the last of what was tried, it needs "
        f"{printing.format_bytes(last.total_bytes)} of "
        f"{printing.format_bytes(last.available_bytes)}. Use {advice}.",
        problem="nothing_fits",
    )


def settle(
    config: TrainConfig, mesh: Mesh, sample_rate_hz: float, console: rich.console.Console
) -> TrainConfig:
    """Returns the settings of a run without `auto`, for the devices that it will use.

    A CPU has all memory of its host, so nothing is recomputed there.

    Args:
        config: settings of the run.
        mesh: devices of the run.
        sample_rate_hz: sampling rate of the encoder's input.
        console: receives what was chosen.

    Raises:
        UserError: no candidate fits.
    """
    if not config.is_automatic:
        return config
    mesh_lib.check_batch_size(config.global_batch_size, mesh)
    platform = mesh_lib.platform(mesh)
    if platform == "cpu":
        return next(candidates(config, mesh.size))
    chip, available = _chip(mesh)

    def memory_of(candidate: TrainConfig) -> tuple[Memory, bool]:
        step = step_lib.lower_for(_without_labels(candidate), mesh, platform, sample_rate_hz)
        memory = memory_lib.from_trace(step, chip, available)
        if memory.total_bytes and available and memory.total_bytes > _FAR * available:
            return memory, False
        # The cache keeps the step, which the run compiles next.
        compiled, _ = step_lib.compile_step(step, is_present=True)
        return memory_lib.from_compiled(step, compiled, chip, available), True

    chosen, trials = choose(config, mesh.size, memory_of)
    console.print(
        f"Chosen for the memory of {chip.name}: {_named(trials[-1])}, which needs "
        f"{printing.format_bytes(trials[-1].memory.total_bytes)} of "
        f"{printing.format_bytes(trials[-1].memory.available_bytes)}.",
        soft_wrap=True,
    )
    return chosen


def _chip(mesh: Mesh) -> tuple[Chip, int | None]:
    """Returns the chip of the devices, and the memory that a program can use of each: the least
    of all processes, so that all choose alike."""
    device = mesh.local_devices[0]
    chip = by_device_kind(device.device_kind) or Chip(
        name=device.device_kind,
        platform=device.platform,
        peak_flops_per_second=None,
        memory_bytes=None,
        memory_bytes_per_second=None,
        link_bytes_per_second=None,
        network_bytes_per_second=None,
        reference="unknown",
    )
    available = (device.memory_stats() or {}).get("bytes_limit")
    available = available or memory_lib.available_bytes(chip)
    if jax.process_count() > 1 and available is not None:
        of_all = multihost_utils.process_allgather(np.array(available / _UNIT, np.float32))
        available = int(np.min(of_all) * _UNIT)
    return chip, available


def _without_labels(config: TrainConfig) -> TrainConfig:
    """Returns the settings with an objective whose step needs no labels; its memory is close."""
    if not config.label_names:
        return config
    return dataclasses.replace(config, objective="simclr", preset="paper", objective_config=None)


def _named(trial: Trial) -> str:
    parts = counted(trial.config.num_microbatches, "microbatch")
    return f"{parts} {'with' if trial.config.remat else 'without'} remat"


def table(trials: list[Trial]) -> rich.table.Table:
    """Returns the candidates that were tried as a table."""
    shown = rich.table.Table(title="Remat and microbatches", title_justify="left")
    for column in ("remat", "microbatches", "memory per device", "of", "by", "fits"):
        shown.add_column(column)
    for trial in trials:
        memory = trial.memory
        fits = "unknown" if memory.fits is None else "yes" if memory.fits else "no"
        shown.add_row(
            "yes" if trial.config.remat else "no",
            str(trial.config.num_microbatches),
            printing.format_bytes(memory.total_bytes),
            printing.format_bytes(memory.available_bytes),
            "compiler" if trial.is_compiled else "shapes",
            fits,
        )
    return shown
