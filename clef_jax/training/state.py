"""The state of a training run, and what stays the same while it trains.

Shapes: B patients of the global batch, D embedding.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.sharding import Mesh

from clef_jax import machine, mesh as mesh_lib, models
from clef_jax.config import TrainConfig
from clef_jax.convolution.rules import Choices


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
    """All that changes from step to step. There is no random key: draws follow (seed, step)."""

    step: jax.Array
    """Updates tried so far; also the position in the data."""
    params: nnx.State
    opt_state: optax.OptState
    num_skipped: jax.Array
    """Updates skipped because loss or gradient was not finite."""
    num_skipped_in_a_row: jax.Array


@dataclasses.dataclass(frozen=True)
class Trainer:
    """What stays the same during a run: settings, encoder structure, optimiser, mesh."""

    config: TrainConfig
    loss_config: Any
    """The objective's settings, completed by what the data set knows about its cohort."""
    mesh: Mesh
    platform: str
    """What the step is compiled for: `cpu`, `gpu` or `tpu`."""
    tx: optax.GradientTransformation
    graph: nnx.GraphDef
    state_sharding: TrainState = dataclasses.field(compare=False)
    """Where each array of the state lives."""
    init: Callable[[], TrainState]
    """Makes the first state, each array born in its sharding."""
    conv_choices: Choices | None = None
    """Measured forms of the grouped convolution; None is the table."""


def make_optimizer(config: TrainConfig, schedule: optax.Schedule) -> optax.GradientTransformation:
    adamw = optax.adamw(schedule, weight_decay=config.weight_decay)
    if config.max_grad_norm is None:
        return adamw
    return optax.chain(optax.clip_by_global_norm(config.max_grad_norm), adamw)


def make_trainer(
    config: TrainConfig,
    schedule: optax.Schedule,
    mesh: Mesh,
    *,
    cohort: np.ndarray | None = None,
    platform: str | None = None,
    conv_choices: Choices | None = None,
) -> Trainer:
    """`cohort` are the quantiles of risk in the data set (NaN where there is no risk), for the
    objectives that ask for them; `platform` is that of the mesh unless given."""
    platform = platform or mesh_lib.platform(mesh)
    loss_config = config.loss_config
    asks = getattr(loss_config, "cohort", ()) is None
    if asks and cohort is not None and np.isfinite(cohort).all():
        loss_config = dataclasses.replace(loss_config, cohort=tuple(cohort.tolist()))
    tx = make_optimizer(config, schedule)
    dtype = machine.compute_dtype(config.precision, platform)

    def create() -> models.Net1D:
        rngs = nnx.Rngs(config.seed)
        return models.create_encoder(config.size, rngs=rngs, dtype=dtype, remat=config.remat)

    def first_state() -> TrainState:
        params = nnx.state(create(), nnx.Param)
        zero = jnp.zeros((), jnp.int32)
        return TrainState(zero, params, tx.init(params), zero, zero)

    sharding = _state_sharding(jax.eval_shape(first_state), config, mesh)
    init = jax.jit(first_state, out_shardings=sharding)
    graph = nnx.graphdef(nnx.eval_shape(create))
    return Trainer(config, loss_config, mesh, platform, tx, graph, sharding, init, conv_choices)


def _state_sharding(state: TrainState, config: TrainConfig, mesh: Mesh) -> TrainState:
    """Parameters everywhere; the optimiser's moments divided if that is asked for (ZeRO-1 of
    Rajbhandari et al. 2020, arXiv 1910.02054)."""
    sharding = jax.tree.map(lambda x: mesh_lib.everywhere(mesh), state)
    if not config.shard_optimizer:
        return sharding
    moments = jax.tree.map(lambda x: mesh_lib.divided(mesh, x.shape), state.opt_state)
    return dataclasses.replace(sharding, opt_state=moments)


def abstract_state(trainer: Trainer) -> TrainState:
    """Shapes, types and shardings of the state, without computing it."""
    return jax.tree.map(
        lambda x, sharding: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding),
        jax.eval_shape(trainer.init),
        trainer.state_sharding,
    )
