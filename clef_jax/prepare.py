"""Prepares a data set: `python -m clef_jax.prepare --dataset=NAME --source=DIR --data-dir=DIR`.

Raw files become sharded records that training reads, with a quality report. A build that was
stopped goes on where it was; `--check` reads a prepared data set back.
"""

import contextlib
import dataclasses
import os
import pathlib
import shutil
import signal
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import rich.console
import rich.progress
import tyro

from clef_jax.building.settings import BuildSettings
from clef_jax.errors import UserError, exit_on_user_error

if TYPE_CHECKING:
    from clef_jax.building.builder import RecordingBuilder
    from clef_jax.building.summary import BuildSummary, Watch

_PREVIOUS = "previous_"


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Folders:
    """Where a build reads and writes; apart, so that `--help` lists these settings first."""

    source: pathlib.Path | None = None
    """The folder of the raw recordings, as downloaded. Only --check does without."""
    data_dir: pathlib.Path
    """The folder of prepared data sets; this one goes into DATA_DIR/NAME/CONFIG/VERSION."""
    dataset: str = "mimic_iv_ecg"
    """A folder of datasets/, or NAME/CONFIG for a variant other than its default."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(BuildSettings, _Folders):
    """Turns raw recordings into a prepared data set."""

    workers: int = os.cpu_count() or 1
    """Processes that read and write; the result is the same for any number."""
    check: bool = False
    """Build nothing: read the prepared data set back, print what it holds, compare its fingerprint,
    and draw ten recordings to check.png beside it."""

    def __post_init__(self):
        if self.workers < 1:
            raise UserError(f"--workers={self.workers} must be at least 1.")
        if self.max_windows < 1:
            raise UserError(f"--max-windows={self.max_windows} must be at least 1.")
        if self.source is None and not self.check:
            raise UserError("--source is missing: the folder of the raw recordings.")


def main(argv: Sequence[str] | None = None) -> None:
    with exit_on_user_error():
        run(tyro.cli(Config, args=argv, prog="python -m clef_jax.prepare"))


def run(config: Config) -> pathlib.Path:
    """Prepares or checks the data set, and returns its folder."""
    from clef_jax.building import summary as summary_lib

    console = rich.console.Console()
    if config.check:
        return _check(config, console)
    version_dir = pathlib.Path(_builder(config).data_path)
    if version_dir.exists() and not config.overwrite:
        console.print(f"{version_dir} is already prepared. --overwrite prepares it again.")
        return version_dir
    assert config.source is not None
    if not config.source.is_dir():
        raise UserError(f"The source folder {config.source} does not exist.")
    if not any(config.source.iterdir()):
        raise UserError(f"The source folder {config.source} is empty.")
    _tell_of_earlier_builds(config, console, version_dir)
    with _set_aside(version_dir), _progress(console) as watch:
        built = _build(config, watch)
    for part in summary_lib.tables(built, version_dir):
        console.print(part, soft_wrap=isinstance(part, str), highlight=False)
    return version_dir


def _check(config: Config, console: rich.console.Console) -> pathlib.Path:
    from clef_jax.building import check, check_report
    from clef_jax.data import index

    version_dir = index.find(config.data_dir, config.dataset)
    found = check.scan(version_dir, console, config.workers)
    if found.intact:
        check_report.save_picture(found)
    for part in check_report.tables(found):
        console.print(part, soft_wrap=isinstance(part, str), highlight=False)
    if not found.intact:
        raise UserError(
            f"The data in {version_dir} is not what was prepared; see above. "
            "Prepare it again with --overwrite."
        )
    return version_dir


def _builder(config: Config, watch: "Watch | None" = None) -> "RecordingBuilder":
    from clef_jax.building import builder, catalog

    shared = {f.name: getattr(config, f.name) for f in dataclasses.fields(BuildSettings)}
    options = builder.Options(**shared, watch=watch)
    return catalog.builder(config.dataset, data_dir=str(config.data_dir), options=options)


def _build(config: Config, watch: "Watch") -> "BuildSummary":
    import tensorflow_datasets as tfds

    from clef_jax.building import resume

    assert config.source is not None
    builder = _builder(config, watch)
    download = tfds.download.DownloadConfig(manual_dir=str(config.source.resolve()))
    try:
        builder.download_and_prepare(download_config=download)
    except KeyboardInterrupt:
        kept = resume.num_shards(pathlib.Path(builder.data_path))
        raise UserError(
            f"Interrupted; no data set was made. {kept} shards are kept: the same command goes on "
            "from them."
        ) from None
    except OSError as error:
        raise UserError(f"The data set could not be written: {error}.") from error
    assert builder.report is not None
    return builder.report


@contextlib.contextmanager
def _set_aside(version_dir: pathlib.Path) -> Iterator[None]:
    """Keeps the data set that is to be replaced until the new one stands."""
    previous = version_dir.with_name(f"{_PREVIOUS}{version_dir.name}")
    if not version_dir.exists():
        yield
        return
    if previous.exists():
        shutil.rmtree(previous)
    version_dir.rename(previous)
    try:
        yield
    except BaseException:
        previous.rename(version_dir)
        raise
    shutil.rmtree(previous)


def _tell_of_earlier_builds(
    config: Config, console: rich.console.Console, version_dir: pathlib.Path
) -> None:
    from clef_jax.building import resume

    kept = resume.num_shards(version_dir)
    if kept:
        console.print(
            f"{kept} shards of a build that was stopped are removed."
            if config.overwrite
            else f"Going on with a build that was stopped: of its {kept} shards, those are kept "
            "that this build would make from the same list of recordings and settings. If the "
            "source's files changed meanwhile, start again with --overwrite."
        )
    for folder in sorted(version_dir.parent.glob(f"{_PREVIOUS}*")):
        console.print(
            f"{folder} is a data set that was being replaced when a build was killed. It is not "
            "used; delete it, or rename it to go back to it.",
            soft_wrap=True,
        )


@contextlib.contextmanager
def _progress(console: rich.console.Console) -> Iterator:
    """A progress bar; gives the function that moves it. SIGTERM ends the build like Ctrl-C."""
    columns = (
        rich.progress.TextColumn("{task.description}"),
        rich.progress.BarColumn(),
        rich.progress.MofNCompleteColumn(),
        rich.progress.TextColumn("{task.fields[facts]}"),
        rich.progress.TimeRemainingColumn(),
    )
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    with rich.progress.Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("reading the tables", total=None, facts="")

        def watch(summary: "BuildSummary") -> None:
            rate = summary.num_read / max(summary.seconds, 1e-9)
            bar.update(
                task,
                description="recordings",
                total=summary.num_listed,
                completed=summary.num_done,
                facts=f"{rate:.0f} read/s, {summary.num_quarantined} quarantined",
            )

        try:
            yield watch
        finally:
            signal.signal(signal.SIGTERM, before)


if __name__ == "__main__":
    main(sys.argv[1:])
