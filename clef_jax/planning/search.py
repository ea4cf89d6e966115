"""The largest batch that fits a machine, found with few compilations."""

import dataclasses
import math
from collections.abc import Callable

_MAX_TRIALS = 8
_CLOSE = 1 / 16
"""The search ends when the next larger batch that was tried is at most this much larger."""


@dataclasses.dataclass(frozen=True)
class Trial:
    """One batch that was tried."""

    rows: int
    """Patients per device."""
    fits: bool
    used_bytes: int | None
    """Memory that it needs; None if the compiler did not say."""
    available_bytes: int | None


@dataclasses.dataclass(frozen=True)
class SearchResult:
    """What a search found."""

    rows: int
    """Most patients per device that fit; 0 if not even one does."""
    trials: tuple[Trial, ...]
    """In the order in which they were made."""

    @property
    def is_close(self) -> bool:
        """Whether a batch little larger was tried and does not fit."""
        refused = [x.rows for x in self.trials if not x.fits]
        return bool(refused) and min(refused) <= _next(self.rows)


def largest(
    attempt: Callable[[int], Trial], *, first_rows: int, max_trials: int = _MAX_TRIALS
) -> SearchResult:
    """The most rows for which `attempt(rows)` fits.

    Memory grows almost by a straight line with the rows, so each guess is where the line through
    the last trials meets what is available, and stays between what fits and what does not.

    Args:
        attempt: compiles a step with that many patients per device.
        first_rows: where to begin, at least 1.
        max_trials: compilations at most; each may take minutes.
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
    """The least larger number of rows that is worth another compilation."""
    return rows + max(1, math.floor(rows * _CLOSE))


def _guess(trials: list[Trial], low: int, high: int | None) -> int:
    guess = _by_line(trials)
    if guess is None:
        guess = 2 * low if high is None else (low + high) // 2
    if high is None:
        # A line through small batches must not lead far beyond what was tried.
        return min(max(guess, _next(low)), 8 * low)
    return min(max(guess, low + 1), high - 1)


def _by_line(trials: list[Trial]) -> int | None:
    """Where the line through the two trials nearest to the limit meets it."""
    # A refusal tells what the system leaves to a program, which is a little less than there is.
    limit = min((x.available_bytes for x in trials if x.available_bytes), default=None)
    told = [(x.rows, x.used_bytes) for x in trials if x.used_bytes is not None]
    if len(told) < 2 or limit is None:
        return None
    (rows, used), (other_rows, other_used) = sorted(told, key=lambda x: abs(x[1] - limit))[:2]
    slope = (other_used - used) / (other_rows - rows)
    return None if slope <= 0 else math.floor(rows + (limit - used) / slope)
