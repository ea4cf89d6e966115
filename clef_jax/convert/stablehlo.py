"""Exports a model to one StableHLO file, which needs only jax to run on CPU, GPU or TPU.

```
call = jax.export.deserialize(pathlib.Path("model.stablehlo").read_bytes()).call
embedding = call(signal_mv)  # float32 [any number of windows, samples] -> [..., D]
```

With a head the result is a dictionary of `embedding` and `probabilities`, or `values` of a
regression; the description beside the file states names and thresholds.
"""

import dataclasses
import json
import pathlib
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from clef_jax import files, plugin
from clef_jax.convert import PLATFORMS, exported_head, jax_head, verify
from clef_jax.convolution.grouped import use_implementation
from clef_jax.embedding import encoder as encoder_lib, foreign_step, trainable
from clef_jax.embedding.encoder import Embedder
from clef_jax.embedding.foreign import ForeignEncoder
from clef_jax.embedding.head import Head
from clef_jax.embedding.trainable import Trainable
from clef_jax.embedding.window import MIN_RATE_HZ, Windower, min_seconds
from clef_jax.errors import UserError, WrongArgument

_REPETITIONS = 5


@dataclasses.dataclass(frozen=True)
class ExportedFile:
    """StableHLO file whose features agree with those of the model."""

    path: pathlib.Path
    num_bytes: int
    difference: float
    """Largest difference from the model's features over all windows of `verify`."""
    seconds_per_window: float
    """Mean time to encode one window on the first device of this machine."""
    answer_difference: float | None
    """Largest difference from the answers of the model's head; None without a head."""


def write(
    model: Trainable,
    path: pathlib.Path,
    *,
    platforms: Sequence[str] = PLATFORMS,
    sample_rate_hz: float | None = None,
    preprocessing: bool = True,
    head: Head | None = None,
) -> ExportedFile:
    """Writes a model as one StableHLO file, weights included, and verifies the file.

    The input is millivolts, NaN where missing: float32 [B, samples] or [B, leads, samples].

    Args:
        platforms: platforms that the file can run on, of `PLATFORMS`.
        sample_rate_hz: sampling rate of the input; by default the encoder's.
        preprocessing: whether the file fills gaps, resamples, filters and scales; otherwise its
            input is preprocessed windows, [B, samples, leads], at the encoder's rate.
        head: head whose answers the file also gives; by default none.

    Raises:
        UserError: a platform is unknown, the rate is too low, files cannot compute what the head
            reads, or a feature or an answer differs from the model's by more than 1e-5.
    """
    for name in platforms:
        if name not in PLATFORMS:
            raise WrongArgument(plugin.unknown("platform", name, PLATFORMS))
    own_rate = model.recipe.sample_rate_hz
    rate = sample_rate_hz if preprocessing and sample_rate_hz is not None else own_rate
    Windower(model.recipe, rate)  # rejects rates that are too low
    if isinstance(model, ForeignEncoder) and not preprocessing:
        raise UserError(
            f"{model.name} is a published encoder whose preprocessing belongs to its variant; "
            "export it with its preprocessing.",
            problem="preprocessing_needed",
        )
    function = _function(model, head, preprocessing=preprocessing)
    shape = _shape(model, rate, preprocessing=preprocessing)
    (batch,) = jax.export.symbolic_shape("batch")
    # One implementation of the convolution for all platforms: the compiler's own.
    implementation = None if tuple(platforms) == (jax.default_backend(),) else "lax"
    with use_implementation(implementation), jax.default_matmul_precision("highest"):
        exported = jax.export.export(jax.jit(function), platforms=list(platforms))(
            jax.ShapeDtypeStruct((batch, *shape), jnp.float32)
        )
    data = exported.serialize()
    with files.atomic_file(path) as unchecked:
        unchecked.write_bytes(data)
        measured = _verify(model, unchecked, rate, head, preprocessing=preprocessing)
        exported_file = ExportedFile(path, len(data), *measured)
        if not exported_file.difference <= verify.LARGEST_DIFFERENCE:
            raise UserError(
                f"The features of the exported file differ from the model's by "
                f"{exported_file.difference:.1e}, more than {verify.LARGEST_DIFFERENCE:.0e}, so "
                f"{path} was not written.",
                problem="features_differ",
            )
        # Before the file itself gets its name, so that a file is never without its description.
        metadata = json.dumps(_metadata(model, rate, preprocessing) | _describe(head))
        files.write_text(description_of(path), metadata)
    return exported_file


def description_of(path: pathlib.Path) -> pathlib.Path:
    """Returns the path of the file that describes input and output of an exported file."""
    return path.with_suffix(".json")


def check_outputs(path: pathlib.Path, *, overwrite: bool) -> None:
    """Raises UserError if a file to write exists that `write` did not write, unless `overwrite`."""
    names = ("fingerprint", "size", "input", "sample_rate_hz", "window_shape", "preprocessing")
    description = description_of(path)

    def is_described(file: pathlib.Path) -> bool:
        del file  # the export itself says nothing about its origin
        return files.is_json_with(description, names)

    for file in (path, description):
        files.check_output(file, is_described, overwrite=overwrite)


