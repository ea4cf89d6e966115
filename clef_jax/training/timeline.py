"""Records the starts and the progress of a run, and computes how much of its time was useful.

Process 0 appends to `timeline.jsonl` in the workdir. Unlike the metrics, the file keeps repeated
steps.
"""

import dataclasses
import itertools
import json
import pathlib
import time

from clef_jax import files
from clef_jax.errors import counted
from clef_jax.line_file import LineFile

TIMELINE_FILE = "timeline.jsonl"


class Timeline:
    """Appends the events of one start of a run."""

    def __init__(self, workdir: pathlib.Path, step: int):
        """`step`: number of updates of the state that the run starts from."""
        self._file = LineFile(
            workdir / TIMELINE_FILE,
            "If started again, the run resumes from its newest checkpoint.",
        )
        self._write("start", step)

    def reached(self, step: int, busy_seconds: float) -> None:
        """Records that the run has reached a step.

        `busy_seconds`: time in steps since this start, without compiling, saving and checking, and
        without the time in which the process was stopped.
        """
        self._write("reached", step, busy_seconds=busy_seconds)

    def close(self) -> None:
        self._file.close()

    def _write(self, event: str, step: int, **values: float) -> None:
        line = {"event": event, "step": step, "unix_seconds": time.time(), **values}
        self._file.append(json.dumps(line))


@dataclasses.dataclass(frozen=True)
class Summary:
    """Summary of all starts of a run."""

    num_starts: int
    num_steps: int
    """Number of updates of the newest state."""
    num_repeated_steps: int
    """Steps that were repeated because a start resumed from an older checkpoint."""
    useful_seconds: float
    """Time in steps whose result was kept."""
    total_seconds: float
    """Wall-clock time from the first start to the last event."""

    @property
    def goodput(self) -> float:
        """Fraction of the total time spent in steps whose result was kept."""
        if self.total_seconds <= 0:
            return 0.0
        return min(1.0, self.useful_seconds / self.total_seconds)

    def __str__(self) -> str:
        starts = counted(self.num_starts, "start")
        hours = self.total_seconds / 3600
        duration = f"{hours:.1f} h" if hours >= 1 else f"{60 * hours:.1f} min"
        return (
            f"{self.goodput:.0%} of {duration} was spent in steps that were kept "
            f"({starts}, {counted(self.num_repeated_steps, 'step')} repeated)."
        )


def summary(workdir: pathlib.Path) -> Summary | None:
    """Returns the summary of a run's timeline; None where the run has no timeline."""
    events = files.read_json_lines(workdir / TIMELINE_FILE)
    starts = [i for i, event in enumerate(events) if event["event"] == "start"]
    if not starts:
        return None
    sessions = [events[a:b] for a, b in itertools.pairwise([*starts, len(events)])]
    useful_seconds, num_repeated = 0.0, 0
    for session, following in itertools.zip_longest(sessions, sessions[1:]):
        first, last = session[0]["step"], session[-1]["step"]
        kept = last if following is None else min(last, following[0]["step"])
        num_repeated += last - kept
        if last > first:
            fraction = max(0, kept - first) / (last - first)
            useful_seconds += session[-1].get("busy_seconds", 0.0) * fraction
    return Summary(
        num_starts=len(starts),
        num_steps=events[-1]["step"],
        num_repeated_steps=num_repeated,
        useful_seconds=useful_seconds,
        total_seconds=events[-1]["unix_seconds"] - events[starts[0]]["unix_seconds"],
    )
