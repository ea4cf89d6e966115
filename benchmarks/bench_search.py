"""Searches the largest batch that a device can run, each trial in a separate process."""

import dataclasses
import time
from collections.abc import Callable
from typing import Any

from clef_jax.planning import search

Step = Callable[[int], dict[str, Any]]
"""Runs the step with a number of patients per device; returns `bench_step.Outcome` as a dict."""


@dataclasses.dataclass(frozen=True)
class Largest:
    """Result of a search."""

    result: search.SearchResult
    outcome: dict[str, Any] | None
    """Outcome of the largest step that fits; None if not even one patient fits."""


class _OutOfTime(Exception):
    """The time does not suffice for another trial."""


def largest(
    step: Step,
    *,
    first_rows: int,
    first: dict[str, Any],
    deadline: float,
    clock: Callable[[], float] = time.monotonic,
) -> Largest:
    """Searches the largest batch, starting from a step that was already run.

    Args:
        step: runs a step.
        first_rows: patients per device of the step that was already run.
        first: outcome of that step.
        deadline: time limit by `clock`; a trial is expected to take as long as the longest so far,
            and is not started if it would end later.
        clock: returns the time in seconds.
    """
    outcomes: dict[int, dict[str, Any]] = {}
    trials: list[search.Trial] = []
    longest_seconds = 0.0

    def attempt(rows: int) -> search.Trial:
        """Runs one trial, unless it would end after the deadline."""
        nonlocal longest_seconds
        start = clock()
        if start + longest_seconds > deadline:
            raise _OutOfTime
        outcomes[rows] = first if rows == first_rows else step(rows)
        longest_seconds = max(longest_seconds, clock() - start)
        outcome = outcomes[rows]
        trials.append(
            search.Trial(rows, outcome["fits"], outcome["peak_bytes"], outcome["available_bytes"])
        )
        return trials[-1]

    try:
        result = search.largest(attempt, first_rows=first_rows)
    except _OutOfTime:
        rows = max((trial.rows for trial in trials if trial.fits), default=0)
        result = search.SearchResult(rows, tuple(trials))
    return Largest(result, outcomes.get(result.rows))
