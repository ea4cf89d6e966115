"""Runs ONNX files on the CPU."""

import pathlib
import statistics
import time
from typing import Any

import numpy as np

from clef_jax.convert.onnx_graph import require

_LATENCY_RUNS = 9
_LATENCY_SECONDS = 3.0
"""No further run is started after so long."""


def session(path: pathlib.Path, *, num_threads: int = 0) -> Any:
    """An onnxruntime session on the CPU; 0 threads are as many as it likes."""
    require("onnxruntime")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = num_threads
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def latency_seconds(path: pathlib.Path) -> float:
    """Median time of one window on one thread."""
    opened = session(path, num_threads=1)
    given = opened.get_inputs()[0]
    signal = np.random.default_rng(0).standard_normal((1, *given.shape[1:])).astype(np.float32)
    opened.run(None, {given.name: signal})
    taken: list[float] = []
    while len(taken) < _LATENCY_RUNS and sum(taken) < _LATENCY_SECONDS:
        start = time.perf_counter()
        opened.run(None, {given.name: signal})
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)
