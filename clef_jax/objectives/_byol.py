"""Networks and loss of the objective in `byol`.

Shapes: N patients of the global batch, D embedding or projection.
"""

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

from clef_jax.objectives import _cosine, _momentum, _network
from clef_jax.objectives._objective import Inputs, Outcome

if TYPE_CHECKING:
    from clef_jax.objectives.byol import Config


def loss(
    prediction_a: jax.Array, target_b: jax.Array, prediction_b: jax.Array, target_a: jax.Array
) -> jax.Array:
    """Returns the loss; see `byol.loss`."""
    pairs = ((prediction_a, target_b), (prediction_b, target_a))
    for prediction, target in pairs:
        _cosine.check_pair(prediction, target, "predictions and targets")
    losses = [2 - 2 * _cosine.cosine(p, lax.stop_gradient(t)) for p, t in pairs]
    return jnp.mean(losses[0] + losses[1])


def init_params(config: "Config", width: int, rngs: nnx.Rngs) -> dict[str, Any]:
    """Returns the predictor, and the projector if there is one."""
    params = {}
    if config.projection_width:
        widths = (width, config.hidden_width, config.projection_width)
        params["projector"] = _network.init(widths, rngs, batch_norm=True)
    predicted = config.projection_width or width
    widths = (predicted, config.hidden_width or max(1, predicted // 2), predicted)
    params["predictor"] = _network.init(widths, rngs, batch_norm=True)
    return params


def init_state(encoder: nnx.State, params: dict[str, Any]) -> dict[str, Any]:
    """Returns the target network, and the running statistics of the trained layers."""
    statistics = {name: _network.init_statistics(layers) for name, layers in params.items()}
    target = {"encoder": encoder}
    if "projector" in params:
        target["projector"] = params["projector"]
    return {"target": target, "statistics": statistics}


def outcome(inputs: Inputs, config: "Config") -> Outcome:
    """Returns the loss of a step; the carry holds the running statistics and the momentum."""
    target, statistics = inputs.state["target"], inputs.state["statistics"]
    predictions = []
    for view in (inputs.view_a, inputs.view_b):
        prediction, of_batch = _predict(inputs.params, _cosine.widen(view))
        statistics = _network.update_statistics(statistics, of_batch)
        predictions.append(prediction)
    targets = [_cosine.widen(view) for view in inputs.encode(target["encoder"])]
    if "projector" in target:
        targets = [_network.apply(target["projector"], view)[0] for view in targets]
    momentum = _momentum.at_step(
        config.momentum, config.momentum_schedule, inputs.step, inputs.num_steps
    )
    value = loss(predictions[0], targets[1], predictions[1], targets[0])
    return Outcome({"loss": value}, {"statistics": statistics, "momentum": momentum})


def _predict(params: dict[str, Any], x: jax.Array) -> tuple[jax.Array, dict[str, Any]]:
    """Returns the predictions [N, D] and the batch's statistics of each network."""
    statistics = {}
    for name in ("projector", "predictor"):
        if name in params:
            x, statistics[name] = _network.apply(params[name], x)
    return x, statistics


def update_state(
    state: dict[str, Any], carry: Any, encoder: nnx.State, params: dict[str, Any]
) -> dict[str, Any]:
    """Returns the state after the optimiser's update."""
    trained = {"encoder": encoder, "projector": params.get("projector")}
    target = {
        name: _momentum.follow(network, trained[name], carry["momentum"])
        for name, network in state["target"].items()
    }
    return {"target": target, "statistics": carry["statistics"]}
