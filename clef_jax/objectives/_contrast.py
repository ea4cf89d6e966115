"""Losses over all pairs of embeddings of a batch, computed in blocks of patients and on any number
of devices.

The 2N x 2N similarities are never stored at once unless they are small: each block of patients is
compared with all patients and reduced to a few sums, and is computed again in the backward pass.

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

from clef_jax.mesh import DATA, EVERYWHERE, ROWS
from clef_jax.objectives import _blocks, _cosine


class Pair(NamedTuple):
    """Weights and targets of the pairs of a block's patients with all patients.

    No gradient flows through them.
    """

    log_weight: jax.Array
    """Logarithm of the weight of a negative in the denominator, [P, N] or [1, 1]."""
    target: jax.Array | None = None
    """Target of the scaled similarity in the alignment term, [P, N]; None omits the term."""
    counted: jax.Array | None = None
    """Pairs over which the alignment term is averaged, bool [P, N]."""


PairFunction = Callable[[Any, Any, jax.Array, Any], Pair]
"""Maps (block's patients [P], all patients [N], mask of pairs of a patient with itself [P, N],
constants) to a `Pair`."""


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
    """Computes the weighted InfoNCE and, if `pair` returns targets, the similarity alignment.

    Args:
        view_a, view_b: Embeddings, [N, D]; row i of both belongs to patient i.
        patients: Tree of arrays [N], which `pair` receives for a block and for all patients.
        constants: Scalars that `pair` receives.
        pair: Returns the weights and targets of pairs.
        temperature: Divisor of the cosine similarities.
        mesh: Devices, whose axis "data" divides the patients; the result does not depend on it.
        block_patients: Number of patients in a block; None chooses it by the size of the batch.

    Returns:
        "nce", the mean over 2N rows of -log(positive / (positive + weighted negatives)), and
        "alignment", the mean over counted pairs of (min-max scaled similarity - target)^2.

    Raises:
        ValueError: shapes do not agree, or the number of devices does not divide the patients.
    """
    views = _unit_views(view_a, view_b)
    num_patients = views.shape[1]
    core = functools.partial(
        _device_sums, pair=pair, temperature=temperature, block_patients=block_patients
    )
    if mesh is None:
        return _means(core(views, patients, constants), num_patients)
    _blocks.check_devices(num_patients, mesh.shape[DATA])
    # Each device returns its sums as one row, and the rows are added outside of shard_map: a sum
    # inside would multiply the gradient by the number of devices.
    sharded = jax.shard_map(
        lambda *x: jax.tree.map(lambda y: y[None], core(*x, axis=DATA)),
        mesh=mesh,
        in_specs=(P(None, DATA), ROWS, EVERYWHERE),
        out_specs=ROWS,
    )
    device_sums = sharded(views, patients, constants)
    return _means(jax.tree.map(lambda x: x.sum(axis=0), device_sums), num_patients)


def _means(sums: dict[str, jax.Array], num_patients: int) -> dict[str, jax.Array]:
    means = {"nce": sums["nce"] / (2 * num_patients)}
    if "error" in sums:
        # Without a known risk both are 0.
        means["alignment"] = sums["error"] / jnp.maximum(sums["count"], 1)
    return means


def _unit_views(view_a: jax.Array, view_b: jax.Array) -> jax.Array:
    """Returns both views as unit vectors, [V, N, D] in float32, or float64 if a view has it."""
    _cosine.check_pair(view_a, view_b)
    return _cosine.unit(jnp.stack([view_a, view_b]))


def _device_sums(
    rows: jax.Array,
    patients: Any,
    constants: Any,
    *,
    pair: PairFunction,
    temperature: float,
    block_patients: int | None,
    axis: str | None = None,
) -> dict[str, jax.Array]:
    """Returns the sums over pairs of this device's patients with all patients.

    Args:
        rows: Unit vectors of this device's n patients, [V, n, D].
        patients: Their arrays, [n].
        axis: Mesh axis over which the patients are divided; None on one device.
    """
    num_rows = rows.shape[1]
    views, columns, first = rows, patients, 0
    if axis is not None:
        views = lax.all_gather(rows, axis, axis=1, tiled=True)
        columns = jax.tree.map(lambda x: lax.all_gather(x, axis, tiled=True), patients)
        first = lax.axis_index(axis) * num_rows
    size = block_patients or _blocks.size(num_rows, 4 * views.shape[1])
    index = first + jnp.arange(num_rows)
    split = functools.partial(_blocks.split, size=min(size, num_rows))
    # The last array is False in the padding of the last block.
    blocks = (split(rows, axis=1), jax.tree.map(split, patients), split(index), split(index >= 0))

    def pair_of(patients: Any, same: jax.Array) -> Pair:
        return lax.stop_gradient(pair(patients, columns, same, constants))

    low = high = jnp.zeros((), rows.dtype)
    if jax.eval_shape(pair_of, columns, jnp.eye(views.shape[1], dtype=bool)).target is not None:
        low, high = _extremes(blocks[0], views, num_rows, axis)

    def block_sums(block) -> dict[str, jax.Array]:
        rows, patients, index, real = block
        similarity = _similarity(rows, views)
        same = index[:, None] == jnp.arange(views.shape[1])[None, :]
        pairs = pair_of(patients, same)
        positive = jnp.sum(rows[0] * rows[1], axis=-1) / temperature  # [P]
        nce = _nce(similarity / temperature, positive, pairs.log_weight, same)
        sums = {"nce": jnp.sum(jnp.where(real[None, :], nce, 0))}
        if pairs.target is not None and pairs.counted is not None:
            scaled = (similarity - low) / (high - low + 1e-6)
            error = ((scaled - pairs.target[None, :, None, :]) ** 2).sum(axis=(0, 2))
            counted = pairs.counted & real[:, None]
            sums["error"] = jnp.sum(jnp.where(counted, error, 0))
            sums["count"] = 4 * jnp.sum(counted.astype(error.dtype))
        return sums

    sums = _blocks.map_blocks(block_sums, blocks)
    return jax.tree.map(lambda x: x.sum(axis=0), sums)


def _similarity(rows: jax.Array, views: jax.Array) -> jax.Array:
    """Returns the cosine similarities [V, P, V, N] of a block with all embeddings."""
    return jnp.einsum("apd,bnd->apbn", rows, views, precision=lax.Precision.HIGHEST)


def _nce(
    logits: jax.Array, positive: jax.Array, log_weight: jax.Array, same: jax.Array
) -> jax.Array:
    """Returns -log(positive / (positive + weighted negatives)) of every row, [V, P]."""
    logits = logits + log_weight[None, :, None, :]
    logits = jnp.where(same[None, :, None, :], -jnp.inf, logits)
    peak = lax.stop_gradient(jnp.maximum(logits.max(axis=(2, 3)), positive[None, :]))
    total = jnp.exp(logits - peak[:, :, None, None]).sum(axis=(2, 3))
    return jnp.log(total + jnp.exp(positive[None, :] - peak)) + peak - positive[None, :]


def _extremes(
    blocks: jax.Array, views: jax.Array, num_rows: int, axis: str | None
) -> tuple[jax.Array, jax.Array]:
    """Returns the smallest and the largest similarity of all pairs, both with their gradients.

    A first pass only finds the row that holds the minimum. The similarities of this row are then
    computed again with their gradient, so that the gradient needs neither the whole matrix nor a
    rule for a minimum over devices. The largest similarity is a squared norm, by the
    Cauchy-Schwarz inequality.
    """
    fixed_views = lax.stop_gradient(views)
    low = _blocks.map_blocks(
        lambda rows: _similarity(rows, fixed_views).min(axis=(2, 3)), lax.stop_gradient(blocks)
    )
    low = jnp.moveaxis(low, 0, 1).reshape(2, -1)[:, :num_rows]
    if axis is not None:
        low = lax.all_gather(low, axis, axis=1, tiled=True)
    flat = views.reshape(-1, views.shape[-1])
    row = flat[jnp.argmin(low.reshape(-1))]
    similarity = jnp.dot(flat, row, precision=lax.Precision.HIGHEST)
    return similarity.min(), jnp.sum(views * views, axis=-1).max()
