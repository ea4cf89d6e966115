"""Scales on which the risks of two patients are compared.

Shapes: N patients of the global batch.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np


def on_batch_scale(risk: jax.Array, known: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Positions whose squared differences are (r_i - r_k)^2 / (max + 1e-6), and their mean.

    The smallest squared difference is always the diagonal's 0 and the largest that of the two
    extreme risks, so no pair is visited. Fewer than two known risks have a mean of 0.
    """
    some = known.any()
    low = jnp.where(some, jnp.where(known, risk, jnp.inf).min(), 0)
    high = jnp.where(some, jnp.where(known, risk, -jnp.inf).max(), 0)
    position = jnp.where(known, (risk - low) / jnp.sqrt((high - low) ** 2 + 1e-6), 0)
    count = known.sum()
    centre = position.sum() / jnp.maximum(count, 1)
    deviation = jnp.where(known, position - centre, 0)
    return position, 2 * jnp.sum(deviation**2) / jnp.maximum(count - 1, 1)


@functools.lru_cache(maxsize=16)
def cohort_scale(cohort: tuple[float, ...], risk_distance: str):
    """Risks, the positions they have, and the mean gap of two patients drawn from the cohort."""
    levels = np.linspace(0, 1, len(cohort))
    quantiles = np.asarray(cohort)
    draws = np.interp((np.arange(1000) + 0.5) / 1000, levels, quantiles)
    if risk_distance == "cohort":
        values = np.interp([0.01, 0.99], levels, quantiles)
        positions = np.array([0.0, 1.0]) if values[0] < values[1] else np.zeros(2)
        return values, positions, 2 * np.interp(draws, values, positions).var()
    # Patients of equal risk share the middle of the levels that their risk covers.
    values, inverse, count = np.unique(quantiles, return_inverse=True, return_counts=True)
    positions = np.bincount(inverse, levels) / count
    drawn = np.interp(draws, values, positions)
    return values, positions, np.abs(drawn[:, None] - drawn[None, :]).mean()


def checked_cohort(cohort) -> tuple[float, ...]:
    values = np.asarray(cohort, np.float64)
    if values.ndim != 1 or values.size < 2:
        raise ValueError(
            f"cohort must be a list of at least two risk quantiles; its shape is {values.shape}."
        )
    if not np.isfinite(values).all() or (np.diff(values) < 0).any():
        raise ValueError("cohort must hold finite risk quantiles in ascending order.")
    return tuple(values.tolist())
