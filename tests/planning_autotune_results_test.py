"""Kernels that a real GPU has chosen apply to a plan of the same kind of GPU."""

import json
import re

import jax
import jax.numpy as jnp
import pytest
from culprits import refuses

from clef_jax import mesh as mesh_lib, plan
from clef_jax.planning import autotune_results, gpu_target, topology as topology_lib

needs_compiler = pytest.mark.skipif(
    not gpu_target.is_installed(), reason="the GPU compiler is not installed (extra gpu-plan)"
)

MEASURED = "CUDA: 9.0, Cores: 132, GPU clock: 1.755 GHz, Memory bandwidth: 3352 GB/s, L2: 50 MB"
PRODUCT = """{
  tmp_0 = bf16[10240,1024]{1,0} parameter(0)
  tmp_1 = bf16[1024,1024]{1,0} parameter(1)
  ROOT tmp_2 = bf16[10240,1024]{1,0} dot(bf16[10240,1024]{1,0} tmp_0, bf16[1024,1024]{1,0} tmp_1), \
lhs_contracting_dims={1}, rhs_contracting_dims={0}, sharding={replicated}
}"""
KERNEL = "block_m: 64 block_n: 256 block_k: 64 split_k: 1 num_stages: 4 num_warps: 8 num_ctas: 1"


def results(device=MEASURED):
    """A file as XLA writes it, made by hand."""
    return (
        f"version: 3\nresults {{\n  device: {json.dumps(device)}\n  hlo: {json.dumps(PRODUCT)}\n"
        f"  result {{ triton {{ {KERNEL} }} }}\n  version: 45\n}}\n"
    )


def write(path, text):
    path.write_text(text)
    return path


def test_the_device_is_replaced_by_that_of_the_plan(tmp_path):
    path = write(tmp_path / "measured.textproto", results() + results())
    copy, number = autotune_results.adapt(path, "h100", tmp_path)
    assert number == 2
    text = copy.read_text()
    assert MEASURED not in text
    assert text.count(gpu_target.cache_key("h100")) == 2
    assert text.replace(gpu_target.cache_key("h100"), MEASURED) == path.read_text()


@pytest.mark.parametrize(
    ("text", "problem", "culprit"),
    [
        (results(MEASURED.replace("132", "114")), "other_gpu", "114"),
        (results(MEASURED.replace("3352", "4800")), "other_gpu", "4800"),
        (results("an H100"), "other_gpu", "an H100"),
        ("size: large", "no_autotune_results", "textproto"),
    ],
)
def test_other_files_are_refused(tmp_path, text, problem, culprit):
    with refuses(culprit, problem=problem):
        autotune_results.adapt(write(tmp_path / "x.textproto", text), "h100", tmp_path)


def test_a_missing_file_is_named(tmp_path):
    with refuses("absent", problem="missing_file"):
        autotune_results.adapt(tmp_path / "absent", "h100", tmp_path)
    with refuses(tmp_path.name, problem="is_a_folder"):
        autotune_results.adapt(tmp_path, "h100", tmp_path)


@pytest.mark.skipif(gpu_target.is_installed(), reason="the GPU compiler is installed")
def test_a_plan_without_the_compiler_cannot_use_them(tmp_path):
    path = write(tmp_path / "measured.textproto", results())
    flags = ["--size=tiny", "--topology=h100:1", "--global-batch-size=16"]
    with pytest.raises(SystemExit):
        plan.main([*flags, f"--autotune-results={path}"])


@needs_compiler
@pytest.mark.slow
@pytest.mark.plan_gpu
def test_the_compiler_uses_the_stored_kernel(tmp_path):
    mesh = topology_lib.make_mesh(topology_lib.by_name("h100:1"))
    everywhere = mesh_lib.everywhere(mesh)
    shapes = [
        jax.ShapeDtypeStruct(shape, jnp.bfloat16, sharding=everywhere)
        for shape in ((10240, 1024), (1024, 1024))
    ]
    lowered = jax.jit(jnp.matmul, out_shardings=everywhere).lower(*shapes)
    path, _ = autotune_results.adapt(
        write(tmp_path / "measured.textproto", results()), "h100", tmp_path
    )
    compiled = lowered.compile({autotune_results.COMPILER_OPTION: str(path)})
    tiles = re.findall(r'"output_tiles":\[\{"sizes":\["(\d+)","(\d+)"\]', compiled.as_text())
    assert tiles == [("64", "256")]
