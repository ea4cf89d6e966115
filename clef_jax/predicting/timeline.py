"""Answers over time: keeps what a page shows of long recordings, in bounded memory.

Shapes: W windows, K outputs.
"""

import array
import dataclasses

import numpy as np

from clef_jax.answers.answer import Answers
from clef_jax.embedding.row import Row

MOST_LEADS = 12
"""Most leads of recordings that a page shows."""
MOST_VALUES = 20_000_000
"""Most values that are kept for the page; a day of one output takes 8,640."""

BIN_SECONDS = (10, 60, 300, 900, 3600, 4 * 3600, 86_400, 7 * 86_400)
"""Possible lengths of the intervals of a table."""
MOST_BINS = 24
"""Most intervals of a table, unless the longest is too short."""


class Timeline:
    """The answers to the windows of one lead of a recording."""

    def __init__(self, recording: str, lead: str, num_outputs: int):
        self.recording, self.lead, self._num_outputs = recording, lead, num_outputs
        self._start, self._seconds = array.array("d"), array.array("f")
        self._score, self._decision = array.array("f"), array.array("f")

    def add(self, row: Row, answers: Answers | None) -> None:
        """Adds a window."""
        self._start.append(row.start_seconds)
        self._seconds.append(row.duration_seconds)
        missing = [np.nan] * self._num_outputs
        score = decision = missing
        if answers is not None:
            given = answers.values if answers.probabilities is None else answers.probabilities
            score = missing if given is None else given.tolist()
            decision = missing if answers.decisions is None else answers.decisions.tolist()
        self._score.extend(score)
        self._decision.extend(decision)

    def __len__(self) -> int:
        return len(self._start)

    @property
    def start_seconds(self) -> np.ndarray:
        """Start of each window, float64 [W]."""
        return np.array(self._start)

    @property
    def end_seconds(self) -> float:
        """End of the last window."""
        return float(max(np.array(self._start) + np.array(self._seconds), default=0.0))

    @property
    def score(self) -> np.ndarray:
        """Probabilities, or values of a regression, float32 [W, K]; NaN without an answer."""
        return np.array(self._score, np.float32).reshape(-1, self._num_outputs)

    @property
    def decision(self) -> np.ndarray:
        """Decisions, 0 or 1, float32 [W, K]; NaN without a decision."""
        return np.array(self._decision, np.float32).reshape(-1, self._num_outputs)


class Timelines:
    """The answers to the first recordings; later windows are counted, but not kept."""

    def __init__(self, num_outputs: int):
        self._num_outputs, self._num_values = num_outputs, 0
        self._by_lead: dict[tuple[str, str], Timeline] = {}
        self.num_omitted = 0
        """Number of windows that are not kept."""

    def add(self, row: Row, answers: Answers | None) -> None:
        """Adds a window of any recording."""
        key = (row.recording, row.lead)
        is_full = self._num_values >= MOST_VALUES
        if is_full or (key not in self._by_lead and len(self._by_lead) == MOST_LEADS):
            self.num_omitted += 1
            return
        if key not in self._by_lead:
            self._by_lead[key] = Timeline(*key, self._num_outputs)
        self._by_lead[key].add(row, answers)
        self._num_values += self._num_outputs

    @property
    def kept(self) -> list[Timeline]:
        """The answers that are kept, in order."""
        return list(self._by_lead.values())


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Interval:
    """Answers within an interval of time."""

    start_seconds: float
    end_seconds: float
    num_answers: int
    """Number of windows with an answer."""
    num_windows: int
    mean: np.ndarray
    """Mean score of each output, [K]; NaN without an answer."""
    positive: np.ndarray
    """Fraction of the answers that are positive, [K]; NaN without a decision."""


def intervals(timeline: Timeline, seconds: float) -> list[Interval]:
    """Returns the answers by intervals of equal length, from the first window to the last."""
    start, score, decision = timeline.start_seconds, timeline.score, timeline.decision
    number, result = (start // seconds).astype(int), []
    for interval in range(int(number.max()) + 1 if len(number) else 0):
        inside = number == interval
        answered = inside & np.isfinite(score).all(axis=1)
        result.append(
            Interval(
                start_seconds=interval * seconds,
                end_seconds=min((interval + 1) * seconds, timeline.end_seconds),
                num_answers=int(answered.sum()),
                num_windows=int(inside.sum()),
                mean=_mean(score[answered]),
                positive=_mean(decision[answered]),
            )
        )
    return result


def bin_seconds(duration_seconds: float, most: int = MOST_BINS) -> float:
    """Returns the shortest length of intervals of which at most `most` make up a duration."""
    fitting = (seconds for seconds in BIN_SECONDS if duration_seconds <= most * seconds)
    return next(fitting, BIN_SECONDS[-1])


def _mean(values: np.ndarray) -> np.ndarray:
    """Returns the mean of each column, [K]; NaN of none."""
    return (
        values.mean(axis=0, dtype=np.float64) if len(values) else np.full(values.shape[1], np.nan)
    )
