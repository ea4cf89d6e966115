"""Models and baselines that are scored as they are, without training."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import rich.console

from clef_jax import baselines, mesh as mesh_lib
from clef_jax.errors import UserError
from clef_jax.evaluation import models as models_lib
from clef_jax.evaluation.feature_source import Model
from clef_jax.speedrunning import record, score, training_data
from clef_jax.speedrunning.panel import Panel
from clef_jax.speedrunning.score import PanelScores
from clef_jax.speedrunning.settings import AUTO, Config

CACHE = "embeddings"
"""Folder for embeddings in the folder of a run."""


@dataclasses.dataclass(frozen=True)
class Entry:
    """A model with its scores and what its row states about it."""

    identity: str
    """Identifier of the row."""
    facts: Mapping[str, Any]
    """Kind, fingerprint, settings, data and risk of the row, as JSON values."""
    scores: PanelScores
    minutes: float
    """Minutes of training."""


def score_path(
    model: str, panel: Panel, config: Config, console: rich.console.Console
) -> tuple[PanelScores, str]:
    """Returns the scores and the fingerprint of a model or a baseline."""
    loaded = load(model, config)
    return _score(loaded, panel, config, console), loaded.fingerprint


def _score(
    model: Model, panel: Panel, config: Config, console: rich.console.Console
) -> PanelScores:
    predict = score.of_model(model, panel, config.folder / CACHE, console)
    return score.compute(predict, panel, console, num_resamples=config.num_resamples)


def load(model: str, config: Config) -> Model:
    """Returns the encoder, baseline or embeddings of a name.

    Raises:
        UserError: there is no such model.
    """
    mesh = mesh_lib.make_mesh(jax.local_devices())
    size = "small" if config.size == AUTO else config.size
    # A folder of the same name does not stand for a baseline.
    named = model in baselines.names()
    paths, wanted = ((), model) if named else ((model,), "none")
    loaded = models_lib.collect(paths, wanted, mesh, size=size, num_seeds=1, seed=config.seed)
    return loaded[0]


def run(config: Config, panel: Panel, console: rich.console.Console) -> Entry:
    """Scores a model as it is.

    Raises:
        UserError: there is no such model, or it was trained on test patients.
    """
    model = load(config.model, config)
    stated = getattr(model, "run", None) or {}
    settings = stated.get("config") or stated.get("model") or {}
    # A model folder does not state whom its training excluded.
    if "config" in stated and not training_data.keeps_test_patients(settings, config, panel):
        folds = ",".join(map(str, config.test_folds))
        raise UserError(
            f"{config.model} was trained on {settings['dataset']} with patients of the test; "
            f"train it without them, for example with --exclude=strat_fold={folds}.",
            problem="trained_on_test",
        )
    scores = _score(model, panel, config, console)
    is_named = config.model in baselines.names()
    own = {"model": config.model if is_named else None, "seed": config.seed}
    facts = {
        "kind": "scored",
        "fingerprint": model.fingerprint,
        "settings": {**own, "size": getattr(model, "size", None)},
        "measured": None,
        "training_data": {"stated": settings["dataset"]} if "dataset" in settings else None,
        "risk": None,
    }
    identity = record.digest(model.fingerprint, panel.digest, config.num_resamples)
    return Entry(identity, facts, scores, 0.0)
