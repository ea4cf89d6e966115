"""The GPU compiler on a machine without a GPU: XLA:GPU needs only the figures of the device.

The extra `gpu-plan` installs the compiler and NVIDIA's assembler. Nothing can be tuned by
measurement, so XLA's cost model chooses the tiles of products.
"""

import importlib.util
import os
import pathlib
import shutil
from collections.abc import Mapping
from typing import Any

import jax
from jax.experimental import topologies

from clef_jax import machine
from clef_jax.errors import UserError

_PLUGIN = "jax_plugins.xla_cuda13"

_FLAGS = (
    # Tiles by XLA's cost model; a tile that is not chosen by either is a slow placeholder.
    "--xla_gpu_experimental_cost_model_gemm_tiling_options=top=1",
    "--xla_gpu_collect_cost_model_stats=true",
)

_DNN_MAJOR, _DNN_MINOR = 9, 10
"""Version of cuDNN that is compiled for."""

TRITON, CUBLASLT = "triton", "cublaslt"
"""Libraries of matrix products."""

_PRODUCTS_OPTION = "xla_gpu_enable_triton_gemm"

_COMMON = """
threads_per_block_limit: 1024
threads_per_warp: 32
threads_per_core_limit: 2048
block_dim_limit_x: 2147483647
block_dim_limit_y: 65535
block_dim_limit_z: 65535
thread_dim_limit_x: 1024
thread_dim_limit_y: 1024
thread_dim_limit_z: 64
registers_per_core_limit: 65536
registers_per_block_limit: 65536
shared_memory_per_block: 49152
"""
_HOPPER_CORE = {
    "shared_memory_per_core": 233472,
    "shared_memory_per_block_optin": 232448,
    "fpus_per_core": 128,
}
_HOPPER = _HOPPER_CORE | {
    "matrix_clock_ghz": 1.8295201,
    "matrix_ops_per_clock": {"bf16": 512, "f32": 256},
}
_DEVICES: dict[str, dict[str, Any]] = {
    "a100": {
        "shared_memory_per_core": 167936,
        "shared_memory_per_block_optin": 166912,
        "fpus_per_core": 64,
        "core_count": 108,
        "clock_rate_ghz": 1.41,
        "matrix_clock_ghz": 1.41,
        "matrix_ops_per_clock": {"bf16": 256, "f32": 128},
        "l2_cache_size": 41943040,
        "memory_bandwidth": 2039040000000,
        "major": 8,
        "feature_extension": "NONE",
    },
    "h100": _HOPPER
    | {
        "core_count": 132,
        "clock_rate_ghz": 1.98,
        "l2_cache_size": 52428800,
        "memory_bandwidth": 3352320000000,
        "major": 9,
        "feature_extension": "ACCELERATED_FEATURES",
    },
    "h200": _HOPPER
    | {
        "core_count": 132,
        "clock_rate_ghz": 1.98,
        "l2_cache_size": 52428800,
        "memory_bandwidth": 4800000000000,
        "major": 9,
        "feature_extension": "ACCELERATED_FEATURES",
    },
    "b200": _HOPPER_CORE
    | {
        "core_count": 148,
        "clock_rate_ghz": 1.965,
        "matrix_clock_ghz": 1.8353101,
        "matrix_ops_per_clock": {"bf16": 1024, "f32": 512},
        "l2_cache_size": 132644864,
        "memory_bandwidth": 7672320000000,
        "major": 10,
        "feature_extension": "ACCELERATED_FEATURES",
    },
}
"""Figures of the devices as XLA publishes them (openxla/xla, backends/gpu/target_config).

Without the rates of the matrix units the compiler's models count a product by the rate of the
other units, which is 15 times slower."""

_PRIMITIVE_TYPES = {"f32": 11, "bf16": 16}
"""Numbers of the formats in XLA's protocol."""
_MATRIX_UNITS = 4
"""Matrix units of each core, for all chips above."""


def has_times(chip: str) -> bool:
    """Returns whether the compiler's models have tables for a chip, and so tiles and times."""
    return chip != "a100"


def compiler_options(chip: str) -> dict[str, dict[str, bool]]:
    """Returns options of the compiler by the library of matrix products that they choose.

    A GPU chooses for each product by measurement. A plan compiles with each library, and states
    which one it read.
    """
    choices = {TRITON: {}, CUBLASLT: {_PRODUCTS_OPTION: False}}
    return choices if has_times(chip) else {CUBLASLT: choices[CUBLASLT]}


