import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from clef_jax.objectives import Inputs, Sizes, _network, clef, simclr

pytestmark = pytest.mark.usefixtures("quick_compiler")

PATIENTS, EMBEDDING, WIDTH = 6, 5, 3
SIZES = Sizes(embedding_width=EMBEDDING, global_batch_size=PATIENTS, label_widths={})


def make_inputs(params=None):
    rng = np.random.default_rng(0)
    view_a, view_b = jnp.asarray(rng.normal(size=(2, PATIENTS, EMBEDDING)), jnp.float32)
    risk = jnp.asarray(rng.uniform(size=PATIENTS), jnp.float32)
    return Inputs(
        view_a=view_a,
        view_b=view_b,
        risk=risk,
        completeness=jnp.ones(PATIENTS),
        labels={},
        params=params,
        state=None,
        encode=lambda _: (view_a, view_b),
        mesh=None,
    )


def losses_of(module):
    def loss(params, config):
        return module.OBJECTIVE.terms(make_inputs(params), config).terms["loss"]

    return loss


@pytest.mark.parametrize("module", [clef, simclr])
def test_the_loss_sees_the_projections(module):
    config = module.Config(projection_width=WIDTH)
    params = module.OBJECTIVE.init_params(config, SIZES, nnx.Rngs(0))
    inputs = make_inputs()
    projected = [
        _network.apply(params["projector"], view)[0] for view in (inputs.view_a, inputs.view_b)
    ]
    assert projected[0].shape == (PATIENTS, WIDTH)
    want = module.terms(*projected, inputs.risk, inputs.completeness, config)["loss"]
    value, gradient = jax.value_and_grad(losses_of(module))(params, config)
    np.testing.assert_allclose(value, want, rtol=1e-6)
    assert all(np.any(leaf != 0) for leaf in jax.tree.leaves(gradient))


@pytest.mark.parametrize("module", [clef, simclr])
def test_without_a_projector_the_loss_sees_the_embeddings(module):
    config = module.Config()
    assert module.OBJECTIVE.init_params(config, SIZES, nnx.Rngs(0)) is None
    inputs = make_inputs()
    want = module.loss(inputs.view_a, inputs.view_b, inputs.risk, inputs.completeness, config)
    np.testing.assert_array_equal(losses_of(module)(None, config), want)
