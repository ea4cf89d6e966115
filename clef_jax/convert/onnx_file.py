"""Exports an encoder with its preprocessing and its head to an ONNX file, and verifies the file.

Shapes: B batch, L leads, T time (samples), D embedding, K outputs of the head.
"""

import dataclasses
import json
import pathlib
from typing import Any

import numpy as np

from clef_jax import files
from clef_jax.convert import exported_head, onnx_head, onnx_session, verify, weights
from clef_jax.convert.onnx_graph import IR_VERSION, OPSET, Builder, add_network, require
from clef_jax.convert.onnx_preprocessing import SCOPE, add_preprocessing
from clef_jax.embedding.encoder import Embedder, layer_slice
from clef_jax.embedding.head import Head
from clef_jax.embedding.recipe import Recipe
from clef_jax.embedding.window import MIN_RATE_HZ, Windower, min_seconds
from clef_jax.errors import UserError

INPUT = "signal_mv"
_PRODUCER = "clef_jax"
_MOST_BYTES = 2**31 - 2**20
"""Limit of a protobuf message, 2 GiB, with a margin. The large encoder needs 1.2 GB."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExportedFile:
    """ONNX file whose features agree with those of the model."""

    path: pathlib.Path
    num_bytes: int
    input_shape: tuple[str | int, ...]
    outputs: tuple[str, ...]
    largest_difference: float
    """Largest difference from the model's features over all windows and outputs."""
    largest_answer_difference: float | None
    """Largest difference from the answers of the model's head over all windows; None without."""
    num_windows: int
    """Number of windows that were compared."""
    latency_seconds: float
    """Median time to encode one window on one thread."""


def write(
    model: Embedder,
    path: str | pathlib.Path,
    *,
    sample_rate_hz: float | None = None,
    window_seconds: float | None = None,
    preprocessing: bool = True,
    layers: bool = False,
    head: Head | None = None,
) -> ExportedFile:
    """Writes a model as one ONNX file, and keeps it only if onnxruntime reproduces the features.

    The input `signal_mv` is raw millivolts, not finite where missing: float32 [batch, T], or
    [batch, leads, T] for an encoder of several leads. The output `embedding` is [batch, D]; with a
    head there also is `probabilities` or, of a regression, `values`, [batch, K]. The batch size is
    free, T is fixed.

    Args:
        sample_rate_hz: sampling rate of the input; by default the encoder's.
        window_seconds: length of the input; by default the encoder's window.
        preprocessing: whether the file fills gaps, resamples, filters and scales; otherwise its
            input is a preprocessed window at the encoder's rate.
        layers: whether the file also has the outputs `stage_1` and so on.
        head: head whose answers the file also gives; by default none.

    Raises:
        UserError: the rate does not fit, a package is missing, the file cannot be written, files
            cannot compute what the head reads, or a feature or an answer differs from the model's
            by more than 1e-5.
    """
    require("onnx", "onnxruntime")
    path = pathlib.Path(path).expanduser()
    if window_seconds is not None:
        recipe = dataclasses.replace(model.recipe, window_seconds=float(window_seconds))
        model = dataclasses.replace(model, recipe=recipe)
    rate = model.recipe.sample_rate_hz if sample_rate_hz is None else float(sample_rate_hz)
    _check_rate(model.recipe, rate, preprocessing)
    made = _make(model, rate, preprocessing, layers, head)
    check_target(path)
    with files.atomic_file(path) as unchecked:
        _save(made, unchecked)
        del made
        difference, answers = _compare(unchecked, model, rate, preprocessing, layers, head, path)
        opened = onnx_session.session(unchecked)
        return ExportedFile(
            path=path,
            num_bytes=unchecked.stat().st_size,
            input_shape=tuple(opened.get_inputs()[0].shape),
            outputs=tuple(output.name for output in opened.get_outputs()),
            largest_difference=difference,
            largest_answer_difference=answers,
            num_windows=verify.NUM_WINDOWS,
            latency_seconds=onnx_session.latency_seconds(unchecked),
        )


def _check_rate(recipe: Recipe, sample_rate_hz: float, preprocessing: bool) -> None:
    Windower(recipe, sample_rate_hz)  # rejects rates that are too low
    if not preprocessing and sample_rate_hz != recipe.sample_rate_hz:
        raise UserError(
            f"Without preprocessing the input rate must be the encoder's {recipe.sample_rate_hz:g} "
            f"Hz, not {sample_rate_hz:g} Hz. Omit the rate, or export with preprocessing."
        )


def _make(
    model: Embedder, sample_rate_hz: float, preprocessing: bool, layers: bool, head: Head | None
) -> Any:
    """Returns the ONNX model."""
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
        signal = add_preprocessing(builder, signal, sample_rate_hz, recipe, channels)
    if channels == 1 or preprocessing:
        signal = builder.op("Reshape", signal, builder.integers(-1, channels, encoded))
    arrays = weights.to_torch(encoder, norms=False)
    last = head is None or layer_slice(model, head.layer) == layer_slice(model, "last")
    names = add_network(builder, arrays, encoder.size, signal, encoded, layers=layers or not last)
    widths = (encoder.size.embedding_width, *encoder.size.stage_channels)
    outputs = dict(zip(names, widths, strict=False)) if layers else {names[0]: widths[0]}
    if head is not None:
        folded, name = exported_head.fold(head), exported_head.output_of(head)
        features = names[0] if last else head.layer
        outputs[onnx_head.add_head(builder, folded, features, name)] = len(head.names)
    shape = ["batch", num_samples] if channels == 1 else ["batch", channels, num_samples]
    given = "raw millivolts, NaN is missing" if preprocessing else "preprocessed windows"
    graph = helper.make_graph(
        builder.nodes,
        "clef_net1d",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, shape, given)],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", width])
            for name, width in outputs.items()
        ],
        builder.constants,
    )
    opset = [helper.make_opsetid("", OPSET)]
    made = helper.make_model(
        graph, opset_imports=opset, ir_version=IR_VERSION, producer_name=_PRODUCER
    )
    helper.set_model_props(made, _metadata(model, sample_rate_hz, preprocessing) | _describe(head))
    return made


