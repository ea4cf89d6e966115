"""Tests the platform of a program, the host's memory, and installed versions."""

import os
import platform
import subprocess
import sys
import types

import jax
import pytest

from clef_jax import machine

PROGRAM = """
import resource, sys
import numpy as np
from clef_jax.machine import keep_freed_memory

if sys.argv[1] == "keep":
    assert keep_freed_memory()
np.ones(8_000_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    np.ones(8_000_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


JAX_PROGRAM = """
import resource, sys
import jax, jax.numpy as jnp
from clef_jax.machine import keep_freed_memory

@jax.jit
def two_products(x):
    y = jnp.sin(x) @ jnp.ones((256, 256))
    return jnp.sum((jnp.cos(y) @ jnp.ones((256, 256))).T @ y)

if sys.argv[1] == "keep":
    assert keep_freed_memory()
x = jnp.ones((40960, 256))
for _ in range(2):
    two_products(x).block_until_ready()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    two_products(x).block_until_ready()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
"""Its temporary arrays are allocated by threads of JAX, as those of a training step are."""


def test_the_platform_is_the_default_backend_unless_it_is_set():
    assert machine.current_platform() == jax.default_backend() == "cpu"
    with machine.use_platform("tpu"):
        assert machine.current_platform() == "tpu"
        with machine.use_platform("gpu"):
            assert machine.current_platform() == "gpu"
        assert machine.current_platform() == "tpu"
    assert machine.current_platform() == "cpu"


def test_activations_are_bfloat16_on_accelerators_only():
    assert machine.compute_dtype("auto", "cpu") == "float32"
    assert machine.compute_dtype("auto", "gpu") == "bfloat16"
    assert machine.compute_dtype("auto", "tpu") == "bfloat16"
    assert machine.compute_dtype("bfloat16", "cpu") == "bfloat16"


def count_page_faults(program: str, mode: str) -> int:
    """Counts the page faults of five repetitions that allocate and free the same memory."""
    command = [sys.executable, "-c", program, mode]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


needs_glibc = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="only glibc has these settings"
)


@needs_glibc
def test_memory_that_was_freed_is_not_mapped_again():
    # Pages may be of 4 KB or, where the system uses huge ones, of 2 MB: 160 faults at the least.
    assert count_page_faults(PROGRAM, "keep") < 20
    assert count_page_faults(PROGRAM, "default") > 100


@needs_glibc
def test_the_threads_of_jax_map_memory_that_was_freed_less_often():
    assert count_page_faults(JAX_PROGRAM, "keep") < 0.5 * count_page_faults(JAX_PROGRAM, "default")


@pytest.mark.parametrize(
    ("platforms", "package", "may"),
    [
        ("cpu", "jax_plugins", False),
        ("cuda,cpu", None, True),
        (None, None, False),
        (None, "jax_plugins", True),
        (None, "libtpu", True),
    ],
)
def test_memory_is_kept_only_where_nothing_but_a_cpu_computes(platforms, package, may, monkeypatch):
    config = types.SimpleNamespace(jax_platforms=platforms)
    monkeypatch.setattr(machine, "jax", types.SimpleNamespace(config=config))
    monkeypatch.setattr(machine.importlib.util, "find_spec", lambda name: name == package or None)
    assert machine._may_use_accelerator() == may


def test_packages_that_are_not_installed_have_no_version():
    assert machine.installed_versions(["jax", "no-such-package"]) == {"jax": jax.__version__}


def test_deterministic_kernels_are_requested_once_and_keep_other_flags(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_dump_to=here")
    machine.request_deterministic_kernels()
    machine.request_deterministic_kernels()
    first, *others = os.environ["XLA_FLAGS"].split()
    assert first == "--xla_dump_to=here"
    assert "--xla_gpu_deterministic_ops=true" in others
    assert len(others) == len(set(others))
