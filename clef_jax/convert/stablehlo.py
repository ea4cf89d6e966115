"""A model as one file of StableHLO, which needs jax alone to run, on CPU, GPU and TPU.

```
call = jax.export.deserialize(pathlib.Path("model.stablehlo").read_bytes()).call
embedding = call(signal_mv)  # float32 [any number of windows, samples] -> [..., D]
```
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
from clef_jax.convert import verify
from clef_jax.convolution.grouped import use_form
from clef_jax.embedding import encoder as encoder_lib
from clef_jax.embedding.encoder import Embedder
from clef_jax.embedding.window import Windower
from clef_jax.errors import UserError

PLATFORMS = ("cpu", "cuda", "tpu")
_TURNS = 5


@dataclasses.dataclass(frozen=True)
class Written:
    """What is known of a file that was written."""

    path: pathlib.Path
    num_bytes: int
    difference: float
    """The largest of any feature, over the signals it was tried with."""
    seconds_per_window: float
    """Of a batch of one, on this machine's first device."""


def write(
    model: Embedder,
    path: pathlib.Path,
    *,
    platforms: Sequence[str] = PLATFORMS,
    sample_rate_hz: float | None = None,
    preprocessing: bool = True,
) -> Written:
    """Writes a model and tries it.

    With preprocessing it takes millivolts at `sample_rate_hz` (None: the encoder's), NaN where
    missing, [B, samples] or [B, leads, samples]; without, what the encoder takes, [B, samples,
    leads]. The weights are inside.

    Raises:
        UserError: a platform or the rate is not valid, or the file does not compute what the
            model does.
    """
    for name in platforms:
        if name not in PLATFORMS:
            raise UserError(plugin.unknown("platform", name, PLATFORMS))
    own_rate = model.recipe.sample_rate_hz
    rate = sample_rate_hz if preprocessing and sample_rate_hz is not None else own_rate
    Windower(model.recipe, rate)  # refuses rates that leave nothing of an ECG
    function = _with_preprocessing(model) if preprocessing else _network(model)
    shape = _shape(model, rate, preprocessing=preprocessing)
    (batch,) = jax.export.symbolic_shape("batch")
    # One form of the convolution for all platforms: the compiler's own, which each of them knows.
    form = None if tuple(platforms) == (jax.default_backend(),) else "lax"
    with use_form(form), jax.default_matmul_precision("highest"):
        exported = jax.export.export(jax.jit(function), platforms=list(platforms))(
            jax.ShapeDtypeStruct((batch, *shape), jnp.float32)
        )
    data = exported.serialize()
    files.write_bytes(path, data)
    found = Written(path, len(data), *_try(model, path, rate, preprocessing=preprocessing))
    if not found.difference <= verify.LARGEST_DIFFERENCE:
        path.unlink()
        raise UserError(
            f"The exported model differs from the model by {found.difference:.1e}, more than "
            f"{verify.LARGEST_DIFFERENCE:.0e}, so {path} was not kept.",
            problem="features_differ",
        )
    files.write_text(path.with_suffix(".json"), json.dumps(_facts(model, rate, preprocessing)))
    return found


def load(path: pathlib.Path) -> Callable[[Any], jax.Array]:
    """The function that a file holds: windows to embeddings."""
    return jax.export.deserialize(bytearray(path.read_bytes())).call


def _network(model: Embedder) -> Callable[[jax.Array], jax.Array]:
    return lambda signal: model.encoder(signal).astype(jnp.float32)


def _with_preprocessing(model: Embedder) -> Callable[[jax.Array], jax.Array]:
    bandpass = encoder_lib.make_bandpass(model.recipe, model.mesh)

    def embed(signal_mv: jax.Array) -> jax.Array:
        signal = encoder_lib.prepare(signal_mv, bandpass, model.recipe)
        signal = signal[..., None] if signal.ndim == 2 else signal.swapaxes(1, 2)
        return model.encoder(signal).astype(jnp.float32)

    return embed


def _shape(model: Embedder, rate: float, *, preprocessing: bool) -> tuple[int, ...]:
    """Of one window."""
    channels = model.in_channels
    if not preprocessing:
        return model.recipe.num_samples(model.recipe.sample_rate_hz), channels
    num_samples = model.recipe.num_samples(rate)
    return (num_samples,) if channels == 1 else (channels, num_samples)


def _facts(model: Embedder, rate: float, preprocessing: bool) -> dict[str, Any]:
    return {
        "fingerprint": model.fingerprint,
        "size": model.size,
        "input": "millivolts, NaN where missing" if preprocessing else "preprocessed windows",
        "sample_rate_hz": rate,
        "window_shape": _shape(model, rate, preprocessing=preprocessing),
        "preprocessing": dataclasses.asdict(model.recipe),
        "jax": jax.__version__,
    }


def _try(
    model: Embedder, path: pathlib.Path, rate: float, *, preprocessing: bool
) -> tuple[float, float]:
    """The largest difference to the model, and seconds for one window."""
    call, channels = load(path), model.in_channels
    raw_mv = verify.windows(channels, model.recipe.num_samples(rate), rate)
    signal, stages = verify.our_features(model, raw_mv)
    one_lead = preprocessing and channels == 1
    given = signal.swapaxes(1, 2) if not preprocessing else raw_mv[:, 0] if one_lead else raw_mv
    difference = verify.largest_difference([np.asarray(call(given))], stages[-1:])
    one = jnp.asarray(given[:1])
    jax.block_until_ready(call(one))
    start = time.perf_counter()
    for _ in range(_TURNS):
        jax.block_until_ready(call(one))
    return difference, (time.perf_counter() - start) / _TURNS
