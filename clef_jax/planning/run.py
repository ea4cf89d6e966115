"""Makes one plan of a training run, prints it, and writes it as JSON."""

import contextlib
import dataclasses
import functools
import json
import pathlib
import tempfile
from collections.abc import Callable, Iterator

import jax
import rich.console

from clef_jax import files, mesh as mesh_lib
from clef_jax.config import TrainConfig
from clef_jax.errors import UserError, WrongArgument, counted
from clef_jax.planning import (
    automatic,
    autotune_results as autotune_lib,
    estimate,
    printing,
    search,
    topology as topology_lib,
)
from clef_jax.planning.estimate import Plan
from clef_jax.planning.memory import Memory
from clef_jax.planning.topology import Topology


def run(
    config: TrainConfig,
    console: rich.console.Console,
    *,
    topology_name: str,
    sample_rate_hz: float,
    with_search: bool = False,
    json_path: pathlib.Path | None = None,
    overwrite: bool = False,
    autotune_results: pathlib.Path | None = None,
) -> Plan:
    """Makes and prints one plan; returns it.

    Args:
        config: settings of the training run.
        console: receives the plan.
        topology_name: the machine, for example `v5e:16x16`.
        sample_rate_hz: sampling rate of the prepared data set.
        with_search: also searches the largest global batch that fits.
        json_path: file for the same figures as JSON; by default none is written.
        overwrite: whether `json_path` may replace a file that is not a plan.
        autotune_results: kernels that a real GPU of the same kind chose.

    Raises:
        UserError: the machine is unknown, the step does not fit its devices, or `json_path` cannot
            be written or is another file.
    """
    topology = topology_lib.by_name(topology_name)
    output = None if json_path is None else _checked_output(json_path, overwrite=overwrite)
    prepare_jax(topology)
    with _measured_kernels(autotune_results, topology, console) as kernels:
        make = functools.partial(
            estimate.make,
            topology=topology,
            sample_rate_hz=sample_rate_hz,
            autotune_results=kernels,
        )
        if config.is_automatic:
            plan, trials = _choose(config, make, topology, console)
            config = trials[-1].config
            console.print(automatic.table(trials))
        else:
            plan = make(config)
        printing.show(plan, console)
        result = None
        if with_search:
            result = search_batch(config, make, plan, console)
            printing.show_search(result, plan, console)
    if output is not None:
        values = plan.to_json()
        if result is not None:
            largest = result.rows * topology.num_devices
            values["search"] = dataclasses.asdict(result) | {"largest_global_batch_size": largest}
        files.write_text(output, json.dumps(values, indent=2) + "\n")
    return plan


def _checked_output(path: pathlib.Path, *, overwrite: bool) -> pathlib.Path:
    """Returns the complete path of the JSON file; raises UserError if it cannot be written."""
    output = path.expanduser().resolve()
    if not output.parent.is_dir():
        raise UserError(f"--json={path}: the folder {output.parent} does not exist.")
    files.check_output(output, _is_plan, overwrite=overwrite, option="--json")
    return output


@contextlib.contextmanager
def _measured_kernels(
    results: pathlib.Path | None, topology: Topology, console: rich.console.Console
) -> Iterator[pathlib.Path | None]:
    """Yields a file of kernels that a real GPU chose, which the compiler accepts within the block.

    Yields None if there are no results.
    """
    if results is None:
        yield None
        return
    _check_compiler(topology)
    with tempfile.TemporaryDirectory() as folder:
        kernels, number = autotune_lib.adapt(results, topology.chip.name, pathlib.Path(folder))
        console.print(autotune_lib.described(number), soft_wrap=True)
        yield kernels


def _check_compiler(topology: Topology) -> None:
    """Raises UserError unless a compiler for GPUs can use stored kernels for the topology."""
    if topology.chip.platform != "gpu" or not topology.has_compiler:
        raise WrongArgument(
            f"{autotune_lib.OPTION} is for GPUs, and needs their compiler: pip install "
            "'clef_jax[gpu-plan]'.",
            problem="no_gpu_compiler",
        )


def _choose(
    config: TrainConfig,
    make: Callable[[TrainConfig], Plan],
    topology: Topology,
    console: rich.console.Console,
) -> tuple[Plan, list[automatic.Trial]]:
    """Returns the plan of the cheapest remat and microbatches that fit, and what was tried."""
    plans: list[Plan] = []

    def memory_of(candidate: TrainConfig) -> tuple[Memory, bool]:
        parts = counted(candidate.num_microbatches, "microbatch")
        console.print(f"Trying {parts}, {'with' if candidate.remat else 'without'} remat.")
        plans.append(make(candidate))
        return plans[-1].memory, plans[-1].compile_seconds is not None

    mesh_lib.check_batch_size(config.global_batch_size, topology_lib.make_mesh(topology))
    _, trials = automatic.choose(config, topology.num_devices, memory_of)
    return plans[-1], trials


def _is_plan(path: pathlib.Path) -> bool:
    return files.is_json_with(path, ("topology", "memory", "roofline", "model_flops"))


def prepare_jax(topology: Topology) -> None:
    """Makes JAX use the CPU alone, and simulate as many CPU devices as the topology has."""
    jax.config.update("jax_platforms", "cpu")
    if topology.chip.platform == "cpu":
        # A process that used JAX before keeps its devices; the compilation reports too few.
        with contextlib.suppress(RuntimeError):
            jax.config.update("jax_num_cpu_devices", topology.num_devices)


def search_batch(
    config: TrainConfig,
    make: Callable[[TrainConfig], Plan],
    first: Plan,
    console: rich.console.Console,
) -> search.SearchResult:
    """Returns the largest batch that fits.

    Args:
        config: settings of the training run.
        make: makes a plan for the machine.
        first: plan of `config` itself, where the search begins.
        console: receives each batch that is tried.

    Raises:
        UserError: the memory of the machine is unknown.
    """
    topology = first.topology
    if first.memory.fits is None:
        raise UserError(
            f"--search-batch: the memory of {topology.name} is unknown; plan a TPU or a GPU."
        )

    # A device encodes whole microbatches.
    parts = config.num_microbatches

    def attempt(size: int) -> search.Trial:
        plan, rows = first, size * parts
        if rows != first.rows:
            batch = rows * topology.num_devices
            console.print(f"Trying {counted(batch, 'patient')} per step.", soft_wrap=True)
            larger = dataclasses.replace(config, global_batch_size=batch)
            plan = make(larger)
        memory = plan.memory
        fits = bool(memory.fits)
        return search.Trial(size, fits, memory.total_bytes, memory.available_bytes)

    found = search.largest(attempt, first_rows=first.rows // parts)
    trials = [dataclasses.replace(trial, rows=trial.rows * parts) for trial in found.trials]
    return search.SearchResult(found.rows * parts, tuple(trials))
