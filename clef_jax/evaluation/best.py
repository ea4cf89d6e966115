"""Finds the best model of each task, and the models that cannot be told from it.

Shapes: R resamples.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from clef_jax.evaluation import score
from clef_jax.evaluation.result import ALPHA, Result
from clef_jax.statistics import bootstrap


@dataclasses.dataclass(frozen=True)
class Standing:
    """The models that are best on one task."""

    best: str = ""
    """Row with the best primary score; empty if no score is defined."""
    tied: tuple[str, ...] = ()
    """Rows whose difference from the best has an interval that includes 0."""
    unpaired: tuple[str, ...] = ()
    """Rows that predicted other recordings, so that they cannot be compared with the best."""

    def includes(self, row: str) -> bool:
        """Returns whether a row is best or tied with the best."""
        return bool(row) and (row == self.best or row in self.tied)


def by_task(results: Sequence[Result], *, num_resamples: int, seed: int) -> dict[str, Standing]:
    """Returns the standing of each task, from the results with all labels.

    Args:
        results: Results of all tasks.
        num_resamples: Number of resamples of the patients.
        seed: Seed of the resamples.
    """
    groups: dict[str, list[Result]] = {}
    for result in results:
        if result.label_fraction == 1:
            groups.setdefault(result.task.name, []).append(result)
    return {
        name: standing(of_task, num_resamples=num_resamples, seed=seed)
        for name, of_task in groups.items()
    }


def standing(of_task: Sequence[Result], *, num_resamples: int, seed: int) -> Standing:
    """Returns which results of one task are best, and tied with the best.

    A result is tied if the interval of its paired difference from the best includes 0. The interval
    comes from resampled patients; its level is 95 % for all results of the task together
    (Bonferroni), because the best one was chosen among them.
    """
    primary = score.primary(of_task[0].task)
    best = best_of(of_task)
    if best is None:
        return Standing()
    others = [result for result in of_task if result.row != best.row and is_defined(result)]
    tied, unpaired, target = [], [], best.predictions.target
    patient = best.predictions.patient
    num_patients = len(np.unique(patient))
    weight = bootstrap.patient_weights(patient, num_resamples, seed)
    of_best = primary.score(target, best.predictions.predicted, weight)
    for other in others:
        theirs = other.predictions
        if not np.array_equal(patient, theirs.patient) or target.shape != theirs.target.shape:
            unpaired.append(other.row)
            continue
        # A difference of rounding error is none: the same features under two names are tied.
        difference = np.round(of_best - primary.score(target, theirs.predicted, weight), 12)
        interval = bootstrap.interval(difference, num_patients, 1 - ALPHA / len(others))
        if not interval.low > 0 and not interval.high < 0:
            tied.append(other.row)
    return Standing(best.row, tuple(tied), tuple(unpaired))


def is_defined(result: Result) -> bool:
    """Returns whether a result can be the best: its primary score is a number, and its predictions
    are not constant."""
    scored = result.primary()
    return bool(np.isfinite(scored.value)) and not scored.constant


def best_of(of_task: Sequence[Result]) -> Result | None:
    """Returns the result with the best primary score of a task; None if none is defined."""
    sign = 1 if score.primary(of_task[0].task).higher_is_better else -1
    defined = [result for result in of_task if is_defined(result)]
    return max(defined, key=lambda result: sign * result.primary().value, default=None)


def counts(standings: Mapping[str, Standing], rows: Sequence[str]) -> dict[str, int]:
    """Returns in how many tasks each row is best or tied with the best, the highest count first."""
    number = {row: sum(s.includes(row) for s in standings.values()) for row in rows}
    return dict(sorted(number.items(), key=lambda item: -item[1]))
