"""Clinical risk scores. A score is one module of this package that defines `SCORE`; nothing lists
them, `load` finds them.
"""

import importlib
import pkgutil

from clef_jax.risk._score import REGIONS, Score
from clef_jax.risk.esc_2021 import score2

__all__ = ["REGIONS", "Score", "load", "score2"]


def load() -> dict[str, Score]:
    """Every score by name.

    Raises:
        AttributeError: a module of this package defines no `SCORE`.
        ValueError: two modules define a score of the same name.
    """
    scores: dict[str, Score] = {}
    for module in pkgutil.iter_modules(__path__):
        if module.name.startswith("_"):
            continue
        score = importlib.import_module(f"{__name__}.{module.name}").SCORE
        if score.name in scores:
            raise ValueError(f"Two modules define the score {score.name!r}; rename one.")
        scores[score.name] = score
    return scores
