"""The largest batch that a device really runs, each try in a process of its own."""

import dataclasses
import time
from collections.abc import Callable
from typing import Any

from clef_jax.planning import search

Step = Callable[[int], dict[str, Any]]
"""Runs the step with that many patients per device: `bench_step.Outcome`."""


@dataclasses.dataclass(frozen=True)
class Largest:
    """What a search found."""

    found: search.SearchResult
    outcome: dict[str, Any] | None
    """Of the largest step that fits; None if not even one patient does."""


class _OutOfTime(Exception):
    """There is no time for another try."""


def largest(
    step: Step,
    *,
    first_rows: int,
    first: dict[str, Any],
    deadline: float,
    clock: Callable[[], float] = time.monotonic,
) -> Largest:
    """Searches from a step that was run already, until it is found or a try would end too late.

    Args:
        step: runs a step.
        first_rows: patients per device of the step that was run.
        first: its outcome.
        deadline: by `clock`; a try is expected to take as long as the longest one so far.
    """
    outcomes: dict[int, dict[str, Any]] = {}
    trials: list[search.Trial] = []
    longest_seconds = 0.0

    def attempt(rows: int) -> search.Trial:
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
        found = search.largest(attempt, first_rows=first_rows)
    except _OutOfTime:
        rows = max((one.rows for one in trials if one.fits), default=0)
        found = search.SearchResult(rows, tuple(trials))
    return Largest(found, outcomes.get(found.rows))
