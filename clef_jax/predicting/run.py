"""Answers about files and folders of recordings; writes the table, its description and the page."""

import collections
import contextlib
import dataclasses
import functools
import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from importlib import metadata
from typing import NamedTuple

import numpy as np
import rich.console
import rich.progress

from clef_jax import files
from clef_jax.answers import answer as answer_lib, intended_use
from clef_jax.answers.fitted import Fitted
from clef_jax.embedding import (
    counts as counts_lib,
    head as head_lib,
    inputs,
    lead_selection,
    prediction,
    pretrained,
    run as embedding_run,
    writer as embedding_writer,
)
from clef_jax.embedding.counts import Counts
from clef_jax.embedding.head import Head
from clef_jax.embedding.pretrained import Pretrained
from clef_jax.embedding.row import Row
from clef_jax.embedding.stream import Stream
from clef_jax.errors import counted, printable
from clef_jax.finding import Finding
from clef_jax.formats import Opened, Survey
from clef_jax.leads import same_lead
from clef_jax.predicting import page, writer
from clef_jax.predicting.rows import Answerer, AnswerRow
from clef_jax.predicting.settings import NOTHING_READ, SKIPPED, Config
from clef_jax.predicting.timeline import Timelines

_MOST_OUTPUTS = 8
"""Most outputs that the summary counts."""


class _NothingRead(Exception):
    """Raised to write no table, because no recording could be read."""


def run(config: Config) -> int:
    """Answers about all recordings; returns 0, or `SKIPPED` if a recording was skipped, or
    `NOTHING_READ` if none could be read; then no table is written.

    Raises:
        UserError: the model has no head, or an argument is wrong; the message says which.
    """
    console = rich.console.Console(highlight=False, markup=False, soft_wrap=True)
    _check_outputs(config)
    if config.lead:
        embedding_run.check_leads(config.lead, config.input, config.hints)
    model = pretrained.load(config.model, variant=config.variant)
    if config.lead:
        model = model.for_leads(config.lead)
    work = _Work(config, model)
    limits = [intended_use.INTENDED_USE, *intended_use.limits(work.head)]
    console.print(printable(" ".join(limits)))
    survey, start = Survey(), time.monotonic()
    with embedding_writer.create_report(config.report) as report:
        work.write_finding = lambda finding: report.write(finding.to_json() + "\n")
        num_files = sum(1 for _ in inputs.files(config.input, survey))
        for refused in survey.refused:
            work.report_finding(refused)
        tracked = rich.progress.track(
            inputs.files(config.input), "Answering", num_files, console=console, transient=True
        )
        recordings = inputs.recordings(tracked, config.hints, work.report_finding)
        with (
            contextlib.suppress(_NothingRead),
            writer.create(config.path, work.about) as add,
        ):
            work.write(recordings, add)
            if not work.counts.rows:
                raise _NothingRead
    counts_lib.print_others(survey, console)
    if work.counts.rows:
        files.write_text(config.about, json.dumps(work.about, indent=2) + "\n")
        if config.each_window:
            files.write_text(config.page, work.page())
    _summarise(config, work, time.monotonic() - start, console)
    if not work.counts.rows:
        return NOTHING_READ
    return SKIPPED if work.counts.skipped else 0


def _check_outputs(config: Config) -> None:
    outputs = [
        (config.path, writer.is_table),
        (config.report, embedding_writer.is_report),
        (config.about, writer.is_about),
    ]
    if config.each_window:
        outputs.append((config.page, page.is_page))
    for path, is_ours in outputs:
        files.check_output(path, is_ours, overwrite=config.overwrite)


class _Stated(NamedTuple):
    """Properties that a recording states in its file."""

    recording: str
    sample_rate_hz: float
    age_years: float | None


