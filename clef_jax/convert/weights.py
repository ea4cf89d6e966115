"""Maps encoder weights from and to the key names of the public PyTorch reference.

The reference's checkpoints also hold batch-norm tensors that its forward pass never uses. They are
checked and ignored when read, and written with neutral values, so that the reference loads the
result strictly.

An encoder with input affines (a converted network with batch norm) has two more tensors per block,
`...bn1.scale` and `...bn1.shift`. These names are not the reference's, which has no such tensors.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from flax import nnx

from clef_jax.errors import UserError, listed
from clef_jax.models import Net1D, create_encoder, size as size_lib

PREFIX = "backbone."
"""Prefix of every encoder key in the reference's training module."""

SCALE, SHIFT = "bn1.scale", "bn1.shift"
"""Names of a block's input affine, after the name of the block."""

COUNT = "num_batches_tracked"
_MOST_NAMES = 8
"""Most keys that a message names."""
_NORMS = ("first_bn", "bn1", "bn2", "bn3")
_NORM_TENSORS = {
    "weight": np.ones,
    "bias": np.zeros,
    "running_mean": np.zeros,
    "running_var": np.ones,
}


class _Weight(NamedTuple):
    """Tensor of the reference, and the path of its parameter, whose axes are in reverse order."""

    path: tuple[str | int, ...]
    shape: tuple[int, ...]
    """Shape in the reference's order of axes."""


class _Norm(NamedTuple):
    """Tensor of an unused batch norm."""

    make: Callable[[], np.ndarray]
    shape: tuple[int, ...]


def from_torch(state_dict: Mapping[str, Any], size: str) -> Net1D:
    """Returns an encoder with the reference's weights.

    The number of input channels is inferred from the stem, and input affines from the names.

    Args:
        state_dict: arrays by the reference's key names; all keys or none have the prefix
            `backbone.`. float64 stays float64 if jax allows it, narrower types become float32.

    Raises:
        ValueError: a key is unknown, missing or misshapen; the message names all of them.
    """
    arrays = without_prefix(state_dict)
    channels, affine = in_channels(arrays), has_affines(arrays)
    table = dict(_table(size_lib.by_name(size), channels, affine))
    _check(arrays, table, size)
    abstract = nnx.eval_shape(
        lambda: create_encoder(size, in_channels=channels, input_affine=affine, rngs=nnx.Rngs(0))
    )
    graph, state = nnx.split(abstract)
    flat = dict(nnx.to_flat_state(state))
    for key, entry in table.items():
        if isinstance(entry, _Weight):
            shape = flat[entry.path].shape
            value = jnp.asarray(_from_reference(_weight(key, arrays[key]), shape))
            flat[entry.path] = flat[entry.path].replace(value)
    return nnx.merge(graph, nnx.from_flat_state(flat))


def to_torch(encoder: Net1D, *, norms: bool = True) -> dict[str, np.ndarray]:
    """Returns the encoder's weights by the reference's key names, in the reference's order.

    Args:
        norms: whether to add neutral batch-norm tensors (weight 1, bias 0, mean 0, variance 1,
            count 0), which model folders omit.

    Raises:
        UserError: `norms` is set for an encoder with input affines, which the reference would
            ignore.
    """
    if norms and encoder.input_affine:
        raise UserError(
            "This encoder scales the input of its blocks, like a network with batch norm; the "
            "reference's network cannot do this. Write a model folder or safetensors instead; the "
            "standalone PyTorch module reads them.",
            problem="input_affine",
        )
    flat = dict(nnx.to_flat_state(nnx.state(encoder, nnx.Param)))
    arrays = {}
    for key, entry in _table(encoder.size, encoder.in_channels, encoder.input_affine):
        if isinstance(entry, _Norm):
            if norms:
                arrays[key] = entry.make()
        else:
            value = np.asarray(flat[entry.path][...])
            arrays[key] = np.ascontiguousarray(value.T).reshape(entry.shape)
    return arrays


def key_shapes(encoder: Net1D) -> dict[str, tuple[int, ...]]:
    """Returns the reference's keys and shapes for an encoder, in the reference's order."""
    table = _table(encoder.size, encoder.in_channels, encoder.input_affine)
    return {key: entry.shape for key, entry in table}


def shapes(
    size: size_lib.EncoderSize, in_channels: int = 1, input_affine: bool = False
) -> dict[str, tuple[int, ...]]:
    """Returns the keys and shapes of the weights of a size, without batch norms."""
    table = _table(size, in_channels, input_affine)
    return {key: entry.shape for key, entry in table if isinstance(entry, _Weight)}


def norm_shapes(
    size: size_lib.EncoderSize, in_channels: int = 1, input_affine: bool = False
) -> dict[str, tuple[int, ...]]:
    """Returns the keys and shapes of the unused batch norms of a size."""
    table = _table(size, in_channels, input_affine)
    return {key: entry.shape for key, entry in table if isinstance(entry, _Norm)}


def check(arrays: Mapping[str, Any], size: str) -> None:
    """Raises ValueError if keys (without prefix) or shapes do not fit a size; names all of them."""
    table = _table(size_lib.by_name(size), in_channels(arrays), has_affines(arrays))
    _check(arrays, dict(table), size)


