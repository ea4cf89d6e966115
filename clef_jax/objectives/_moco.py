"""Networks, queue and loss of the objective in `moco`.

Shapes: N patients of the global batch, n of them on a device, D embedding or projection, K keys of
the queue, M negatives, P rows of a block.
"""

import functools
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jax.sharding import Mesh

from clef_jax.mesh import DATA, EVERYWHERE, ROWS
from clef_jax.objectives import _blocks, _cosine, _momentum, _network
from clef_jax.objectives._objective import Inputs, Outcome

if TYPE_CHECKING:
    from clef_jax.objectives.moco import Config


def queue_loss(
    query: jax.Array,
    key: jax.Array,
    queue: jax.Array,
    temperature: float,
    mesh: Mesh | None,
    block_rows: int | None = None,
) -> jax.Array:
    """Returns the loss with a queue; see `moco.loss`."""
    if queue.ndim != 2 or queue.shape[0] != query.shape[-1]:
        raise ValueError(
            f"The queue must have one row per feature of a query; its shape is {queue.shape} and "
            f"the queries are {query.shape}."
        )
    return _loss(query, key, queue, temperature, mesh, block_rows)


def batch_loss(
    query: jax.Array, key: jax.Array, temperature: float, mesh: Mesh | None
) -> jax.Array:
    """Returns the loss with the keys of the other patients of the batch as negatives."""
    return _loss(query, key, None, temperature, mesh, None)


def _loss(
    query: jax.Array,
    key: jax.Array,
    queue: jax.Array | None,
    temperature: float,
    mesh: Mesh | None,
    block_rows: int | None,
) -> jax.Array:
    _cosine.check_pair(query, key, "queries and keys")
    query, key = _cosine.unit(query), lax.stop_gradient(_cosine.unit(key))
    if queue is not None:
        queue = lax.stop_gradient(_cosine.widen(queue))
    core = functools.partial(_row_losses, temperature=temperature, block_rows=block_rows)
    if mesh is None:
        return core(query, key, queue).mean()
    _blocks.check_devices(len(query), mesh.shape[DATA])
    # The mean is taken outside of shard_map: inside, the gradient would be that of each device.
    sharded = jax.shard_map(
        functools.partial(core, axis=DATA),
        mesh=mesh,
        in_specs=(ROWS, ROWS, EVERYWHERE),
        out_specs=ROWS,
    )
    return sharded(query, key, queue).mean()


def _row_losses(
    query: jax.Array,
    key: jax.Array,
    queue: jax.Array | None,
    *,
    temperature: float,
    block_rows: int | None,
    axis: str | None = None,
) -> jax.Array:
    """Returns the cross-entropy of each query of this device, [n].

    Args:
        query, key: unit vectors, [n, D].
        queue: negatives, [D, K]; None takes the keys of the other patients.
        temperature: divisor of the similarities.
        block_rows: number of queries at a time; None chooses it.
        axis: mesh axis over which the rows are divided; None on one device.
    """
    num_rows, first, negatives = len(query), 0, queue
    if negatives is None:
        keys = key if axis is None else lax.all_gather(key, axis, tiled=True)
        negatives = keys.T
    if axis is not None:
        first = lax.axis_index(axis) * num_rows
    size = min(block_rows or _blocks.size(num_rows, negatives.shape[1]), num_rows)
    split = functools.partial(_blocks.split, size=size)
    column = jnp.arange(negatives.shape[1])[None]

    def losses(block) -> jax.Array:
        query, key, index = block
        positive = jnp.sum(query * key, axis=-1) / temperature
        logits = jnp.dot(query, negatives, precision=lax.Precision.HIGHEST) / temperature
        if queue is None:
            logits = jnp.where(index[:, None] == column, -jnp.inf, logits)
        peak = lax.stop_gradient(jnp.maximum(logits.max(axis=1), positive))
        total = jnp.exp(logits - peak[:, None]).sum(axis=1) + jnp.exp(positive - peak)
        return jnp.log(total) + peak - positive

    blocks = (split(query), split(key), split(first + jnp.arange(num_rows)))
    return _blocks.map_blocks(losses, blocks).reshape(-1)[:num_rows]


