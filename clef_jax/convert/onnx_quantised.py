"""Stores ONNX files with fewer bits: weights in int8 or float16, or the whole network in float16.

Preprocessing and head stay in float32. Each file is compared with the exact one before it is kept;
the benchmarks have sizes, times and errors. Products in int8 save no more space than weights in
int8, take 1.2 to 2.1 times as long, and have cosines of 0.9990 to 0.93 without the mean.
"""

import dataclasses
import pathlib
from collections.abc import Iterable
from typing import Any

import numpy as np

from clef_jax import files
from clef_jax.convert import check_windows, onnx_check, onnx_half, onnx_session
from clef_jax.convert.onnx_check import Agreement
from clef_jax.convert.onnx_file import INPUT, check_target
from clef_jax.convert.onnx_graph import require
from clef_jax.errors import UserError
from clef_jax.signal import reference

INT8, FLOAT16, FLOAT16_NETWORK = FORMS = ("int8 weights", "float16 weights", "float16 network")
"""Forms of a file."""
_LARGEST = 127
"""Largest value of a symmetric int8 range."""
_LEAST_QUANTISED = 256
"""Smallest number of weights of a quantised kernel; smaller kernels save no space."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Quantised:
    """File with fewer bits, compared with the float32 file that it was made from."""

    path: pathlib.Path
    num_bytes: int
    size_ratio: float
    """Size relative to the float32 file."""
    agreement: Agreement
    """How well its outputs agree with those of the float32 file."""
    latency_seconds: float
    """Median time to encode one window on one thread."""
    float_latency_seconds: float
    """The same time of the float32 file."""


def quantise(
    path: str | pathlib.Path,
    out: str | pathlib.Path,
    form: str = INT8,
    *,
    windows: Iterable[np.ndarray] | None = None,
) -> Quantised:
    """Writes a copy of an ONNX file with fewer bits, and keeps it only if the outputs agree.

    With int8 weights, each output channel has its own scale, and products stay in float32; so they
    do with float16 weights. In a float16 network they do not, except for means over time.

    Args:
        path: file that `onnx_file.write` wrote.
        out: file to write.
        form: one of `FORMS`.
        windows: windows to compare the files on, as `check_windows` makes them; by default those of
            200 simulated people.

    Raises:
        UserError: the file is missing or was not written by `onnx_file.write`, a package is
            missing, the smallest cosine without the mean is below 0.99, or more than 1 % of the
            decisions differ; then no file is left at `out`.
    """
    require("onnx", "onnxruntime")
    path, out = pathlib.Path(path).expanduser(), pathlib.Path(out).expanduser()
    if not path.is_file():
        raise UserError(f"ONNX file not found: {path}.", problem="missing_file")
    check_target(out)
    model = load(path)
    if windows is None:
        windows = _simulated(model)
    with files.atomic_file(out) as unchecked:
        save(with_fewer_bits(model, form), unchecked)
        agreement = onnx_check.compare(path, unchecked, windows)
        try:
            onnx_check.require(agreement, out.name)
        except UserError:
            out.unlink(missing_ok=True)  # an earlier model's file
            raise
        return Quantised(
            path=out,
            num_bytes=unchecked.stat().st_size,
            size_ratio=unchecked.stat().st_size / path.stat().st_size,
            agreement=agreement,
            latency_seconds=onnx_session.latency_seconds(unchecked),
            float_latency_seconds=onnx_session.latency_seconds(path),
        )


def with_fewer_bits(model: Any, form: str) -> Any:
    """Returns the model of a file in one of `FORMS`, without comparing it; changes the given one.

    Args:
        model: what `load` returns.
    """
    if form == INT8:
        return _quantise_weights(model)
    return onnx_half.convert(model, network=form == FLOAT16_NETWORK)


def _simulated(model: Any) -> Iterable[np.ndarray]:
    """Yields simulated windows for a file, scaled if it does not preprocess them itself."""
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    shape = [axis.dim_value for axis in model.graph.input[0].type.tensor_type.shape.dim]
    num_leads = shape[1] if len(shape) == 3 else 1
    rate_hz, outside = float(metadata["sample_rate_hz"]), metadata["preprocessing"] == "outside"
    for windows in check_windows.simulated(num_leads, shape[-1], rate_hz):
        yield reference.zscore(windows).astype(np.float32) if outside else windows


def save(model: Any, path: pathlib.Path) -> None:
    """Writes a model to a file, and checks its form."""
    import onnx

    onnx.save(model, path)
    onnx.checker.check_model(path, full_check=True)


def _quantise_weights(model: Any) -> Any:
    """Returns a model whose weights are int8 with one scale per output channel; changes it."""
    from onnx import helper, numpy_helper

    kernels = onnx_half.encoder_kernels(model)
    constants, restored = [], []
    for constant in model.graph.initializer:
        kernel = numpy_helper.to_array(constant)
        if constant.name not in kernels or kernel.size < _LEAST_QUANTISED:
            constants.append(constant)
            continue
        largest = np.abs(kernel).reshape(len(kernel), -1).max(axis=1)
        # The scale of a channel of zeros is arbitrary.
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
    return model


def load(path: pathlib.Path) -> Any:
    """Returns the model of a file that `onnx_file.write` wrote.

    Raises:
        UserError: it is another file.
    """
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load(path)
    except DecodeError:
        raise UserError(f"{path.name} is not an ONNX file.", problem="no_onnx") from None
    if model.producer_name != "clef_jax" or [i.name for i in model.graph.input] != [INPUT]:
        raise UserError(
            f"{path.name} was not written by clef_jax from a float32 encoder; give a file that "
            "`to-onnx` wrote.",
            problem="foreign_file",
        )
    return model
