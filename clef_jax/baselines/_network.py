"""Base of published networks: their parameters keep the names, shapes and axes of the file.

So a file maps to a network without any renaming, and a gradient has the name of its weights. The
axes are PyTorch's: convolutions [out, in, taps], linear layers [out, in].

Shapes: B batch, C leads, T time (samples), D features.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from clef_jax.errors import UserError, listed

_MOST_NAMES = 8
"""Most keys that a message names."""

Shapes = Mapping[str, tuple[int, ...]]


class Network(nnx.Module):
    """A published network.

    Args:
        arrays: weights by the names of the file.
    """

    def __init__(self, arrays: Mapping[str, Any]):
        self.weights = nnx.Dict(
            {key: _kind(key)(jnp.asarray(value)) for key, value in arrays.items()}
        )

    def __getitem__(self, key: str) -> jax.Array:
        return self.weights[key][...]

    def __contains__(self, key: str) -> bool:
        return key in self.weights

    @property
    def in_channels(self) -> int:
        """Number of leads that the network takes together, C."""
        raise NotImplementedError

    def __call__(self, signal: jax.Array) -> jax.Array:
        """Returns the features, [B, D], of signals [B, T, C] at the network's rate and scale."""
        *_, (_, features) = self.stages(signal)
        return features

    def stages(self, signal: jax.Array) -> Iterator[tuple[str, jax.Array]]:
        """Yields the name and the output of each part of the network; the last are the features."""
        raise NotImplementedError

    def time_steps(self, signal: jax.Array) -> dict[str, jax.Array]:
        """Returns the output of each layer over time, [B, n, D_s] by name."""
        raise NotImplementedError

    def layers(self, signal: jax.Array) -> dict[str, jax.Array]:
        """Returns the features of each layer, [B, D_s] by name; the last is `__call__`'s result."""
        return {name: steps.mean(1) for name, steps in self.time_steps(signal).items()}

    def linear(self, name: str, inputs: jax.Array) -> jax.Array:
        """Applies a linear layer to the last axis; its bias is optional."""
        outputs = inputs @ self[f"{name}.weight"].T
        bias = f"{name}.bias"
        return outputs + last_axis(self[bias], outputs) if bias in self else outputs

    def layer_norm(self, name: str, inputs: jax.Array, epsilon: float = 1e-5) -> jax.Array:
        """Scales the last axis to mean 0 and variance 1 (biased), then by weight and bias."""
        centred = inputs - inputs.mean(-1, keepdims=True)
        variance = jnp.square(centred).mean(-1, keepdims=True)
        scaled = centred / jnp.sqrt(variance + epsilon)
        weight, bias = (last_axis(self[f"{name}.{part}"], inputs) for part in ("weight", "bias"))
        return scaled * weight + bias

    def rms_norm(self, name: str, inputs: jax.Array, epsilon: float) -> jax.Array:
        """Scales the last axis to mean square 1, then by a weight."""
        mean = jnp.square(inputs).mean(-1, keepdims=True)
        return inputs / jnp.sqrt(mean + epsilon) * last_axis(self[f"{name}.weight"], inputs)


def arrays_of(network: Network) -> dict[str, np.ndarray]:
    """Returns the weights of a network by the names of its file."""
    arrays = {key: np.asarray(network[key]) for key in network.weights}
    # Files count batches in int64, which jax does not have by default.
    return {k: a.astype(np.int64) if a.dtype == np.int32 else a for k, a in arrays.items()}


def initialised(
    shapes: Shapes, seed: int, spread: Callable[[str, tuple[int, ...]], float]
) -> dict[str, np.ndarray]:
    """Returns random arrays from normal distributions around 0, float32.

    Biases and running means are 0, running variances and the scales of norms are 1, and numbers of
    batches are 0.

    Args:
        shapes: shapes by key.
        seed: seed of the random numbers.
        spread: standard deviation for a key and a shape.
    """
    rng, arrays = np.random.default_rng(seed), {}
    for key, shape in shapes.items():
        part = key.rpartition(".")[2]
        if part == "num_batches_tracked":
            arrays[key] = np.zeros(shape, np.int64)
        elif part == "running_var" or (part == "weight" and len(shape) == 1):
            arrays[key] = np.ones(shape, np.float32)
        elif part in ("bias", "running_mean"):
            arrays[key] = np.zeros(shape, np.float32)
        else:
            drawn = rng.standard_normal(shape, np.float32)
            arrays[key] = drawn * np.float32(spread(key, shape))
    return arrays


def last_axis(vector: jax.Array, like: jax.Array) -> jax.Array:
    """Returns a vector as an array of the rank of another, along its last axis."""
    return vector.reshape((1,) * (like.ndim - 1) + vector.shape)


class Fixed(nnx.Variable):
    """An array that is never trained, such as positions by a formula."""


def _kind(key: str) -> type[nnx.Variable]:
    """Returns the kind of an array: only parameters are trained by a gradient."""
    if key.endswith("position_embedding.pe"):
        return Fixed
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    return nnx.BatchStat if key.endswith(statistics) else nnx.Param