def load(path: pathlib.Path) -> Callable[[Any], Any]:
    """Returns the function that a file holds, which maps windows to embeddings, or with a head to a
    dictionary of embeddings and answers."""
    return jax.export.deserialize(bytearray(path.read_bytes())).call


def _function(
    model: Trainable, head: Head | None, *, preprocessing: bool
) -> Callable[[jax.Array], Any]:
    """Returns the function to export."""
    constants, names = trainable.constants(model), list(model.layers)

    def stages(signal: jax.Array) -> list[jax.Array]:
        if preprocessing:
            signal = signal[:, None] if signal.ndim == 2 else signal
            return _stages(model, constants, signal)
        assert isinstance(model, Embedder)
        return [stage.astype(jnp.float32) for stage in model.encoder.stages(signal)]

    if head is None:
        return lambda signal: stages(signal)[-1]
    folded, number = exported_head.fold(head), names.index(head.layer)

    def answer(signal: jax.Array) -> dict[str, jax.Array]:
        features = stages(signal)
        answers = jax_head.answers(folded, features[number])
        return {"embedding": features[-1], exported_head.output_of(head): answers}

    return answer


def _stages(model: Trainable, constants: Any, signal_mv: jax.Array) -> list[jax.Array]:
    """Returns the features of each layer for windows [B, C, T]."""
    if isinstance(model, ForeignEncoder):
        layers = foreign_step.layers(model.graph, model.variant, model.params, constants, signal_mv)
        return [features for _, features in layers]
    signal = encoder_lib.prepare(signal_mv, constants, model.recipe).swapaxes(1, 2)
    return [stage.astype(jnp.float32) for stage in model.encoder.stages(signal)]


def _shape(model: Trainable, rate: float, *, preprocessing: bool) -> tuple[int, ...]:
    """Returns the input shape of one window."""
    channels = model.in_channels
    if not preprocessing:
        return model.recipe.num_samples(model.recipe.sample_rate_hz), channels
    num_samples = model.recipe.num_samples(rate)
    return (num_samples,) if channels == 1 else (channels, num_samples)


def _metadata(model: Trainable, rate: float, preprocessing: bool) -> dict[str, Any]:
    return {
        "fingerprint": model.fingerprint,
        "size": model.published.title if isinstance(model, ForeignEncoder) else model.size,
        "input": "millivolts, NaN where missing" if preprocessing else "preprocessed windows",
        "sample_rate_hz": rate,
        "window_shape": _shape(model, rate, preprocessing=preprocessing),
        "min_signal_seconds": min_seconds(model.recipe),
        "min_signal_rate_hz": MIN_RATE_HZ,
        "preprocessing": _preprocessing(model),
        "jax": jax.__version__,
    }


def _describe(head: Head | None) -> dict[str, Any]:
    """Returns the metadata of the outputs."""
    if head is None:
        return {}
    return {"outputs": ["embedding", exported_head.output_of(head)]} | {
        "head": exported_head.describe(head)
    }


def _preprocessing(model: Trainable) -> dict[str, Any]:
    if isinstance(model, ForeignEncoder):
        return {"variant": model.variant_name, "description": model.variant.sentence}
    return model.recipe.settings()


def _verify(
    model: Trainable,
    path: pathlib.Path,
    rate: float,
    head: Head | None,
    *,
    preprocessing: bool,
) -> tuple[float, float, float | None]:
    """Returns the largest difference of a feature from the model, the seconds to encode one window,
    and the largest difference of an answer."""
    call, channels = load(path), model.in_channels
    raw_mv = verify.windows(channels, model.recipe.num_samples(rate), rate)
    if isinstance(model, ForeignEncoder):
        signal, stages = raw_mv, verify.published_features(model, raw_mv)
    else:
        signal, stages = verify.jax_features(model, raw_mv)
    one_lead = preprocessing and channels == 1
    given = signal.swapaxes(1, 2) if not preprocessing else raw_mv[:, 0] if one_lead else raw_mv
    made, answer_difference = call(given), None
    embedding = made if head is None else made["embedding"]
    difference = verify.largest_difference([np.asarray(embedding)], stages[-1:])
    if head is not None and difference <= verify.LARGEST_DIFFERENCE:
        features = stages[list(model.layers).index(head.layer)]
        output = np.asarray(made[exported_head.output_of(head)])
        answer_difference = exported_head.check(head, features, difference, output)
    window = jnp.asarray(given[:1])
    jax.block_until_ready(call(window))
    start = time.perf_counter()
    for _ in range(_REPETITIONS):
        jax.block_until_ready(call(window))
    return difference, (time.perf_counter() - start) / _REPETITIONS, answer_difference
