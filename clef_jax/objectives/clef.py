"""The clinically-guided contrastive objective of CLEF (arXiv 2512.02180, equations 5-7).

L_w, a weighted InfoNCE, pushes the embeddings of two patients apart more strongly the more their
risks differ. L_d, the dissimilarity alignment, fits the cosine similarities to the distances of the
risks.

Shapes: N patients of the global batch, D embedding, P patients of a block.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from clef_jax.objectives import Inputs, Objective, Outcome, Preset, Sizes, _check

if TYPE_CHECKING:
    import jax
    from flax import nnx


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of the objective; the defaults are the paper's."""

    temperature: float = 0.07
    """Divisor of the cosine similarities in the weighted InfoNCE; no unit."""
    min_distance: float = 0.2
    """Distance of two patients of equal risk, in [0, 1]; the largest distance is 1."""
    nce_weight: float = 1.0
    """Factor of the weighted InfoNCE, which pushes the embeddings of patients apart."""
    alignment_weight: float = 1.0
    """Factor of the dissimilarity alignment, which fits cosine similarities to risk distances."""
    risk_distance: Literal["batch_minmax", "cohort", "rank"] = "batch_minmax"
    """Scale of the risk distance: squared difference over the batch's largest (paper), squared
    difference over the cohort's 1st-99th percentile range, or difference of cohort quantiles."""
    negative_weights: Literal["softmax", "raw", "mean_one"] = "softmax"
    """Weights of the negatives: softmax of the distances over the row, the distances themselves, or
    the distances scaled to mean 1."""
    missing: Literal["missing_rate", "completeness", "confidence", "off"] = "missing_rate"
    """Effect of missing score inputs on the distance of two patients. missing_rate multiplies it by
    exp(-product of their fractions of missing inputs); completeness by exp(-product of their
    fractions of observed inputs); confidence moves it towards the mean distance as the latter
    product decreases; off leaves it unchanged."""
    unknown_risk: Literal["neutral", "zero"] = "neutral"
    """Handling of patients without a finite risk: at the mean distance from all others and excluded
    from the dissimilarity alignment and from the batch's range, or as a risk of 0."""
    projection_width: int = 0
    """Number of features of a projector of two layers, with ReLU between them; 0 omits it, as the
    paper does."""
    cohort: tuple[float, ...] | None = None
    """Quantiles of the data set's risk at even levels from 0 to 1, in the unit of the risk; needed
    by the risk distances `cohort` and `rank`. By default training reads them from the prepared
    data."""

    def __post_init__(self):
        _check.options(self)
        _check.numbers(self, "temperature", above=0)
        _check.numbers(self, "nce_weight", "alignment_weight", "projection_width", least=0)
        _check.fractions(self, "min_distance")
        if self.cohort is not None:
            # Static arguments of jit must be hashable, hence a tuple.
            object.__setattr__(self, "cohort", _checked_cohort(self.cohort))


PAPER = Config()
"""Settings that the paper states."""

RELEASED = Config(nce_weight=0.5, alignment_weight=0.5, missing="off", unknown_risk="zero")
"""Settings of the public PyTorch reference."""

BEST = Config(projection_width=128)
"""The paper's settings with the projector that a search chose on patients of no test."""

BEST_TRAINING = {
    "window_start": "random",
    "window_seconds": 8.0,
    "learning_rate": 1e-3,
    "schedule": "cosine",
}
"""Views and rate of the same search, which trained the small encoder with 64 patients per step; its
figures are in benchmarks/README.md, "Settings that are better than the paper's"."""


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
    """Returns the scalar loss of the global batch; arguments and errors are as in `terms`."""
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
    """Returns the loss of the global batch and its parts, all scalars.

    "nce" is L_w, "alignment" is L_d, and "loss" is nce_weight * "nce" +
    alignment_weight * "alignment".

    Args:
        view_a, view_b: Embeddings, [N, D], of any float type; row i of both belongs to patient i.
            The loss is computed in float32, or in float64 if the embeddings are float64.
        risk: Risk of each patient, [N], in any unit; NaN and infinity mean unknown.
        completeness: Fraction of the score's inputs that were observed, [N] in [0, 1]; NaN counts
            as 0.
        config: Settings; by default the paper's.
        mesh: Devices, whose axis "data" divides the patients; the result does not depend on it.
        block_patients: Number of patients whose similarities are computed at a time; None chooses
            it by the size of the batch, and N or more computes all at once.

    Raises:
        ValueError: shapes do not agree, or the number of devices does not divide the patients.
        UserError: `risk_distance` needs the `cohort`, which is None.
    """
    from clef_jax.objectives import _clef

    return _clef.terms(
        view_a, view_b, risk, completeness, config, mesh=mesh, block_patients=block_patients
    )


def pair_weights(
    risk: jax.Array, completeness: jax.Array, config: Config = PAPER
) -> tuple[jax.Array, jax.Array]:
    """Returns W = D * M of all pairs, [N, N], and a mask of the pairs whose risks are both known.

    D is the distance of two patients' risks and M the effect of missing score inputs.
    Arguments are as in `terms`.
    """
    from clef_jax.objectives import _clef

    return _clef.pair_weights(risk, completeness, config)


def _checked_cohort(cohort: Iterable[float]) -> tuple[float, ...]:
    """Returns the quantiles as a tuple of floats; raises ValueError unless they ascend."""
    values = np.asarray(cohort, np.float64)
    if values.ndim != 1 or values.size < 2:
        raise ValueError(
            f"cohort must be a list of at least two risk quantiles; its shape is {values.shape}."
        )
    if not np.isfinite(values).all() or (np.diff(values) < 0).any():
        raise ValueError("cohort must hold finite risk quantiles in ascending order.")
    return tuple(values.tolist())


def _complete(config: Config, cohort: np.ndarray | None) -> Config:
    """Sets the quantiles of the risk, unless they are set already or unknown."""
    if config.cohort is not None or cohort is None or not np.isfinite(cohort).all():
        return config
    return dataclasses.replace(config, cohort=tuple(cohort.tolist()))


def _init_params(config: Config, sizes: Sizes, rngs: nnx.Rngs) -> Any:
    from clef_jax.objectives import _projector

    return _projector.init(config.projection_width, sizes, rngs)


def _outcome(inputs: Inputs, config: Config) -> Outcome:
    from clef_jax.objectives import _projector

    views = _projector.project(inputs)
    return Outcome(terms(*views, inputs.risk, inputs.completeness, config, mesh=inputs.mesh))


OBJECTIVE = Objective(
    presets={
        "paper": Preset(config=PAPER),
        "released": Preset(config=RELEASED),
        "best": Preset(config=BEST, training=BEST_TRAINING),
    },
    terms=_outcome,
    complete=_complete,
    init_params=_init_params,
)
