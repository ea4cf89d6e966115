"""ONNX files: writes an encoder with its preprocessing, and checks what it wrote.

Shapes: B batch, L leads, T time (samples), D embedding.
"""

import dataclasses
import pathlib
from typing import Any

from clef_jax import files
from clef_jax.convert import onnx_session, verify, weights
from clef_jax.convert.onnx_graph import IR_VERSION, OPSET, Builder, add_network, require
from clef_jax.convert.onnx_preprocessing import SCOPE, add_preprocessing
from clef_jax.embedding.encoder import Embedder
from clef_jax.embedding.recipe import Recipe
from clef_jax.embedding.window import Windower
from clef_jax.errors import UserError

INPUT = "signal_mv"
_MOST_BYTES = 2**31 - 2**20
"""A protobuf message ends at 2 GiB. The large encoder has 1.2 GB, so that one file holds all."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Written:
    """A file that was written and agrees with our own features."""

    path: pathlib.Path
    num_bytes: int
    input_shape: tuple[str | int, ...]
    outputs: tuple[str, ...]
    largest_difference: float
    """From our features, over all windows and outputs."""
    num_windows: int
    """That were compared."""
    latency_seconds: float
    """Median of one window on one thread."""


def write(
    model: Embedder,
    path: str | pathlib.Path,
    *,
    sample_rate_hz: float | None = None,
    window_seconds: float | None = None,
    preprocessing: bool = True,
    layers: bool = False,
) -> Written:
    """Writes a model as one ONNX file, which is only left there if onnxruntime agrees with us.

    The input `signal_mv` is float32 [batch, T], or [batch, leads, T] of an encoder with several;
    raw millivolts, and what is not finite is missing. Without `preprocessing` it is what the
    encoder takes: at its rate, without gaps, filtered and scaled. The output `embedding` is
    [batch, D]; `layers` adds `stage_1` and so on. The batch is free, T is fixed.

    Args:
        sample_rate_hz: of the input; the encoder's own if not given.
        window_seconds: of the input; the encoder's own if not given.

    Raises:
        UserError: the rate does not fit, a package is missing, the file cannot be
            written, or a feature differs from ours by more than 1e-5.
    """
    require("onnx", "onnxruntime")
    path = pathlib.Path(path).expanduser()
    if window_seconds is not None:
        recipe = dataclasses.replace(model.recipe, window_seconds=float(window_seconds))
        model = dataclasses.replace(model, recipe=recipe)
    rate = model.recipe.sample_rate_hz if sample_rate_hz is None else float(sample_rate_hz)
    _check_rate(model.recipe, rate, preprocessing)
    made = _make(model, rate, preprocessing, layers)
    check_target(path)
    with files.appearing(path) as unchecked:
        _save(made, unchecked)
        del made
        difference = _compare(unchecked, model, rate, preprocessing, layers)
        _check_difference(difference, path)
        opened = onnx_session.session(unchecked)
        return Written(
            path=path,
            num_bytes=unchecked.stat().st_size,
            input_shape=tuple(opened.get_inputs()[0].shape),
            outputs=tuple(output.name for output in opened.get_outputs()),
            largest_difference=difference,
            num_windows=verify.NUM_WINDOWS,
            latency_seconds=onnx_session.latency_seconds(unchecked),
        )


def _check_rate(recipe: Recipe, sample_rate_hz: float, preprocessing: bool) -> None:
    Windower(recipe, sample_rate_hz)  # refuses rates that leave nothing of an ECG
    if not preprocessing and sample_rate_hz != recipe.sample_rate_hz:
        raise UserError(
            f"Without preprocessing the input is at the encoder's {recipe.sample_rate_hz:g} Hz, "
            f"not at {sample_rate_hz:g} Hz. Leave the rate out, or the preprocessing in."
        )


def _make(model: Embedder, sample_rate_hz: float, preprocessing: bool, layers: bool) -> Any:
    """The ONNX model."""
    from onnx import TensorProto, helper

    encoder, recipe, builder = model.encoder, model.recipe, Builder()
    channels = encoder.in_channels
    num_samples = recipe.num_samples(sample_rate_hz)
    encoded = recipe.num_samples(recipe.sample_rate_hz)
    signal = INPUT
    builder.enter(SCOPE)
    if channels > 1 and preprocessing:
        signal = builder.op("Reshape", signal, builder.integers(-1, num_samples))
    if preprocessing:
        signal = add_preprocessing(builder, signal, sample_rate_hz, recipe)
    if channels == 1 or preprocessing:
        signal = builder.op("Reshape", signal, builder.integers(-1, channels, encoded))
    arrays = weights.to_torch(encoder, norms=False)
    names = add_network(builder, arrays, encoder.size, signal, encoded, layers=layers)
    widths = (encoder.size.embedding_width, *encoder.size.stage_channels)
    shape = ["batch", num_samples] if channels == 1 else ["batch", channels, num_samples]
    given = "raw millivolts, NaN is missing" if preprocessing else "what the encoder takes"
    graph = helper.make_graph(
        builder.nodes,
        "clef_net1d",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, shape, given)],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", width])
            for name, width in zip(names, widths, strict=False)
        ],
        builder.constants,
    )
    opset = [helper.make_opsetid("", OPSET)]
    made = helper.make_model(
        graph, opset_imports=opset, ir_version=IR_VERSION, producer_name="clef_jax"
    )
    helper.set_model_props(made, _facts(model, sample_rate_hz, preprocessing))
    return made


def _facts(model: Embedder, sample_rate_hz: float, preprocessing: bool) -> dict[str, str]:
    """What the file says about itself."""
    recipe = model.recipe
    band = "none" if recipe.band_hz is None else " ".join(f"{edge:g}" for edge in recipe.band_hz)
    return {
        "model_type": "clef-net1d",
        "size": model.size,
        "embedding_width": str(model.encoder.size.embedding_width),
        "fingerprint": model.fingerprint,
        "sample_rate_hz": f"{sample_rate_hz:g}",
        "window_seconds": f"{recipe.window_seconds:g}",
        "preprocessing": "inside" if preprocessing else "outside",
        "encoder_sample_rate_hz": f"{recipe.sample_rate_hz:g}",
        "band_hz": band,
        "zscored": str(recipe.zscored).lower(),
        "unit": "mV",
        "missing": "NaN",
        "license": "graph: Apache-2.0; weights: as those who trained them say",
    }


def check_target(path: pathlib.Path) -> None:
    """Raises UserError if no file can be written at a path."""
    if path.is_dir():
        raise UserError(
            f"{path} is a folder; give the name of a file, such as model.onnx.",
            problem="is_a_folder",
        )
    if not path.parent.is_dir():
        raise UserError(
            f"The folder {path.parent} for {path.name} does not exist; make it first.",
            problem="missing_folder",
        )


def _save(made: Any, path: pathlib.Path) -> None:
    import onnx

    if made.ByteSize() > _MOST_BYTES:
        raise UserError(
            f"The model has {made.ByteSize() / 1e9:.2f} GB, and an ONNX file ends at 2.1 GB. "
            "Choose a smaller encoder.",
            problem="too_large",
        )
    onnx.save(made, path)
    onnx.checker.check_model(path, full_check=True)


def _compare(
    path: pathlib.Path, model: Embedder, sample_rate_hz: float, preprocessing: bool, layers: bool
) -> float:
    """The largest difference from our features."""
    channels = model.encoder.in_channels
    num_samples = model.recipe.num_samples(sample_rate_hz)
    raw_mv = verify.windows(channels, num_samples, sample_rate_hz)
    signal, stages = verify.our_features(model, raw_mv)
    given = raw_mv if preprocessing else signal
    given = given[:, 0] if channels == 1 else given
    found = onnx_session.session(path).run(None, {INPUT: given})
    wanted = [stages[-1], *stages] if layers else stages[-1:]
    return verify.largest_difference(found, wanted)


def _check_difference(difference: float, path: pathlib.Path) -> None:
    """Raises UserError if features differ from ours by too much."""
    if not difference <= verify.LARGEST_DIFFERENCE:
        raise UserError(
            f"The ONNX file gives features that differ from ours by {difference:.1e}, more than "
            f"{verify.LARGEST_DIFFERENCE:.0e}, so {path.name} was not written. Weights far larger "
            "than those of a trained encoder do this; check where they come from.",
            problem="features_differ",
        )
