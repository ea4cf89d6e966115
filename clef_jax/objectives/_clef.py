"""Weights of the pairs of patients, and the sums over them, of the objective in `clef`.

Shapes: N patients of the global batch, D embedding, P patients of a block.
"""

import functools
from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp

from clef_jax.errors import UserError
from clef_jax.objectives import _contrast, _distance

if TYPE_CHECKING:
    from clef_jax.objectives.clef import Config


def terms(
    view_a: jax.Array,
    view_b: jax.Array,
    risk: jax.Array,
    completeness: jax.Array,
    config: "Config",
    *,
    mesh: jax.sharding.Mesh | None,
    block_patients: int | None,
) -> dict[str, jax.Array]:
    """Returns the loss and its parts; see `clef.terms`."""
    for name, array in (("risk", risk), ("completeness", completeness)):
        if array.shape != view_a.shape[:1]:
            raise ValueError(
                f"{name} must have one value per patient; its shape is {array.shape} and the views "
                f"are {view_a.shape}."
            )
    dtype = jnp.promote_types(jnp.result_type(view_a, view_b), jnp.float32)
    patients, mean_distance = _patients(risk, completeness, config, dtype)
    parts = _contrast.terms(
        view_a,
        view_b,
        patients,
        mean_distance,
        functools.partial(_pair, config=config),
        temperature=config.temperature,
        mesh=mesh,
        block_patients=block_patients,
    )
    total = config.nce_weight * parts["nce"] + config.alignment_weight * parts["alignment"]
    return {"loss": total, **parts}


def pair_weights(
    risk: jax.Array, completeness: jax.Array, config: "Config"
) -> tuple[jax.Array, jax.Array]:
    """Returns the weights of all pairs; see `clef.pair_weights`."""
    dtype = jnp.promote_types(jnp.result_type(risk), jnp.float32)
    patients, mean_distance = _patients(risk, completeness, config, dtype)
    same = jnp.eye(risk.shape[0], dtype=bool)
    return _weights(patients, patients, same, mean_distance, config)


class _Patients(NamedTuple):
    """Patients of the batch or of a block, [N] or [P]."""

    position: jax.Array
    """Risk on the scale of `risk_distance`, where two positions differ by at most 1."""
    known: jax.Array
    """Whether the risk is known."""
    completeness: jax.Array
    """Fraction of the score's inputs that were observed, in [0, 1]."""


def _patients(risk, completeness, config: "Config", dtype) -> tuple[_Patients, jax.Array]:
    """Returns the patients [N] on the scale of `risk_distance`, and two patients' mean distance."""
    risk = jnp.asarray(risk, dtype)
    finite = jnp.isfinite(risk)
    known = finite if config.unknown_risk == "neutral" else jnp.ones_like(finite)
    risk = jnp.where(finite, risk, 0)
    if config.risk_distance == "batch_minmax":
        position, mean_gap = _distance.on_batch_scale(risk, known)
    elif config.cohort is None:
        raise UserError(
            f"risk_distance={config.risk_distance!r} needs `cohort`, the data set's risk "
            "quantiles, which are stored with the prepared data."
        )
    else:
        values, positions, expected = _distance.cohort_scale(config.cohort, config.risk_distance)
        position = jnp.interp(risk, jnp.asarray(values, dtype), jnp.asarray(positions, dtype))
        mean_gap = jnp.asarray(expected, dtype)
    completeness = jnp.asarray(completeness, dtype)
    completeness = jnp.where(jnp.isnan(completeness), 0, jnp.clip(completeness, 0, 1))
    mean_distance = config.min_distance + (1 - config.min_distance) * mean_gap
    return _Patients(position, known, completeness), mean_distance


def _weights(
    row: _Patients, column: _Patients, same: jax.Array, mean_distance: jax.Array, config: "Config"
) -> tuple[jax.Array, jax.Array]:
    """Returns W [P, N] of a block's patients [P] with all [N], and a mask of the pairs whose risks
    are both known."""
    gap = row.position[:, None] - column.position[None, :]
    gap = jnp.abs(gap) if config.risk_distance == "rank" else gap * gap
    both_known = row.known[:, None] & column.known[None, :]
    distance = config.min_distance + (1 - config.min_distance) * gap
    distance = jnp.where(both_known, distance, mean_distance)
    complete = row.completeness[:, None] * column.completeness[None, :]
    if config.missing == "missing_rate":
        rates = (1 - row.completeness)[:, None] * (1 - column.completeness)[None, :]
        distance = distance * jnp.exp(-rates)
    elif config.missing == "completeness":
        distance = distance * jnp.exp(-complete)
    elif config.missing == "confidence":
        distance = complete * distance + (1 - complete) * mean_distance
    return jnp.where(same, 0, distance), both_known


def _pair(row, column, same, mean_distance, *, config: "Config") -> _contrast.Pair:
    """Returns the weights of negatives in L_w and the targets of L_d; see `_contrast.Pair`."""
    weight, both_known = _weights(row, column, same, mean_distance, config)
    if config.negative_weights == "softmax":
        # The softmax is over the 2N entries of a row: each patient occurs twice, and the row's own
        # patient (the entry itself and the positive) has W = 0.
        log_weight = weight - jnp.log(2 * jnp.exp(weight).sum(axis=1, keepdims=True))
    elif config.negative_weights == "raw":
        log_weight = jnp.log(weight)
    else:
        mean = weight.sum(axis=1, keepdims=True) / jnp.maximum(same.shape[1] - 1, 1)
        log_weight = jnp.where(mean > 0, jnp.log(weight) - jnp.log(mean), 0)
    return _contrast.Pair(log_weight, 1 - weight, both_known)
