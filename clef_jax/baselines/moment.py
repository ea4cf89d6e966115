"""MOMENT-1-base: a T5 encoder over patches of 8 samples (Goswami et al. 2024, arXiv 2402.03885).

Each lead is a sequence of its own. The leads' features are averaged.

Shapes: B batch, C leads, T time (samples), S = B C sequences, n patches, D = 768 features, H heads.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from clef_jax.baselines import Context, _network
from clef_jax.baselines._network import Network
from clef_jax.embedding import published
from clef_jax.embedding.encoder import Encoder

TITLE = "MOMENT-1-base"
_PATCH_SAMPLES, _WIDTH, _NUM_BLOCKS, _NUM_HEADS, _HIDDEN = 8, 768, 12, 12, 2048
_EPSILON = 1e-6
_NUM_SAMPLES = 512
"""Length of the series that the network was trained with."""
_BUCKETS, _EXACT_BUCKETS, _FIRST_FAR = 32, 8, (12, 16, 23, 32, 46, 64, 91)
"""Number of relative positions, of distances with a position of their own, and smallest distances
of the other positions (T5's logarithmic buckets up to 128)."""
_SIGNATURE = "patch_embedding.value_embedding.weight"
_POSITIONS = "patch_embedding.position_embedding.pe"
_BIAS = "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
_IGNORED = {
    "encoder.embed_tokens.weight": (32_128, _WIDTH),
    "head.linear.weight": (_PATCH_SAMPLES, _WIDTH),
    "head.linear.bias": (_PATCH_SAMPLES,),
}
"""Arrays of the language model and of the reconstruction, which the features do not use."""


class MOMENT(Network):
    """The encoder of MOMENT."""

    @property
    def in_channels(self) -> int:
        return 1

    def __call__(self, signal: jax.Array, observed: jax.Array | None = None) -> jax.Array:
        """Returns the features, [B, D].

        Args:
            signal: [B, T, C], NaN where missing.
            observed: 1 where samples are observed, [B, T]; by default everywhere.
        """
        *_, (_, features) = self.stages(signal, observed)
        return features

    def stages(
        self, signal: jax.Array, observed: jax.Array | None = None
    ) -> Iterator[tuple[str, jax.Array]]:
        batch, num_samples, num_leads = signal.shape
        observed, whole = self._observed(signal, observed)
        series = signal.swapaxes(1, 2).reshape(batch * num_leads, num_samples)
        series = _normalised(series, jnp.repeat(observed, num_leads, axis=0))
        yield "revin", series.reshape(batch, num_leads, -1)
        num_patches = num_samples // _PATCH_SAMPLES
        covered = num_patches * _PATCH_SAMPLES
        patches = series[:, :covered].reshape(-1, num_patches, _PATCH_SAMPLES)
        tokens = self.linear("patch_embedding.value_embedding", patches)
        masked = _network.last_axis(self["patch_embedding.mask_embedding"], tokens)
        tokens = jnp.where(whole[..., None], tokens, masked)
        yield "value_embedding", tokens.reshape(batch, num_leads, num_patches, -1)
        tokens = tokens + self._positions(num_patches, tokens.dtype)[None]
        yield "patch_embedding", tokens.reshape(batch, num_leads, num_patches, -1)
        bias = self[_BIAS][_relative_positions(num_patches)].transpose(2, 0, 1)[None]
        for number in range(_NUM_BLOCKS):
            name = f"encoder.block.{number}"
            tokens = self._attend(f"{name}.layer.0", tokens, bias, whole)
            if number == 0:
                yield f"{name}.layer.0", tokens
            tokens = self._feed_forward(f"{name}.layer.1", tokens)
            yield name, tokens
        tokens = self.rms_norm("encoder.final_layer_norm", tokens, _EPSILON)
        yield "encoder.final_layer_norm", tokens
        yield "features", _mean(tokens, whole, batch)

    def layers(self, signal: jax.Array, observed: jax.Array | None = None) -> dict[str, jax.Array]:
        features = {}
        _, whole = self._observed(signal, observed)
        for name, value in self.stages(signal, observed):
            if name.count(".") == 2 and value.ndim == 3:
                features[name.rpartition("encoder.")[2].replace(".", "")] = _mean(
                    value, whole, signal.shape[0]
                )
        return features | {"features": value}

    def time_steps(
        self, signal: jax.Array, observed: jax.Array | None = None
    ) -> dict[str, jax.Array]:
        shape, steps = (signal.shape[0], signal.shape[2]), {}
        for name, value in self.stages(signal, observed):
            if value.ndim == 3 and (name.count(".") == 2 or name.endswith("final_layer_norm")):
                short = name.rpartition("encoder.")[2].replace(".", "")
                steps[short] = value.reshape(*shape, *value.shape[1:]).mean(1)
        return {k if k.startswith("block") else "features": v for k, v in steps.items()}

    @staticmethod
    def _observed(signal: jax.Array, observed: jax.Array | None) -> tuple[jax.Array, jax.Array]:
        """Returns which samples are observed, [B, T], and which patches entirely, [S, n]."""
        observed = jnp.ones(signal.shape[:2], bool) if observed is None else observed > 0
        num_patches = signal.shape[1] // _PATCH_SAMPLES
        patches = observed[:, : num_patches * _PATCH_SAMPLES]
        whole = patches.reshape(-1, num_patches, _PATCH_SAMPLES).all(-1)
        return observed, jnp.repeat(whole, signal.shape[2], axis=0)

    def _positions(self, num_patches: int, dtype: Any) -> jax.Array:
        """Returns the positions of the patches, [n, D]."""
        if _POSITIONS in self and num_patches <= self[_POSITIONS].shape[1]:
            return jax.lax.stop_gradient(self[_POSITIONS][0, :num_patches])
        return jnp.asarray(positions_of(np.arange(num_patches)).astype(np.float32), dtype)

    def _attend(self, name: str, tokens: jax.Array, bias: jax.Array, whole: jax.Array) -> jax.Array:
        normed = self.rms_norm(f"{name}.layer_norm", tokens, _EPSILON)
        query, key, value = (
            self.linear(f"{name}.SelfAttention.{part}", normed).reshape(
                *tokens.shape[:2], _NUM_HEADS, -1
            )
            for part in "qkv"
        )
        mixed = _network.attention(query, key, value, bias=bias, mask=whole[:, None, None])
        return tokens + self.linear(f"{name}.SelfAttention.o", mixed)

    def _feed_forward(self, name: str, tokens: jax.Array) -> jax.Array:
        normed = self.rms_norm(f"{name}.layer_norm", tokens, _EPSILON)
        gate = jax.nn.gelu(self.linear(f"{name}.DenseReluDense.wi_0", normed), approximate=True)
        hidden = gate * self.linear(f"{name}.DenseReluDense.wi_1", normed)
        return tokens + self.linear(f"{name}.DenseReluDense.wo", hidden)


def _normalised(series: jax.Array, observed: jax.Array) -> jax.Array:
    """Scales series [S, T] to mean 0 and standard deviation 1 (RevIN); the gradient does not see
    the mean and the deviation. Samples that are not finite become 0."""
    known = observed & ~jnp.isnan(series)
    values = jnp.where(known, series, 0)
    count = jnp.maximum(known.sum(-1, keepdims=True), 1)
    mean = values.sum(-1, keepdims=True) / count
    squares = jnp.where(known, jnp.square(series - mean), 0)
    deviation = jnp.sqrt(squares.sum(-1, keepdims=True) / count) + 1e-5
    mean, deviation = jax.lax.stop_gradient((mean, deviation))
    finite = jnp.isfinite(series)
    return jnp.where(finite, (jnp.where(finite, series, 0) - mean) / deviation, 0)


def _mean(tokens: jax.Array, whole: jax.Array, batch: int) -> jax.Array:
    """Returns the mean of tokens [S, n, D] over leads and fully observed patches, [B, D]."""
    by_lead = tokens.reshape(batch, -1, *tokens.shape[1:]).mean(1)
    weights = whole.reshape(batch, -1, whole.shape[1])[:, 0, :, None].astype(tokens.dtype)
    return (by_lead * weights).sum(1) / jnp.maximum(weights.sum(1), 1)


def positions_of(numbers: np.ndarray) -> np.ndarray:
    """Returns the fixed positions of patches by number, float64 [n, D]: sine and cosine in turn."""
    angles = numbers[:, None] * 10_000.0 ** (-np.arange(0, _WIDTH, 2) / _WIDTH)
    return np.stack([np.sin(angles), np.cos(angles)], axis=-1).reshape(len(numbers), _WIDTH)


def _relative_positions(num_patches: int) -> np.ndarray:
    """Returns the bucket of each pair of query and key, int [n, n] (T5's, in both directions)."""
    distance = np.arange(num_patches)[None, :] - np.arange(num_patches)[:, None]
    size = np.abs(distance)
    far = _EXACT_BUCKETS + sum((size >= first).astype(int) for first in _FIRST_FAR)
    bucket = np.where(size < _EXACT_BUCKETS, size, far)
    return bucket + np.where(distance > 0, _BUCKETS // 2, 0)


def make(context: Context) -> Iterator[Encoder]:
    """Yields nothing: MOMENT is evaluated from its weight file with `--model`."""
    del context
    yield from ()


def recognises(state_dict: Mapping[str, Any]) -> bool:
    """Returns whether weights are those of MOMENT."""
    return _network.holds(state_dict, _SIGNATURE)


def from_torch(state_dict: Mapping[str, Any]) -> MOMENT:
    """Returns the network with published weights.

    Args:
        state_dict: arrays by the published names, possibly after one prefix. Mappings may be
            nested. Positions that the file holds are kept, since they were computed in float32.

    Raises:
        UserError: keys are unknown, missing or misshapen; the message names them.
    """
    arrays, prefix = _network.select(state_dict, _SIGNATURE)
    positions = {_POSITIONS: (1, 5000, _WIDTH)}
    return MOMENT(
        _network.take(
            arrays, _shapes(), title=TITLE, prefix=prefix, optional=positions, ignored=_IGNORED
        )
    )


def _shapes() -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {
        "patch_embedding.mask_embedding": (_WIDTH,),
        _SIGNATURE: (_WIDTH, _PATCH_SAMPLES),
        _BIAS: (_BUCKETS, _NUM_HEADS),
        "encoder.final_layer_norm.weight": (_WIDTH,),
    }
    for number in range(_NUM_BLOCKS):
        block = f"encoder.block.{number}"
        shapes |= {
            f"{block}.layer.0.SelfAttention.{part}.weight": (_WIDTH, _WIDTH) for part in "qkvo"
        }
        dense = f"{block}.layer.1.DenseReluDense"
        shapes |= {f"{dense}.{part}.weight": (_HIDDEN, _WIDTH) for part in ("wi_0", "wi_1")}
        shapes |= {f"{dense}.wo.weight": (_WIDTH, _HIDDEN)}
        shapes |= {f"{block}.layer.{part}.layer_norm.weight": (_WIDTH,) for part in (0, 1)}
    return shapes


def untrained(seed: int) -> MOMENT:
    """Returns a network with random weights, as T5 initialises them."""

    def spread(key: str, shape: tuple[int, ...]) -> float:
        if key == _SIGNATURE:  # Kaiming's, by the number of inputs
            return float(np.sqrt(2 / _PATCH_SAMPLES))
        if "SelfAttention.q." in key:
            return float((_WIDTH * _WIDTH // _NUM_HEADS) ** -0.5)
        return float((_WIDTH if key == _BIAS else shape[-1]) ** -0.5)

    arrays = _network.initialised(_shapes(), seed, spread)
    arrays["patch_embedding.mask_embedding"] = np.zeros(_WIDTH, np.float32)
    return MOMENT(arrays)


def _resized(signal_mv: jax.Array, _: None) -> jax.Array:
    """Interpolates windows [B, C, T] linearly to 512 samples, the first and the last included."""
    last = signal_mv.shape[-1] - 1
    position = np.linspace(0, last, _NUM_SAMPLES)
    left = np.minimum(position.astype(int), last - 1)
    fraction = jnp.asarray(position - left, signal_mv.dtype)[None, None]
    begin, end = signal_mv[..., left], signal_mv[..., left + 1]
    return (begin + (end - begin) * fraction).swapaxes(1, 2)


PUBLISHED = published.Published(
    title=TITLE,
    paper="Goswami et al. 2024, arXiv 2402.03885",
    licence="MIT",
    weights="huggingface.co/AutonLab/MOMENT-1-base, model.safetensors",
    checksums={
        "model.safetensors": "1a436826ffe618273ec62b9656dc4cab8edc470364f104e90542a4ebc14fb825"
    },
    recognises=recognises,
    from_torch=from_torch,
    to_torch=_network.arrays_of,
    untrained=untrained,
    variants={
        published.PRESCRIBED: published.Variant(
            sample_rate_hz=100.0,
            window_seconds=10.0,
            prepare=_resized,
            pads_short=True,
            sentence="10 s at 100 Hz, linearly interpolated to 512 samples; shorter recordings are "
            "padded on the left by samples that the network ignores.",
        ),
        published.AS_REFERENCE: published.reference_variant(
            sentence="The network receives 625 patches, of which 64 were in its training."
        ),
    },
)