def is_installed() -> bool:
    """Returns whether this machine can compile for GPUs: the plugin and NVIDIA's `ptxas`."""
    try:
        has_plugin = importlib.util.find_spec(_PLUGIN) is not None
    except ModuleNotFoundError:  # no plugin of any kind
        has_plugin = False
    return has_plugin and _ptxas() is not None


def _ptxas() -> str | None:
    spec = importlib.util.find_spec("nvidia")
    for folder in spec.submodule_search_locations or () if spec else ():
        for path in pathlib.Path(folder).glob("*/bin/ptxas"):
            return str(path)
    return shutil.which("ptxas")


def text(chip: str, device_kind: str, memory_bytes: int) -> str:
    """Returns a chip's description for the compiler, a text of `GpuTargetConfigProto`."""
    values = dict(_DEVICES[chip])
    major, extension = values.pop("major"), values.pop("feature_extension")
    matrix_clock_ghz = values.pop("matrix_clock_ghz")
    matrix_ops = values.pop("matrix_ops_per_clock")
    lines = [f"{name}: {value}" for name, value in values.items()]
    every_format = dict.fromkeys(_PRIMITIVE_TYPES, 1)
    lines += [
        _rates("scalar", values["clock_rate_ghz"], values["fpus_per_core"], every_format),
        _rates("matrix", matrix_clock_ghz, _MATRIX_UNITS, matrix_ops),
    ]
    return (
        f"gpu_device_info {{{_COMMON}{chr(10).join(lines)}\n"
        f"device_memory_size: {memory_bytes}\n"
        f"cuda_compute_capability {{ major: {major} feature_extension: {extension} }}\n}}\n"
        'platform_name: "CUDA"\n'
        f"dnn_version_info {{ major: {_DNN_MAJOR} minor: {_DNN_MINOR} }}\n"
        f'device_description_str: "{device_kind}"\n'
    )


def cache_key(chip: str) -> str:
    """Returns the description of a chip with which the compiler looks up autotuned kernels."""
    device = _DEVICES[chip]
    return (
        f"CUDA: {device['major']}.0, Cores: {device['core_count']}, GPU clock: "
        f"{device['clock_rate_ghz']:g} GHz, Memory bandwidth: "
        f"{device['memory_bandwidth'] // 10**9} GB/s, L2 cache: {device['l2_cache_size'] >> 20} "
        f"MB, DNN version: {_DNN_MAJOR}.{_DNN_MINOR}.0"
    )


def _rates(unit: str, clock_ghz: float, units: int, ops_per_clock: Mapping[str, int]) -> str:
    """Returns the description of the scalar or matrix units of a core.

    Args:
        unit: `scalar` or `matrix`.
        clock_ghz: their clock.
        units: number of units of a core.
        ops_per_clock: fused multiplications and additions per clock and unit, by format.
    """
    rates = [
        f"rate_infos {{ key: {_PRIMITIVE_TYPES[name]} value {{ clock_rate_ghz: {clock_ghz} "
        f"units_per_core: {units} ops_per_clock: {ops} }} }}"
        for name, ops in ops_per_clock.items()
    ]
    return f"{unit}_unit_description {{ {' '.join(rates)} }}"


def devices(
    chip: str, device_kind: str, memory_bytes: int, *, num_hosts: int, num_devices: int
) -> list[Any]:
    """Returns the devices of a machine of GPUs, which programs can be compiled for but not run on.

    Args:
        chip: name of the chip.
        device_kind: NVIDIA's name of it.
        memory_bytes: memory of a device.
        num_hosts: number of hosts.
        num_devices: number of devices of all hosts together.

    Raises:
        UserError: the compiler does not start.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # alarms about slow compilations
    if has_times(chip):
        machine.add_xla_flags(_FLAGS)
    try:
        topology = topologies.get_topology_desc(
            platform="cuda",
            topology=f"1x{num_hosts}x{num_devices // num_hosts}",
            target_config=text(chip, device_kind, memory_bytes),
        )
    except (jax.errors.JaxRuntimeError, NotImplementedError, RuntimeError) as error:
        raise UserError(
            f"The GPU compiler does not start: {str(error).splitlines()[0]}. Its plugin and JAX "
            "must be of one version: pip install 'clef_jax[gpu-plan]'.",
            problem="no_gpu_compiler",
        ) from error
    return list(topology.devices)
