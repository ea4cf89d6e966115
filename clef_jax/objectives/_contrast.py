"""Sums over all pairs of embeddings of a batch, streamed over blocks of patients and over devices.

The 2N x 2N similarities are never stored at once unless they are small: a block of patients meets
all columns, leaves two sums, and is computed again for the backward pass.

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

from clef_jax import machine
from clef_jax.mesh import DATA, EVERYWHERE, ROWS

NORM_FLOOR = 1e-12
"""Smallest norm an embedding is divided by."""

_PLAIN_SIMILARITIES = 2048 * 2048
"""Up to this many similarities on a device, one block holds them all."""

_BLOCK_SIMILARITIES = 1 << 20
"""Similarities of a block when there are several: 4 MiB in float32."""

_TPU_SIMILARITIES = 1 << 24
"""Both of these on a TPU: 64 MiB. Every block adds to the gradient of all embeddings, which costs
memory traffic: with 32,768 patients on 256 v5e chips the compiler expects 2.9 million cycles of the
loss and its gradient in one block, and 18.1 in sixteen."""


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
        return _means(core(views, patients, constants), num_patients)
    if num_patients % mesh.shape[DATA]:
        raise ValueError(
            f"{num_patients} patients cannot be divided over {mesh.shape[DATA]} devices; "
            "choose a global batch size that the number of devices divides."
        )
    # Each device returns its own sums as one row and the rows are added outside, so that the
    # gradient is that of the total whatever the number of devices.
    sharded = jax.shard_map(
        lambda *x: jax.tree.map(lambda y: y[None], core(*x, axis=DATA)),
        mesh=mesh,
        in_specs=(P(None, DATA), ROWS, EVERYWHERE),
        out_specs=ROWS,
    )
    parts = sharded(views, patients, constants)
    return _means(jax.tree.map(lambda x: x.sum(axis=0), parts), num_patients)


def _means(sums: dict[str, jax.Array], num_patients: int) -> dict[str, jax.Array]:
    means = {"nce": sums["nce"] / (2 * num_patients)}
    if "error" in sums:
        # Nothing is counted, and the error is 0, when no risk is known.
        means["alignment"] = sums["error"] / jnp.maximum(sums["count"], 1)
    return means


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
    patients: Any,
    constants: Any,
    *,
    pair: PairFunction,
    temperature: float,
    block_patients: int | None,
    axis: str | None = None,
) -> dict[str, jax.Array]:
    """The sums of this device's rows [V, n, D] over all columns."""
    num_rows = rows.shape[1]
    views, columns, first = rows, patients, 0
    if axis is not None:
        views = lax.all_gather(rows, axis, axis=1, tiled=True)
        columns = jax.tree.map(lambda x: lax.all_gather(x, axis, tiled=True), patients)
        first = lax.axis_index(axis) * num_rows
    size = block_patients or _block_size(num_rows, views.shape[1])
    index = first + jnp.arange(num_rows)
    cut = functools.partial(_cut, size=min(size, num_rows))
    pieces = (cut(rows, axis=1), jax.tree.map(cut, patients), cut(index), cut(index >= 0))

    def pair_of(patients: Any, same: jax.Array) -> Pair:
        return lax.stop_gradient(pair(patients, columns, same, constants))

    low = high = jnp.zeros((), rows.dtype)
    if jax.eval_shape(pair_of, columns, jnp.eye(views.shape[1], dtype=bool)).target is not None:
        low, high = _extremes(pieces[0], views, num_rows, axis)

    def block(piece) -> dict[str, jax.Array]:
        rows, patients, index, real = piece
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

    sums = _each(block, pieces)
    return jax.tree.map(lambda x: x.sum(axis=0), sums)


def _block_size(num_rows: int, num_patients: int) -> int:
    plain, block = _PLAIN_SIMILARITIES, _BLOCK_SIMILARITIES
    if machine.current_platform() == "tpu":
        plain = block = _TPU_SIMILARITIES
    if 4 * num_rows * num_patients <= plain:
        return num_rows
    return max(1, block // (4 * num_patients))


def _cut(x: jax.Array, size: int, axis: int = 0) -> jax.Array:
    """Cuts an axis into pieces of `size`, the last padded with zeros, and moves them in front."""
    missing = -x.shape[axis] % size
    x = jnp.pad(x, [(0, missing if i == axis else 0) for i in range(x.ndim)])
    x = x.reshape(*x.shape[:axis], -1, size, *x.shape[axis + 1 :])
    return jnp.moveaxis(x, axis, 0)


def _each(block: Callable, pieces: Any) -> Any:
    """Results of all pieces, stacked; several are computed again for the backward pass."""
    if jax.tree.leaves(pieces)[0].shape[0] == 1:
        return jax.tree.map(lambda x: x[None], block(jax.tree.map(lambda x: x[0], pieces)))
    return lax.map(jax.checkpoint(block, prevent_cse=False), pieces)


def _similarity(rows: jax.Array, views: jax.Array) -> jax.Array:
    """Cosine similarities [V, P, V, N]."""
    return jnp.einsum("apd,bnd->apbn", rows, views, precision=lax.Precision.HIGHEST)


def _nce(
    logits: jax.Array, positive: jax.Array, log_weight: jax.Array, same: jax.Array
) -> jax.Array:
    """-log(positive / (positive + weighted negatives)) of every row, [V, P]."""
    logits = logits + log_weight[None, :, None, :]
    logits = jnp.where(same[None, :, None, :], -jnp.inf, logits)
    peak = lax.stop_gradient(jnp.maximum(logits.max(axis=(2, 3)), positive[None, :]))
    total = jnp.exp(logits - peak[:, :, None, None]).sum(axis=(2, 3))
    return jnp.log(total + jnp.exp(positive[None, :] - peak)) + peak - positive[None, :]


def _extremes(
    pieces: jax.Array, views: jax.Array, num_rows: int, axis: str | None
) -> tuple[jax.Array, jax.Array]:
    """The least and the greatest similarity of all pairs, both with their gradient.

    A first pass only finds the row that holds the minimum; its similarities are then computed again
    with their gradient, which so needs neither the matrix nor a rule for a minimum over devices.
    The maximum is a squared norm, by the Cauchy-Schwarz inequality.
    """
    fixed_views = lax.stop_gradient(views)
    low = _each(
        lambda rows: _similarity(rows, fixed_views).min(axis=(2, 3)), lax.stop_gradient(pieces)
    )
    low = jnp.moveaxis(low, 0, 1).reshape(2, -1)[:, :num_rows]
    if axis is not None:
        low = lax.all_gather(low, axis, axis=1, tiled=True)
    flat = views.reshape(-1, views.shape[-1])
    row = flat[jnp.argmin(low.reshape(-1))]
    similarity = jnp.dot(flat, row, precision=lax.Precision.HIGHEST)
    return similarity.min(), jnp.sum(views * views, axis=-1).max()
