"""Sums over all pairs of embeddings of a batch, streamed over blocks of patients and over devices.

The 2N x 2N similarities are never stored at once unless they are small: a block of patients meets
all columns, leaves a handful of sums, and is computed again for the backward pass.

Shapes: N patients of the global batch, D embedding, V = 2 views, P patients of a block. Everything
that depends on the patients alone (weights, targets) is [P, N] and shared by the V x V view pairs.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import Mesh, PartitionSpec as P

AXIS = "data"
"""The mesh axis over which patients are divided."""

NORM_FLOOR = 1e-12
"""Smallest norm an embedding is divided by."""

_PLAIN_SIMILARITIES = 2048 * 2048
"""Up to this many similarities on a device, one block holds them all."""

_BLOCK_SIMILARITIES = 1 << 20
"""Similarities of a block when there are several: 4 MiB in float32."""


class Pair(NamedTuple):
    """What is known of the pairs of a block's patients with all patients; none has a gradient."""

    log_weight: jax.Array
    """[P, N] or [1, 1]: logarithm of the weight a negative has in the denominator."""
    target: jax.Array | None = None
    """[P, N]: the scaled similarity that the alignment term asks for; None leaves the term out."""
    counted: jax.Array | None = None
    """bool [P, N]: the pairs that the alignment term is averaged over."""


PairFunction = Callable[[Any, Any, jax.Array, Any], Pair]
"""Maps (block's patients [P], all patients [N], same patient [P, N], constants) to a `Pair`."""


def terms(
    view_a: jax.Array,
    view_b: jax.Array,
    patients: Any,
    constants: Any,
    pair: PairFunction,
    *,
    temperature: float,
    mesh: Mesh | None = None,
    block_patients: int | None = None,
) -> dict[str, jax.Array]:
    """Weighted InfoNCE and, where `pair` has targets, the similarity alignment of a batch.

    Args:
        view_a, view_b: [N, D]; row i of both belongs to patient i.
        patients: arrays [N] per patient, handed to `pair` as rows and as columns.
        constants: scalars handed to `pair`.
        temperature: divides the cosine similarities.
        mesh: divides the patients over its axis "data"; the result does not depend on it.
        block_patients: patients met at a time; None chooses by size.

    Returns:
        "nce", the mean over 2N rows of -log(positive / (positive + weighted negatives)), and
        "alignment", the mean over counted pairs of (min-max scaled similarity - target)^2.

    Raises:
        ValueError: shapes do not agree, or the devices do not divide the patients.
    """
    views = _unit_views(view_a, view_b)
    num_patients = views.shape[1]
    core = functools.partial(
        _device_sums, pair=pair, temperature=temperature, block_patients=block_patients
    )
    if mesh is None:
        parts = core(views, patients, constants)
        return _finish(parts, num_patients)
    if num_patients % mesh.shape[AXIS]:
        raise ValueError(
            f"{num_patients} patients cannot be divided over {mesh.shape[AXIS]} devices; "
            "choose a global batch size that the number of devices divides."
        )
    # Each device returns its own sums as one row and the rows are added outside, so that the
    # gradient is that of the total whatever the number of devices.
    sharded = jax.shard_map(
        lambda *x: jax.tree.map(lambda y: y[None], core(*x, axis=AXIS)),
        mesh=mesh,
        in_specs=(P(None, AXIS), P(AXIS), P()),
        out_specs=P(AXIS),
    )
    parts = sharded(views, patients, constants)
    extremes = {name: parts.pop(name).mean(axis=0) for name in ("low", "high") if name in parts}
    return _finish({**jax.tree.map(lambda x: x.sum(axis=0), parts), **extremes}, num_patients)


def _unit_views(view_a: jax.Array, view_b: jax.Array) -> jax.Array:
    """Both views as unit vectors [V, N, D], in float32 or, if they came so, float64."""
    if view_a.ndim != 2 or view_a.shape != view_b.shape:
        raise ValueError(
            f"The two views must have the same shape [patients, embedding]; they have "
            f"{view_a.shape} and {view_b.shape}."
        )
    x = jnp.stack([view_a, view_b])
    x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    square = jnp.sum(x * x, axis=-1, keepdims=True)
    # The square root has no derivative at 0, hence the inner `where`.
    positive = square > 0
    norm = jnp.where(positive, jnp.sqrt(jnp.where(positive, square, 1)), 0)
    return x / jnp.maximum(norm, NORM_FLOOR)


def _device_sums(
    rows: jax.Array,
    row_patients: Any,
    constants: Any,
    *,
    pair: PairFunction,
    temperature: float,
    block_patients: int | None,
    axis: str | None = None,
) -> dict[str, jax.Array]:
    """The sums of this device's rows [V, n, D] over all columns, and the extremes of all pairs."""
    num_rows = rows.shape[1]
    views, columns, first = rows, row_patients, 0
    if axis is not None:
        views = lax.all_gather(rows, axis, axis=1, tiled=True)
        columns = jax.tree.map(lambda x: lax.all_gather(x, axis, tiled=True), row_patients)
        first = lax.axis_index(axis) * num_rows
    block = functools.partial(
        _block_sums,
        views=views,
        columns=columns,
        constants=constants,
        pair=pair,
        temperature=temperature,
    )
    index = first + jnp.arange(num_rows)
    size = block_patients or _block_size(num_rows, views.shape[1])
    if size >= num_rows:
        sums, low = block(rows, row_patients, index, jnp.ones(num_rows, bool))
    else:
        sums, low = _stream(block, size, rows, row_patients, index)
    if "alignment_count" in sums:
        sums["low"], sums["high"] = _extremes(views, low, axis)
    return sums


