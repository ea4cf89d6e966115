"""The step of training, compiled for GPUs on a machine without one."""

import json
import re

import pytest

from clef_jax import plan
from clef_jax.convolution import gpu_kernels
from clef_jax.models import size as size_lib
from clef_jax.planning import gpu_target, hlo_text, step as step_lib

needs_compiler = pytest.mark.skipif(
    not gpu_target.is_installed(), reason="the GPU compiler is not installed (extra gpu-plan)"
)


def test_the_description_of_a_chip_has_its_memory_and_its_generation():
    text = gpu_target.text("b200", "NVIDIA B200", 12345)
    assert "device_memory_size: 12345\n" in text
    assert "major: 10 " in text
    assert text.count("{") == text.count("}")
    # 4 units of 1,024 fused operations in bfloat16 (16 in XLA's protocol): 2,250 TFLOP/s in all.
    rate = re.search(
        r"matrix_unit.* key: 16 value {.*ghz: (\S+) units_per_core: 4 .*: 1024 }", text
    )
    assert rate
    assert 148 * 4 * 1024 * 2 * float(rate[1]) / 1000 == pytest.approx(2250, rel=0.02)


def test_each_chip_is_compiled_with_each_library_that_has_estimates():
    assert set(gpu_target.compiler_options("h100")) == {"triton", "cublaslt"}
    assert set(gpu_target.compiler_options("a100")) == {"cublaslt"}


def plan_of_tiny(path, *flags):
    """A plan of the tiny step for two H100, and the texts of its programs."""
    texts = []
    compile_step = step_lib.compile_step

    def keep_text(*arguments):
        result, seconds = compile_step(*arguments)
        texts.append(result.as_text())
        return result, seconds

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(step_lib, "compile_step", keep_text)
        machine = ["--size=tiny", "--topology=h100:2", "--global-batch-size=16", f"--json={path}"]
        plan.main([*machine, *flags])
    return json.loads(path.read_text()), texts


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    return plan_of_tiny(tmp_path_factory.mktemp("plan") / "plan.json")


@needs_compiler
@pytest.mark.slow
@pytest.mark.plan_gpu
def test_a_plan_has_memory_kernels_and_a_time_with_its_source(compiled):
    values, texts = compiled
    assert values["step_seconds_source"] == "gpu-compiler"
    assert values["gpu"]["seconds"] == values["step_seconds"] == min(values["gpu_seconds"].values())
    assert 1e-6 < values["step_seconds"] < 1e-2
    assert set(values["gpu_seconds"]) == {"triton", "cublaslt"}
    assert len(texts) == 2
    assert 50 < values["gpu"]["num_kernels"] < 1000
    assert len(values["gpu"]["costliest"]) == 10
    memory = values["memory"]
    assert memory["fits"] is True
    assert 2**20 < memory["temporaries_bytes"] < 2**30
    assert memory["available_bytes"] == pytest.approx(0.75 * 84_942_979_072, rel=1e-6)


@needs_compiler
@pytest.mark.slow
@pytest.mark.plan_gpu
def test_own_kernels_replace_passes_over_the_activations(compiled, tmp_path):
    before, _ = compiled
    values, texts = plan_of_tiny(tmp_path / "plan.json", "--own-kernels")
    assert values["own_kernels"]
    assert all(gpu_kernels.NAME in text for text in texts)
    assert values["gpu"]["num_kernels"] < before["gpu"]["num_kernels"]
    assert values["gpu"]["num_bytes"] < before["gpu"]["num_bytes"]
    assert values["memory"]["temporaries_bytes"] <= before["memory"]["temporaries_bytes"]


@needs_compiler
@pytest.mark.slow
@pytest.mark.plan_gpu
def test_no_exchange_is_larger_than_embeddings_and_gradients(compiled):
    values, _ = compiled
    assert values["collectives"]
    assert {x["group_size"] for x in values["collectives"]} == {2}
    assert values["num_too_large_collectives"] == 0
    gradients = [x for x in values["collectives"] if x["kind"] == "all-reduce"]
    assert max(x["num_bytes"] for x in gradients) >= values["memory"]["parameters_bytes"]


@needs_compiler
@pytest.mark.slow
@pytest.mark.plan_gpu
def test_grouped_convolutions_are_those_of_cudnn_in_bfloat16(compiled):
    _, texts = compiled
    mixes = [block.convolutions[1] for block in size_lib.by_name("tiny").blocks()]
    for text in texts:
        found = [line for line in text.splitlines() if "__cudnn$conv" in line]
        grouped = [line for line in found if "feature_group_count=" in line]
        assert len(grouped) >= 3 * len([x for x in mixes if x.groups > 1])
        assert all(re.search(r"= \(bf16\[", line) for line in found)
        assert not re.search(r"= \S+ convolution\(", text)


@needs_compiler
@pytest.mark.slow
@pytest.mark.plan_gpu
def test_the_encoder_has_no_float32_copies_of_activations(compiled):
    _, texts = compiled
    rows = 16  # views on one device
    for text in texts:
        computations, entry = hlo_text.computations(text)
        inside = [x for x in computations[entry] if "/encoder/" in x.origin]
        assert len(inside) > 50
        for instruction in inside:
            for name, _ in hlo_text.arrays(instruction.result):
                kind, _, shape = name.partition("[")
                sizes = [int(n) for n in shape.rstrip("]").split(",") if n]
                is_signal = len(sizes) == 3 and sizes[0] == rows and sizes[1] > 50
                assert not (kind == "f32" and is_signal and sizes[2] > 1), instruction.name
