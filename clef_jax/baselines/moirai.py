"""Moirai-1.1-R-base: a transformer for time series (Woo et al. 2024, arXiv 2402.02592).

A token is a patch of 8 to 128 samples. Queries and keys are normalised and rotated by the token's
time; a bias says whether two tokens are of the same series.

Shapes: B batch, T time (samples), N tokens, P = 128 samples that a token can hold, D = 768
features, H heads.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from clef_jax.baselines import Context, _network
from clef_jax.baselines._network import Network
from clef_jax.embedding import published
from clef_jax.embedding.encoder import Encoder
from clef_jax.errors import UserError

TITLE = "Moirai-1.1-R-base"
PATCH_SIZES = (8, 16, 32, 64, 128)
"""Numbers of samples of a token for which the network has weights."""
_WIDTH, _NUM_LAYERS, _NUM_HEADS, _HIDDEN, _MAX_PATCH, _MAX_TOKENS = 768, 12, 12, 2048, 128, 512
_HEAD_WIDTH, _ROTATED = 64, 32
_NORM_EPSILON, _SCALE_EPSILON = 1e-5, 1e-5
_SIGNATURE = "mask_encoding.weight"
_MARK = "self_attn.var_attn_bias.emb.weight"


class Tokens(NamedTuple):
    """Input of the transformer."""

    values: jax.Array
    """Samples, [B, N, P], with zeros to the right of each patch."""
    observed: jax.Array
    """Whether each sample is observed, bool [B, N, P]."""
    time: np.ndarray
    """Number of each token in its series, int [N]."""
    series: np.ndarray
    """Number of each token's series (variate), int [N]."""
    is_prediction: np.ndarray
    """Whether a token is to be predicted, bool [N]; its values are hidden."""


