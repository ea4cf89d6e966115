"""The machine that a program runs on or is compiled for: platform, number format, versions."""

import contextlib
import ctypes
import importlib.metadata
import importlib.util
import os
import platform as host_platform
from collections.abc import Iterable

import jax
import jax.numpy as jnp

from clef_jax.scoped import Block, Scoped

_platform = Scoped[str | None]("platform", None)

_DETERMINISTIC = (
    "--xla_gpu_deterministic_ops=true",
    "--xla_gpu_exclude_nondeterministic_ops=true",
)

# Parameters of mallopt(3), from glibc's malloc.h.
_M_TRIM_THRESHOLD = -1
_M_MMAP_MAX = -4
_M_ARENA_MAX = -8
_NEVER = -1


def use_platform(platform: str) -> Block:
    """Makes all that is traced inside the block select its implementations for `platform`.

    A step that is compiled for another machine than this one needs it.
    """
    return _platform.use(platform)


def current_platform() -> str:
    """Returns the platform of `use_platform` (`cpu`, `gpu`, `tpu`), or JAX's default backend."""
    return _platform.get() or jax.default_backend()


def compute_dtype(precision: str, platform: str | None = None) -> jnp.dtype:
    """Returns the number format of an encoder's activations.

    Args:
        precision: `float32`, `bfloat16`, or `auto` for float32 on CPU and bfloat16 elsewhere.
        platform: the platform that computes; by default JAX's default backend.
    """
    if precision != "auto":
        return jnp.dtype(precision)
    on_cpu = (platform or jax.default_backend()) == "cpu"
    return jnp.dtype(jnp.float32 if on_cpu else jnp.bfloat16)


def add_xla_flags(flags: Iterable[str]) -> None:
    """Adds flags to those of XLA in the environment, which a compiler reads when it is loaded."""
    present = os.environ.get("XLA_FLAGS", "").split()
    os.environ["XLA_FLAGS"] = " ".join(dict.fromkeys([*present, *flags]))


def request_deterministic_kernels() -> None:
    """Makes XLA choose kernels of a GPU that repeat their result to the last bit.

    Call it before JAX uses a device, because XLA reads its flags only then. Kernels are then not
    chosen by measurement, which could choose others after a restart.
    """
    add_xla_flags(_DETERMINISTIC)


def keep_freed_memory() -> bool:
    """Makes a process that computes on CPU keep freed blocks of memory and use them again.

    A training step on CPU allocates and frees its temporary arrays as one block, a gigabyte at 64
    pairs of the small encoder. By default glibc returns such a block to the system, which then has
    to clear and map every page again in the next step: a third of the step's time, or more, on
    virtual machines. Commands call this before JAX starts, because glibc gives every thread that
    has allocated memory an arena of its own, which returns large blocks whatever is set later.
    Nothing calls it on import, because the process's memory then stays at its peak until the
    process ends.

    Returns:
        True where the setting took effect; False where the C library is not glibc, or JAX may
        compute on an accelerator.
    """
    if host_platform.libc_ver()[0] != "glibc" or _may_use_accelerator():
        return False
    mallopt = ctypes.CDLL(None).mallopt
    # One arena, because only the first one can grow without mmap.
    settings = ((_M_ARENA_MAX, 1), (_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, _NEVER))
    return all(mallopt(parameter, value) == 1 for parameter, value in settings)


def _may_use_accelerator() -> bool:
    """Returns whether JAX has support for another device than the CPU, without starting JAX."""
    platforms = jax.config.jax_platforms  # pyright: ignore[reportAttributeAccessIssue]
    if platforms:
        return platforms != "cpu"
    packages = ("jax_plugins", "libtpu")
    return any(importlib.util.find_spec(package) for package in packages)


def installed_versions(packages: Iterable[str]) -> dict[str, str]:
    """Returns the versions, by name, of those of the packages that are installed."""
    versions = {}
    for package in packages:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return versions
