"""Baselines, with which pre-trained encoders are compared.

A baseline is one module of this folder that defines `make`; it is discovered automatically.

```
def make(context: Context) -> Iterator[Encoder]:
    yield MyEncoder(...)
```

Another package adds such a module by an entry point in its `pyproject.toml`:

```
[project.entry-points."clef_jax.baselines"]
my_baseline = "my_package.my_baseline"
```

A baseline that is a file of weights yields nothing there, so that `--model=FILE` evaluates it. It
defines `PUBLISHED` (`embedding.published`), or, for a network of our architecture, `recognises` and
`read_weights` (`embedding.weight_file`).

Modules with a leading underscore hold code that several baselines share.
"""

import dataclasses
from collections.abc import Callable, Iterator

from jax.sharding import Mesh

from clef_jax import plugin
from clef_jax.embedding.encoder import Encoder
from clef_jax.embedding.recipe import Recipe


@dataclasses.dataclass(frozen=True, kw_only=True)
class Context:
    """Properties of the encoders with which a baseline is compared."""

    mesh: Mesh
    size: str
    recipe: Recipe
    num_seeds: int = 1
    """Number of encoders of a random baseline, one per seed."""
    seed: int = 0
    """The first of these seeds."""


_KIND = plugin.Kind[Callable[[Context], Iterator[Encoder]]](
    label="baseline", package=__name__, attribute="make", expected=None
)


def names() -> list[str]:
    """Returns the names of all baselines, sorted, without importing any baseline.

    Raises:
        UserError: two modules have the same name.
    """
    return _KIND.names()


def make(name: str, context: Context) -> Iterator[Encoder]:
    """Yields the encoders of a baseline.

    Raises:
        UserError: the name is unknown, and the message proposes the nearest; or the module defines
            no `make`.
    """
    yield from _KIND.load_one(name)(context)
