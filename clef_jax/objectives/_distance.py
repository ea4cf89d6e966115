"""Scales that map risks to positions, whose distances compare two patients.

Shapes: N patients of the global batch, Q quantiles.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np


def on_batch_scale(risk: jax.Array, known: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Maps risks to positions whose squared differences are min-max scaled over the batch.

    The squared difference of two positions is (r_i - r_k)^2 / (max + 1e-6), where max is the
    largest squared difference of two known risks of the batch; the smallest is a patient's with
    itself, 0. Both follow from the extreme risks, without computing all pairs.

    Args:
        risk: Risks, [N], in any unit.
        known: Mask of the patients whose risk is known, bool [N].

    Returns:
        The positions, [N], 0 where the risk is unknown; and the mean squared difference of two
        known positions, 0 with fewer than two known risks.
    """
    any_known = known.any()
    low = jnp.where(any_known, jnp.where(known, risk, jnp.inf).min(), 0)
    high = jnp.where(any_known, jnp.where(known, risk, -jnp.inf).max(), 0)
    position = jnp.where(known, (risk - low) / jnp.sqrt((high - low) ** 2 + 1e-6), 0)
    count = known.sum()
    mean = position.sum() / jnp.maximum(count, 1)
    centred = jnp.where(known, position - mean, 0)
    return position, 2 * jnp.sum(centred**2) / jnp.maximum(count - 1, 1)


@functools.lru_cache(maxsize=16)
def cohort_scale(cohort: tuple[float, ...], risk_distance: str):
    """Returns a fixed scale from the quantiles of the whole data set's risk.

    Args:
        cohort: Quantiles of the risk at even levels from 0 to 1, [Q].
        risk_distance: `cohort` maps the 1st to 99th percentile to 0 to 1, `rank` maps each quantile
            to its level.

    Returns:
        Risks in ascending order and the position of each, between which to interpolate; and the
        mean difference of two random patients' positions (squared with `cohort`, absolute with
        `rank`).
    """
    levels = np.linspace(0, 1, len(cohort))
    quantiles = np.asarray(cohort)
    samples = np.interp((np.arange(1000) + 0.5) / 1000, levels, quantiles)
    if risk_distance == "cohort":
        values = np.interp([0.01, 0.99], levels, quantiles)
        positions = np.array([0.0, 1.0]) if values[0] < values[1] else np.zeros(2)
        return values, positions, 2 * np.interp(samples, values, positions).var()
    # The position of a risk that several quantiles share is the mean of their levels.
    values, inverse, count = np.unique(quantiles, return_inverse=True, return_counts=True)
    positions = np.bincount(inverse, levels) / count
    sampled = np.interp(samples, values, positions)
    return values, positions, np.abs(sampled[:, None] - sampled[None, :]).mean()