class Moirai(Network):
    """The encoder of Moirai.

    Args:
        arrays: weights by the names of the file.
        patch_size: number of samples of a token.
        as_reference: whether tokens are made as `reference_tokens` does.
    """

    def __init__(
        self, arrays: Mapping[str, Any], patch_size: int = 64, *, as_reference: bool = False
    ):
        super().__init__(arrays)
        self.patch_size, self.as_reference = patch_size, as_reference

    @property
    def in_channels(self) -> int:
        return 1

    def stages(self, signal: jax.Array) -> Iterator[tuple[str, jax.Array]]:
        if signal.shape[2] != 1:
            raise UserError(
                f"Moirai takes one lead, but the signal has {signal.shape[2]}.",
                problem="wrong_lead_count",
            )
        make_tokens = reference_tokens if self.as_reference else plain_tokens
        yield from self.token_stages(make_tokens(signal[..., 0], self.patch_size))

    def token_stages(self, tokens: Tokens) -> Iterator[tuple[str, jax.Array]]:
        """Yields the stages for tokens of any kind; the last one is their mean, [B, D]."""
        if len(tokens.time) > _MAX_TOKENS:
            raise UserError(
                f"Moirai takes at most {_MAX_TOKENS} tokens; this signal has {len(tokens.time)} of "
                f"{self.patch_size} samples. Take a longer patch or a shorter signal.",
                problem="wrong_length",
            )
        scaled = _scaled(tokens)
        hidden = self._project(scaled)
        yield "in_proj", hidden
        asked = jnp.asarray(tokens.is_prediction)[None, :, None]
        hidden = jnp.where(asked, self["mask_encoding.weight"][None], hidden)
        yield "encoder input", hidden
        same = (tokens.series[:, None] == tokens.series[None, :]).astype(int)
        for number in range(_NUM_LAYERS):
            name = f"encoder.layers.{number}"
            mixed = self._attend(name, hidden, tokens.time, same)
            if number == 0:
                yield f"{name}.self_attn", mixed
            hidden = self._feed_forward(name, hidden + mixed)
            yield name, hidden
        hidden = self.rms_norm("encoder.norm", hidden, _NORM_EPSILON)
        yield "encoder.norm", hidden
        yield "features", hidden.mean(1)

    def time_steps(self, signal: jax.Array) -> dict[str, jax.Array]:
        steps = {}
        for name, value in self.stages(signal):
            if name.startswith("encoder.layers.") and not name.endswith("self_attn"):
                steps[f"layer{name.rpartition('.')[2]}"] = value
            elif name == "encoder.norm":
                steps["features"] = value
        return steps

    def _project(self, values: jax.Array) -> jax.Array:
        """Returns the projected patches [B, N, D]; 0 if no weights exist for this patch size."""
        if self.patch_size not in PATCH_SIZES:
            return jnp.zeros((*values.shape[:2], _WIDTH), values.dtype)
        index = PATCH_SIZES.index(self.patch_size)
        weight = self["in_proj.weight"][index, :, : self.patch_size]
        return (
            values[..., : self.patch_size] @ weight.T
            + self["in_proj.bias"][None, index : index + 1]
        )

    def _attend(
        self, name: str, hidden: jax.Array, time: np.ndarray, same: np.ndarray
    ) -> jax.Array:
        normed = self.rms_norm(f"{name}.norm1", hidden, _NORM_EPSILON)
        query, key, value = (
            self.linear(f"{name}.self_attn.{part}_proj", normed).reshape(
                *hidden.shape[:2], _NUM_HEADS, _HEAD_WIDTH
            )
            for part in "qkv"
        )
        query = _rotated(self.rms_norm(f"{name}.self_attn.q_norm", query, _NORM_EPSILON), time)
        key = _rotated(self.rms_norm(f"{name}.self_attn.k_norm", key, _NORM_EPSILON), time)
        bias = self[f"{name}.self_attn.var_attn_bias.emb.weight"][same].transpose(2, 0, 1)[None]
        mixed = _network.attention(query, key, value, scale=_HEAD_WIDTH**-0.5, bias=bias)
        return self.linear(f"{name}.self_attn.out_proj", mixed)

    def _feed_forward(self, name: str, hidden: jax.Array) -> jax.Array:
        normed = self.rms_norm(f"{name}.norm2", hidden, _NORM_EPSILON)
        gate = jax.nn.silu(self.linear(f"{name}.ffn.fc_gate", normed))
        return hidden + self.linear(
            f"{name}.ffn.fc2", gate * self.linear(f"{name}.ffn.fc1", normed)
        )


