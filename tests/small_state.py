"""A training state of a few numbers, for tests of checkpoints."""

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from clef_jax import mesh as mesh_lib
from clef_jax.config import TrainConfig, saved
from clef_jax.training.state import TrainState

RUN = {"config": saved(TrainConfig(data_dir="a", workdir="b")), "data": {"data set": "1"}}
"""What a run saves with a state."""


def make_state(value=1.0):
    params = nnx.State({"kernel": nnx.Param(jnp.full((3, 4), value))})
    count = jnp.asarray(7, jnp.int32)
    return TrainState(count, params, optax.adam(1e-3).init(params), count, count)


def abstract(state):
    everywhere = mesh_lib.everywhere(mesh_lib.make_mesh())
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=everywhere), state
    )
