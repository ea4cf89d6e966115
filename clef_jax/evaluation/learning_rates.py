"""Learning rates of fine-tuning, one for the encoder and one for the head.

They are part of the optimiser's state, so that other rates need no other compiled step.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

import jax
import jax.numpy as jnp
import optax


class Rates(NamedTuple):
    """Learning rate of each group of parameters."""

    encoder: Any
    head: Any


class _Tuned(Protocol):
    @property
    def validation_loss(self) -> float: ...

    @property
    def rates(self) -> Rates: ...


Tuned = TypeVar("Tuned", bound=_Tuned)
"""Result of a training with its validation loss."""


def choose(run: Callable[[Rates], Tuned], rates: Sequence[float]) -> Tuned:
    """Returns the best of the runs; the first if several are equal."""
    best = min((run(Rates(rate, rate)) for rate in rates), key=lambda x: x.validation_loss)
    rate = best.rates.encoder
    others = (run(Rates(rate, other)) for other in rates if other != rate)
    return min((best, *others), key=lambda tuned: tuned.validation_loss)


def by_group(rates: Rates) -> optax.GradientTransformation:
    """Returns a transformation that multiplies the updates of each group by its learning rate.

    The group `encoder` is the field of this name in the parameters; all other fields are the head.
    """

    def multiply(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        del params
        fields = {
            name: state.encoder if name == "encoder" else state.head for name in updates._fields
        }
        scaled = {
            name: jax.tree.map(lambda update, rate=rate: update * rate, getattr(updates, name))
            for name, rate in fields.items()
        }
        return updates._replace(**scaled), state

    def start(params: Any) -> Any:
        del params
        return _arrays(rates)

    return optax.GradientTransformation(start, multiply)


def with_rates(state: Any, rates: Rates) -> tuple[Any, ...]:
    """Returns the state of a chain that ends with `by_group`, with other rates."""
    return (*state[:-1], _arrays(rates))


def _arrays(rates: Rates) -> Rates:
    return Rates(jnp.float32(rates.encoder), jnp.float32(rates.head))
