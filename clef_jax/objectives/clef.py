"""The clinically-guided contrastive objective of CLEF (arXiv 2512.02180, equations 5-7).

Patients whose risk differs are pushed apart more strongly than patients whose risk is alike (L_w,
a weighted InfoNCE), and cosine similarities are asked to follow the risk distances (L_d).

Shapes: N patients of the global batch, D embedding, P patients of a block.
"""

import dataclasses
import functools
import typing
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from clef_jax.errors import UserError
from clef_jax.objectives import Inputs, Objective, Outcome, Preset, _contrast, _distance


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of the objective; the defaults are the paper's."""

    temperature: float = 0.07
    """Divides the cosine similarities in L_w; no unit."""
    min_distance: float = 0.2
    """Distance alpha of two patients of equal risk, in [0, 1]; the largest distance is 1."""
    nce_weight: float = 1.0
    """Factor of the weighted InfoNCE L_w."""
    alignment_weight: float = 1.0
    """Factor of the dissimilarity alignment L_d."""
    risk_distance: Literal["batch_minmax", "cohort", "rank"] = "batch_minmax"
    """Scale of the risk distance: squared difference over the batch's largest (paper), squared
    difference over the cohort's 1st-99th percentile range, or difference of cohort quantiles."""
    negative_weights: Literal["softmax", "raw", "mean_one"] = "softmax"
    """Weights of the negatives: softmax of the distances over the row, the distances themselves, or
    the distances scaled to mean 1."""
    missing: Literal["missing_rate", "completeness", "confidence", "off"] = "missing_rate"
    """Effect of missing score inputs: distances times exp(-q_i q_k) of the missing rates q, times
    exp(-c_i c_k) of the completeness c, shrunk to the mean distance by c_i c_k, or none."""
    unknown_risk: Literal["neutral", "zero"] = "neutral"
    """A patient without a finite risk: at the mean distance from others and left out of L_d and of
    the batch's range, or taken for a risk of 0."""
    cohort: tuple[float, ...] | None = None
    """Quantiles of the data set's risk at even levels from 0 to 1, in the unit of the risk; needed
    by the risk distances `cohort` and `rank`. Training fills them in from the prepared data."""

    def __post_init__(self):
        self._check_numbers()
        for name, hint in typing.get_type_hints(Config).items():
            options = typing.get_args(hint)
            if typing.get_origin(hint) is Literal and getattr(self, name) not in options:
                raise ValueError(
                    f"{name}={getattr(self, name)!r} must be one of {', '.join(options)}."
                )
        if self.cohort is not None:
            # A tuple makes the configuration hashable, as a static argument of jit must be.
            object.__setattr__(self, "cohort", _distance.checked_cohort(self.cohort))

    def _check_numbers(self) -> None:
        for name in ("temperature", "min_distance", "nce_weight", "alignment_weight"):
            if not np.isfinite(getattr(self, name)):
                raise ValueError(f"{name}={getattr(self, name)} is not a finite number.")
        if self.temperature <= 0:
            raise ValueError(f"temperature={self.temperature} must be above 0.")
        if not 0 <= self.min_distance <= 1:
            raise ValueError(f"min_distance={self.min_distance} must be in [0, 1].")
        if self.nce_weight < 0 or self.alignment_weight < 0:
            raise ValueError(
                f"nce_weight={self.nce_weight} and alignment_weight={self.alignment_weight} must "
                "not be negative."
            )


PAPER = Config()
"""As the paper states the objective."""

RELEASED = Config(nce_weight=0.5, alignment_weight=0.5, missing="off", unknown_risk="zero")
"""As the public PyTorch reference computes it."""


def loss(
    view_a: jax.Array,
    view_b: jax.Array,
    risk: jax.Array,
    completeness: jax.Array,
    config: Config = PAPER,
    *,
    mesh: jax.sharding.Mesh | None = None,
    block_patients: int | None = None,
) -> jax.Array:
    """The scalar loss of the global batch; arguments as in `terms`."""
    options = {"mesh": mesh, "block_patients": block_patients}
    return terms(view_a, view_b, risk, completeness, config, **options)["loss"]


