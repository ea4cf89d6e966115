"""Counts what happened to recordings, for the summary that a command prints at its end."""

import collections
import pathlib
from collections.abc import Iterable, Iterator, Sequence

import rich.console

from clef_jax.embedding import inputs, lead_selection
from clef_jax.embedding.row import Row
from clef_jax.errors import counted, printable
from clef_jax.finding import Finding
from clef_jax.formats import NO_SUFFIX, Survey

_MOST_KINDS = 8
"""Most kinds of files that a line of the summary names."""
_MOST_LISTS = 1000
"""Most different lists of lead names that are kept for the summary."""


class Counts:
    """Counts recordings, rows and findings."""

    def __init__(self):
        self.recordings = self.rows = self.unusable = 0
        self.last_written = ""
        self.skipped: collections.Counter[str] = collections.Counter()
        self.noted: collections.Counter[str] = collections.Counter()
        self.skipped_kinds: dict[str, collections.Counter[str]] = {}
        self.first: dict[tuple[str, bool], Finding] = {}
        self.lead_names: set[tuple[str, ...]] = set()

    def add_finding(self, finding: Finding) -> None:
        """Counts a finding, which may be that a recording was skipped."""
        is_skipped = finding.action == "quarantined"
        self.first.setdefault((finding.problem, is_skipped), finding)
        if not is_skipped:
            self.noted[finding.problem] += 1
            return
        self.skipped[finding.problem] += 1
        suffix = pathlib.PurePath(finding.record_id.partition("#")[0]).suffix.lower()
        kinds = self.skipped_kinds.setdefault(finding.problem, collections.Counter())
        kinds[suffix or NO_SUFFIX] += 1

    def passing(self, recordings: Iterable[inputs.Opened]) -> Iterator[inputs.Opened]:
        """Yields recordings, and remembers the names of their leads."""
        for recording in recordings:
            if len(self.lead_names) < _MOST_LISTS:
                self.lead_names.add(recording.lead_names)
            yield recording

    def written(self, row: Row) -> None:
        """Counts a row of the table."""
        self.rows += 1
        self.recordings += row.recording != self.last_written  # the rows of each are together
        self.last_written = row.recording
        self.unusable += not row.usable

    def why_nothing(self, leads: Sequence[str]) -> str:
        """Returns a sentence that says why there is no row.

        Args:
            leads: the requested leads.
        """
        reason = None
        if "missing_lead" in self.skipped:
            reason = lead_selection.in_none(leads, self.lead_names)
        return reason or "No recording could be read"

    def print_problems(self, report: pathlib.Path, console: rich.console.Console) -> None:
        """Prints the problems with an example of each.

        Args:
            report: file that lists all of them.
        """
        for title, counter in (("Skipped", self.skipped), ("Warning", self.noted)):
            for problem, count in counter.most_common():
                is_skipped = title == "Skipped"
                first = self.first[problem, is_skipped]
                found = f" ({_kinds(self.skipped_kinds[problem])})" if is_skipped else ""
                example = printable(f"{first.record_id}: {first.detail}")
                console.print(f"{title}: {count:,} x {problem}{found}, for example {example}")
        if self.skipped or self.noted:
            console.print(f"{printable(str(report))} lists each of them.")


def print_others(survey: Survey, console: rich.console.Console) -> None:
    """Prints how many files without recordings were ignored."""
    if survey.num_others:
        console.print(
            f"Ignored {counted(survey.num_others, 'other file')} without recordings: "
            f"{_kinds(survey.others)}."
        )


def _kinds(counter: collections.Counter[str]) -> str:
    """Returns the most frequent kinds of files with their numbers."""
    shown = [f"{count:,} x {printable(kind)}" for kind, count in counter.most_common(_MOST_KINDS)]
    rest = len(counter) - len(shown)
    return ", ".join(shown) + (f" and {counted(rest, 'more kind')}" if rest else "")