def attention(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    *,
    scale: float = 1.0,
    bias: jax.Array | None = None,
    mask: jax.Array | None = None,
) -> jax.Array:
    """Returns softmax(query key^T scale + bias) value for each head.

    Args:
        query: [B, N, H, d]; N tokens, H heads; key and value have the same shape.
        scale: factor of the products.
        bias: summand of the scaled products, [1, H, N, N].
        mask: keys that are attended to, [B, 1, 1, N]; by default all.

    Returns:
        The values of all heads side by side, [B, N, H d].
    """
    logits = jnp.einsum("bqhd,bkhd->bhqk", query, key) * scale
    if bias is not None:
        logits = logits + bias
    if mask is not None:
        logits = jnp.where(mask, logits, jnp.finfo(logits.dtype).min)
    weights = jax.nn.softmax(logits, axis=-1)
    heads = jnp.einsum("bhqk,bkhd->bqhd", weights, value)
    return heads.reshape(*heads.shape[:2], -1)


def select(
    state_dict: Mapping[str, Any], signature: str, *, prefer: str = ""
) -> tuple[Mapping[str, Any], str]:
    """Returns the mapping that holds a network, and what precedes the names of its weights.

    Files keep a network beside optimisers, settings and other networks, in mappings within
    mappings.

    Args:
        state_dict: contents of a file, possibly nested.
        signature: a key that only this network has.
        prefer: name of the mapping that is taken if several hold such a network.

    Raises:
        UserError: several networks of this kind are in the file.
    """
    found = list(_holders(state_dict, signature, ()))
    chosen = found
    if len(found) > 1 and prefer:
        chosen = [item for item in found if prefer in item[0]] or found
    if len(chosen) > 1:
        places = " and ".join(repr(".".join((*path, prefix))) for path, _, prefix in chosen)
        raise UserError(
            f"The weights hold several such networks, under {places}. Keep one of them.",
            problem="ambiguous_weights",
        )
    return chosen[0][1:] if chosen else (state_dict, "")


def holds(state_dict: Mapping[str, Any], mark: str) -> bool:
    """Returns whether a key at any depth of nested mappings is a mark, or ends with it."""
    return any(
        holds(value, mark) if isinstance(value, Mapping) else f".{key}".endswith(f".{mark}")
        for key, value in state_dict.items()
    )


def _holders(
    mapping: Mapping[str, Any], signature: str, path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], Mapping[str, Any], str]]:
    """Yields path, contents and prefix of each mapping that holds a signature."""
    for key, value in mapping.items():
        if isinstance(value, Mapping):
            yield from _holders(value, signature, (*path, str(key)))
        elif key == signature or str(key).endswith(f".{signature}"):
            yield path, mapping, key.removesuffix(signature)


def take(
    state_dict: Mapping[str, Any],
    shapes: Shapes,
    *,
    title: str,
    prefix: str = "",
    optional: Shapes | None = None,
    ignored: Shapes | None = None,
) -> dict[str, np.ndarray]:
    """Returns the arrays of a network, after comparing all keys and shapes.

    Args:
        state_dict: arrays by key.
        shapes: shapes of the arrays that must exist, by key without prefix.
        title: name of the network in messages.
        prefix: what precedes every key.
        optional: shapes of arrays that may exist, and are returned then.
        ignored: shapes of arrays that may exist, and are not used.

    Returns:
        Arrays by key without prefix; float64 stays, half precision becomes float32.

    Raises:
        UserError: keys are unknown, missing or misshapen; the message names them.
    """
    known = {**(ignored or {}), **(optional or {}), **shapes}
    bare = {key.removeprefix(prefix): value for key, value in state_dict.items()}
    outside = [key for key in state_dict if not key.startswith(prefix)]
    unknown = outside + [key for key in bare if key not in known and key not in outside]
    missing = [key for key in shapes if key not in bare]
    misshapen = [
        f"{key} {list(np.shape(bare[key]))} instead of {list(shape)}"
        for key, shape in known.items()
        if key in bare and np.shape(bare[key]) != tuple(shape)
    ]
    parts = [
        f"{what}: {listed(names, _MOST_NAMES)}"
        for what, names in (("unknown", unknown), ("missing", missing), ("misshapen", misshapen))
        if names
    ]
    if parts:
        raise UserError(
            f"The weights do not fit {title}; {'; '.join(parts)}.", problem="wrong_weights"
        )
    wanted = (*shapes, *(key for key in optional or () if key in bare))
    return {key: _floating(key, bare[key]) for key in wanted}


def _floating(key: str, value: Any) -> np.ndarray:
    array = np.asarray(value)
    if array.dtype == np.int64 and key.endswith("num_batches_tracked"):
        return array
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise UserError(
            f"The weights {key!r} are {array.dtype}, not floating-point numbers.",
            problem="wrong_weights",
        )
    array = array if array.dtype == np.float64 else array.astype(np.float32)
    if not np.isfinite(array).all():
        raise UserError(
            f"The weights {key!r} hold values that are not finite; the file is damaged.",
            problem="wrong_weights",
        )
    return array
