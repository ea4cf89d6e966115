"""What a pre-trained encoder must beat. A baseline is one module of this folder that defines
`make`; nothing lists them.

```
def make(context: Context) -> Iterator[Encoder]:
    yield MyEncoder(...)
```

Modules with a leading underscore are what several baselines share.
"""

import dataclasses
import difflib
import importlib
import pkgutil
from collections.abc import Iterator

from jax.sharding import Mesh

from clef_jax.embedding.encoder import Encoder
from clef_jax.embedding.recipe import Recipe
from clef_jax.errors import UserError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Context:
    """What a baseline may want to know of the encoders that it stands beside."""

    mesh: Mesh
    size: str
    recipe: Recipe
    num_seeds: int = 1
    """As how many encoders a baseline that draws lots should be there."""
    seed: int = 0
    """The first of them."""


def names() -> list[str]:
    """The names of all baselines, sorted; none is imported."""
    found = {module.name for module in pkgutil.iter_modules(__path__)}
    return sorted(name for name in found if not name.startswith("_"))


def make(name: str, context: Context) -> Iterator[Encoder]:
    """The encoders of a baseline.

    Raises:
        UserError: there is no such baseline; says which is nearest.
    """
    known = names()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise UserError(f"There is no baseline {name!r}; there are {', '.join(known)}.{hint}")
    module = importlib.import_module(f"{__name__}.{name}")
    if not hasattr(module, "make"):
        raise UserError(f"The module {name} of clef_jax.baselines defines no `make`.")
    yield from module.make(context)
