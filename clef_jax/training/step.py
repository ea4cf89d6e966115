"""The one jitted update of the training state.

Shapes: B patients of the global batch, T time, D embedding. Each patient gives two views.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.sharding import Mesh

from clef_jax import mesh as mesh_lib, objectives
from clef_jax.config import TrainConfig
from clef_jax.convolution.rules import use_choices
from clef_jax.data import label as label_lib
from clef_jax.machine import use_platform
from clef_jax.signal import noise as noise_lib, view as view_lib
from clef_jax.signal.augment import AugmentConfig
from clef_jax.signal.device import Bandpass, make_bandpass
from clef_jax.training import state as state_lib
from clef_jax.training.state import Trainer, TrainState


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Constants:
    """Arrays that every step reads and none changes; arguments, so that XLA need not fold them."""

    bandpass: Bandpass
    noise: noise_lib.NoiseBank


def make_constants(config: TrainConfig, sample_rate_hz: float, mesh: Mesh) -> Constants:
    return jax.device_put(load_constants(config, sample_rate_hz), mesh_lib.everywhere(mesh))


def load_constants(config: TrainConfig, sample_rate_hz: float) -> Constants:
    """Those of a run, on no mesh yet."""
    num_samples = round(config.window_seconds * sample_rate_hz)
    return Constants(
        bandpass=make_bandpass(num_samples, sample_rate_hz, *config.band_hz),
        noise=noise_lib.load_noise(config.noise_path, sample_rate_hz=sample_rate_hz),
    )


def make_views(
    trainer: Trainer, batch: dict, constants: Constants, step: jax.Array, augment: AugmentConfig
) -> jax.Array:
    """Filtered, augmented, z-scored views float32[B, 2, T] of a batch's raw samples.

    Each view's key comes from (seed, step, place in the global batch), so that no arrangement of
    devices changes a draw.
    """

    def local(keys, adc, gain_per_mv, baseline, lead, constants):
        def make(constants, rows):
            with use_platform(trainer.platform):
                return view_lib.make_view(
                    *rows, filter=constants.bandpass, noise=constants.noise, config=augment
                )

        num_rows = adc.shape[0] * adc.shape[1]
        adc_rows = adc.reshape(num_rows, -1)
        others = (x.reshape(num_rows) for x in (gain_per_mv, baseline, lead))
        rows = (keys.reshape(num_rows), adc_rows, *others)
        views = _in_turns(make, constants, rows, trainer.config.num_microbatches)
        return views.reshape(adc.shape)

    num_views = batch["adc"].shape[0] * batch["adc"].shape[1]
    step_key = jax.random.fold_in(jax.random.key(trainer.config.seed), step)
    keys = jax.vmap(jax.random.fold_in, (None, 0))(step_key, jnp.arange(num_views))
    keys = keys.reshape(batch["adc"].shape[:2])
    return jax.shard_map(
        local,
        mesh=trainer.mesh,
        in_specs=(*[mesh_lib.ROWS] * 5, mesh_lib.EVERYWHERE),
        out_specs=mesh_lib.ROWS,
    )(keys, batch["adc"], batch["gain_per_mv"], batch["baseline"], batch["lead"], constants)


def embed(trainer: Trainer, params: nnx.State, signals: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Embeddings ([B, D], [B, D]) of both views, from float32[B, 2, T].

    Runs per device under `shard_map`: under plain `jit`, XLA gathers the whole batch of signals
    around every grouped convolution (openxla/xla#47945).
    """

    def local(params, signals):
        # Each device takes its own copy; the gradients of the copies are summed on the way back.
        params = jax.lax.pcast(params, mesh_lib.DATA, to="varying")

        def encode(params, signals):
            encoder = nnx.merge(trainer.graph, params)
            b, views, t = signals.shape
            by_measure = use_choices(trainer.conv_choices)
            with use_platform(trainer.platform), by_measure, jax.named_scope("encoder"):
                return encoder(signals.reshape(b * views, t, 1)).reshape(b, views, -1)

        return _in_turns(encode, params, signals, trainer.config.num_microbatches)

    embeddings = jax.shard_map(
        local,
        mesh=trainer.mesh,
        in_specs=(mesh_lib.EVERYWHERE, mesh_lib.ROWS),
        out_specs=mesh_lib.ROWS,
    )(params, signals)
    return embeddings[:, 0], embeddings[:, 1]


def _in_turns(function: Callable, whole: Any, rows: Any, num_turns: int) -> jax.Array:
    """`function(whole, rows)`, with a part of the rows, one per example, at a time.

    A part is computed again for the backward pass. The contrastive loss, which needs all rows at
    once, so meets every embedding while memory holds the activations of one part, and the gradient
    is exact (Gao et al. 2021, arXiv 2101.06983).
    """
    if num_turns == 1:
        return function(whole, rows)
    parts = jax.tree.map(lambda x: x.reshape(num_turns, -1, *x.shape[1:]), rows)
    one = jax.checkpoint(function, prevent_cse=False)
    results = jax.lax.map(lambda part: one(whole, part), parts)
    return results.reshape(-1, *results.shape[2:])


