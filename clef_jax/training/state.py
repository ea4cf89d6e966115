"""The state of a training run, and the trainer that creates it.

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
from clef_jax.convolution.rules import TuningResults
from clef_jax.models import size as size_lib

_OBJECTIVE_STREAM = 1
"""Number folded into the seed to get the random numbers of an objective."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
    """Everything that changes from step to step; random numbers follow from seed and step."""

    step: jax.Array
    """Number of updates so far, skipped ones included; also the position in the data."""
    params: nnx.State
    """Parameters of the encoder."""
    opt_state: optax.OptState
    num_skipped: jax.Array
    """Number of updates that were skipped because loss or gradient was not finite."""
    num_skipped_in_a_row: jax.Array
    """Number of updates skipped since the last one that was applied."""
    objective_params: Any = None
    """Parameters of the objective, for example a projector's; None if it has none."""
    objective_state: Any = None
    """State of the objective, for example a queue; None if it has none."""
    ema_params: Any = None
    """Exponential moving average of the encoder's parameters; None if the run keeps none. It is the
    last field, where `Checkpoints.restore_params` expects its digests."""


@dataclasses.dataclass(frozen=True)
class Trainer:
    """Everything that is constant during a run: settings, encoder, optimiser, mesh."""

    config: TrainConfig
    loss_config: Any
    """Settings of the objective, completed with the data set's risk quantiles."""
    objective: objectives.Objective = dataclasses.field(compare=False)
    """The objective of the settings; it is not compared, as the settings name it."""
    mesh: Mesh
    platform: str
    """Platform that the step is compiled for: `cpu`, `gpu` or `tpu`."""
    tx: optax.GradientTransformation
    """The optimiser."""
    graph: nnx.GraphDef
    """Structure of the encoder."""
    state_sharding: TrainState = dataclasses.field(compare=False)
    """Sharding of each array of the state."""
    init: Callable[[], TrainState]
    """Creates the initial state, each array directly in its sharding."""
    conv_choices: TuningResults | None = None
    """Tuning results of the grouped convolution; None uses the default rules."""
    num_steps: int = 1
    """Number of updates of the whole run, on which schedules of an objective may depend."""


def make_optimizer(config: TrainConfig, schedule: optax.Schedule) -> optax.GradientTransformation:
    """Returns AdamW, preceded by gradient clipping where the settings ask for it."""
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
    conv_choices: TuningResults | None = None,
    num_steps: int | None = None,
) -> Trainer:
    """Returns the trainer of a run.

    Args:
        config: settings of the run.
        schedule: maps the step to the learning rate.
        mesh: devices of the run.
        cohort: risk quantiles of the data set (NaN without known risks), for objectives that need
            them.
        label_widths: number of columns of each label that the objective requests.
        platform: platform that the step is compiled for; by default the mesh's.
        conv_choices: tuning results of the grouped convolution; by default its default rules.
        num_steps: number of updates of the whole run; by default that of the settings, or 1.
    """
    platform = platform or mesh_lib.platform(mesh)
    objective = objectives.load_one(config.objective)
    loss_config = objective.complete(config.loss_config, cohort)
    tx = make_optimizer(config, schedule)
    dtype = machine.compute_dtype(config.precision, platform)

    def create() -> models.Net1D:
        rngs = nnx.Rngs(config.seed)
        remat = bool(config.remat)
        return models.create_encoder(config.size, rngs=rngs, dtype=dtype, remat=remat)

    def first_state() -> TrainState:
        params = nnx.state(create(), nnx.Param)
        width = size_lib.by_name(config.size).embedding_width
        sizes = objectives.Sizes(width, config.global_batch_size, label_widths or {})
        own_params, own_state = _first_of_objective(objective, loss_config, sizes, params, config)
        opt_state = tx.init(trainable(params, own_params))
        zero = jnp.zeros((), jnp.int32)
        ema = None if config.ema_decay is None else params
        return TrainState(zero, params, opt_state, zero, zero, own_params, own_state, ema)

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
        num_steps or config.num_steps or 1,
    )


def _first_of_objective(
    objective: objectives.Objective,
    loss_config: Any,
    sizes: objectives.Sizes,
    params: nnx.State,
    config: TrainConfig,
) -> tuple[Any, Any]:
    """Returns the initial parameters and state of an objective; None where it has none."""
    # A stream of its own, so that an objective does not change the encoder's random numbers.
    rngs = nnx.Rngs(jax.random.fold_in(jax.random.key(config.seed), _OBJECTIVE_STREAM))
    own_params = own_state = None
    if objective.init_params is not None:
        own_params = objective.init_params(loss_config, sizes, rngs)
        objectives.check_params(config.objective, own_params)
    if objective.init_state is not None:
        own_state = objective.init_state(loss_config, sizes, params, own_params, rngs)
    return own_params, own_state


def trainable(params: nnx.State, objective_params: Any) -> Any:
    """Returns all parameters that the optimiser updates, as one tree.

    For an objective without parameters this is the encoder's tree itself, so that checkpoints from
    before objectives had parameters can still be restored.
    """
    return params if objective_params is None else (params, objective_params)


def split_trainable(tree: Any, objective_params: Any) -> tuple[nnx.State, Any]:
    """Splits a tree like that of `trainable` into the encoder's and the objective's tree."""
    return (tree, None) if objective_params is None else tree


def _state_sharding(state: TrainState, config: TrainConfig, mesh: Mesh) -> TrainState:
    """Returns the sharding of each array of a state.

    Parameters are replicated. `shard_optimizer` splits the optimiser's moments over the devices
    (ZeRO-1, Rajbhandari et al. 2020, arXiv 1910.02054).
    """
    sharding = jax.tree.map(lambda x: mesh_lib.everywhere(mesh), state)
    if not config.shard_optimizer:
        return sharding
    moments = jax.tree.map(lambda x: mesh_lib.divided(mesh, x.shape), state.opt_state)
    return dataclasses.replace(sharding, opt_state=moments)


def abstract_state(trainer: Trainer) -> TrainState:
    """Returns shapes, types and shardings of the state without computing it."""
    return jax.tree.map(
        lambda x, sharding: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding),
        jax.eval_shape(trainer.init),
        trainer.state_sharding,
    )