class _Work:
    """Reads, embeds and answers; counts what the summary prints.

    Args:
        config: the settings.
        model: the model.

    Raises:
        UserError: the model has no head, or the prevalence cannot be corrected.
    """

    def __init__(self, config: Config, model: Pretrained):
        self._config = config
        self.head: Head = prediction.require_head(model.head, model.name)
        texts = config.prevalence or None
        self._prevalence = prediction.prevalence_of(self.head, texts)
        encoder, part = prediction.encoder_of(self.head, model.embedder)
        self._fitted = Fitted.from_json(self.head.fitted)
        self._own_leads = self._fitted.leads if encoder.in_channels == 1 else ()
        self._answerer = Answerer(self.head, self._prevalence, model.fingerprint)
        self.stream = Stream(
            encoder,
            part,
            self.report_finding,
            leads=config.lead or (lead_selection.ALL_LEADS,),
            stride_seconds=config.stride_seconds,
            each_window=config.each_window,
        )
        self.about = _about(config, model, self.head, self._prevalence)
        self.counts, self.timelines = Counts(), Timelines(len(self.head.names))
        self.positive: collections.Counter[str] = collections.Counter()
        self.num_answers = 0
        self.write_finding: Callable[[Finding], object] = lambda finding: None
        self._skipped: collections.deque[Finding] = collections.deque()
        self._stated: collections.deque[_Stated] = collections.deque()
        self._lock = threading.Lock()

    def report_finding(self, finding: Finding) -> None:
        """Receives a finding about a recording, from several threads."""
        with self._lock:
            self.write_finding(finding)
            self.counts.add_finding(finding)
            if finding.action == "quarantined":
                self._skipped.append(finding)

    def write(self, recordings: Iterator[Opened], add: Callable[[AnswerRow], None]) -> None:
        """Answers about recordings, and adds the rows to the table."""
        for row in self.stream(self._selected(self.counts.passing(recordings))):
            self._write_skipped(add)
            for finding in row.findings:
                self.report_finding(finding)
            self._write_row(row, add)
        self._write_skipped(add)

    def _write_skipped(self, add: Callable[[AnswerRow], None]) -> None:
        while self._skipped:
            add(self._answerer.skipped(self._skipped.popleft()))

    def _write_row(self, row: Row, add: Callable[[AnswerRow], None]) -> None:
        self.counts.written(row)
        answers = self._answerer.answer(row)
        if self._config.each_window:
            self.timelines.add(row, answers)
        if answers is not None:
            self.num_answers += 1
            if answers.decisions is not None:
                pairs = zip(answers.names, answers.decisions, strict=True)
                self.positive.update(name for name, decision in pairs if decision == 1)
        for answer_row in self._answerer.rows(row, answers, self._flags(row)):
            add(answer_row)

    def _flags(self, row: Row) -> tuple[str, ...]:
        """Returns the problem codes of what is unlike the recordings of the fit."""
        # Rows arrive in the order of the recordings, so that earlier ones are no longer needed.
        while self._stated[0].recording != row.recording:
            self._stated.popleft()
        stated = self._stated[0]
        lead = None if row.lead.isdecimal() or not self._own_leads else row.lead
        return self._fitted.outside(
            sample_rate_hz=stated.sample_rate_hz, lead=lead, age_years=stated.age_years
        )

    def _selected(self, recordings: Iterable[Opened]) -> Iterator[Opened]:
        """Yields recordings with the lead that the head was fitted to, where they have it."""
        for opened in recordings:
            age_years = opened.patient.age_years
            self._stated.append(_Stated(opened.name, opened.sample_rate_hz, age_years))
            yield opened if self._config.lead else _with_own_lead(opened, self._own_leads)

    def page(self) -> str:
        """Returns the page of the answers over time as HTML."""
        thresholds = answer_lib.answer(
            self.head, np.zeros(self.head.weight.shape[1]), self._prevalence
        ).thresholds
        about = {name: str(self.about[name]) for name in ("model", "fingerprint", "clef_jax")}
        return page.render(self.head, self.timelines, thresholds, about)


def _with_own_lead(opened: Opened, leads: tuple[str, ...]) -> Opened:
    """Returns a recording with the first of the given leads that it has; unchanged without any."""
    for wanted in leads:
        same = [n for n, name in enumerate(opened.lead_names) if name and same_lead(wanted, name)]
        # The lead itself is preferred to one that stands for it.
        same.sort(key=lambda n: opened.lead_names[n] != wanted)
        if same:
            read = functools.partial(_row, opened.read, same[0])
            return dataclasses.replace(opened, lead_names=(opened.lead_names[same[0]],), read=read)
    return opened


def _row(
    read: Callable[[int, int], np.ndarray], row: int, start: int, num_samples: int
) -> np.ndarray:
    return read(start, num_samples)[[row]]


def _about(
    config: Config, model: Pretrained, head: Head, prevalence: np.ndarray | None
) -> dict[str, object]:
    """Returns the description of the table: model, head, settings, intended use and limits."""
    assumed = head.prevalence if prevalence is None else prevalence
    return {
        "model": model.name,
        "fingerprint": model.fingerprint,
        "head": head_lib.entry(head) | {"fingerprint": answer_lib.fingerprint(head)},
        "prevalence": None
        if assumed is None
        else dict(zip(head.names, assumed.tolist(), strict=True)),
        "prevalence_given": list(config.prevalence),
        "windows": "each" if config.each_window else "mean",
        "stride_seconds": config.stride_seconds or model.recipe.window_seconds,
        "preprocessing": model.recipe.settings(),
        "intended_use": intended_use.INTENDED_USE,
        "limits": list(intended_use.limits(head)),
        "clef_jax": metadata.version("clef_jax"),
    }


def _summarise(config: Config, work: _Work, seconds: float, console: rich.console.Console) -> None:
    counts, path = work.counts, printable(str(config.path))
    if counts.rows:
        what = "window" if config.each_window else "signal"
        per_second = work.stream.num_windows / max(seconds, 1e-9)
        console.print(
            f"Answers about {work.num_answers:,} of {counted(counts.rows, what)} of "
            f"{counted(counts.recordings, 'recording')} in {path}: {per_second:,.1f} windows a "
            "second."
        )
        if work.head.kind == "multiclass" or work.head.threshold is not None:
            for name in work.head.names[:_MOST_OUTPUTS]:
                count = work.positive[name]
                console.print(f"Positive for {printable(name)}: {count:,} of {work.num_answers:,}.")
        if config.each_window:
            console.print(f"Answers over time: {printable(str(config.page))}")
    else:
        reason = counts.why_nothing(config.lead)
        console.print(f"{reason.rstrip('.')}, so {path} was not written.")
    if counts.unusable:
        console.print(
            f"{counted(counts.unusable, 'signal')} flat or mostly missing: no answer, but a reason."
        )
    counts.print_problems(config.report, console)
