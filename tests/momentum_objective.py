"""An objective of another package: it owns a projector, a momentum encoder, a counter, a queue of
keys, and asks for labels. `install` makes it known as an installed package would."""

import dataclasses

import jax
import jax.numpy as jnp

from clef_jax.objectives import Inputs, Objective, Outcome, Preset


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings of the objective."""

    momentum: float = 0.9
    width: int = 4
    label: str = ""


def init_params(config, sizes, rngs):
    shape = (sizes.embedding_width, config.width)
    return {"projector": 0.3 * jax.random.normal(rngs.params(), shape)}


def init_state(config, sizes, encoder_params, params, rngs):
    queue = jax.random.normal(rngs.params(), (2 * sizes.global_batch_size, config.width))
    return {
        "encoder": encoder_params,
        "projector": params["projector"],
        "queue": queue,
        "num_updates": jnp.zeros((), jnp.int32),
    }


def terms(inputs: Inputs, config: Config) -> Outcome:
    query = inputs.view_a @ inputs.params["projector"]
    _, momentum_b = inputs.encode(inputs.state["encoder"])
    key = jax.lax.stop_gradient(momentum_b @ inputs.state["projector"])
    away = jnp.square(query @ inputs.state["queue"].T).mean()
    loss = jnp.square(query - key).mean() + 0.01 * away
    parts = {"loss": loss, "away": away}
    if config.label:
        wanted = jnp.nan_to_num(inputs.labels[config.label]).mean(axis=1)
        parts["loss"] = loss + jnp.square(query.mean(axis=1) - wanted).mean()
    return Outcome(parts, carry=key)


def update_state(config, state, carry, encoder_params, params):
    def average(old, new):
        return config.momentum * old + (1 - config.momentum) * new

    return {
        "encoder": jax.tree.map(average, state["encoder"], encoder_params),
        "projector": average(state["projector"], params["projector"]),
        "queue": jnp.concatenate([state["queue"][len(carry) :], carry]),
        "num_updates": state["num_updates"] + 1,
    }


OBJECTIVE = Objective(
    presets={
        "paper": Preset(config=Config()),
        "labelled": Preset(
            config=Config(label="superdiagnostic"),
            training={"learning_rate": 2e-3, "window_seconds": 5.0},
        ),
    },
    terms=terms,
    labels=lambda config: (config.label,) if config.label else (),
    init_params=init_params,
    init_state=init_state,
    update_state=update_state,
)


def install(folder):
    """Writes what an installer writes of a package with this entry point; `folder` then belongs on
    the search path."""
    facts = folder / "momentum-1.0.dist-info"
    facts.mkdir(parents=True)
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: momentum\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text(
        "[clef_jax.objectives]\nmomentum = momentum_objective\n"
    )
