"""Definition of an objective: its loss, and the parameters, state and labels that it may need.

Shapes: N patients of the global batch, D embedding, K columns of a label.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from clef_jax.errors import UserError

if TYPE_CHECKING:
    import jax
    from flax import nnx


class Inputs(NamedTuple):
    """Inputs of the loss of one step; all arrays hold the whole (global) batch."""

    view_a: jax.Array
    """Embeddings of the first views, [N, D]."""
    view_b: jax.Array
    """Embeddings of the second views, [N, D]; row i of both belongs to patient i."""
    risk: jax.Array
    """Risk of each patient, [N]; NaN where unknown."""
    completeness: jax.Array
    """Fraction of the risk score's inputs that were observed, [N] in [0, 1]."""
    labels: Mapping[str, jax.Array]
    """Labels that the objective requests, float32 [N, K] by name: 0 or 1 for each class, or the
    number; NaN where unknown."""
    params: Any
    """The objective's own parameters, which the optimiser trains together with the encoder's."""
    state: Any
    """The objective's state before this step."""
    encode: Callable[[Any], tuple[jax.Array, jax.Array]]
    """Maps other parameters of the encoder, for example a momentum encoder's, to the embeddings of
    both views, [N, D] each; no gradient flows through it."""
    mesh: jax.sharding.Mesh | None
    """Devices, whose axis "data" divides the patients."""
    step: jax.Array | int = 0
    """Number of updates before this step."""
    num_steps: int = 1
    """Number of updates of the whole run."""


class Outcome(NamedTuple):
    """Result of an objective's loss."""

    terms: dict[str, jax.Array]
    """Scalars over the whole batch; "loss" is minimised, and all are logged."""
    carry: Any = None
    """Arrays of this step that `update_state` needs, such as the keys of a queue."""


class Sizes(NamedTuple):
    """Sizes on which the shapes of an objective's parameters and state may depend."""

    embedding_width: int
    """Number of features of an embedding, D."""
    global_batch_size: int
    """Number of patients in a batch of all devices, N."""
    label_widths: Mapping[str, int]
    """Number of columns, K, of each label that the objective requests."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Preset:
    """Named default settings; the command line can change each of them."""

    config: Any
    """The objective's own settings."""
    training: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Settings of `TrainConfig` by field name, such as views, learning rate, schedule or batch
    size."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Objective:
    """A training objective: one module of this package that defines `OBJECTIVE`.

    Its parameters and state are saved in each checkpoint and restored bit for bit, and are the same
    on every device. Microbatches and skipped steps affect them as they affect the encoder.
    """

    presets: Mapping[str, Preset]
    """Presets by name; "paper" is the default. Their configs are of one class, a frozen
    dataclass."""
    terms: Callable[[Inputs, Any], Outcome]
    """Maps (inputs, config) to the loss and its parts."""
    complete: Callable[[Any, np.ndarray | None], Any] = lambda config, cohort: config
    """Maps (config, cohort) to a config completed by the quantiles of risk in the data set, which
    are None where unknown. By default the config stays as it is."""
    labels: Callable[[Any], tuple[str, ...]] = lambda config: ()
    """Maps (config) to the names of the stored labels that the loss needs; by default none."""
    label_kinds: tuple[str, ...] = ("class", "classes", "number")
    """Kinds of labels that the loss takes."""
    depends_on_num_steps: Callable[[Any], bool] = lambda config: False
    """Maps (config) to whether a step depends on the number of steps of the whole run, which a
    resumed run then must not change."""
    init_params: Callable[[Any, Sizes, nnx.Rngs], Any] | None = None
    """Maps (config, sizes, rngs) to the initial parameters, a tree of float32 arrays or None. By
    default the objective has no parameters."""
    init_state: Callable[[Any, Sizes, nnx.State, Any, nnx.Rngs], Any] | None = None
    """Maps (config, sizes, encoder parameters, own parameters, rngs) to the initial state, a tree
    of arrays or None. By default the objective has no state."""
    update_state: Callable[[Any, Any, Any, nnx.State, Any], Any] | None = None
    """Maps (config, state, carry, encoder parameters, own parameters) to the state after a step;
    the parameters are those after the optimiser's update. A skipped step keeps the state."""


def check_outcome(name: str, outcome: Any) -> None:
    """Raises UserError unless an objective returned scalars that include `loss`."""
    if not isinstance(outcome, Outcome) or "loss" not in outcome.terms:
        raise UserError(
            f"`terms` of the objective {name!r} must return an Outcome whose terms include 'loss'.",
            problem="objective_without_loss",
        )
    for term, value in outcome.terms.items():
        if np.shape(value):
            raise UserError(
                f"The term {term!r} of the objective {name!r} must be a scalar for the whole "
                f"batch; its shape is {np.shape(value)}.",
                problem="objective_not_scalar",
            )


def check_params(name: str, params: Any) -> None:
    """Raises UserError unless an objective's own parameters are arrays of float32."""
    import jax
    from flax import nnx

    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        if getattr(leaf, "dtype", None) != np.float32:
            raise UserError(
                f"init_params of the objective {name!r} must return a tree of float32 arrays; "
                f"{jax.tree_util.keystr(path) or 'the result'} is "
                f"{getattr(leaf, 'dtype', type(leaf))}.",
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

    import jax

    def described(tree: Any) -> Any:
        return jax.tree.map(lambda x: (jax.numpy.shape(x), jax.numpy.result_type(x)), tree)

    if described(before) != described(after):
        raise UserError(
            f"update_state of the objective {name!r} changed the structure, a shape or a type of "
            f"its state, from {described(before)} to {described(after)}.",
            problem="objective_state",
        )
