"""The loss of the objective in `sigmoid`, without a gather of the batch.

Shapes: N patients of the global batch, n of them on a device, D embedding, P rows of a block.
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import Mesh

from clef_jax.mesh import DATA, EVERYWHERE, ROWS
from clef_jax.objectives import _blocks, _cosine


def loss(
    view_a: jax.Array,
    view_b: jax.Array,
    scale: jax.Array | float,
    bias: jax.Array | float,
    mesh: Mesh | None,
    block_rows: int | None,
) -> jax.Array:
    """Returns the loss; see `sigmoid.loss`."""
    _cosine.check_pair(view_a, view_b)
    view_a, view_b = _cosine.unit(view_a), _cosine.unit(view_b)
    scale, bias = (jnp.asarray(x, view_a.dtype) for x in (scale, bias))
    core = functools.partial(_patient_losses, block_rows=block_rows)
    if mesh is None:
        return core(view_a, view_b, scale, bias, own=True).mean()
    num_devices = mesh.shape[DATA]
    _blocks.check_devices(len(view_a), num_devices)
    ring = functools.partial(_ring_losses, core=core, num_devices=num_devices)
    # The mean is taken outside of shard_map: inside, the gradient would be that of each device.
    sharded = jax.shard_map(
        ring, mesh=mesh, in_specs=(ROWS, ROWS, EVERYWHERE, EVERYWHERE), out_specs=ROWS
    )
    return sharded(view_a, view_b, scale, bias).mean()


def _ring_losses(
    view_a: jax.Array,
    view_b: jax.Array,
    scale: jax.Array,
    bias: jax.Array,
    *,
    core,
    num_devices: int,
) -> jax.Array:
    """Returns the summed cross-entropies of this device's patients [n] with all patients.

    Each device's second views visit all devices, one after the other.
    """
    total = core(view_a, view_b, scale, bias, own=True)
    to_next = [(device, (device + 1) % num_devices) for device in range(num_devices)]

    def visit(carry, _):
        total, visitors = carry
        visitors = lax.ppermute(visitors, DATA, to_next)
        return (total + core(view_a, visitors, scale, bias, own=False), visitors), None

    (total, _), _ = lax.scan(visit, (total, view_b), length=num_devices - 1)
    return total


def _patient_losses(
    view_a: jax.Array,
    view_b: jax.Array,
    scale: jax.Array,
    bias: jax.Array,
    *,
    own: bool,
    block_rows: int | None,
) -> jax.Array:
    """Returns the cross-entropies of patients [n] with those of the second views, summed.

    Args:
        view_a, view_b: unit vectors, [n, D].
        scale: logarithm of the factor of the similarities.
        bias: addend.
        own: whether row i of both belongs to the same patient; otherwise no two rows do.
        block_rows: number of rows at a time; None chooses it.
    """
    num_rows = len(view_a)
    size = min(block_rows or _blocks.size(num_rows, len(view_b)), num_rows)
    column = jnp.arange(len(view_b))[None]

    def losses(block) -> jax.Array:
        rows, index = block
        similarity = jnp.dot(rows, view_b.T, precision=lax.Precision.HIGHEST)
        logits = jnp.exp(scale) * similarity + bias
        same = (index[:, None] == column) & own
        return -jax.nn.log_sigmoid(jnp.where(same, logits, -logits)).sum(axis=1)

    blocks = (_blocks.split(view_a, size), _blocks.split(jnp.arange(num_rows), size))
    return _blocks.map_blocks(losses, blocks).reshape(-1)[:num_rows]