def is_norm(key: str) -> bool:
    """Returns whether a key names a batch-norm tensor."""
    module, _, name = key.rpartition(".")
    return module.rpartition(".")[2] in _NORMS and name in (*_NORM_TENSORS, COUNT)


def has_affines(arrays: Mapping[str, Any]) -> bool:
    """Returns whether weights include input affines."""
    return any(key.endswith((f".{SCALE}", f".{SHIFT}")) for key in arrays)


def _from_reference(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Transposes [out, in, taps] to [taps, in, out], or to [in, out] for a single tap."""
    return np.ascontiguousarray(array.T).reshape(shape)


def _table(
    size: size_lib.EncoderSize, in_channels: int, input_affine: bool
) -> Iterator[tuple[str, _Weight | _Norm]]:
    """Yields every key of the reference in its order; an input affine replaces the norm."""
    stem = size.stem(in_channels)
    yield from _layer("first_conv.conv", ("stem",), _conv_shape(stem))
    yield from _norm("first_bn", stem.channels)
    for block in size.blocks():
        yield from _block(block, input_affine and block.activates_input)


def _block(block: size_lib.BlockSpec, input_affine: bool) -> Iterator[tuple[str, _Weight | _Norm]]:
    """Yields the keys of one block: each convolution after the norm of its input, then the gate."""
    key = block_key(block)
    path = ("stage_list", block.stage, "blocks", block.number)
    for i, conv in enumerate(block.convolutions, start=1):
        if i == 1 and input_affine:
            yield f"{key}.{SCALE}", _Weight((*path, "affine", "scale"), (conv.in_channels,))
            yield f"{key}.{SHIFT}", _Weight((*path, "affine", "shift"), (conv.in_channels,))
        else:
            yield from _norm(f"{key}.bn{i}", conv.in_channels)
        yield from _layer(f"{key}.conv{i}.conv", (*path, conv.name), _conv_shape(conv))
    for i, linear in enumerate(block.gate, start=1):
        shape = (linear.channels, linear.in_channels)
        yield from _layer(f"{key}.se_fc{i}", (*path, "gate", linear.name), shape)


def block_key(block: size_lib.BlockSpec) -> str:
    """Returns the name that the reference gives to a block."""
    return f"stage_list.{block.stage}.block_list.{block.number}"


def _conv_shape(conv: size_lib.ConvSpec) -> tuple[int, ...]:
    return conv.channels, conv.group_channels, conv.taps


def _layer(
    key: str, path: tuple[str | int, ...], shape: tuple[int, ...]
) -> Iterator[tuple[str, _Weight]]:
    yield f"{key}.weight", _Weight((*path, "kernel"), shape)
    yield f"{key}.bias", _Weight((*path, "bias"), shape[:1])


def _norm(key: str, channels: int) -> Iterator[tuple[str, _Norm]]:
    for name, fill in _NORM_TENSORS.items():
        yield (
            f"{key}.{name}",
            _Norm(lambda fill=fill: fill(channels, dtype=np.float32), (channels,)),
        )
    yield f"{key}.{COUNT}", _Norm(lambda: np.zeros((), np.int64), ())


def without_prefix(state_dict: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the mapping without the prefix `backbone.`, which all keys or none must have."""
    bare = [key for key in state_dict if not key.startswith(PREFIX)]
    if bare and len(bare) < len(state_dict):
        raise ValueError(
            f"Some keys start with {PREFIX!r} and some do not, so the weights are ambiguous. Keep "
            f"one kind; keys without the prefix: {listed(bare, _MOST_NAMES)}."
        )
    return {key.removeprefix(PREFIX): value for key, value in state_dict.items()}


def in_channels(arrays: Mapping[str, Any]) -> int:
    """Returns the number of input channels of the stem; 1 if it is invalid (see `check`)."""
    shape = np.shape(arrays.get("first_conv.conv.weight", ()))
    return shape[1] if len(shape) == 3 and shape[1] > 0 else 1


def _check(arrays: Mapping[str, Any], table: Mapping[str, _Weight | _Norm], size: str) -> None:
    """Raises ValueError if keys do not fit `size`; the message names all of them."""
    unknown = [key for key in arrays if key not in table]
    missing = [k for k, entry in table.items() if isinstance(entry, _Weight) and k not in arrays]
    misshapen = [
        f"{key} {list(np.shape(arrays[key]))} instead of {list(entry.shape)}"
        for key, entry in table.items()
        if key in arrays and np.shape(arrays[key]) != entry.shape
    ]
    parts = [
        f"{what}: {listed(keys, _MOST_NAMES)}"
        for what, keys in (("unknown", unknown), ("missing", missing), ("misshapen", misshapen))
        if keys
    ]
    if parts:
        raise ValueError(f"The weights do not fit the encoder size {size!r}; {'; '.join(parts)}.")


def _weight(key: str, value: Any) -> np.ndarray:
    """Returns `value` as float32, or as float64 if it already is."""
    try:
        array = np.asarray(value)
    except (TypeError, RuntimeError) as error:
        raise TypeError(f"The weights {key!r} cannot be read as an array: {error}") from error
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise TypeError(f"The weights {key!r} are {array.dtype}, not floating-point numbers.")
    return array if array.dtype == np.float64 else array.astype(np.float32)