def _block_size(num_rows: int, num_patients: int) -> int:
    if 4 * num_rows * num_patients <= _PLAIN_SIMILARITIES:
        return num_rows
    return max(1, _BLOCK_SIMILARITIES // (4 * num_patients))


def _stream(block, size: int, rows: jax.Array, row_patients: Any, index: jax.Array):
    """Runs `block` over pieces of `size` patients, the last one padded, and adds the sums."""
    num_rows = rows.shape[1]
    num_blocks = -(-num_rows // size)
    missing = num_blocks * size - num_rows

    def cut(x: jax.Array) -> jax.Array:
        x = jnp.pad(x, [(0, missing)] + [(0, 0)] * (x.ndim - 1))
        return x.reshape(num_blocks, size, *x.shape[1:])

    pieces = (
        jnp.swapaxes(cut(jnp.swapaxes(rows, 0, 1)), 1, 2),  # [blocks, V, P, D]
        jax.tree.map(cut, row_patients),
        cut(index),
        cut(jnp.ones(num_rows, bool)),
    )
    remembered = jax.checkpoint(lambda piece: block(*piece), prevent_cse=False)
    sums, low = lax.map(remembered, pieces)
    low = jnp.swapaxes(low, 0, 1).reshape(2, -1)[:, :num_rows]
    return jax.tree.map(lambda x: x.sum(axis=0), sums), low


def _block_sums(
    rows: jax.Array,
    row_patients: Any,
    index: jax.Array,
    real: jax.Array,
    *,
    views: jax.Array,
    columns: Any,
    constants: Any,
    pair: PairFunction,
    temperature: float,
) -> tuple[dict[str, jax.Array], jax.Array]:
    """Sums of one block [V, P, D] against all views [V, N, D], and each row's least similarity."""
    similarity = jnp.einsum("apd,bnd->apbn", rows, views, precision=lax.Precision.HIGHEST)
    same = index[:, None] == jnp.arange(views.shape[1])[None, :]
    pairs = lax.stop_gradient(pair(row_patients, columns, same, constants))
    positive = jnp.sum(rows[0] * rows[1], axis=-1)[None, :] / temperature  # [1, P]
    logits = similarity / temperature + pairs.log_weight[None, :, None, :]
    logits = jnp.where(same[None, :, None, :], -jnp.inf, logits)
    peak = lax.stop_gradient(jnp.maximum(logits.max(axis=(2, 3)), positive))  # [V, P]
    total = jnp.exp(positive - peak) + jnp.exp(logits - peak[:, :, None, None]).sum(axis=(2, 3))
    nce = jnp.log(total) + peak - positive
    sums = {"nce": jnp.sum(jnp.where(real[None, :], nce, 0))}
    low = lax.stop_gradient(jnp.where(real[None, :], similarity.min(axis=(2, 3)), jnp.inf))
    if pairs.target is not None and pairs.counted is not None:
        counted = (pairs.counted & real[:, None]).astype(similarity.dtype)
        sums |= _alignment_sums(similarity, pairs.target, counted)
    return sums, low


def _alignment_sums(
    similarity: jax.Array, target: jax.Array, counted: jax.Array
) -> dict[str, jax.Array]:
    """Moments from which the squared error follows once the extremes of all pairs are known."""
    linear = similarity.sum(axis=(0, 2))  # [P, N], over the V x V pairs of views
    square = (similarity * similarity).sum(axis=(0, 2))
    view_pairs = similarity.shape[0] * similarity.shape[2]
    return {
        "alignment_count": view_pairs * jnp.sum(counted),
        "s": jnp.sum(counted * linear),
        "ss": jnp.sum(counted * square),
        "st": jnp.sum(counted * linear * target),
        "t": view_pairs * jnp.sum(counted * target),
        "tt": view_pairs * jnp.sum(counted * target * target),
    }


def _extremes(views: jax.Array, low: jax.Array, axis: str | None) -> tuple[jax.Array, jax.Array]:
    """The least and the greatest similarity of all pairs, both with their gradient.

    Only the row that holds the minimum is found by the blocks; its similarities are computed again
    here, so that the gradient needs neither the matrix nor a rule for a minimum over devices. The
    maximum is a squared norm, by the Cauchy-Schwarz inequality.
    """
    if axis is not None:
        low = lax.all_gather(low, axis, axis=1, tiled=True)
    flat = views.reshape(-1, views.shape[-1])
    row = flat[jnp.argmin(low.reshape(-1))]
    similarity = jnp.dot(flat, row, precision=lax.Precision.HIGHEST)
    return similarity.min(), jnp.sum(views * views, axis=-1).max()


def _finish(parts: dict[str, jax.Array], num_patients: int) -> dict[str, jax.Array]:
    result = {"nce": parts["nce"] / (2 * num_patients)}
    if "alignment_count" not in parts:
        return result
    count = jnp.maximum(parts["alignment_count"], 1)
    s, ss, st, t, tt = (parts[name] / count for name in ("s", "ss", "st", "t", "tt"))
    scale = 1 / (parts["high"] - parts["low"] + 1e-6)
    offset = -parts["low"] * scale
    # mean (scale s + offset - target)^2; nothing is counted when no risk is known
    error = scale**2 * ss + 2 * scale * (offset * s - st) + offset**2 - 2 * offset * t + tt
    return result | {"alignment": jnp.where(parts["alignment_count"] > 0, error, 0)}
