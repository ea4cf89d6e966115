"""Momentum networks: copies of the encoder and its head that follow the trained ones slowly.

They are state of the objective, outside the optimiser and its weight decay.
"""

from typing import Any, Literal

import jax
import jax.numpy as jnp

Schedule = Literal["constant", "cosine"]
"""Momentum over the steps of a run: always the same, or rising to 1 along half a cosine (Grill et
al. 2020, arXiv 2006.07733, section 3.3)."""


def at_step(
    momentum: float, schedule: Schedule, step: jax.Array | int, num_steps: int
) -> jax.Array:
    """Returns the momentum of a step: t_k = 1 - (1 - t) (cos(pi k / K) + 1) / 2 for `cosine`.

    Args:
        momentum: t, the momentum of the first step.
        schedule: `constant` or `cosine`.
        step: k, the number of updates before this step.
        num_steps: K, the number of updates of the whole run.
    """
    if schedule == "constant":
        return jnp.asarray(momentum, jnp.float32)
    fraction = jnp.clip(jnp.asarray(step, jnp.float32) / num_steps, 0, 1)
    return 1 - (1 - momentum) * (jnp.cos(jnp.pi * fraction) + 1) / 2


def follow(slow: Any, trained: Any, momentum: jax.Array) -> Any:
    """Returns momentum * slow + (1 - momentum) * trained, for each array of two trees."""
    return jax.tree.map(
        lambda old, new: (momentum * old + (1 - momentum) * new).astype(old.dtype), slow, trained
    )
