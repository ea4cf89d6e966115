"""What an objective is: its loss, and what it owns beyond a loss.

Shapes: N patients of the global batch, D embedding, K columns of a label.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import nnx

from clef_jax.errors import UserError


class Inputs(NamedTuple):
    """What the loss of one step is computed from; all arrays are of the whole (global) batch."""

    view_a: jax.Array
    """[N, D], embeddings of the first views."""
    view_b: jax.Array
    """[N, D], embeddings of the second views; row i of both belongs to patient i."""
    risk: jax.Array
    """[N], NaN where unknown."""
    completeness: jax.Array
    """[N] in [0, 1], fraction of the risk score's inputs that were observed."""
    labels: Mapping[str, jax.Array]
    """float32 [N, K] by name, the labels that the objective asks for: 0 or 1 for each class, or the
    number; NaN where unknown."""
    params: Any
    """The objective's own parameters, which the optimiser trains beside the encoder's."""
    state: Any
    """The objective's state before this step."""
    encode: Callable[[Any], tuple[jax.Array, jax.Array]]
    """Maps other parameters of the encoder, a momentum encoder's for example, to the embeddings of
    both views, [N, D] each; no gradient flows through it."""
    mesh: jax.sharding.Mesh | None
    """The devices, whose axis "data" divides the patients."""


class Outcome(NamedTuple):
    """What the loss function returns."""

    terms: dict[str, jax.Array]
    """Scalars over the whole batch; "loss" is minimised, and all are logged."""
    carry: Any = None
    """Arrays that `update_state` needs of this step, such as the keys of a queue."""


class Sizes(NamedTuple):
    """What the shapes of parameters and state may depend on."""

    embedding_width: int
    """D."""
    global_batch_size: int
    """N."""
    label_widths: Mapping[str, int]
    """K of each label that the objective asks for."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Preset:
    """Named settings to start from; the command line may change each of them."""

    config: Any
    """The objective's own settings."""
    training: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Settings of `TrainConfig` by name that belong to the preset, such as views, learning rate,
    schedule or batch size."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Objective:
    """A training objective: one module of this package that defines `OBJECTIVE`.

    Whatever an objective owns is saved with each checkpoint and restored bit for bit, is the same
    on every device, and follows microbatches and skipped steps as the encoder does.
    """

    presets: Mapping[str, Preset]
    """By name; "paper" is the default. All have settings of one class, a frozen dataclass."""
    terms: Callable[[Inputs, Any], Outcome]
    """(inputs, config): the loss and its parts."""
    complete: Callable[[Any, np.ndarray | None], Any] = lambda config, cohort: config
    """(config, cohort): the settings, completed by the quantiles of risk in the data set (None
    where they are not known)."""
    labels: Callable[[Any], tuple[str, ...]] = lambda config: ()
    """(config): names of the stored labels that the loss needs."""
    init_params: Callable[[Any, Sizes, nnx.Rngs], Any] | None = None
    """(config, sizes, rngs): the first parameters, a tree of float32 arrays, or None. By default
    the objective has none."""
    init_state: Callable[[Any, Sizes, nnx.State, Any, nnx.Rngs], Any] | None = None
    """(config, sizes, encoder parameters, own parameters, rngs): the first state, a tree of arrays,
    or None. By default the objective has none."""
    update_state: Callable[[Any, Any, Any, nnx.State, Any], Any] | None = None
    """(config, state, carry, encoder parameters, own parameters): the state after the optimiser's
    step, to whose parameters it is called. A step that is skipped does not change the state."""


def check_outcome(name: str, outcome: Any) -> None:
    """Raises UserError unless an objective returned scalars, `loss` among them."""
    if not isinstance(outcome, Outcome) or "loss" not in outcome.terms:
        raise UserError(
            f"The terms of the objective {name!r} must be an Outcome whose terms have a 'loss'.",
            problem="objective_without_loss",
        )
    for term, value in outcome.terms.items():
        if jax.numpy.shape(value):
            raise UserError(
                f"The term {term!r} of the objective {name!r} must be one number for the whole "
                f"batch; its shape is {jax.numpy.shape(value)}.",
                problem="objective_not_scalar",
            )


def check_params(name: str, params: Any) -> None:
    """Raises UserError unless an objective's own parameters are arrays of float32."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        if getattr(leaf, "dtype", None) != np.float32:
            raise UserError(
                f"init_params of the objective {name!r} must return a tree of float32 arrays; "
                f"{jax.tree_util.keystr(path) or 'it'} is {getattr(leaf, 'dtype', type(leaf))}.",
                problem="objective_params",
            )
    if isinstance(params, nnx.Module):
        raise UserError(
            f"init_params of the objective {name!r} returned an nnx.Module; return the arrays, for "
            "example nnx.to_pure_dict(nnx.state(module)).",
            problem="objective_params",
        )


def check_state(name: str, before: Any, after: Any) -> None:
    """Raises UserError unless an objective's state keeps its structure, shapes and types."""

    def described(tree: Any) -> Any:
        return jax.tree.map(lambda x: (jax.numpy.shape(x), jax.numpy.result_type(x)), tree)

    if described(before) != described(after):
        raise UserError(
            f"update_state of the objective {name!r} changed the structure, a shape or a type of "
            f"its state, from {described(before)} to {described(after)}.",
            problem="objective_state",
        )
