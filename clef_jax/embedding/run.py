"""Embeds files and folders of recordings with one model, and writes the table and the report."""

import contextlib
import threading
import time
from collections.abc import Sequence
from importlib import metadata

import rich.console
import rich.progress

from clef_jax.embedding import counts as counts_lib, inputs, lead_selection, pretrained, writer
from clef_jax.embedding.counts import Counts
from clef_jax.embedding.lead_selection import ALL_LEADS
from clef_jax.embedding.pretrained import Pretrained
from clef_jax.embedding.settings import EACH_WINDOW, NOTHING_READ, SKIPPED, Config
from clef_jax.embedding.stream import Stream
from clef_jax.errors import WrongArgument, counted, printable
from clef_jax.finding import Finding
from clef_jax.formats import Hints, Survey

_FIRST_RECORDINGS = 16
"""Number of recordings in which requested leads are searched before the model is loaded."""


class _NothingRead(Exception):
    """Raised to write no table, because there is no row."""


def run(config: Config) -> int:
    """Embeds all recordings; returns 0, or `SKIPPED` if a recording was skipped, or `NOTHING_READ`
    if none could be read; then no table is written."""
    console = rich.console.Console(highlight=False, markup=False, soft_wrap=True)
    writer.check_outputs(config.path, config.report, overwrite=config.overwrite)
    check_leads(config.lead, config.input, config.hints)
    model = pretrained.load(config.model, weights=config.weights, variant=config.variant)
    model = model.for_leads(config.lead)
    counts, survey = Counts(), Survey()
    start, lock = time.monotonic(), threading.Lock()
    with writer.create_report(config.report) as report:

        def report_finding(finding: Finding) -> None:  # is called by reading threads, too
            with lock:
                report.write(finding.to_json() + "\n")
                counts.add_finding(finding)

        stream = Stream(
            model.embedder,
            model.part(config.layer),
            report_finding,
            leads=config.lead,
            stride_seconds=config.stride_seconds,
            each_window=config.windows == EACH_WINDOW,
        )
        num_files = sum(1 for _ in inputs.files(config.input, survey))
        for refused in survey.refused:
            report_finding(refused)
        files = rich.progress.track(
            inputs.files(config.input),
            "Embedding",
            total=num_files,
            console=console,
            transient=True,
        )
        recordings = counts.passing(inputs.recordings(files, config.hints, report_finding))
        about = _metadata(model, config)
        with (
            contextlib.suppress(_NothingRead),
            writer.create(config.path, stream.num_features, about) as add,
        ):
            for row in stream(recordings):
                for finding in row.findings:
                    report_finding(finding)
                counts.written(row)
                add(row)
            if not counts.rows:
                raise _NothingRead
    counts_lib.print_others(survey, console)
    _summarise(config, counts, stream.num_windows, time.monotonic() - start, console)
    if not counts.rows:
        return NOTHING_READ
    return SKIPPED if counts.skipped else 0


def check_leads(wanted: Sequence[str], given: Sequence[str], hints: Hints) -> None:
    """Opens the first recordings before the model is loaded.

    Args:
        wanted: leads that the user requests.
        given: files and folders of recordings.
        hints: values for what the files do not state.

    Raises:
        WrongArgument: there are no more recordings, and none has one of the requested leads.
    """
    if ALL_LEADS in wanted:
        return
    found = set()
    recordings = inputs.recordings(inputs.files(given), hints, lambda _: None)
    for number, opened in enumerate(recordings):
        found.add(opened.lead_names)
        if number == _FIRST_RECORDINGS or lead_selection.in_none(wanted, found) is None:
            return
    sentence = lead_selection.in_none(wanted, found)
    if sentence is not None:
        raise WrongArgument(f"--lead: {sentence}", problem="missing_lead")


def _metadata(model: Pretrained, config: Config) -> dict[str, object]:
    """Returns the metadata of the file: the model and the settings."""
    return {
        "model": model.name,
        "fingerprint": model.fingerprint,
        "layer": config.layer,
        "windows": config.windows,
        "stride_seconds": config.stride_seconds or model.recipe.window_seconds,
        "preprocessing": model.recipe.settings(),
        "clef_jax": metadata.version("clef_jax"),
    }


def _summarise(
    config: Config, counts: Counts, num_windows: int, seconds: float, console: rich.console.Console
) -> None:
    path = printable(str(config.path))
    if counts.rows:
        per_second = num_windows / max(seconds, 1e-9)
        digits = 0 if per_second >= 10 else 1
        console.print(
            f"{counted(counts.rows, 'embedding')} of {counted(counts.recordings, 'recording')} in "
            f"{path}: {counted(num_windows, 'window')}, {per_second:,.{digits}f} a second."
        )
    else:
        reason = counts.why_nothing(config.lead)
        console.print(f"{reason.rstrip('.')}, so {path} was not written.")
    if counts.unusable:
        console.print(
            f"{counted(counts.unusable, 'embedding')} of a signal that is flat or mostly missing; "
            "the column `usable` is false there."
        )
    counts.print_problems(config.report, console)
