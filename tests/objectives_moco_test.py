"""Tests of MoCo's loss and queue, against the public reference and a formula in NumPy."""

import dataclasses
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from culprits import refuses
from flax import nnx

from clef_jax import objectives
from clef_jax.objectives import moco

pytestmark = pytest.mark.usefixtures("quick_compiler")

GOLDEN = np.load(pathlib.Path(__file__).parent / "golden" / "momentum_public.npz")
TAGS = ("moco_N8_D16_K32", "moco_N5_D7_K20")


def golden(tag, *names):
    return [GOLDEN[f"{tag}/{name}"] for name in names]


@pytest.mark.parametrize("tag", TAGS)
@pytest.mark.parametrize("block_rows", [None, 3])
def test_loss_and_gradient_equal_the_reference(tag, block_rows):
    query, key, queue, want, want_gradient = golden(tag, "q", "k", "queue0", "loss", "grad_q")

    def loss(query, key, queue):
        return moco.loss(query, key, queue, block_rows=block_rows)

    value, gradients = jax.value_and_grad(loss, argnums=(0, 1, 2))(query, key, queue)
    np.testing.assert_allclose(value, want, atol=1e-5)
    np.testing.assert_allclose(gradients[0], want_gradient, atol=1e-5)
    assert not np.any(gradients[1])
    assert not np.any(gradients[2])


@pytest.mark.parametrize("tag", TAGS)
def test_enqueued_keys_equal_the_reference(tag):
    key, queue, want, pointer = golden(tag, "k", "queue0", "queue_after_loss", "pointer_after_loss")
    got, next_pointer = moco.enqueue(jnp.asarray(queue), 0, key)
    np.testing.assert_allclose(got, want, atol=1e-6)
    assert int(next_pointer) == pointer


@pytest.mark.parametrize("tag", TAGS)
def test_a_sequence_of_losses_equals_the_reference(tag):
    query, key, queue, pointer = golden(tag, "q", "k", "queue_after_step", "pointer_after_step")
    queue, losses = jnp.asarray(queue), []
    for _ in range(5):
        losses.append(moco.loss(query, key, queue))
        queue, pointer = moco.enqueue(queue, pointer, key)
    want, want_queue, want_pointer = golden(
        tag, "losses_of_sequence", "queue_after_seq", "pointer_after_seq"
    )
    np.testing.assert_allclose(losses, want, atol=1e-5)
    np.testing.assert_allclose(queue, want_queue, atol=1e-6)
    assert int(pointer) == want_pointer


def test_the_oldest_keys_are_replaced_beyond_the_end_of_the_queue():
    queue = jnp.zeros((2, 5))
    keys = np.random.default_rng(0).normal(size=(4, 2))
    queue, pointer = moco.enqueue(queue, 3, keys)
    unit = keys / np.linalg.norm(keys, axis=1, keepdims=True)
    assert int(pointer) == 2
    np.testing.assert_allclose(queue.T, [unit[2], unit[3], [0, 0], unit[0], unit[1]], atol=1e-6)
    with refuses("(6, 2)", error=ValueError):
        moco.enqueue(queue, 0, np.ones((6, 2)))
    with refuses("(3, 3)", error=ValueError):
        moco.enqueue(queue, 0, np.ones((3, 3)))


def test_version_3_contrasts_with_the_other_keys_of_the_batch_in_both_directions():
    rng = np.random.default_rng(0)
    views = rng.normal(size=(2, 8, 6)).astype(np.float32)
    config = moco.Config(temperature=0.3, queue_size=0, symmetric=True)
    with jax.enable_x64(True):
        inputs = make_inputs(jnp.asarray(views, jnp.float64), config)
        got = objectives.load_one("moco").terms(inputs, config).terms["loss"]
    unit = views / np.linalg.norm(views, axis=2, keepdims=True)
    want = np.mean([cross_entropy(unit[i] @ unit[1 - i].T / 0.3) for i in range(2)])
    np.testing.assert_allclose(got, want, rtol=1e-6)


