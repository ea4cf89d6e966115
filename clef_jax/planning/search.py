"""Searches the largest batch that fits a machine, with few compilations."""

import dataclasses
import math
from collections.abc import Callable

_MAX_TRIALS = 8
_CLOSE = 1 / 16
"""The search ends when a batch fits and one larger by at most this fraction does not."""


@dataclasses.dataclass(frozen=True)
class Trial:
    """One batch that was tried."""

    rows: int
    """Patients per device."""
    fits: bool
    used_bytes: int | None
    """Memory that the step needs; None if unknown."""
    available_bytes: int | None
    """Memory that a program can use; None if unknown."""


@dataclasses.dataclass(frozen=True)
class SearchResult:
    """Result of a search for the largest batch."""

    rows: int
    """Largest number of patients per device that fits; 0 if none does."""
    trials: tuple[Trial, ...]
    """All trials, in order."""

    @property
    def is_close(self) -> bool:
        """Whether a slightly larger batch was tried and does not fit."""
        refused = [x.rows for x in self.trials if not x.fits]
        return bool(refused) and min(refused) <= _next(self.rows)


def largest(
    attempt: Callable[[int], Trial], *, first_rows: int, max_trials: int = _MAX_TRIALS
) -> SearchResult:
    """Searches the largest number of patients per device for which `attempt` fits.

    Memory grows almost linearly with the patients. So each guess is where the line through two
    trials meets the available memory, limited to the range between a fitting and a larger batch.

    Args:
        attempt: compiles a step with the given number of patients per device.
        first_rows: patients per device of the first trial, at least 1.
        max_trials: maximum number of trials; each may take minutes.
    """
    trials: list[Trial] = []
    rows = max(1, first_rows)
    while len(trials) < max_trials:
        trials.append(attempt(rows))
        low = max((x.rows for x in trials if x.fits), default=0)
        high = min((x.rows for x in trials if not x.fits), default=None)
        if high is not None and high <= _next(low):
            break
        rows = _guess(trials, low, high)
    return SearchResult(max((x.rows for x in trials if x.fits), default=0), tuple(trials))


def _next(rows: int) -> int:
    """Returns the smallest larger number of rows that is worth another trial."""
    return rows + max(1, math.floor(rows * _CLOSE))


def _guess(trials: list[Trial], low: int, high: int | None) -> int:
    """Returns the next rows to try; `low` fits, and `high` does not."""
    guess = _by_line(trials)
    if guess is None:
        guess = 2 * low if high is None else (low + high) // 2
    if high is None:
        # A line through small batches must not extrapolate too far.
        return min(max(guess, _next(low)), 8 * low)
    return min(max(guess, low + 1), high - 1)


def _by_line(trials: list[Trial]) -> int | None:
    """Returns where the line through the two trials nearest to the memory limit meets it."""
    # A rejection states the memory that a program can use, slightly less than the device has.
    limit = min((x.available_bytes for x in trials if x.available_bytes), default=None)
    known = [(x.rows, x.used_bytes) for x in trials if x.used_bytes is not None]
    if len(known) < 2 or limit is None:
        return None
    (rows, used), (other_rows, other_used) = sorted(known, key=lambda x: abs(x[1] - limit))[:2]
    slope = (other_used - used) / (other_rows - rows)
    return None if slope <= 0 else math.floor(rows + (limit - used) / slope)
