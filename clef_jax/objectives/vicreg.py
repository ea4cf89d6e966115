"""VICReg: equal views, and features of unit variance that do not correlate.

Bardes et al. 2022 (arXiv 2105.04906, equations 1 to 6). The CLEF paper does not train it. Presets:
`original` has the expander of 8,192 features of its authors (section 4.2), and `paper` one of four
times the embedding's width, for batches and encoders of this size.

Terms: `invariance`, the mean squared difference of the views; `variance`, the mean shortfall of the
features' standard deviations from 1, averaged over the views; `covariance`, the sum of the squared
covariances of different features divided by their number, summed over the views; `loss`, their sum
with the configured weights. All statistics are of the global batch.

Shapes: N patients of the global batch, d features of the expander.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from clef_jax.objectives import Inputs, Objective, Outcome, Preset, Sizes, _check

if TYPE_CHECKING:
    import jax
    from flax import nnx


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of the objective."""

    invariance_weight: float = 25.0
    """Factor of the mean squared difference of two views."""
    variance_weight: float = 25.0
    """Factor of the shortfall of the features' standard deviations from 1."""
    covariance_weight: float = 1.0
    """Factor of the squared covariances of different features."""
    expander_width: int = 0
    """Number of features of each of the expander's layers; 0 takes four times the embedding's."""
    expander_layers: int = 3
    """Number of linear layers of the expander, with batch norm and ReLU between them; 0 omits
    it."""

    def __post_init__(self):
        weights = ("invariance_weight", "variance_weight", "covariance_weight")
        _check.numbers(self, *weights, "expander_width", "expander_layers", least=0)
        if not any(getattr(self, name) for name in weights):
            raise ValueError(f"One of {', '.join(weights)} must be above 0.")


PAPER = Config()
"""Settings for encoders of this package."""

ORIGINAL = Config(expander_width=8192)
"""Settings of the method's authors."""


def loss(z_a: jax.Array, z_b: jax.Array, config: Config = PAPER) -> jax.Array:
    """Returns the scalar loss of the global batch; arguments and errors are as in `terms`."""
    return terms(z_a, z_b, config)["loss"]


def terms(z_a: jax.Array, z_b: jax.Array, config: Config = PAPER) -> dict[str, jax.Array]:
    """Returns the loss of the global batch and its parts, all scalars.

    Args:
        z_a, z_b: Outputs of the expander for both views, [N, d] with N at least 2.
        config: Settings; only the weights are used.

    Raises:
        ValueError: shapes do not agree, or there is only one patient.
    """
    from clef_jax.objectives import _vicreg

    return _vicreg.terms(z_a, z_b, config)


def _init_params(config: Config, sizes: Sizes, rngs: nnx.Rngs) -> Any:
    from clef_jax.objectives import _network

    if not config.expander_layers:
        return None
    width = config.expander_width or 4 * sizes.embedding_width
    widths = (sizes.embedding_width, *[width] * config.expander_layers)
    return {"expander": _network.init(widths, rngs, batch_norm=True)}


def _outcome(inputs: Inputs, config: Config) -> Outcome:
    from clef_jax.objectives import _cosine, _network

    view_a, view_b = _cosine.widen(inputs.view_a), _cosine.widen(inputs.view_b)
    if config.expander_layers:
        view_a, _ = _network.apply(inputs.params["expander"], view_a)
        view_b, _ = _network.apply(inputs.params["expander"], view_b)
    return Outcome(terms(view_a, view_b, config))


OBJECTIVE = Objective(
    presets={"paper": Preset(config=PAPER), "original": Preset(config=ORIGINAL)},
    terms=_outcome,
    init_params=_init_params,
)
