"""The jitted update of the training state.

Shapes: B patients of the global batch, T time (samples), D embedding. A patient has two views.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.sharding import Mesh

from clef_jax import mesh as mesh_lib, objectives
from clef_jax.config import TrainConfig
from clef_jax.convolution.activated import use_bias_in_product, use_own_kernels
from clef_jax.convolution.in_place import use_kernel_gradients_in_place
from clef_jax.convolution.rules import use_tuning
from clef_jax.data import label as label_lib
from clef_jax.machine import use_platform
from clef_jax.signal import noise as noise_lib, view as view_lib
from clef_jax.signal.augment_config import AugmentConfig
from clef_jax.signal.device import Bandpass, make_bandpass
from clef_jax.training import flat_gradient, state as state_lib
from clef_jax.training.state import Trainer, TrainState


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["bandpass", "noise"],
    meta_fields=["stored_samples"],
)
@dataclasses.dataclass(frozen=True)
class Constants:
    """Arrays that every step reads and none changes.

    They are arguments of the step, so that XLA does not fold them into the program.
    """

    bandpass: Bandpass
    noise: noise_lib.NoiseBank
    stored_samples: tuple[int, ...] = ()
    """Lengths of the stored windows that are resampled, ascending; empty if none is."""


def make_constants(
    config: TrainConfig, sample_rate_hz: float, mesh: Mesh, stored_samples: tuple[int, ...] = ()
) -> Constants:
    """Returns the constants of a run, replicated on all devices of a mesh."""
    constants = load_constants(config, sample_rate_hz, stored_samples)
    return jax.device_put(constants, mesh_lib.everywhere(mesh))


def load_constants(
    config: TrainConfig, sample_rate_hz: float, stored_samples: tuple[int, ...] = ()
) -> Constants:
    """Returns the constants of a run on the default device.

    Args:
        config: settings of the run.
        sample_rate_hz: sampling rate of the encoder's input.
        stored_samples: lengths of the stored windows that are resampled; by default none is.
    """
    num_samples = round(config.window_seconds * sample_rate_hz)
    return Constants(
        bandpass=make_bandpass(num_samples, sample_rate_hz, *config.band_hz),
        noise=noise_lib.load_noise(config.noise_path, sample_rate_hz=sample_rate_hz),
        stored_samples=stored_samples,
    )


def make_views(
    trainer: Trainer, batch: dict, constants: Constants, step: jax.Array, augment: AugmentConfig
) -> jax.Array:
    """Makes filtered, augmented and z-scored views of a batch's stored samples.

    Each view's key follows from (seed, step, index in the global batch), so that random numbers do
    not depend on the number of devices.

    Returns:
        The views, float32 [B, 2, T].
    """

    def local(keys, adc, others, constants):
        def make(constants, rows):
            keys, adc, others = rows
            with use_platform(trainer.platform):
                return view_lib.make_view(
                    keys,
                    adc,
                    **others,
                    filter=constants.bandpass,
                    noise=constants.noise,
                    config=augment,
                    stored_samples=constants.stored_samples,
                )

        num_rows = adc.shape[0] * adc.shape[1]
        adc_rows = adc.reshape(num_rows, -1)
        others = {name: x.reshape(num_rows) for name, x in others.items()}
        rows = (keys.reshape(num_rows), adc_rows, others)
        views = _in_microbatches(make, constants, rows, trainer.config.num_microbatches)
        return views.reshape(*adc.shape[:2], -1)

    num_views = batch["adc"].shape[0] * batch["adc"].shape[1]
    step_key = jax.random.fold_in(jax.random.key(trainer.config.seed), step)
    keys = jax.vmap(jax.random.fold_in, (None, 0))(step_key, jnp.arange(num_views))
    keys = keys.reshape(batch["adc"].shape[:2])
    others = {name: batch[name] for name in ("gain_per_mv", "baseline", "lead")}
    if constants.stored_samples:  # one length for both views of a patient
        both = batch["stored_length"][:, None]
        others["stored_length"] = jnp.broadcast_to(both, keys.shape)
    return jax.shard_map(
        local,
        mesh=trainer.mesh,
        in_specs=(*[mesh_lib.ROWS] * 3, mesh_lib.EVERYWHERE),
        out_specs=mesh_lib.ROWS,
    )(keys, batch["adc"], others, constants)


def embed(
    trainer: Trainer,
    params: nnx.State,
    signals: jax.Array,
    buckets: Sequence[jax.Array] | None = None,
) -> tuple[jax.Array, jax.Array]:
    """Embeds both views, float32 [B, 2, T], of each patient.

    The encoder runs per device under `shard_map`: under plain `jit`, XLA gathers the whole batch of
    signals around every grouped convolution (openxla/xla#47945).

    Args:
        trainer: the trainer.
        params: parameters of the encoder.
        signals: the views.
        buckets: vectors of `flat_gradient`, by which the embeddings then have a gradient instead of
            by the parameters.

    Returns:
        The embeddings of the first and of the second views, [B, D] each.
    """

    is_in_place = bool(trainer.config.remat) and trainer.platform == "gpu"
    has_bias = trainer.config.bias_in_product and trainer.platform == "gpu"
    has_own = trainer.config.own_kernels and trainer.platform == "gpu"
    # Tests compute the form of a GPU's step on a CPU.
    is_real = isinstance(trainer.mesh, Mesh)
    devices = mesh_lib.platform(trainer.mesh) if is_real else trainer.platform

    def local(params, buckets, signals):
        # Each device uses its own copy; the backward pass sums the gradients of the copies.
        params, buckets = jax.lax.pcast((params, buckets), mesh_lib.DATA, to="varying")
        if buckets is not None:
            params = flat_gradient.attach(params, buckets)

        def encode(params, signals):
            encoder = nnx.merge(trainer.graph, params)
            b, views, t = signals.shape
            tuned = use_tuning(trainer.conv_choices)
            gradients = use_kernel_gradients_in_place(is_in_place)
            own = use_own_kernels(has_own, devices)
            bias = use_bias_in_product(has_bias)
            scope = jax.named_scope("encoder")
            with use_platform(trainer.platform), tuned, gradients, own, bias, scope:
                return encoder(signals.reshape(b * views, t, 1)).reshape(b, views, -1)

        return _in_microbatches(encode, params, signals, trainer.config.num_microbatches)

    embeddings = jax.shard_map(
        local,
        mesh=trainer.mesh,
        in_specs=(mesh_lib.EVERYWHERE, mesh_lib.EVERYWHERE, mesh_lib.ROWS),
        out_specs=mesh_lib.ROWS,
    )(params, buckets, signals)
    return embeddings[:, 0], embeddings[:, 1]


def _in_microbatches(
    function: Callable, shared: Any, rows: Any, num_microbatches: int
) -> jax.Array:
    """Returns `function(shared, rows)`, computed on one microbatch of the rows after another.

    The backward pass computes each microbatch again. Memory so holds the activations of only one
    microbatch, while the contrastive loss compares all embeddings and the gradient is exact (Gao et
    al. 2021, arXiv 2101.06983).
    """
    if num_microbatches == 1:
        return function(shared, rows)
    microbatches = jax.tree.map(lambda x: x.reshape(num_microbatches, -1, *x.shape[1:]), rows)
    recomputed = jax.checkpoint(function, prevent_cse=False)
    results = jax.lax.map(lambda microbatch: recomputed(shared, microbatch), microbatches)
    return results.reshape(-1, *results.shape[2:])


def loss_terms(
    trainer: Trainer,
    params: nnx.State,
    signals: jax.Array,
    batch: dict,
    objective_params: Any = None,
    objective_state: Any = None,
    step: jax.Array | int = 0,
    buckets: Sequence[jax.Array] | None = None,
) -> objectives.Outcome:
    """Returns the objective's scalars over the global batch, including `loss`, and its carry."""
    view_a, view_b = embed(trainer, params, signals, buckets)

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
        step=step,
        num_steps=trainer.num_steps,
    )
    with use_platform(trainer.platform), jax.named_scope("loss"):
        outcome = trainer.objective.terms(inputs, trainer.loss_config)
    objectives.check_outcome(trainer.config.objective, outcome)
    return outcome