def terms(
    view_a: jax.Array,
    view_b: jax.Array,
    risk: jax.Array,
    completeness: jax.Array,
    config: Config = PAPER,
    *,
    mesh: jax.sharding.Mesh | None = None,
    block_patients: int | None = None,
) -> dict[str, jax.Array]:
    """The loss and its parts: "loss" = nce_weight * "nce" + alignment_weight * "alignment".

    Args:
        view_a, view_b: [N, D] embeddings; row i of both belongs to patient i. Any float type; the
            loss is computed in float32 (float64 if they are float64).
        risk: [N], any unit; NaN and infinity mean unknown.
        completeness: [N] in [0, 1], the share of the score's inputs that were observed; NaN is 0.
        mesh: divides the patients over its axis "data"; the result does not depend on it.
        block_patients: patients met at a time; None chooses by size, N or more is the plain form.

    Raises:
        ValueError: shapes do not agree, the devices do not divide the patients, or the cohort that
            the risk distance needs is absent.
    """
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
    risk: jax.Array, completeness: jax.Array, config: Config = PAPER
) -> tuple[jax.Array, jax.Array]:
    """W = D * M of all pairs [N, N], and which pairs have both risks known, bool [N, N]."""
    dtype = jnp.promote_types(jnp.result_type(risk), jnp.float32)
    patients, mean_distance = _patients(risk, completeness, config, dtype)
    same = jnp.eye(risk.shape[0], dtype=bool)
    return _weights(patients, patients, same, mean_distance, config)


class _Patients(NamedTuple):
    position: jax.Array
    """Risk on a scale where positions differ by at most 1."""
    known: jax.Array
    completeness: jax.Array


def _patients(risk, completeness, config: Config, dtype) -> tuple[_Patients, jax.Array]:
    """The patients [N] on the scale of `risk_distance`, and the mean distance of two of them."""
    risk = jnp.asarray(risk, dtype)
    finite = jnp.isfinite(risk)
    known = finite if config.unknown_risk == "neutral" else jnp.ones_like(finite)
    risk = jnp.where(finite, risk, 0)
    if config.risk_distance == "batch_minmax":
        position, mean_gap = _distance.on_batch_scale(risk, known)
    elif config.cohort is None:
        raise UserError(
            f"risk_distance={config.risk_distance!r} measures risks against the whole data set: "
            "give `cohort`, the quantiles of risk that are recorded with the prepared data."
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
    row: _Patients, column: _Patients, same: jax.Array, mean_distance: jax.Array, config: Config
) -> tuple[jax.Array, jax.Array]:
    """W [P, N] of a block's patients [P] with all [N], and which pairs have both risks known."""
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


def _pair(row, column, same, mean_distance, *, config: Config) -> _contrast.Pair:
    weight, both_known = _weights(row, column, same, mean_distance, config)
    if config.negative_weights == "softmax":
        # Over the 2N entries of the row: each patient twice, self and positive (weight 0) included.
        log_weight = weight - jnp.log(2 * jnp.exp(weight).sum(axis=1, keepdims=True))
    elif config.negative_weights == "raw":
        log_weight = jnp.log(weight)
    else:
        mean = weight.sum(axis=1, keepdims=True) / jnp.maximum(same.shape[1] - 1, 1)
        log_weight = jnp.where(mean > 0, jnp.log(weight) - jnp.log(mean), 0)
    return _contrast.Pair(log_weight, 1 - weight, both_known)


def _complete(config: Config, cohort: np.ndarray | None) -> Config:
    """Fills in the quantiles of risk, unless they are set or not known."""
    if config.cohort is not None or cohort is None or not np.isfinite(cohort).all():
        return config
    return dataclasses.replace(config, cohort=tuple(cohort.tolist()))


def _outcome(inputs: Inputs, config: Config) -> Outcome:
    view_a, view_b, risk, completeness = inputs[:4]
    return Outcome(terms(view_a, view_b, risk, completeness, config, mesh=inputs.mesh))


OBJECTIVE = Objective(
    presets={"paper": Preset(config=PAPER), "released": Preset(config=RELEASED)},
    terms=_outcome,
    complete=_complete,
)
