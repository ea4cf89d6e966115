"""Encoder and head have a learning rate each, and the pair with the lowest validation loss wins."""

import dataclasses
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import optax

from clef_jax.evaluation.learning_rates import Rates, by_group, choose, with_rates


class Params(NamedTuple):
    encoder: Any
    weight: Any
    bias: Any


@dataclasses.dataclass(frozen=True)
class Tuned:
    rates: Rates
    validation_loss: float


def test_equal_rates_are_tried_first_and_then_those_of_the_head():
    tried = []
    losses = {(1, 1): 5, (2, 2): 3, (3, 3): 4, (2, 1): 2, (2, 3): 9}

    def run(rates):
        tried.append(tuple(rates))
        return Tuned(rates, losses[tuple(rates)])

    assert choose(run, (1, 2, 3)).rates == Rates(2, 1)
    assert tried == [(1, 1), (2, 2), (3, 3), (2, 1), (2, 3)]
    tried.clear()
    assert choose(run, (1,)).rates == Rates(1, 1)
    assert tried == [(1, 1)]


def test_the_first_of_equal_losses_is_taken():
    assert choose(lambda rates: Tuned(rates, 1.0), (1, 2)).rates == Rates(1, 1)


def test_each_group_moves_by_its_rate():
    params = Params({"a": jnp.zeros(2)}, jnp.zeros(3), jnp.zeros(1))
    gradient = Params({"a": jnp.ones(2)}, jnp.ones(3), jnp.ones(1))
    tx = optax.chain(optax.scale(-1.0), by_group(Rates(0.1, 0.1)))
    for rates in (Rates(0.1, 0.1), Rates(0.5, 2.0)):
        state = with_rates(tx.init(params), rates)
        updates, after = tx.update(gradient, state, params)
        np.testing.assert_allclose(updates.encoder["a"], -rates.encoder)
        np.testing.assert_allclose(updates.weight, -rates.head)
        np.testing.assert_allclose(updates.bias, -rates.head)
        assert after[-1] == state[-1]
