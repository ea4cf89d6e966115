"""Embeds recordings: `python -m clef_jax.embed --checkpoint=MODEL --input=PATH --out=FILE`."""

import collections
import dataclasses
import pathlib
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from importlib import metadata

import rich.console
import rich.progress
import tyro

from clef_jax import plugin
from clef_jax.embedding import inputs, lead_selection, pretrained, writer
from clef_jax.embedding.pretrained import Pretrained
from clef_jax.embedding.row import Row
from clef_jax.embedding.stream import Stream
from clef_jax.errors import UserError, exit_on_user_error
from clef_jax.finding import Finding
from clef_jax.formats import Hints, Survey

MEAN, EACH = "mean", "each"
SKIPPED = 3
"""Exit code when something was left out."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Embeds recordings of any kind, rate and length, with the preprocessing of the model."""

    checkpoint: str
    """Workdir of a training run, a model folder, or a file of weights."""
    input: tuple[str, ...]
    """Files, folders, WFDB records, or prepared data sets."""
    out: str
    """File to write: .parquet or .npz."""
    layer: str = "last"
    """last, a stage such as stage_5, or all, one after the other."""
    lead: tuple[str, ...] = (lead_selection.ALL_LEADS,)
    """all, or names such as I II V5; numbers from 0 where a file names none."""
    windows: str = MEAN
    """mean of a recording's windows, or each."""
    stride_seconds: float | None = None
    """From one window's start to the next one's; end to end if not given."""
    sample_rate_hz: float | None = None
    """Of files that do not say it: NPY, CSV."""
    unit: str | None = None
    """Of files that do not say it: mV, uV, V, or adc for steps of a converter."""
    gain_per_mv: float | None = None
    """Steps of the converter for one millivolt, of files that do not say it."""
    lead_names: tuple[str, ...] | None = None
    """Of files that do not say it, in their order."""

    def __post_init__(self):
        if self.windows not in (MEAN, EACH):
            raise UserError(plugin.unknown("value of --windows", self.windows, (MEAN, EACH)))
        writer.check(self.path)

    @property
    def path(self) -> pathlib.Path:
        return pathlib.Path(self.out).expanduser()

    @property
    def report(self) -> pathlib.Path:
        """What was found wrong with recordings, a line each."""
        return self.path.with_name(f"{self.path.name}.quality.jsonl")

    @property
    def hints(self) -> Hints:
        return Hints(
            sample_rate_hz=self.sample_rate_hz,
            units=self.unit,
            lead_names=self.lead_names,
            gain_per_mv=self.gain_per_mv,
        )


def main(argv: Sequence[str] | None = None) -> None:
    with exit_on_user_error():
        code = run(tyro.cli(Config, args=argv, prog="python -m clef_jax.embed"))
    sys.exit(code)


def run(config: Config) -> int:
    """Embeds everything; 0, or `SKIPPED` if a file or recording had to be left out."""
    console = rich.console.Console(highlight=False)
    model = pretrained.load(config.checkpoint)
    counts, survey = _Counts(), Survey()
    start, lock = time.monotonic(), threading.Lock()
    config.path.parent.mkdir(parents=True, exist_ok=True)
    with config.report.open("w") as report:

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
            each_window=config.windows == EACH,
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
        facts = _facts(model, config)
        with writer.create(config.path, stream.num_features, facts) as add:
            for row in stream(recordings):
                counts.written(row)
                add(row)
    if survey.num_others:
        console.print(f"{survey.num_others:,} other files hold no recordings.")
    _summarise(config, counts, stream.num_windows, time.monotonic() - start, console)
    return SKIPPED if counts.skipped else 0


class _Counts:
    """What the summary tells."""

    def __init__(self):
        self.recordings = self.rows = self.unusable = 0
        self.skipped: collections.Counter[str] = collections.Counter()
        self.noted: collections.Counter[str] = collections.Counter()
        self.first: dict[str, Finding] = {}

    def add_finding(self, finding: Finding) -> None:
        counter = self.skipped if finding.action == "quarantined" else self.noted
        counter[finding.problem] += 1
        self.first.setdefault(finding.problem, finding)

    def passing(self, recordings: Iterable[inputs.Opened]) -> Iterator[inputs.Opened]:
        for one in recordings:
            self.recordings += 1
            yield one

    def written(self, row: Row) -> None:
        self.rows += 1
        self.unusable += not row.usable
        self.noted.update(row.problems)


def _facts(model: Pretrained, config: Config) -> dict[str, object]:
    """What the table says of itself."""
    return {
        "model": model.name,
        "fingerprint": model.fingerprint,
        "layer": config.layer,
        "windows": config.windows,
        "stride_seconds": config.stride_seconds or model.recipe.window_seconds,
        "preprocessing": dataclasses.asdict(model.recipe),
        "clef_jax": metadata.version("clef_jax"),
    }


def _summarise(
    config: Config, counts: _Counts, num_windows: int, seconds: float, console: rich.console.Console
) -> None:
    console.print(
        f"{counts.rows:,} embeddings of {counts.recordings:,} recordings in {config.path}: "
        f"{num_windows:,} windows, {num_windows / max(seconds, 1e-9):,.0f} a second."
    )
    if counts.unusable:
        console.print(
            f"{counts.unusable:,} of them are of signals that are flat or mostly missing; their "
            "column usable is false."
        )
    for title, counter in (("Left out", counts.skipped), ("Seen", counts.noted)):
        for problem, count in counter.most_common():
            first = counts.first.get(problem)
            example = f", for example {first.record_id}: {first.detail}" if first else ""
            console.print(f"{title}: {count:,} x {problem}{example}", markup=False)
    if counts.skipped or counts.noted:
        console.print(f"Each is named in {config.report}.")


if __name__ == "__main__":
    main()
