"""Kernels, traffic and times of a step that was compiled for GPUs, read from a short program."""

import pytest

from clef_jax.chip import CHIPS
from clef_jax.planning import gpu_program

H100 = CHIPS["h100"]


def cost(*models):
    """Estimates of models in the form in which the compiler writes them."""
    entries = (
        f'{{"end_to_end_cycles":1,"exec_time_us":{time},"compute_time_us":0,"name":"{name}"}}'
        for name, time in models
    )
    return f'backend_config={{"reification_cost":[{",".join(entries)}],"device_type":"X"}}'


TEXT = f"""HloModule jit_step, is_scheduled=true, entry_computation_layout={{(f32[8]{{0}})->f32[8]{{0}}}}

%cut (p0: f32[1000], p1: f32[10]) -> f32[10] {{
  %p0 = f32[1000]{{0}} parameter(0)
  %p1 = f32[10]{{0}} parameter(1)
  %s = f32[10]{{0}} slice(%p0), slice={{[0:10]}}
  ROOT %a = f32[10]{{0}} add(%s, %p1)
}}

%body (s: f32[10]) -> f32[10] {{
  %s.1 = f32[10]{{0}} parameter(0)
  ROOT %twice = f32[10]{{0}} fusion(%s.1), kind=kLoop, calls=%cut, {cost(("sol", 3))}
}}

ENTRY %main (x: f32[1000], y: f32[10], z: bf16[4,100,32], k: bf16[16,4,32]) -> f32[10] {{
  %x = f32[1000]{{0}} parameter(0)
  %y = f32[10]{{0}} parameter(1)
  %z = bf16[4,100,32]{{2,1,0}} parameter(2)
  %k = bf16[16,4,32]{{2,1,0}} parameter(3)
  %sum = f32[1000]{{0}} all-reduce-start(%x), replica_groups={{{{0,1}}}}, {cost(("sol", 40))}
  %fusion = f32[10]{{0}} fusion(%x, /*index=5*/%y), kind=kLoop, calls=%cut, {cost(("", 9), ("indexing-cost-model", 30), ("sol", 1))}, metadata={{op_name="jit(step)/jvp(encoder)/stem/add"}}
  %dot = (f32[10]{{0}}, s8[4194304]{{0}}) custom-call(%y, %y), custom_call_target="__cublas$lt$matmul", {cost(("sol", 2))}
  %conv = (bf16[4,100,32]{{2,1,0}}, u8[0]{{0}}) custom-call(%z, %k), window={{size=16 pad=8_8}}, dim_labels=b0f_o0i->b0f, custom_call_target="__cudnn$convForward", {cost()}
  %sum.1 = f32[1000]{{0}} all-reduce-done(%sum)
  %gathered = f32[1000]{{0}} all-gather(%y), replica_groups={{{{0,1}}}}, dimensions={{0}}, {cost(("sol", 5))}
  %loop = f32[10]{{0}} while(%y), condition=%cut, body=%body, backend_config={{"known_trip_count":{{"n":"4"}}}}
  ROOT %t = f32[10]{{0}} tuple(%loop)
}}
"""  # noqa: E501


@pytest.fixture(scope="module")
def program():
    return gpu_program.read(TEXT, H100, products="cublaslt")


def test_kernels_are_counted_as_often_as_they_run(program):
    assert program.num_kernels == 3 + 4
    fusion = program.costliest[0]
    assert (fusion.name, fusion.kind, fusion.times) == ("fusion", "fusion", 1)
    assert fusion.origin.endswith("stem/add")
    assert program.costliest[1].times == 4
    assert [x.kind for x in program.costliest[2:]] == ["product", "convolution"]


def test_the_best_model_gives_the_time_and_cudnn_its_roofline(program):
    convolution = program.costliest[-1]
    flops = 2 * 4 * 100 * 32 * 16 * 4
    num_bytes = 2 * 4 * 100 * 32 * 2 + 16 * 4 * 32 * 2
    assert convolution.num_bytes == num_bytes
    seconds = max(flops / H100.peak_flops_per_second, num_bytes / H100.memory_bytes_per_second)
    assert convolution.seconds == pytest.approx(seconds)
    assert program.kernel_seconds == pytest.approx((30 + 2 + 4 * 3) * 1e-6 + seconds)


@pytest.mark.parametrize(
    ("operands", "flops"),
    [
        ("bf16[4000,64]{1,0} %x, f32[64,32]{1,0} %k", 2 * 4000 * 64 * 32),
        ("bf16[4000,64]{1,0} %x, bf16[4000,32]{1,0} %k", 2 * 4000 * 64 * 32),
    ],
)
def test_our_own_kernels_have_their_roofline(operands, flops):
    first, second = (text.split()[0] for text in operands.split(", "))
    text = f"""HloModule own, is_scheduled=true

ENTRY %main (x: {first.partition("{")[0]}, k: {second.partition("{")[0]}) -> bf16[4000,32] {{
  %x = {first} parameter(0)
  %k = {second} parameter(1)
  ROOT %y = bf16[4000,32]{{1,0}} custom-call(%x, %k), custom_call_target="__gpu$xla.gpu.triton", metadata={{op_name="jit(step)/jvp(clef_jax_product_swish)/pallas_call"}}
}}
"""  # noqa: E501
    (kernel,) = gpu_program.read(text, H100, products="triton").costliest
    assert kernel.kind == "own"
    assert kernel.num_bytes > 2 * 4000 * (64 + 32)
    assert kernel.seconds == max(
        flops / H100.peak_flops_per_second, kernel.num_bytes / H100.memory_bytes_per_second
    )


def test_slices_and_workspaces_are_no_traffic(program):
    by_name = {x.name: x for x in program.costliest}
    assert by_name["fusion"].num_bytes == 4 * (10 + 10 + 10)  # slice, second operand, result
    assert by_name["dot"].num_bytes == 4 * 3 * 10


def test_an_exchange_is_exposed_as_long_as_no_kernel_hides_it(program):
    hidden = (30 + 2) * 1e-6 + program.costliest[-1].seconds
    assert program.exchange_seconds == pytest.approx(45e-6)
    assert program.exposed_seconds == pytest.approx(40e-6 - hidden + 5e-6)
    assert program.seconds == pytest.approx(program.kernel_seconds + program.exposed_seconds)


def test_without_models_there_is_no_time():
    text = TEXT.replace('"exec_time_us"', '"other"').replace("__cudnn$conv", "other")
    program = gpu_program.read(text, H100, products="cublaslt")
    assert program.seconds is None
    assert program.num_kernels == 7
