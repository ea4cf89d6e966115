"""Learning-rate schedules, as functions of the optimiser step."""

import jax.numpy as jnp
import numpy as np
import optax

from clef_jax.config import TrainConfig
from clef_jax.errors import UserError, counted

FIRST_CYCLE_EPOCHS = 10
"""Length of the first cosine cycle (T_0)."""
CYCLE_GROWTH = 2
"""Factor between the lengths of consecutive cycles (T_mult)."""


def warm_restarts(
    peak: float, lowest: float, *, steps_per_epoch: int, num_epochs: int
) -> optax.Schedule:
    """Returns cosine annealing with warm restarts (Loshchilov & Hutter 2017), updated per epoch.

    The cycles last 10, 20, 40, ... epochs, so that the rate restarts before epochs 10, 30 and 70.

    Args:
        peak: learning rate at the start of each cycle.
        lowest: learning rate that each cycle approaches.
        steps_per_epoch: optimiser steps of an epoch.
        num_epochs: number of epochs; later steps keep the rate of the last one.
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
    """Returns the learning-rate schedule of a run, scaled by its linear warm-up.

    Raises:
        UserError: the warm-up is not shorter than a cosine schedule.
    """
    if config.schedule == "cosine":
        if config.warmup_steps >= total_steps:
            raise UserError(
                f"--warmup-steps={config.warmup_steps} must be below the "
                f"{counted(total_steps, 'step')}.",
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