def train_step(
    state: TrainState, batch: dict, constants: Constants, *, trainer: Trainer
) -> tuple[TrainState, dict[str, Any]]:
    """Updates the state on a global batch.

    An update whose loss or gradient is not finite is skipped: it only changes the counters.

    Returns:
        The new state, and scalar metrics by name.
    """
    signals = make_views(trainer, batch, constants, state.step, trainer.config.augment)
    own_params, own_state = state.objective_params, state.objective_state

    def loss_fn(trained, buckets=None):
        params, objective_params = state_lib.split_trainable(trained, own_params)
        own = (objective_params, own_state, state.step)
        outcome = loss_terms(trainer, params, signals, batch, *own, buckets)
        return outcome.terms["loss"], outcome

    trained = state_lib.trainable(state.params, own_params)
    if trainer.platform == "gpu":
        (loss, outcome), grads, grad_norm = _differentiate_by_buckets(loss_fn, state)
    else:
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
        ema_params=keep(_averaged(trainer, state.ema_params, new_params), state.ema_params),
    )
    metrics = outcome.terms | {
        "grad_norm": grad_norm,
        "num_skipped": state.num_skipped,
        "num_skipped_in_a_row": state.num_skipped_in_a_row,
    }
    return state, metrics


def _differentiate_by_buckets(
    loss_fn: Callable, state: TrainState
) -> tuple[tuple[jax.Array, objectives.Outcome], Any, jax.Array]:
    """Returns loss and outcome, the gradient as a tree like the trained parameters, and its norm.

    The gradient of the encoder is computed as the vectors of `flat_gradient`.
    """

    def loss_of(buckets, own_params):
        return loss_fn(state_lib.trainable(state.params, own_params), buckets)

    values, (buckets, own_grads) = jax.value_and_grad(loss_of, argnums=(0, 1), has_aux=True)(
        flat_gradient.empty_buckets(state.params), state.objective_params
    )
    grads = state_lib.trainable(flat_gradient.to_tree(buckets, state.params), own_grads)
    return values, grads, optax.tree.norm((buckets, own_grads))


