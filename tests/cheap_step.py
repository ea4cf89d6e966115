"""A training step that compiles at once, for tests of everything around the step.

It adds a number that depends on every value of the batch to every array of the state. A run that
skipped, repeated or changed an example so ends with other parameters.
"""

import dataclasses
import time

import jax
import jax.numpy as jnp
import numpy as np

from clef_jax import mesh as mesh_lib
from clef_jax.training import logs, state as state_lib, step as step_lib


def use(seconds: float) -> None:
    """Replaces the step of this process and its first state; each step lasts so many seconds."""
    make_trainer, step_done = state_lib.make_trainer, logs.Clock.step_done

    def make_cheap_trainer(*arguments, **settings):
        trainer = make_trainer(*arguments, **settings)
        return dataclasses.replace(trainer, init=_make_init(trainer))

    def wait_and_end_step(clock):
        time.sleep(seconds)  # for the test to disturb the run before its last step
        step_done(clock)

    state_lib.make_trainer = make_cheap_trainer
    step_lib.make_train_step = _make_train_step
    logs.Clock.step_done = wait_and_end_step


def _make_init(trainer: state_lib.Trainer):
    state = jax.eval_shape(trainer.init)

    def init():
        """Random numbers, which no compression makes smaller."""
        rng = np.random.default_rng(0)

        def fill(x, sharding):
            values = rng.standard_normal(x.shape) if x.ndim else np.zeros(())
            values = values.astype(x.dtype)
            return jax.make_array_from_callback(x.shape, sharding, lambda part: values[part])

        return jax.tree.map(fill, state, trainer.state_sharding)

    return init


def _make_train_step(trainer: state_lib.Trainer):
    everywhere, rows = mesh_lib.everywhere(trainer.mesh), mesh_lib.rows(trainer.mesh)
    return jax.jit(
        _train_step,
        in_shardings=(trainer.state_sharding, rows, everywhere),
        out_shardings=(trainer.state_sharding, everywhere),
        donate_argnums=0,
    )


def _train_step(state, batch, constants):
    # Missing values are NaN.
    parts = [jnp.nan_to_num(jnp.sin(x.astype(jnp.float32))).mean() for x in jax.tree.leaves(batch)]
    number = sum(weight * part for weight, part in enumerate(parts, 1)) / len(parts)

    def add(x):
        return x + number.astype(x.dtype) if jnp.issubdtype(x.dtype, jnp.floating) else x

    changed = jax.tree.map(add, state)
    metrics = {
        "loss": number,
        "num_skipped": state.num_skipped,
        "num_skipped_in_a_row": state.num_skipped_in_a_row,
    }
    return dataclasses.replace(changed, step=state.step + 1), metrics