def cross_entropy(logits):
    """The mean cross-entropy of the diagonal."""
    return np.mean(np.log(np.exp(logits).sum(axis=1)) - np.diag(logits))


def make_inputs(views, config, step=0, num_steps=1):
    objective = objectives.load_one("moco")
    sizes = objectives.Sizes(views.shape[2], views.shape[1], {})
    params = objective.init_params(config, sizes, nnx.Rngs(0))
    state = objective.init_state(config, sizes, nnx.State({}), params, nnx.Rngs(1))
    return objectives.Inputs(
        view_a=views[0],
        view_b=views[1],
        risk=jnp.zeros(views.shape[1]),
        completeness=jnp.zeros(views.shape[1]),
        labels={},
        params=params,
        state=state,
        encode=lambda _: (views[0], views[1]),
        mesh=None,
        step=step,
        num_steps=num_steps,
    )


def test_version_3_has_a_momentum_that_rises_to_1():
    views = jnp.asarray(np.random.default_rng(0).normal(size=(2, 4, 6)), jnp.float32)
    objective, config = objectives.load_one("moco"), dataclasses.replace(moco.V3, hidden_width=8)
    momenta = [
        objective.terms(make_inputs(views, config, step, 100), config).carry["momentum"]
        for step in (0, 50, 100)
    ]
    np.testing.assert_allclose(momenta, [0.99, 0.995, 1], atol=1e-6)
    assert objective.depends_on_num_steps(moco.V3)
    assert not objective.depends_on_num_steps(moco.PAPER)


def test_the_queue_holds_keys_of_the_projector_and_starts_with_unit_columns():
    views = jnp.zeros((2, 4, 6))
    inputs = make_inputs(views, moco.Config(projection_width=3, queue_size=50))
    assert inputs.state["queue"].shape == (3, 50)
    np.testing.assert_allclose(np.linalg.norm(inputs.state["queue"], axis=0), 1, rtol=1e-5)
    shapes = [layer["weight"].shape for layer in inputs.params["projector"].values()]
    assert shapes == [(6, 6), (6, 3)]


def test_presets_are_those_of_the_papers():
    assert moco.Config() == moco.PAPER
    assert (moco.PAPER.temperature, moco.PAPER.queue_size) == (0.07, 65_536)
    assert (moco.PAPER.momentum, moco.PAPER.projection_width) == (0.999, 0)
    assert (moco.ORIGINAL.temperature, moco.ORIGINAL.projection_width) == (0.2, 128)
    assert moco.V3.queue_size == 0
    assert moco.V3.symmetric
    assert moco.V3.predictor


@pytest.mark.parametrize(
    ("settings", "culprit"),
    [
        ({"temperature": 0}, "temperature=0"),
        ({"temperature": float("inf")}, "temperature=inf"),
        ({"momentum": 1.5}, "momentum=1.5"),
        ({"queue_size": -1}, "queue_size=-1"),
        ({"momentum_schedule": "linear"}, "momentum_schedule='linear'"),
        ({"projection_layers": 0}, "projection_layers=0"),
        ({"predictor": True}, "projection_width"),
    ],
)
def test_settings_that_cannot_be_are_named(settings, culprit):
    with refuses(culprit, error=ValueError):
        moco.Config(**settings)


def test_a_queue_shorter_than_the_batch_is_refused():
    with refuses("--moco.queue-size=3", "4", problem="short_queue"):
        make_inputs(jnp.zeros((2, 4, 6)), moco.Config(queue_size=3))


@pytest.mark.parametrize(
    ("query", "key", "queue"), [((4, 3), (5, 3), (3, 8)), ((4, 3), (4, 3), (8, 3))]
)
def test_shapes_that_do_not_agree_are_refused(query, key, queue):
    with refuses(str(query), error=ValueError):
        moco.loss(jnp.ones(query), jnp.ones(key), jnp.ones(queue))
