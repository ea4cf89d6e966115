"""Machines by name, present or not: `v5e:16x16`, `2xv5e:16x16`, `h100:8`, `h100:2x8` or `cpu:8`."""

import dataclasses
import functools
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
from clef_jax.errors import UserError, WrongArgument, counted
from clef_jax.planning import gpu_target

_EXAMPLES = "v5e:16x16, v5p:4x4x4, 2xv5e:16x16, h100:8, h100:2x8 or cpu:8"

_HOST_CHIPS = (2, 2, 1)
"""Shape of a TPU host's chips within the slice, which the compiler assumes."""

_COMPILE_ONLY = {
    # Several compilers may run at the same time, because none of them opens a TPU.
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    # Outside Google's cloud no metadata server describes the machine.
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-1",
    "TPU_WORKER_HOSTNAMES": "localhost",
}


@dataclasses.dataclass(frozen=True)
class Topology:
    """A number of devices of one kind."""

    name: str
    chip: Chip
    num_devices: int
    """Number of devices of the machine, as JAX counts them."""
    num_slices: int = 1
    """Number of TPU slices."""
    shape: tuple[int, ...] = ()
    """Number of chips of a TPU slice along each of its axes; hosts and devices on each of GPUs."""

    @property
    def island_devices(self) -> int:
        """Number of devices that fast links connect."""
        if self.chip.platform == "gpu":
            return self.shape[1]
        return self.num_devices // self.num_slices

    @property
    def has_compiler(self) -> bool:
        """Whether this machine can compile for it; otherwise the step is only lowered."""
        return self.chip.platform != "gpu" or gpu_target.is_installed()

    @property
    def num_hosts(self) -> int:
        """Number of hosts of GPUs; 1 for other devices."""
        return self.shape[0] if self.chip.platform == "gpu" else 1


def by_name(name: str) -> Topology:
    """Returns the machine called `name`.

    Raises:
        UserError: the chip is unknown, or the name states no valid number or shape.
    """
    match = re.fullmatch(r"(?:(\d+)x)?([a-z]\w*):(\d+(?:x\d+)*)", name.strip().lower())
    if match is None:
        raise WrongArgument(f"--topology={name} is not a machine; write for example {_EXAMPLES}.")
    slices, chip = int(match[1] or 1), _chip(name, match[2])
    shape = tuple(int(n) for n in match[3].split("x"))
    if chip.platform == "gpu":
        return _gpus(name, chip, shape, has_slices=bool(match[1]))
    if chip.platform == "cpu":
        if len(shape) > 1 or match[1] or 0 in shape:
            raise WrongArgument(
                f"--topology={name}: {chip.name} needs a number of devices; write {chip.name}:8."
            )
        return Topology(f"{chip.name}:{match[3]}", chip, math.prod(shape))
    dimensions = 2 if chip.name in ("v5e", "v6e") else 3
    if len(shape) != dimensions or not slices * math.prod(shape):
        example = "x".join(["4"] * dimensions)
        raise WrongArgument(
            f"--topology={name}: slices of {chip.name} have {counted(dimensions, 'axis')}; "
            f"write {chip.name}:{example}."
        )
    count = slices * math.prod(shape) * chip.devices_per_chip
    return Topology(name.strip().lower(), chip, count, slices, shape)


def _gpus(name: str, chip: Chip, shape: tuple[int, ...], *, has_slices: bool) -> Topology:
    """Returns GPUs by their number, or by numbers of hosts and of devices on each."""
    count = math.prod(shape)
    if has_slices or not count or len(shape) > 2:
        raise WrongArgument(
            f"--topology={name}: {chip.name} needs a number of devices, or numbers of hosts and of "
            f"devices on each; write {chip.name}:8 or {chip.name}:2x8."
        )
    if len(shape) == 1:
        most = chip.island_devices or count
        per_host = max(n for n in range(1, most + 1) if count % n == 0)
        shape = (count // per_host, per_host)
    return Topology(name.strip().lower(), chip, count, shape=shape)


def _chip(name: str, chip: str) -> Chip:
    if chip in CHIPS:
        return CHIPS[chip]
    raise WrongArgument(f"--topology={name}: {plugin.unknown('chip', chip, CHIPS)}")


def make_mesh(topology: Topology) -> Mesh:
    """Returns the mesh that training makes, with all devices along `data`.

    It is abstract for GPUs without the extra `gpu-plan`.

    Raises:
        UserError: the TPU compiler is not installed or rejects the slice, the GPU compiler does not
            start, or this process simulates too few CPU devices.
    """
    if topology.chip.platform == "gpu" and topology.has_compiler:
        return mesh_lib.make_mesh(_gpu_devices(topology))
    if topology.chip.platform == "gpu":
        axes = (topology.num_devices,), (mesh_lib.DATA,)
        # An abstract mesh is sufficient where no device is needed.
        return cast(Mesh, AbstractMesh(*axes, axis_types=(AxisType.Auto,)))
    if topology.chip.platform == "tpu":
        return mesh_lib.make_mesh(_tpu_devices(topology))
    devices = jax.devices("cpu")
    if len(devices) < topology.num_devices:
        raise UserError(
            f"--topology={topology.name}: this process simulates "
            f"{counted(len(devices), 'CPU device')}; set jax_num_cpu_devices to "
            f"{topology.num_devices} before JAX is first used."
        )
    return mesh_lib.make_mesh(devices[: topology.num_devices])


@functools.cache
def _gpu_devices(topology: Topology) -> list[Any]:
    chip = topology.chip
    return gpu_target.devices(
        chip.name,
        chip.device_kinds[0],
        chip.memory_bytes or 0,
        num_hosts=topology.num_hosts,
        num_devices=topology.num_devices,
    )


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
        options["chip_config_name"] = "megacore"  # both cores of a chip are one device
    shape = (*topology.shape, 1)[:3]
    if math.prod(shape) < math.prod(_HOST_CHIPS):
        options["chips_per_host_bounds"] = tuple(int(n) for n in np.minimum(shape, _HOST_CHIPS))
    slice_name = f"{topology.chip.name}:{'x'.join(str(n) for n in topology.shape)}"
    try:
        tpu = topologies.get_topology_desc(platform="tpu", topology_name=slice_name, **options)
    except jax.errors.JaxRuntimeError as error:
        raise UserError(
            f"The TPU compiler rejects the slice {slice_name}: {str(error).splitlines()[0]}"
        ) from error
    return list(tpu.devices)
