"""Estimates of kernels are compared with a trace as JAX's profiler writes it on a GPU."""

import gzip
import json

import benchmark_modules
import pytest
from culprits import refuses
from planning_gpu_program_test import TEXT

from clef_jax.chip import CHIPS

kernels = benchmark_modules.load("bench_kernels")


def event(name, microseconds, **args):
    return {"ph": "X", "pid": 1, "tid": 2, "ts": 0, "name": name, "dur": microseconds, "args": args}


TRACE = {
    "traceEvents": [
        {"ph": "M", "pid": 1, "name": "process_name", "args": {"name": "/device:GPU:0"}},
        *(event("input_fusion_kernel", 45.0, hlo_op="fusion", hlo_module="jit_step"),) * 2,
        *(event("nvjet_64x64", 1.0, hlo_op="dot", hlo_module="jit_step"),) * 2,
        *(event("twice_kernel", 6.0, hlo_op="twice", hlo_module="jit_step"),) * 8,
        event("MemcpyD2D", 10.0, hlo_op="copy.5"),
        event("python", 1000.0),
    ]
}
"""Two steps of the program in `TEXT`: one fusion, one product and a loop of four."""


def test_the_clock_is_summed_by_instruction():
    assert kernels.clock(TRACE)["fusion"] == (2, pytest.approx(90e-6))
    assert "python" not in kernels.clock(TRACE)


def test_the_clock_of_several_devices_is_their_mean():
    both = [event("k", 10.0, hlo_op="dot") | {"pid": pid} for pid in (1, 2)] * 3
    assert kernels.clock({"traceEvents": both})["dot"] == (3, pytest.approx(30e-6))


def test_estimate_and_clock_stand_side_by_side():
    compared = kernels.compare(TEXT, CHIPS["h100"], TRACE, 2)
    assert compared["num_compared"] == 3
    by_name = {row["name"]: row for row in compared["most_different"]}
    assert by_name["fusion"]["estimated_us"] == pytest.approx(30)
    assert by_name["fusion"]["measured_us"] == pytest.approx(45)
    assert by_name["twice"]["estimated_us"] == pytest.approx(4 * 3)
    assert by_name["twice"]["measured_us"] == pytest.approx(4 * 6)
    assert compared["by_kind"]["product"]["ratio"] == pytest.approx(0.5)
    assert compared["all"]["ratio"] == pytest.approx((45 + 24 + 1) / (30 + 12 + 2))
    assert compared["measured_without_estimate_us"] == pytest.approx(5)
    assert compared["most_different"][0]["name"] == "fusion"


def test_the_newest_trace_of_a_folder_is_read(tmp_path):
    with refuses(tmp_path.name, problem="no_trace"):
        kernels.read_trace(tmp_path)
    path = tmp_path / "plugins" / "profile" / "x" / "host.trace.json.gz"
    path.parent.mkdir(parents=True)
    with gzip.open(path, "wt") as file:
        json.dump(TRACE, file)
    assert kernels.read_trace(tmp_path) == TRACE


def test_a_trace_of_another_program_is_an_error():
    with refuses("estimate", problem="nothing_compared"):
        kernels.compare(TEXT, CHIPS["h100"], {"traceEvents": []}, 1)