def _metadata(model: Embedder, sample_rate_hz: float, preprocessing: bool) -> dict[str, str]:
    """Returns the metadata to store in the file."""
    recipe = model.recipe
    band = "none" if recipe.band_hz is None else " ".join(f"{edge:g}" for edge in recipe.band_hz)
    variant = {"preprocessing_variant": recipe.variant} if recipe.variant else {}
    return variant | {
        "model_type": "clef-net1d",
        "size": model.size,
        "embedding_width": str(model.encoder.size.embedding_width),
        "fingerprint": model.fingerprint,
        "sample_rate_hz": f"{sample_rate_hz:g}",
        "window_seconds": f"{recipe.window_seconds:g}",
        "min_signal_seconds": f"{min_seconds(recipe):g}",
        "min_signal_rate_hz": f"{MIN_RATE_HZ:g}",
        "preprocessing": "inside" if preprocessing else "outside",
        "encoder_sample_rate_hz": f"{recipe.sample_rate_hz:g}",
        "band_hz": band,
        "zscored": str(recipe.zscored).lower(),
        "unit": "mV",
        "missing": "NaN",
        "license": "graph: Apache-2.0; weights: see their model card",
    }


def _describe(head: Head | None) -> dict[str, str]:
    """Returns the metadata of a head: what `exported_head.describe` states, as JSON, and its names
    and thresholds alone."""
    if head is None:
        return {}
    about = exported_head.describe(head)
    alone = {"names": about["names"], "thresholds": about.get("thresholds")}
    stated = {f"head_{name}": json.dumps(value) for name, value in alone.items() if value}
    return {"head": json.dumps(about), **stated}


def was_written_here(path: pathlib.Path) -> bool:
    """Returns whether this package wrote an ONNX file.

    The file starts with the version of its format (field 1) and its producer (field 2).
    """
    producer = _PRODUCER.encode()
    start = bytes([0x08, IR_VERSION, 0x12, len(producer)]) + producer
    try:
        with path.open("rb") as file:
            head = file.read(len(start))
    except OSError:
        return False
    return head[:1] + head[2:] == start[:1] + start[2:]


def check_target(path: pathlib.Path) -> None:
    """Raises UserError if no file can be written at a path."""
    if path.is_dir():
        raise UserError(
            f"{path} is a folder; choose the name of a file, such as model.onnx.",
            problem="is_a_folder",
        )
    if not path.parent.is_dir():
        raise UserError(
            f"The folder {path.parent} for {path.name} does not exist; create it first.",
            problem="missing_folder",
        )


def _save(made: Any, path: pathlib.Path) -> None:
    import onnx

    if made.ByteSize() > _MOST_BYTES:
        raise UserError(
            f"The model has {made.ByteSize() / 1e9:.2f} GB, more than the 2.1 GB of an ONNX file. "
            "Choose a smaller encoder.",
            problem="too_large",
        )
    onnx.save(made, path)
    onnx.checker.check_model(path, full_check=True)


def _compare(
    path: pathlib.Path,
    model: Embedder,
    sample_rate_hz: float,
    preprocessing: bool,
    layers: bool,
    head: Head | None,
    name: pathlib.Path,
) -> tuple[float, float | None]:
    """Returns the largest differences from the model's features and from its head's answers.

    Args:
        name: name that the file gets.
    """
    channels = model.encoder.in_channels
    num_samples = model.recipe.num_samples(sample_rate_hz)
    raw_mv = verify.windows(channels, num_samples, sample_rate_hz)
    signal, stages = verify.jax_features(model, raw_mv)
    given = raw_mv if preprocessing else signal
    given = given[:, 0] if channels == 1 else given
    exported = onnx_session.session(path).run(None, {INPUT: given})
    answers = exported.pop() if head is not None else None
    difference = verify.largest_difference(exported, [stages[-1], *stages][: len(exported)])
    _check_difference(difference, name)
    if head is None:
        return difference, None
    features = np.concatenate(stages, axis=1)[:, layer_slice(model, head.layer)]
    return difference, exported_head.check(head, features, difference, np.asarray(answers))


def _check_difference(difference: float, path: pathlib.Path) -> None:
    """Raises UserError if features differ from the model's by too much."""
    if not difference <= verify.LARGEST_DIFFERENCE:
        raise UserError(
            f"The features of the ONNX file differ from the model's by {difference:.1e}, more than "
            f"{verify.LARGEST_DIFFERENCE:.0e}, so {path.name} was not written. Weights far larger "
            "than those of a trained encoder can cause this; check their origin.",
            problem="features_differ",
        )