def plain_tokens(signal: jax.Array, patch_size: int) -> Tokens:
    """Returns the tokens of signals [B, T]: one observed series, zeros to its left that fill the
    first patch, and no prediction."""
    batch, num_samples = signal.shape
    num_tokens = -(-num_samples // patch_size)
    left = num_tokens * patch_size - num_samples
    observed = jnp.broadcast_to(
        jnp.arange(num_tokens * patch_size)[None] >= left, (batch, left + num_samples)
    )
    ids = np.zeros(num_tokens, int)
    return Tokens(
        values=_patches(jnp.pad(signal, ((0, 0), (left, 0))), patch_size),
        observed=_patches(observed, patch_size),
        time=np.arange(num_tokens),
        series=ids,
        is_prediction=ids > 0,
    )


def reference_tokens(signal: jax.Array, patch_size: int, num_predicted: int = 100) -> Tokens:
    """Returns the tokens that the public CLEF reference feeds for signals [B, T].

    It marks the signal as not observed, adds a series of zeros, and asks for a prediction; with its
    patch size of 100, for which the network has no weights, every signal has the same features.
    """
    plain = plain_tokens(signal, patch_size)
    past, future = plain.values.shape[1], -(-num_predicted // patch_size)
    zeros = jnp.zeros((signal.shape[0], future, _MAX_PATCH), signal.dtype)
    asked = jnp.arange(future * patch_size)[None] < num_predicted
    asked = _patches(jnp.broadcast_to(asked, (signal.shape[0], future * patch_size)), patch_size)
    unseen = jnp.zeros_like(plain.observed)
    none = np.zeros(past, int)
    return Tokens(
        values=jnp.concatenate([plain.values, zeros, jnp.zeros_like(plain.values)], axis=1),
        observed=jnp.concatenate([unseen, asked, unseen], axis=1),
        time=np.concatenate([none, np.arange(1, future + 1), none]),
        series=np.concatenate([none, np.zeros(future, int), none + 1]),
        is_prediction=np.concatenate([none, np.ones(future, int), none]) > 0,
    )


def _patches(series: jax.Array, patch_size: int) -> jax.Array:
    """Cuts series [B, T] into patches [B, N, P], with zeros to the right of each."""
    patches = series.reshape(series.shape[0], -1, patch_size)
    return jnp.pad(patches, ((0, 0), (0, 0), (0, _MAX_PATCH - patch_size)))


def _scaled(tokens: Tokens) -> jax.Array:
    """Scales the values of each series by the mean and deviation of its observed samples."""
    scaled = tokens.values
    for series in np.unique(tokens.series):
        inside = jnp.asarray(tokens.series == series)[None, :, None]
        used = tokens.observed & inside & ~jnp.asarray(tokens.is_prediction)[None, :, None]
        count = used.sum((1, 2), keepdims=True)
        mean = jnp.where(used, tokens.values, 0).sum((1, 2), keepdims=True) / _nonzero(count)
        squares = jnp.where(used, jnp.square(tokens.values - mean), 0).sum((1, 2), keepdims=True)
        scale = jnp.sqrt(squares / _nonzero(count - 1) + _SCALE_EPSILON)
        scaled = jnp.where(inside, (tokens.values - mean) / scale, scaled)
    return scaled


def _nonzero(count: jax.Array) -> jax.Array:
    return jnp.where(count == 0, 1, count)


def _rotated(heads: jax.Array, time: np.ndarray) -> jax.Array:
    """Rotates the first dimensions of heads [B, N, H, d], in pairs, by angles of their times."""
    rates = 10_000.0 ** (-np.arange(0, _ROTATED, 2) / _ROTATED)
    angles = jnp.asarray(time[:, None] * rates, heads.dtype)[None, :, None, :]
    first, second = heads[..., 0:_ROTATED:2], heads[..., 1:_ROTATED:2]
    sine, cosine = jnp.sin(angles), jnp.cos(angles)
    turned = jnp.stack([first * cosine - second * sine, second * cosine + first * sine], axis=-1)
    turned = turned.reshape(*heads.shape[:-1], _ROTATED)
    return jnp.concatenate([turned, heads[..., _ROTATED:]], axis=-1)


def make(context: Context) -> Iterator[Encoder]:
    """Yields nothing: Moirai is evaluated from its weight file with `--model`."""
    del context
    yield from ()


def recognises(state_dict: Mapping[str, Any]) -> bool:
    """Returns whether weights are those of Moirai."""
    return _network.holds(state_dict, _MARK)


def from_torch(state_dict: Mapping[str, Any], patch_size: int = 64) -> Moirai:
    """Returns the network with published weights.

    Args:
        state_dict: arrays by the published names of version 1.0 or 1.1, possibly after one prefix,
            with or without the layers that predict. Mappings may be nested.
        patch_size: number of samples of a token; the authors take 64 or 128 for rates of 500 Hz.

    Raises:
        UserError: keys are unknown, missing or misshapen; the message names them. Or the network
            has no weights for this patch size.
    """
    if patch_size not in PATCH_SIZES:
        raise UserError(
            f"Moirai has no weights for patches of {patch_size} samples, and would return the same "
            f"features for every signal; take {', '.join(map(str, PATCH_SIZES))}.",
            problem="wrong_patch_size",
        )
    arrays, prefix = _network.select(state_dict, _SIGNATURE)
    taken = _network.take(arrays, _shapes(), title=TITLE, prefix=prefix, ignored=_ignored())
    return Moirai(taken, patch_size)


def _shapes() -> dict[str, tuple[int, ...]]:
    sizes = len(PATCH_SIZES)
    shapes: dict[str, tuple[int, ...]] = {
        _SIGNATURE: (1, _WIDTH),
        "in_proj.weight": (sizes, _WIDTH, _MAX_PATCH),
        "in_proj.bias": (sizes, _WIDTH),
        "encoder.norm.weight": (_WIDTH,),
    }
    for number in range(_NUM_LAYERS):
        layer = f"encoder.layers.{number}"
        attention = f"{layer}.self_attn"
        shapes |= {
            f"{attention}.{part}_proj.weight": (_WIDTH, _WIDTH) for part in ("q", "k", "v", "out")
        }
        shapes |= {f"{attention}.{part}_norm.weight": (_HEAD_WIDTH,) for part in "qk"}
        shapes |= {f"{attention}.var_attn_bias.emb.weight": (2, _NUM_HEADS)}
        shapes |= {f"{layer}.ffn.{part}.weight": (_HIDDEN, _WIDTH) for part in ("fc1", "fc_gate")}
        shapes |= {f"{layer}.ffn.fc2.weight": (_WIDTH, _HIDDEN)}
        shapes |= {f"{layer}.{part}.weight": (_WIDTH,) for part in ("norm1", "norm2")}
    return shapes


def _ignored() -> dict[str, tuple[int, ...]]:
    """Returns the shapes of the layers that predict a mixture of distributions."""
    sizes, shapes = len(PATCH_SIZES), {}
    heads = {"weights_logits": 4 * _MAX_PATCH}
    parameters = (("df", "loc", "scale"), ("loc",), ("total_count", "logits"), ("loc", "scale"))
    for number, names in enumerate(parameters):
        heads |= {f"components.{number}.{name}": _MAX_PATCH for name in names}
    for name, width in heads.items():
        shapes[f"param_proj.proj.{name}.weight"] = (sizes, width, _WIDTH)
        shapes[f"param_proj.proj.{name}.bias"] = (sizes, width)
    return shapes


def untrained(seed: int) -> Moirai:
    """Returns a network with random weights; the variance of a layer's is 1 / (3 inputs), that of
    the uniform distribution by which PyTorch initialises layers."""

    def spread(key: str, shape: tuple[int, ...]) -> float:
        is_embedding = key == _SIGNATURE or key.endswith(_MARK)
        return 1.0 if is_embedding else float((3 * shape[-1]) ** -0.5)

    return Moirai(_network.initialised(_shapes(), seed, spread))


def _variant(sample_rate_hz: float, patch_size: int) -> published.Variant:
    return published.Variant(
        sample_rate_hz=sample_rate_hz,
        window_seconds=10.0,
        prepare=lambda signal_mv, _: signal_mv.swapaxes(1, 2),
        network=lambda network: _with_patches(network, patch_size),
        sentence=f"10 s at {sample_rate_hz:g} Hz in patches of {patch_size} samples, without a "
        "filter; the network scales them itself.",
    )


def _with_patches(network: Moirai, patch_size: int, *, as_reference: bool = False) -> Moirai:
    arrays = {key: network[key] for key in network.weights}
    return Moirai(arrays, patch_size, as_reference=as_reference)


PUBLISHED = published.Published(
    title=TITLE,
    paper="Woo et al. 2024, arXiv 2402.02592",
    licence="CC BY-NC 4.0",
    weights="huggingface.co/Salesforce/moirai-1.1-R-base, model.safetensors",
    recognises=recognises,
    from_torch=from_torch,
    to_torch=_network.arrays_of,
    untrained=untrained,
    variants={
        published.PRESCRIBED: _variant(500.0, 64),
        "rate_100_patch_32": _variant(100.0, 32),
        "rate_100_patch_16": _variant(100.0, 16),
        published.AS_REFERENCE: published.reference_variant(
            network=lambda network: _with_patches(network, 100, as_reference=True),
            sentence="It takes patches of 100 samples, for which the network has no weights, so "
            "that all signals have the same features.",
        ),
    },
)