def loss_terms(
    trainer: Trainer,
    params: nnx.State,
    signals: jax.Array,
    batch: dict,
    objective_params: Any = None,
    objective_state: Any = None,
) -> objectives.Outcome:
    """Returns the objective's scalars over the global batch, `loss` among them, and its carry."""
    view_a, view_b = embed(trainer, params, signals)

    def encode(other_params: nnx.State) -> tuple[jax.Array, jax.Array]:
        return jax.lax.stop_gradient(embed(trainer, other_params, signals))

    names = trainer.objective.labels(trainer.loss_config)
    inputs = objectives.Inputs(
        view_a=view_a,
        view_b=view_b,
        risk=batch["risk"],
        completeness=batch["completeness"],
        labels={name: batch[label_lib.PREFIX + name] for name in names},
        params=objective_params,
        state=jax.lax.stop_gradient(objective_state),
        encode=encode,
        mesh=trainer.mesh,
    )
    with use_platform(trainer.platform), jax.named_scope("loss"):
        outcome = trainer.objective.terms(inputs, trainer.loss_config)
    objectives.check_outcome(trainer.config.objective, outcome)
    return outcome


def train_step(
    state: TrainState, batch: dict, constants: Constants, *, trainer: Trainer
) -> tuple[TrainState, dict[str, Any]]:
    """One update on the global batch; an update with anything non-finite in it changes nothing."""
    signals = make_views(trainer, batch, constants, state.step, trainer.config.augment)
    own_params, own_state = state.objective_params, state.objective_state

    def loss_fn(trained):
        params, objective_params = state_lib.split_trainable(trained, own_params)
        outcome = loss_terms(trainer, params, signals, batch, objective_params, own_state)
        return outcome.terms["loss"], outcome

    trained = state_lib.trainable(state.params, own_params)
    (loss, outcome), grads = jax.value_and_grad(loss_fn, has_aux=True)(trained)
    grad_norm = optax.tree.norm(grads)
    finite = jnp.isfinite(loss) & jnp.isfinite(grad_norm)
    with jax.named_scope("optimizer"):
        updates, opt_state = trainer.tx.update(grads, state.opt_state, trained)
        new_params, new_own_params = state_lib.split_trainable(
            optax.apply_updates(trained, updates), own_params
        )
    new_own_state = own_state
    if trainer.objective.update_state is not None:
        new_own_state = trainer.objective.update_state(
            trainer.loss_config, own_state, outcome.carry, new_params, new_own_params
        )
        objectives.check_state(trainer.config.objective, own_state, new_own_state)
    keep = functools.partial(jax.tree.map, lambda new, old: jnp.where(finite, new, old))
    skipped = (~finite).astype(jnp.int32)
    state = TrainState(
        step=state.step + 1,
        params=keep(new_params, state.params),
        opt_state=keep(opt_state, state.opt_state),
        num_skipped=state.num_skipped + skipped,
        num_skipped_in_a_row=(state.num_skipped_in_a_row + skipped) * skipped,
        objective_params=keep(new_own_params, own_params),
        objective_state=keep(new_own_state, own_state),
    )
    metrics = outcome.terms | {
        "grad_norm": grad_norm,
        "num_skipped": state.num_skipped,
        "num_skipped_in_a_row": state.num_skipped_in_a_row,
    }
    return state, metrics


def make_train_step(trainer: Trainer) -> Callable:
    """`train_step` compiled for the trainer's mesh; the incoming state is donated."""
    everywhere, rows = mesh_lib.everywhere(trainer.mesh), mesh_lib.rows(trainer.mesh)
    return jax.jit(
        functools.partial(train_step, trainer=trainer),
        in_shardings=(trainer.state_sharding, rows, everywhere),
        out_shardings=(trainer.state_sharding, everywhere),
        donate_argnums=0,
    )


def make_embed_step(trainer: Trainer, augment: AugmentConfig) -> Callable:
    """Compiled (params, batch, constants) -> embeddings of both views, drawn alike every time."""
    everywhere, rows = mesh_lib.everywhere(trainer.mesh), mesh_lib.rows(trainer.mesh)
    # A look is small and keeps no activations, so it needs no turns.
    config = dataclasses.replace(trainer.config, num_microbatches=1)
    trainer = dataclasses.replace(trainer, config=config)

    def embed_step(params, batch, constants):
        signals = make_views(trainer, batch, constants, jnp.zeros((), jnp.int32), augment)
        view_a, view_b = embed(trainer, params, signals)
        return view_a, view_b

    return jax.jit(
        embed_step, in_shardings=(everywhere, rows, everywhere), out_shardings=everywhere
    )
