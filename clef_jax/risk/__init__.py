"""Clinical risk scores. A score is one module of this package that defines `SCORE`; it is
discovered automatically.

```
from clef_jax.risk import Score

SCORE = Score(name="my_score", inputs=("age_years", "male"), function=my_function, ...)
```

Another package adds such a module by an entry point in its `pyproject.toml`:

```
[project.entry-points."clef_jax.risk"]
my_score = "my_package.my_score"
```

Modules with a leading underscore hold code that several scores share.
"""

from clef_jax import plugin
from clef_jax.errors import UserError
from clef_jax.risk._limits import LIMITS, MG_DL_PER_MMOL_L, Limits, exceeds_total
from clef_jax.risk._score import REGIONS, Score
from clef_jax.risk.esc_2021 import score2

__all__ = [
    "LIMITS",
    "MG_DL_PER_MMOL_L",
    "REGIONS",
    "Limits",
    "Score",
    "exceeds_total",
    "load",
    "score2",
]


_KIND = plugin.Kind(label="risk score", package=__name__, attribute="SCORE", expected=Score)


def load() -> dict[str, Score]:
    """Returns every score by its own name, which may differ from its module's name.

    Raises:
        UserError: a module defines no score, or two modules define scores of the same name.
    """
    scores: dict[str, Score] = {}
    module_of: dict[str, str] = {}
    for module, score in _KIND.load().items():
        if score.name in scores:
            raise UserError(
                f"Two modules define the risk score {score.name!r}: {module_of[score.name]} and "
                f"{_KIND.module_name(module)}. Rename one of the scores."
            )
        scores[score.name] = score
        module_of[score.name] = _KIND.module_name(module)
    return scores
