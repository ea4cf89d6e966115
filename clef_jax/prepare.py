"""Turns raw recordings into a prepared data set, with a quality report.

`python -m clef_jax.prepare --dataset=NAME --source=DIR --data-dir=DIR`

The same command resumes an interrupted build; `--check` reads a prepared data set back.
"""

import contextlib
import dataclasses
import os
import pathlib
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import rich.console
import rich.progress

from clef_jax import command_line
from clef_jax.building.settings import BuildSettings
from clef_jax.errors import UserError, counted, exit_on_user_error

if TYPE_CHECKING:
    from clef_jax.building.builder import RecordingBuilder
    from clef_jax.building.summary import BuildSummary, Watch


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Folders:
    """Folders that a build reads and writes; a base class, so that `--help` lists them first."""

    source: pathlib.Path | None = None
    """Folder of the raw recordings, as downloaded. Only --check does not need it."""
    data_dir: pathlib.Path
    """Folder of prepared data sets; this data set is written to DATA_DIR/NAME/CONFIG/VERSION."""
    dataset: str = "mimic_iv_ecg"
    """Name of a data set, a folder of datasets/, or NAME/CONFIG for another than its default
    variant."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(BuildSettings, _Folders):
    """Turns raw recordings into a prepared data set, with a quality report."""

    workers: int = os.cpu_count() or 1
    """Number of processes that read and write; the result does not depend on it."""
    check: bool = False
    """Build nothing: read the prepared data set back, print a summary, compare its fingerprint, and
    write a page with ten recordings, check.html, into its folder."""

    def __post_init__(self):
        if self.workers < 1:
            raise UserError(f"--workers={self.workers} must be at least 1.")
        if self.max_windows < 1:
            raise UserError(f"--max-windows={self.max_windows} must be at least 1.")
        if self.source is None and not self.check:
            raise UserError("--source is required: the folder of the raw recordings.")


SETTINGS = Config


def main(argv: Sequence[str] | None = None) -> None:
    with exit_on_user_error():
        run(command_line.parse(SETTINGS, argv, "prepare"))


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
    with _named_errors(config, version_dir):
        if not any(config.source.iterdir()):
            raise UserError(f"The source folder {config.source} is empty.")
        _report_earlier_builds(config, console, version_dir)
        with _moved_away(version_dir), _progress(console) as watch:
            built = _build(config, watch)
    for part in summary_lib.tables(built, version_dir):
        console.print(part, soft_wrap=isinstance(part, str), highlight=False)
    return version_dir


def _check(config: Config, console: rich.console.Console) -> pathlib.Path:
    from clef_jax.building import check, check_page, check_report
    from clef_jax.data import index

    version_dir = index.find(config.data_dir, config.dataset)
    result = check.scan(version_dir, console, config.workers)
    for part in check_report.tables(result):
        console.print(part, soft_wrap=isinstance(part, str), highlight=False)
    if result.intact:
        console.print(check_page.save_page(result), soft_wrap=True, highlight=False)
    if not result.intact:
        raise UserError(
            f"The data in {version_dir} has changed since it was prepared; see above. "
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

    assert config.source is not None
    builder = _builder(config, watch)
    download = tfds.download.DownloadConfig(manual_dir=str(config.source.resolve()))
    # TFDS makes a folder for downloads, also where it has nothing to download.
    with tempfile.TemporaryDirectory() as unused:
        builder.download_and_prepare(download_dir=unused, download_config=download)
    assert builder.summary is not None
    return builder.summary


@contextlib.contextmanager
def _named_errors(config: Config, version_dir: pathlib.Path) -> Iterator[None]:
    """Turns Ctrl-C and errors of the system into sentences on what is kept and what to do.

    Raises:
        UserError: a file could not be read or written, or the build was interrupted.
    """
    try:
        yield
    except BrokenPipeError:
        raise  # the reader of the output ended
    except KeyboardInterrupt:
        kept, next_build = _what_is_kept(config, version_dir)
        raise UserError(
            f"The build of {version_dir} was interrupted and wrote no data set; {kept}. "
            f"{next_build}.",
            problem="interrupted",
        ) from None
    except (OSError, UserError) as error:
        if isinstance(error, OSError):
            path = os.fsdecode(error.filename or version_dir)
            what = f"{path} could not be used: {error.strerror or error}."
        elif error.problem == "not_written":
            what = str(error)
        else:
            raise
        kept, next_build = _what_is_kept(config, version_dir)
        raise UserError(
            f"{what} The build of {version_dir} stopped and wrote no data set; {kept}. Make sure "
            f"that the disk has space and the folder is writable. {next_build}.",
            problem="not_written",
        ) from error


def _what_is_kept(config: Config, version_dir: pathlib.Path) -> tuple[str, str]:
    """Returns what a failed build keeps, and what the next build does with it."""
    from clef_jax.building import resume

    num_shards = resume.num_shards(version_dir)
    kept = f"it keeps {counted(num_shards, 'complete shard')}" if num_shards else "it keeps nothing"
    if version_dir.exists():
        kept += " and left the earlier data set as it was"
    if not num_shards:
        return kept, "The same command then starts again"
    if config.overwrite:
        return kept, "The same command without --overwrite then resumes from there"
    return kept, "The same command then resumes from there"


@contextlib.contextmanager
def _moved_away(version_dir: pathlib.Path) -> Iterator[None]:
    """Moves the data set that will be replaced, and deletes it at the end or restores it."""
    from clef_jax.building import resume

    previous = resume.previous_folder(version_dir)
    if not version_dir.exists():
        yield
        return
    if previous.exists():
        shutil.rmtree(previous)
    version_dir.rename(previous)
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):  # the folder itself vanished
            previous.rename(version_dir)
        raise
    shutil.rmtree(previous, ignore_errors=True)  # the new data set is complete


def _report_earlier_builds(
    config: Config, console: rich.console.Console, version_dir: pathlib.Path
) -> None:
    from clef_jax.building import resume

    kept = resume.num_shards(version_dir)
    if kept:
        console.print(
            f"Removing {counted(kept, 'shard')} of an interrupted build."
            if config.overwrite
            else f"Resuming an interrupted build: of its {counted(kept, 'shard')}, those are "
            "reused that have the same recordings and settings. If the source files changed "
            "since, use --overwrite."
        )
    for folder in sorted(version_dir.parent.glob(f"{resume.PREVIOUS}*")):
        console.print(
            f"{folder} is an older data set, left by a build that was killed while it replaced the "
            "data set. It is not used; delete it, or rename it to restore it.",
            soft_wrap=True,
        )


@contextlib.contextmanager
def _progress(console: rich.console.Console) -> Iterator:
    """Yields a function that updates a progress bar. SIGTERM ends the build like Ctrl-C."""
    columns = (
        rich.progress.TextColumn("{task.description}"),
        rich.progress.BarColumn(),
        rich.progress.MofNCompleteColumn(),
        rich.progress.TextColumn("{task.fields[counts]}"),
        rich.progress.TimeRemainingColumn(),
    )
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    with rich.progress.Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("reading the tables", total=None, counts="")

        def watch(summary: "BuildSummary") -> None:
            rate = summary.num_read / max(summary.seconds, 1e-9)
            bar.update(
                task,
                description="recordings",
                total=summary.num_listed,
                completed=summary.num_done,
                counts=f"{rate:.0f} read/s, {summary.num_quarantined} quarantined",
            )

        try:
            yield watch
        finally:
            signal.signal(signal.SIGTERM, before)


if __name__ == "__main__":
    main(sys.argv[1:])
