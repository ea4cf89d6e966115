"""Stores the encoder of an ONNX file in int8, for devices with little memory.

Weights alone are rounded. For the small encoder with its preprocessing, ten-second windows of
simulated people, one core and onnxruntime 1.32, the file has 0.46 of its size and takes the same
time; the cosine to the exact embedding is 0.999997 (0.9998 without the mean). Products in int8
save no more space, take 1.2 to 2.1 times as long, and have cosines of 0.9990 to 0.93 without the
mean.
"""

import dataclasses
import pathlib
from typing import Any

import numpy as np

from clef_jax import files
from clef_jax.convert import onnx_session, verify
from clef_jax.convert.onnx_file import INPUT, check_target
from clef_jax.convert.onnx_graph import require
from clef_jax.errors import UserError

_LARGEST = 127
"""Of an int8 that is as large below zero as above."""
_LEAST_QUANTISED = 256
"""Numbers of a kernel; smaller ones save nothing."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Quantised:
    """A file in int8, compared with the one in float32 that it was made from."""

    path: pathlib.Path
    num_bytes: int
    size_ratio: float
    smallest_cosine: float
    """Of an embedding with that in float32."""
    smallest_centred_cosine: float
    """The same after the mean of all windows, which embeddings may largely share, is taken off."""
    largest_difference: float
    latency_seconds: float
    """Median of one window on one thread."""
    float_latency_seconds: float


def quantise(path: str | pathlib.Path, out: str | pathlib.Path) -> Quantised:
    """Stores the encoder of a file that `write` made in int8; the preprocessing stays in float32.

    Weights alone are int8, with a scale for each output channel, and are multiplied as float32.

    Raises:
        UserError: a file is missing or not ours, or a package is.
    """
    require("onnx", "onnxruntime")
    path, out = pathlib.Path(path).expanduser(), pathlib.Path(out).expanduser()
    if not path.is_file():
        raise UserError(f"There is no ONNX file {path}.", problem="missing_file")
    check_target(out)
    with files.appearing(out) as unchecked:
        _quantise_weights(path, unchecked)
        return _judge(path, unchecked, out)


def _quantise_weights(path: pathlib.Path, out: pathlib.Path) -> None:
    """Weights in int8, one scale for each output channel."""
    import onnx
    from onnx import helper, numpy_helper

    model = _load(path)
    kernels = {n.input[1] for n in model.graph.node if n.op_type in ("Conv", "Gemm")}
    constants, restored = [], []
    for constant in model.graph.initializer:
        kernel = numpy_helper.to_array(constant)
        if constant.name not in kernels or kernel.size < _LEAST_QUANTISED:
            constants.append(constant)
            continue
        largest = np.abs(kernel).reshape(len(kernel), -1).max(axis=1)
        # A channel of zeros has no scale of its own.
        scale = np.where(largest > 0, largest / _LARGEST, 1).astype(np.float32)
        steps = np.rint(kernel / scale.reshape(-1, *[1] * (kernel.ndim - 1))).astype(np.int8)
        stored, factor = f"{constant.name}.int8", f"{constant.name}.scale"
        constants += [numpy_helper.from_array(steps, stored)]
        constants += [numpy_helper.from_array(scale, factor)]
        node = helper.make_node("DequantizeLinear", [stored, factor], [constant.name], axis=0)
        node.name = f"{constant.name}.restored"
        restored.append(node)
    nodes = [*restored, *model.graph.node]
    del model.graph.node[:], model.graph.initializer[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(constants)
    onnx.save(model, out)
    onnx.checker.check_model(out, full_check=True)


def _load(path: pathlib.Path) -> Any:
    """The model of a file that `onnx_file.write` made."""
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load(path)
    except DecodeError:
        raise UserError(f"{path.name} is no ONNX file.", problem="no_onnx") from None
    if model.producer_name != "clef_jax" or [i.name for i in model.graph.input] != [INPUT]:
        raise UserError(
            f"{path.name} was not written by clef_jax from an encoder in float32; give a file of "
            "`to-onnx`.",
            problem="foreign_file",
        )
    return model


def _judge(path: pathlib.Path, quantised: pathlib.Path, name: pathlib.Path) -> Quantised:
    """Compares both files over the windows that files are checked with."""
    exact, rounded = onnx_session.session(path), onnx_session.session(quantised)
    facts = exact.get_modelmeta().custom_metadata_map
    shape = exact.get_inputs()[0].shape[1:]
    windows = verify.windows(
        shape[0] if len(shape) == 2 else 1, shape[-1], float(facts["sample_rate_hz"])
    )
    # Without preprocessing the graph takes no gaps.
    windows = np.nan_to_num(windows) if facts["preprocessing"] == "outside" else windows
    given = {INPUT: windows if len(shape) == 2 else windows[:, 0]}
    wanted, found = (opened.run(["embedding"], given)[0] for opened in (exact, rounded))
    middle = wanted.mean(axis=0)
    return Quantised(
        path=name,
        num_bytes=quantised.stat().st_size,
        size_ratio=quantised.stat().st_size / path.stat().st_size,
        smallest_cosine=_smallest_cosine(wanted, found),
        smallest_centred_cosine=_smallest_cosine(wanted - middle, found - middle),
        largest_difference=verify.largest_difference([found], [wanted]),
        latency_seconds=onnx_session.latency_seconds(quantised),
        float_latency_seconds=onnx_session.latency_seconds(path),
    )


def _smallest_cosine(some: np.ndarray, others: np.ndarray) -> float:
    norms = np.linalg.norm(some, axis=1) * np.linalg.norm(others, axis=1)
    return float(((some * others).sum(axis=1) / norms).min())
