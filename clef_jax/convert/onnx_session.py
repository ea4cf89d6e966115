"""Runs ONNX files on the CPU and measures their latency."""

import pathlib
import statistics
import time
from typing import Any

import numpy as np

from clef_jax.convert.onnx_graph import require

_LATENCY_RUNS = 9
_LATENCY_SECONDS = 3.0
"""Time limit in seconds, after which no further run starts."""


def session(path: pathlib.Path, *, num_threads: int = 0) -> Any:
    """Returns an onnxruntime session on the CPU; for 0 threads onnxruntime chooses the number."""
    require("onnxruntime")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = num_threads
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def latency_seconds(path: pathlib.Path) -> float:
    """Returns the median time to encode one window on one thread."""
    opened = session(path, num_threads=1)
    given = opened.get_inputs()[0]
    signal = np.random.default_rng(0).standard_normal((1, *given.shape[1:])).astype(np.float32)
    opened.run(None, {given.name: signal})
    times: list[float] = []
    while len(times) < _LATENCY_RUNS and sum(times) < _LATENCY_SECONDS:
        start = time.perf_counter()
        opened.run(None, {given.name: signal})
        times.append(time.perf_counter() - start)
    return statistics.median(times)
