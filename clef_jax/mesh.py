"""The device mesh, and all shardings of a run.

Parameters are replicated on every device, and so is the optimiser's state unless the settings split
it. Arrays with one row per patient are split over the `data` axis.
"""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec as P

from clef_jax.errors import UserError, counted

DATA = "data"
"""Name of the only axis of the mesh."""

ROWS = P(DATA)
"""Sharding of arrays with one row per patient: split over the devices."""
EVERYWHERE = P()
"""Sharding of arrays that are the same on every device."""


def make_mesh(devices: Sequence[Any] | None = None) -> Mesh:
    """Returns a mesh with all devices, or those given, along the `data` axis."""
    devices = jax.devices() if devices is None else devices
    return Mesh(np.array(devices), (DATA,), axis_types=(AxisType.Auto,))


def platform(mesh: Mesh) -> str:
    """Returns the platform of the devices: `cpu`, `gpu` or `tpu`."""
    return mesh.devices.flat[0].platform


def rows(mesh: Mesh) -> NamedSharding:
    """Returns a sharding that splits rows, one per patient, over the devices."""
    return NamedSharding(mesh, ROWS)


def everywhere(mesh: Mesh) -> NamedSharding:
    """Returns a sharding that replicates an array on every device."""
    return NamedSharding(mesh, EVERYWHERE)


def divided(mesh: Mesh, shape: Sequence[int]) -> NamedSharding:
    """Returns a sharding of the longest divisible axis, else one that replicates."""
    divisible = [axis for axis, length in enumerate(shape) if length and not length % mesh.size]
    if not divisible:
        return everywhere(mesh)
    longest = max(divisible, key=lambda axis: shape[axis])
    return NamedSharding(mesh, P(*[None] * longest, DATA))


def abstract(tree: Any, mesh: Mesh) -> Any:
    """Returns shapes and types of a tree's arrays, with a sharding that replicates them."""
    sharding = everywhere(mesh)
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), tree)


def check_batch_size(global_batch_size: int, mesh: Mesh, num_microbatches: int = 1) -> None:
    """Raises UserError, with the nearest valid sizes, if the batch does not split evenly."""
    n = mesh.size * num_microbatches
    if global_batch_size % n:
        lower, upper = global_batch_size // n * n, -(-global_batch_size // n) * n
        near = f"{lower} or {upper}" if lower else f"{upper}"
        microbatches = (
            f" and {counted(num_microbatches, 'microbatch')}" if num_microbatches > 1 else ""
        )
        raise UserError(
            f"--global-batch-size={global_batch_size} does not split evenly over {mesh.size} "
            f"devices{microbatches}; use {near}."
        )


def to_devices(batch: dict[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
    """Joins the processes' rows [B / processes, ...] into global arrays [B, ...]."""
    sharding = rows(mesh)
    return {
        name: jax.make_array_from_process_local_data(sharding, rows_here)
        for name, rows_here in batch.items()
    }
