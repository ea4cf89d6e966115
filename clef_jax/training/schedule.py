"""Learning-rate schedules, as functions of the optimiser step."""

import jax.numpy as jnp
import numpy as np
import optax

from clef_jax.config import TrainConfig
from clef_jax.errors import UserError

FIRST_CYCLE_EPOCHS = 10
CYCLE_GROWTH = 2
"""Length of the first cosine cycle, and of each next one relative to it (T_0 and T_mult)."""


def warm_restarts(
    peak: float, lowest: float, *, steps_per_epoch: int, num_epochs: int
) -> optax.Schedule:
    """Cosine annealing with warm restarts (Loshchilov & Hutter 2017), moved once per epoch.

    With cycles of 10, 20, 40 ... epochs it restarts before epochs 10, 30, 70. Past `num_epochs` the
    rate of the last one is kept.
    """
    rates, start, length = [], 0, FIRST_CYCLE_EPOCHS
    for epoch in range(num_epochs):
        if epoch == start + length:
            start, length = epoch, length * CYCLE_GROWTH
        rates.append(lowest + (peak - lowest) * (1 + np.cos(np.pi * (epoch - start) / length)) / 2)
    table = np.asarray(rates, np.float32)

    def rate(step):
        return jnp.asarray(table)[jnp.minimum(step // steps_per_epoch, num_epochs - 1)]

    return rate


def make(config: TrainConfig, *, steps_per_epoch: int, total_steps: int) -> optax.Schedule:
    """The schedule of a run; a linear warm-up scales whichever it is."""
    if config.schedule == "cosine":
        if config.warmup_steps >= total_steps:
            raise UserError(
                f"--warmup-steps={config.warmup_steps} leaves nothing of the {total_steps} steps.",
                problem="warmup_too_long",
            )
        return optax.warmup_cosine_decay_schedule(
            0.0, config.learning_rate, config.warmup_steps, total_steps, config.min_learning_rate
        )
    restarts = warm_restarts(
        config.learning_rate,
        config.min_learning_rate,
        steps_per_epoch=steps_per_epoch,
        num_epochs=-(-total_steps // steps_per_epoch),
    )
    if not config.warmup_steps:
        return restarts
    return lambda step: restarts(step) * jnp.minimum(1.0, step / config.warmup_steps)