def _averaged(trainer: Trainer, average: Any, params: nnx.State) -> Any:
    """Returns the moving average of the encoder's parameters after an update; None if none."""
    decay = trainer.config.ema_decay
    if average is None or decay is None:
        return None
    return jax.tree.map(lambda old, new: decay * old + (1 - decay) * new, average, params)


def make_train_step(trainer: Trainer) -> Callable:
    """Returns `train_step`, jitted for the trainer's mesh; it donates the state it receives."""
    everywhere, rows = mesh_lib.everywhere(trainer.mesh), mesh_lib.rows(trainer.mesh)
    return jax.jit(
        functools.partial(train_step, trainer=trainer),
        in_shardings=(trainer.state_sharding, rows, everywhere),
        out_shardings=(trainer.state_sharding, everywhere),
        donate_argnums=0,
    )


def make_embed_step(trainer: Trainer, augment: AugmentConfig) -> Callable:
    """Returns a jitted function from (params, batch, constants) to the embeddings of both views.

    Its random numbers are those of step 0 at every call.
    """
    everywhere, rows = mesh_lib.everywhere(trainer.mesh), mesh_lib.rows(trainer.mesh)
    # The batch of a check is small and keeps no activations, so it needs no microbatches.
    config = dataclasses.replace(trainer.config, num_microbatches=1)
    trainer = dataclasses.replace(trainer, config=config)

    def embed_step(params, batch, constants):
        signals = make_views(trainer, batch, constants, jnp.zeros((), jnp.int32), augment)
        view_a, view_b = embed(trainer, params, signals)
        return view_a, view_b

    return jax.jit(
        embed_step, in_shardings=(everywhere, rows, everywhere), out_shardings=everywhere
    )
