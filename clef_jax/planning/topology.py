"""Machines by name, `v5e:16x16`, `2xv5e:16x16`, `h100:8` or `cpu:8`, there or not."""

import dataclasses
import importlib.util
import math
import os
import re
from typing import Any, cast

import jax
import numpy as np
from jax.experimental import topologies
from jax.sharding import AbstractMesh, AxisType, Mesh

from clef_jax import mesh as mesh_lib, plugin
from clef_jax.chip import CHIPS, Chip
from clef_jax.errors import UserError

_EXAMPLES = "v5e:16x16, v5p:4x4x4, 2xv5e:16x16, h100:8 or cpu:8"

_HOST_CHIPS = (2, 2, 1)
"""How the chips of a TPU host lie in the slice, as the compiler takes for granted."""

_COMPILE_ONLY = {
    # Several compilers may work at a time: none of them opens a TPU.
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    # Away from Google's cloud there is nobody to ask what this machine is.
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-1",
    "TPU_WORKER_HOSTNAMES": "localhost",
}


@dataclasses.dataclass(frozen=True)
class Topology:
    """So many devices of one kind."""

    name: str
    chip: Chip
    num_devices: int
    """All of them, as JAX counts them."""
    num_slices: int = 1
    shape: tuple[int, ...] = ()
    """Chips of a TPU slice along each of its axes."""

    @property
    def island_devices(self) -> int:
        """Devices that are joined by fast links."""
        return min(
            self.chip.island_devices or self.num_devices, self.num_devices // self.num_slices
        )

    @property
    def is_compiled_for(self) -> bool:
        """Whether there is a compiler for it here; otherwise the step is only lowered."""
        return self.chip.platform != "gpu"


def by_name(name: str) -> Topology:
    """The machine called `name`.

    Raises:
        UserError: there is no such chip, or the name does not say how many; the message names the
            nearest.
    """
    match = re.fullmatch(r"(?:(\d+)x)?([a-z]\w*):(\d+(?:x\d+)*)", name.strip().lower())
    if match is None:
        raise UserError(f"--topology={name} is not a machine; write it as {_EXAMPLES}.")
    slices, chip = int(match[1] or 1), _chip(name, match[2])
    shape = tuple(int(n) for n in match[3].split("x"))
    if chip.platform != "tpu":
        if len(shape) > 1 or match[1] or 0 in shape:
            raise UserError(f"--topology={name}: {chip.name} is counted; write {chip.name}:8.")
        return Topology(f"{chip.name}:{match[3]}", chip, math.prod(shape))
    dimensions = 2 if chip.name in ("v5e", "v6e") else 3
    if len(shape) != dimensions or not slices * math.prod(shape):
        example = "x".join(["4"] * dimensions)
        raise UserError(
            f"--topology={name}: slices of {chip.name} have {dimensions} axes; "
            f"write {chip.name}:{example}."
        )
    count = slices * math.prod(shape) * chip.devices_per_chip
    return Topology(name.strip().lower(), chip, count, slices, shape)


def _chip(name: str, chip: str) -> Chip:
    if chip in CHIPS:
        return CHIPS[chip]
    raise UserError(f"--topology={name}: {plugin.unknown('chip', chip, CHIPS)}")


def make_mesh(topology: Topology) -> Mesh:
    """The devices in one row along `data`, as training lays them; abstract for GPUs.

    Raises:
        UserError: the TPU compiler is not installed or knows no such slice, or this process was
            started with fewer simulated CPU devices.
    """
    if topology.chip.platform == "gpu":
        axes = (topology.num_devices,), (mesh_lib.DATA,)
        # Serves as a mesh wherever no device is asked for.
        return cast(Mesh, AbstractMesh(*axes, axis_types=(AxisType.Auto,)))
    if topology.chip.platform == "tpu":
        return mesh_lib.make_mesh(_tpu_devices(topology))
    devices = jax.devices("cpu")
    if len(devices) < topology.num_devices:
        raise UserError(
            f"--topology={topology.name}: this process simulates {len(devices)} CPU devices; set "
            f"jax_num_cpu_devices to {topology.num_devices} before JAX is first used."
        )
    return mesh_lib.make_mesh(devices[: topology.num_devices])


def _tpu_devices(topology: Topology) -> list[Any]:
    if importlib.util.find_spec("libtpu") is None:
        raise UserError(
            f"--topology={topology.name} needs the TPU compiler, which works without a TPU: "
            "pip install 'clef_jax[tpu]'."
        )
    for variable, value in _COMPILE_ONLY.items():
        os.environ.setdefault(variable, value)
    options: dict[str, Any] = {}
    if topology.num_slices > 1:
        options["num_slices"] = topology.num_slices
    if topology.chip.name == "v4":
        options["chip_config_name"] = "megacore"  # both cores of a chip as one device
    shape = (*topology.shape, 1)[:3]
    if math.prod(shape) < math.prod(_HOST_CHIPS):
        options["chips_per_host_bounds"] = tuple(int(n) for n in np.minimum(shape, _HOST_CHIPS))
    slice_name = f"{topology.chip.name}:{'x'.join(str(n) for n in topology.shape)}"
    try:
        found = topologies.get_topology_desc(platform="tpu", topology_name=slice_name, **options)
    except jax.errors.JaxRuntimeError as error:
        raise UserError(
            f"The TPU compiler knows no slice {slice_name}: {str(error).splitlines()[0]}"
        ) from error
    return list(found.devices)
