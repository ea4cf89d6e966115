"""Estimates how much each setting of a grid changes the main scores, with intervals over seeds."""

import collections
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import scipy.stats

if TYPE_CHECKING:
    from clef_jax.evaluation.ablation import MainScore

_LEVEL = 0.95


class Trial(NamedTuple):
    """One run of a grid."""

    point: Mapping[str, str]
    """Value of each flag."""
    seed: int
    scores: "Mapping[str, MainScore]"
    """Main score of each task."""


@dataclasses.dataclass(frozen=True)
class Effect:
    """Difference of a task's main score between a value of a flag and the flag's first value."""

    flag: str
    value: str
    reference: str
    """First value of the flag."""
    task: str
    score: str
    by_seed: tuple[float, ...]
    """Difference for each seed, a mean over the points that differ in this flag alone."""

    @property
    def mean(self) -> float:
        return float(np.mean(self.by_seed))

    @property
    def interval(self) -> tuple[float, float]:
        """95 % confidence interval of the mean over seeds, from Student's t; NaN with one seed.

        The unit is the seed, as runs with the same seed share their data order and initial weights.
        """
        count = len(self.by_seed)
        if count < 2:
            return np.nan, np.nan
        error = float(np.std(self.by_seed, ddof=1)) / np.sqrt(count)
        half = float(scipy.stats.t.ppf((1 + _LEVEL) / 2, count - 1)) * error
        return self.mean - half, self.mean + half


def estimate(trials: Sequence[Trial]) -> Iterator[Effect]:
    """Yields the effect of each value of each flag on each task.

    Two runs are compared if they have the same seed and differ in one flag alone, and the main
    score of both is defined.
    """
    flags = list(trials[0].point) if trials else []
    tasks = list(dict.fromkeys(task for trial in trials for task in trial.scores))
    for flag in flags:
        first, *others = dict.fromkeys(trial.point[flag] for trial in trials)
        for value in others:
            for task in tasks:
                differences, name = _differences(trials, flag, first, value, task)
                if differences:
                    by_seed = tuple(float(np.mean(d)) for d in differences.values())
                    yield Effect(flag, value, first, task, name, by_seed)


def _differences(
    trials: Sequence[Trial], flag: str, first: str, value: str, task: str
) -> tuple[dict[int, list[float]], str]:
    """Returns the differences of matched runs by seed, and the name of the score."""
    references, name = {}, ""
    for trial in trials:
        if trial.point[flag] == first and task in trial.scores:
            references[_others(trial, flag)] = trial.scores[task].value
            name = trial.scores[task].name
    by_seed: dict[int, list[float]] = collections.defaultdict(list)
    for trial in trials:
        if trial.point[flag] != value or task not in trial.scores:
            continue
        difference = trial.scores[task].value - references.get(_others(trial, flag), np.nan)
        if np.isfinite(difference):
            by_seed[trial.seed].append(difference)
    return by_seed, name


def _others(trial: Trial, flag: str) -> tuple:
    """Returns the seed and the values of all other flags."""
    return trial.seed, *sorted(item for item in trial.point.items() if item[0] != flag)
