"""The network as one program. Otherwise each of its operations is compiled by itself."""

import jax
from flax import nnx


def stages(encoder, x) -> list[jax.Array]:
    """What `encoder.stages(x)` computes."""
    graph, state = nnx.split(encoder)
    return jax.jit(lambda state, x: list(nnx.merge(graph, state).stages(x)))(state, x)
