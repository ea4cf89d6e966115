"""Checks what a grid of runs will train and evaluate, before the first training."""

import argparse
from collections.abc import Sequence

import rich.console

from clef_jax import plugin
from clef_jax.config import TrainConfig
from clef_jax.data import index as index_lib
from clef_jax.errors import WrongArgument
from clef_jax.evaluation import run as evaluation_run
from clef_jax.evaluation.settings import BEST, LAST, Config
from clef_jax.models import size as size_lib


def check_training(settings: Config, runs: Sequence[Sequence[str]]) -> None:
    """Raises UserError if a run has an unknown size or lead, or lacks the layer to evaluate.

    Args:
        settings: settings of the evaluation.
        runs: flags of clef-jax train of each run.
    """
    for flags in runs:
        training = _parse(flags)
        _ = training.lead_names  # raises an error if one is unknown
        num_layers = len(size_lib.by_name(training.size).stage_channels)
        layers = (LAST, BEST, *(f"stage_{number + 1}" for number in range(num_layers)))
        if settings.layer not in layers:
            raise WrongArgument(plugin.unknown("layer", settings.layer, layers))


def _parse(flags: Sequence[str]) -> TrainConfig:
    """Returns settings with the leads and the size of a run; all others have their defaults."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for name in ("leads", "size"):
        parser.add_argument(f"--{name}", default=getattr(TrainConfig, name))
    given, _ = parser.parse_known_args(flags)
    try:
        return TrainConfig(data_dir="", workdir="", leads=given.leads, size=given.size)
    except ValueError as error:
        raise WrongArgument(str(error)) from error


def check_evaluation(settings: Config) -> None:
    """Raises UserError if nothing can be evaluated, or a data set lacks the lead to evaluate."""
    selected = evaluation_run.check(settings, rich.console.Console(quiet=True))
    wanted = {(task.dataset, task.lead) for task in selected}
    if settings.geometry:
        wanted.add((settings.geometry_dataset, settings.lead or "I"))
    for dataset, lead in sorted(wanted):
        folder = index_lib.find(settings.data_dir, dataset)
        index_lib.load(folder, index_lib.splits(folder)[0]).lead_row(lead)
