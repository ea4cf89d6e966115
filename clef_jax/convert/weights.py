"""Encoder weights from and to the public PyTorch reference's key names.

The reference's checkpoints also hold batch-norm tensors that its forward pass never uses: they are
checked and ignored on the way in, and written as neutral ones on the way out, so that the reference
loads the result strictly.

An encoder with input affines (a converted network with batch norm) has two tensors more per block,
`...bn1.scale` and `...bn1.shift`. They are names of ours: the reference cannot hold them.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from flax import nnx

from clef_jax.errors import UserError
from clef_jax.models import Net1D, create_encoder, size as size_lib

PREFIX = "backbone."
"""What the reference's training module puts before every key of its encoder."""

SCALE, SHIFT = "bn1.scale", "bn1.shift"
"""What a block's input affine is called, after the name of its block."""

COUNT = "num_batches_tracked"
_NORMS = ("first_bn", "bn1", "bn2", "bn3")
_NORM_TENSORS = {
    "weight": np.ones,
    "bias": np.zeros,
    "running_mean": np.zeros,
    "running_var": np.ones,
}


class _Weight(NamedTuple):
    """One tensor of the reference and the parameter that holds it, axes in reverse order."""

    path: tuple[str | int, ...]
    shape: tuple[int, ...]
    """In the reference's order of axes."""


class _Norm(NamedTuple):
    """One tensor of an unused batch norm."""

    make: Callable[[], np.ndarray]
    shape: tuple[int, ...]


def from_torch(state_dict: Mapping[str, Any], size: str) -> Net1D:
    """An encoder with the reference's weights, given as a mapping of its key names to arrays.

    Keys may all carry the prefix `backbone.`; the number of input channels is read off the stem,
    and whether blocks have input affines off the names.
    float64 arrays stay float64 where jax allows it, narrower ones become float32.
    Raises ValueError naming every key that is unknown, missing or misshapen.
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
    """The encoder's weights under the reference's key names, in the reference's order.

    Batch-norm tensors are neutral: weight 1, bias 0, mean 0, variance 1, count 0. Without `norms`
    there are none, as in a model folder.

    Raises:
        UserError: `norms` of an encoder with input affines; the reference would ignore them.
    """
    if norms and encoder.input_affine:
        raise UserError(
            "This encoder scales the input of its blocks, as a network with batch norm does, and "
            "the reference's network cannot. Write a model folder or safetensors instead: the "
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
    """The reference's keys and shapes for an encoder, in the reference's order."""
    table = _table(encoder.size, encoder.in_channels, encoder.input_affine)
    return {key: entry.shape for key, entry in table}


def shapes(
    size: size_lib.EncoderSize, in_channels: int = 1, input_affine: bool = False
) -> dict[str, tuple[int, ...]]:
    """Keys and shapes of the weights of a size, without those of batch norms."""
    table = _table(size, in_channels, input_affine)
    return {key: entry.shape for key, entry in table if isinstance(entry, _Weight)}


def check(arrays: Mapping[str, Any], size: str) -> None:
    """Raises ValueError naming every key without prefix that does not fit the size."""
    table = _table(size_lib.by_name(size), in_channels(arrays), has_affines(arrays))
    _check(arrays, dict(table), size)


def is_norm(key: str) -> bool:
    """Whether a key is that of a batch-norm tensor."""
    module, _, name = key.rpartition(".")
    return module.rpartition(".")[2] in _NORMS and name in (*_NORM_TENSORS, COUNT)


def has_affines(arrays: Mapping[str, Any]) -> bool:
    """Whether weights have input affines."""
    return any(key.endswith((f".{SCALE}", f".{SHIFT}")) for key in arrays)


def _from_reference(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """[out, in, taps] to [taps, in, out]; a convolution with one tap is a plain matrix here."""
    return np.ascontiguousarray(array.T).reshape(shape)


def _table(
    size: size_lib.EncoderSize, in_channels: int, input_affine: bool
) -> Iterator[tuple[str, _Weight | _Norm]]:
    """Yields every key of the reference, in its order; an input affine takes the place of its
    norm."""
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
    """The mapping without `backbone.`, which all keys must carry or none."""
    bare = [key for key in state_dict if not key.startswith(PREFIX)]
    if bare and len(bare) < len(state_dict):
        raise ValueError(
            f"Some keys start with {PREFIX!r} and some do not, so it is unclear which weights are "
            f"meant. Keep one kind; without the prefix: {_listed(bare)}."
        )
    return {key.removeprefix(PREFIX): value for key, value in state_dict.items()}


def in_channels(arrays: Mapping[str, Any]) -> int:
    """The width of the stem's input, 1 where it cannot be read (the check names the reason)."""
    shape = np.shape(arrays.get("first_conv.conv.weight", ()))
    return shape[1] if len(shape) == 3 and shape[1] > 0 else 1


def _check(arrays: Mapping[str, Any], table: Mapping[str, _Weight | _Norm], size: str) -> None:
    """Raises one sentence that names every key that does not fit `size`."""
    unknown = [key for key in arrays if key not in table]
    missing = [k for k, entry in table.items() if isinstance(entry, _Weight) and k not in arrays]
    misshapen = [
        f"{key} {list(np.shape(arrays[key]))} instead of {list(entry.shape)}"
        for key, entry in table.items()
        if key in arrays and np.shape(arrays[key]) != entry.shape
    ]
    parts = [
        f"{what}: {_listed(keys)}"
        for what, keys in (("unknown", unknown), ("missing", missing), ("misshapen", misshapen))
        if keys
    ]
    if parts:
        raise ValueError(f"These weights do not fit the encoder {size!r}; {'; '.join(parts)}.")


def _listed(names: list[str], most: int = 8) -> str:
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")


def _weight(key: str, value: Any) -> np.ndarray:
    """`value` as float32, or float64 if it is that already."""
    try:
        array = np.asarray(value)
    except (TypeError, RuntimeError) as error:
        raise TypeError(f"The weights {key!r} cannot be read as an array: {error}") from error
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise TypeError(f"The weights {key!r} are {array.dtype}, not floating-point numbers.")
    return array if array.dtype == np.float64 else array.astype(np.float32)
