"""The device mesh and the one place where shardings are decided.

Parameters are on every device, and so is the optimiser's state unless it is asked to be divided;
whatever has one row per patient is split over the `data` axis.
"""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec as P

from clef_jax.errors import UserError

DATA = "data"

ROWS = P(DATA)
"""One row per patient, split over the devices."""
EVERYWHERE = P()
"""The same on every device."""


def make_mesh(devices: Sequence[Any] | None = None) -> Mesh:
    """All devices (or those given) in one row along the `data` axis."""
    devices = jax.devices() if devices is None else devices
    return Mesh(np.array(devices), (DATA,), axis_types=(AxisType.Auto,))


def platform(mesh: Mesh) -> str:
    """What the devices are: `cpu`, `gpu` or `tpu`."""
    return mesh.devices.flat[0].platform


def rows(mesh: Mesh) -> NamedSharding:
    return NamedSharding(mesh, ROWS)


def everywhere(mesh: Mesh) -> NamedSharding:
    return NamedSharding(mesh, EVERYWHERE)


def divided(mesh: Mesh, shape: Sequence[int]) -> NamedSharding:
    """An array's longest axis that the devices divide evenly, split over them; else everywhere."""
    fitting = [axis for axis, length in enumerate(shape) if length and not length % mesh.size]
    if not fitting:
        return everywhere(mesh)
    longest = max(fitting, key=lambda axis: shape[axis])
    return NamedSharding(mesh, P(*[None] * longest, DATA))


def abstract(tree: Any, mesh: Mesh) -> Any:
    """Returns the shapes and types of arrays that are the same on every device of a mesh."""
    sharding = everywhere(mesh)
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), tree)


def check_batch_size(global_batch_size: int, mesh: Mesh, num_microbatches: int = 1) -> None:
    """Raises UserError, naming sizes that would do, if the batch does not split evenly."""
    n = mesh.size * num_microbatches
    if global_batch_size % n:
        lower, upper = global_batch_size // n * n, -(-global_batch_size // n) * n
        near = f"{lower} or {upper}" if lower else f"{upper}"
        parts = f" and {num_microbatches} microbatches" if num_microbatches > 1 else ""
        raise UserError(
            f"--global-batch-size={global_batch_size} does not split over {mesh.size} devices"
            f"{parts}; {near} does."
        )


def to_devices(batch: dict[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
    """Joins the processes' rows [B / processes, ...] into global arrays [B, ...]."""
    sharding = rows(mesh)
    return {
        name: jax.make_array_from_process_local_data(sharding, rows_here)
        for name, rows_here in batch.items()
    }
