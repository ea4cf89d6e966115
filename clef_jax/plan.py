"""Plans a training run: `python -m clef_jax.plan --size=large --topology=v5e:16x16`.

Compiles the step of `clef_jax.train` for a machine that is not there, over shapes instead of data,
and prints what it needs, how long it takes by the compiler's own estimate, and whether it fits. It
takes the flags of `clef_jax.train`, of which those count that change the step.
"""

import contextlib
import dataclasses
import json
import pathlib
from collections.abc import Sequence

import jax
import rich.console

from clef_jax import files
from clef_jax.config import TrainConfig
from clef_jax.errors import UserError, exit_on_user_error
from clef_jax.planning import estimate, report, search, topology as topology_lib
from clef_jax.planning.estimate import Plan
from clef_jax.planning.topology import Topology
from clef_jax.training import arguments

_NOWHERE = TrainConfig(data_dir="", workdir="")
"""A plan reads and writes no run."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arguments:
    """Compile the training step for a machine that is not there: memory, time, exchanges."""

    topology: str
    """Machine: v4, v5e, v5p, v6e or tpu7x and the shape of the slice (v5e:16x16, v5p:4x4x4);
    several slices (2xv5e:16x16); a number of GPUs (h100:8, h200:8, a100:64) or of CPU devices
    (cpu:8)."""
    sample_rate_hz: float = 500.0
    """Sampling rate of the prepared data set."""
    search_batch: bool = False
    """Also search the largest global batch that fits; compiles up to eight times."""
    json: pathlib.Path | None = None
    """File for the same figures as JSON."""

    def __post_init__(self):
        if not self.sample_rate_hz > 0:
            raise UserError("--sample-rate-hz must be above 0.")


def main(argv: Sequence[str] | None = None) -> None:
    with exit_on_user_error():
        config, own = arguments.parse_beside(
            argv, Arguments, default=_NOWHERE, prog="python -m clef_jax.plan"
        )
        run(config, own, rich.console.Console(highlight=False))


def run(config: TrainConfig, own: Arguments, console: rich.console.Console) -> Plan:
    """One plan, printed and, if asked for, written."""
    topology = topology_lib.by_name(own.topology)
    if own.json is not None and not own.json.expanduser().resolve().parent.is_dir():
        raise UserError(f"--json={own.json}: there is no folder {own.json.parent}.")
    prepare_jax(topology)
    plan = estimate.make(config, topology, own.sample_rate_hz)
    report.show(plan, console)
    found = None
    if own.search_batch:
        found = search_batch(config, topology, own.sample_rate_hz, plan, console)
        report.show_search(found, plan, console)
    if own.json is not None:
        values = plan.to_json()
        if found is not None:
            largest = found.rows * topology.num_devices
            values["search"] = dataclasses.asdict(found) | {"largest_global_batch_size": largest}
        files.write_text(own.json.expanduser().resolve(), json.dumps(values, indent=2) + "\n")
    return plan


def prepare_jax(topology: Topology) -> None:
    """Keeps JAX off this machine's accelerators, and simulates CPU devices if asked for some."""
    jax.config.update("jax_platforms", "cpu")
    if topology.chip.platform == "cpu":
        # A process that used JAX before keeps its devices; too few of them are told of later.
        with contextlib.suppress(RuntimeError):
            jax.config.update("jax_num_cpu_devices", topology.num_devices)


def search_batch(
    config: TrainConfig,
    topology: Topology,
    sample_rate_hz: float,
    first: Plan,
    console: rich.console.Console,
) -> search.SearchResult:
    """The largest batch for `config`, beginning with what `first` tells of its own.

    Raises:
        UserError: the memory of the machine is not known.
    """
    if first.memory.fits is None:
        raise UserError(
            f"--search-batch: the memory of {topology.name} is not known; plan a TPU or a GPU."
        )

    def attempt(rows: int) -> search.Trial:
        plan = first
        if rows != first.rows:
            batch = rows * topology.num_devices
            console.print(f"Trying {batch:,} patients per step.", soft_wrap=True)
            larger = dataclasses.replace(config, global_batch_size=batch)
            plan = estimate.make(larger, topology, sample_rate_hz)
        memory = plan.memory
        fits = bool(memory.fits)
        return search.Trial(rows, fits, memory.total_bytes, memory.available_bytes)

    return search.largest(attempt, first_rows=first.rows)


if __name__ == "__main__":
    main()