def enqueue(
    queue: jax.Array, pointer: jax.Array | int, key: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Replaces the oldest keys of a queue; see `moco.enqueue`."""
    num_keys, size = len(key), queue.shape[1]
    if key.shape[1] != queue.shape[0] or num_keys > size:
        raise ValueError(
            f"A queue of the shape {queue.shape} takes up to {size} keys of {queue.shape[0]} "
            f"features; the keys are {key.shape}."
        )
    pointer = jnp.asarray(pointer, jnp.int32)
    columns = (pointer + jnp.arange(num_keys, dtype=jnp.int32)) % size
    keys = _cosine.unit(key).T.astype(queue.dtype)
    return queue.at[:, columns].set(keys, unique_indices=True), (pointer + num_keys) % size


def init_params(config: "Config", width: int, rngs: nnx.Rngs) -> Any:
    """Returns projector and predictor; None if there are none."""
    if not config.projection_width:
        return None
    hidden = config.hidden_width or width
    widths = (width, *[hidden] * (config.projection_layers - 1), config.projection_width)
    params = {"projector": _network.init(widths, rngs, batch_norm=config.batch_norm)}
    if config.predictor:
        widths = (config.projection_width, hidden, config.projection_width)
        params["predictor"] = _network.init(widths, rngs, batch_norm=config.batch_norm)
    return params


def init_state(
    config: "Config", width: int, encoder: nnx.State, params: Any, rngs: nnx.Rngs
) -> dict[str, Any]:
    """Returns the momentum networks and a queue of random unit columns."""
    state: dict[str, Any] = {"encoder": encoder}
    if config.projection_width:
        state["projector"] = params["projector"]
    if config.queue_size:
        shape = (config.queue_size, config.projection_width or width)
        state["queue"] = _cosine.unit(jax.random.normal(rngs.params(), shape)).T
        state["pointer"] = jnp.zeros((), jnp.int32)
    return state


def outcome(inputs: Inputs, config: "Config") -> Outcome:
    """Returns the loss of a step; the carry holds its keys and its momentum."""
    queries = [_query(inputs.params, view, config) for view in (inputs.view_a, inputs.view_b)]
    keys = [_project(inputs.state, view, config) for view in inputs.encode(inputs.state["encoder"])]
    pairs = [(queries[0], keys[1])] + [(queries[1], keys[0])] * config.symmetric
    if config.queue_size:
        queue = inputs.state["queue"]
        losses = [queue_loss(q, k, queue, config.temperature, inputs.mesh) for q, k in pairs]
    else:
        losses = [batch_loss(q, k, config.temperature, inputs.mesh) for q, k in pairs]
    momentum = _momentum.at_step(
        config.momentum, config.momentum_schedule, inputs.step, inputs.num_steps
    )
    carry = {"momentum": momentum}
    if config.queue_size:
        carry["key"] = keys[1]
    return Outcome({"loss": sum(losses[1:], losses[0]) / len(losses)}, carry)


def _query(params: Any, view: jax.Array, config: "Config") -> jax.Array:
    projected = _project(params, view, config)
    if not config.predictor:
        return projected
    return _network.apply(params["predictor"], projected, normalise_output=config.batch_norm)[0]


def _project(networks: Any, view: jax.Array, config: "Config") -> jax.Array:
    """Returns the projections of embeddings, or the embeddings if there is no projector."""
    view = _cosine.widen(view)
    if not config.projection_width:
        return view
    return _network.apply(networks["projector"], view, normalise_output=config.batch_norm)[0]


def update_state(
    config: "Config", state: dict[str, Any], carry: Any, encoder: nnx.State, params: Any
) -> dict[str, Any]:
    """Returns the state after the optimiser's update: momentum networks first, then the queue."""
    trained = {"encoder": encoder}
    if config.projection_width:
        trained["projector"] = params["projector"]
    new = {
        name: _momentum.follow(state[name], network, carry["momentum"])
        for name, network in trained.items()
    }
    if config.queue_size:
        new["queue"], new["pointer"] = enqueue(state["queue"], state["pointer"], carry["key"])
    return new
