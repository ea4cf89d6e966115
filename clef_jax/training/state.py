"""The state of a training run, and what stays the same while it trains.

Shapes: B patients of the global batch, D embedding.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.sharding import Mesh

from clef_jax import machine, mesh as mesh_lib, models, objectives
from clef_jax.config import TrainConfig
from clef_jax.convolution.rules import Choices
from clef_jax.models import size as size_lib

_OBJECTIVE_STREAM = 1
"""Folded into the seed for the random numbers of an objective."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
    """All that changes from step to step. There is no random key: draws follow (seed, step)."""

    step: jax.Array
    """Updates tried so far; also the position in the data."""
    params: nnx.State
    """The encoder's."""
    opt_state: optax.OptState
    num_skipped: jax.Array
    """Updates skipped because loss or gradient was not finite."""
    num_skipped_in_a_row: jax.Array
    objective_params: Any = None
    """Parameters of the objective, a projector's for example; None where it has none."""
    objective_state: Any = None
    """State of the objective, a queue for example; None where it has none."""


@dataclasses.dataclass(frozen=True)
class Trainer:
    """What stays the same during a run: settings, encoder structure, optimiser, mesh."""

    config: TrainConfig
    loss_config: Any
    """The objective's settings, completed by what the data set knows about its cohort."""
    objective: objectives.Objective = dataclasses.field(compare=False)
    """The objective of the settings; its functions and presets are no part of the comparison."""
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
    label_widths: Mapping[str, int] | None = None,
    platform: str | None = None,
    conv_choices: Choices | None = None,
) -> Trainer:
    """Returns the trainer of a run.

    Args:
        schedule: maps the step to the learning rate.
        cohort: quantiles of risk in the data set (NaN where there is no risk), for objectives that
            need them.
        label_widths: columns of each label that the objective asks for.
        platform: what the step is compiled for; by default the mesh's.
        conv_choices: measured implementations of the grouped convolution; by default the rules'.
    """
    platform = platform or mesh_lib.platform(mesh)
    objective = objectives.load_one(config.objective)
    loss_config = objective.complete(config.loss_config, cohort)
    tx = make_optimizer(config, schedule)
    dtype = machine.compute_dtype(config.precision, platform)

    def create() -> models.Net1D:
        rngs = nnx.Rngs(config.seed)
        return models.create_encoder(config.size, rngs=rngs, dtype=dtype, remat=config.remat)

    def first_state() -> TrainState:
        params = nnx.state(create(), nnx.Param)
        width = size_lib.by_name(config.size).embedding_width
        sizes = objectives.Sizes(width, config.global_batch_size, label_widths or {})
        own_params, own_state = _first_of_objective(objective, loss_config, sizes, params, config)
        opt_state = tx.init(trainable(params, own_params))
        zero = jnp.zeros((), jnp.int32)
        return TrainState(zero, params, opt_state, zero, zero, own_params, own_state)

    sharding = _state_sharding(jax.eval_shape(first_state), config, mesh)
    init = jax.jit(first_state, out_shardings=sharding)
    graph = nnx.graphdef(nnx.eval_shape(create))
    return Trainer(
        config,
        loss_config,
        objective,
        mesh,
        platform,
        tx,
        graph,
        sharding,
        init,
        conv_choices,
    )


def _first_of_objective(
    objective: objectives.Objective,
    loss_config: Any,
    sizes: objectives.Sizes,
    params: nnx.State,
    config: TrainConfig,
) -> tuple[Any, Any]:
    """Returns the first parameters and the first state of an objective; None where it has none."""
    # Apart from the encoder's random numbers, which an objective must not change.
    rngs = nnx.Rngs(jax.random.fold_in(jax.random.key(config.seed), _OBJECTIVE_STREAM))
    own_params = own_state = None
    if objective.init_params is not None:
        own_params = objective.init_params(loss_config, sizes, rngs)
        objectives.check_params(config.objective, own_params)
    if objective.init_state is not None:
        own_state = objective.init_state(loss_config, sizes, params, own_params, rngs)
    return own_params, own_state


def trainable(params: nnx.State, objective_params: Any) -> Any:
    """Returns what the optimiser updates as one tree.

    It is the encoder's parameters alone where the objective has none, so that checkpoints of runs
    from before objectives had parameters keep their form.
    """
    return params if objective_params is None else (params, objective_params)


def split_trainable(tree: Any, objective_params: Any) -> tuple[nnx.State, Any]:
    """Returns the encoder's and the objective's part of a tree like `trainable`'s."""
    return (tree, None) if objective_params is None else tree


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
