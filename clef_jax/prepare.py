"""Prepares a data set: `python -m clef_jax.prepare --dataset=NAME --source=DIR --data-dir=DIR`.

Raw files become sharded records that training reads, with a quality report.
"""

import contextlib
import dataclasses
import os
import pathlib
import shutil
import signal
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import rich.console
import rich.progress
import tyro

from clef_jax.data.clinical import Settings
from clef_jax.data.shard import Compression
from clef_jax.errors import UserError, told_to_user

if TYPE_CHECKING:
    from clef_jax.data.builder import RecordingBuilder
    from clef_jax.data.report import Report, Watch

_PREVIOUS = "previous_"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Turns raw recordings into a prepared data set."""

    source: pathlib.Path
    """The folder of the raw recordings, as downloaded."""
    data_dir: pathlib.Path
    """The folder of prepared data sets; this one goes into DATA_DIR/NAME/CONFIG/VERSION."""
    dataset: str = "mimic_iv_ecg"
    """A folder of datasets/, or NAME/CONFIG for a variant other than its default."""
    clinical_source: str | None = None
    """A folder of clinical tables, a table with ready risks, or "none" to build with unknown risk.
    By default the tables are looked for in the source folder."""
    workers: int = os.cpu_count() or 1
    """Processes that read and write; the result is the same for any number."""
    compression: Compression = "none"
    """Of the records: none takes as much space as the source and is read more than twice as fast
    as zstd, which takes a third of it: for slow or small disks."""
    strict: bool = False
    """Stop at the first recording that must be left out, and leave no data set."""
    overwrite: bool = False
    """Replace the data set if it is there already."""
    clinical: Annotated[Settings, tyro.conf.arg(name="")] = Settings()

    def __post_init__(self):
        if self.workers < 1:
            raise UserError(f"--workers={self.workers} must be at least 1.")


def main(argv: Sequence[str] | None = None) -> None:
    with told_to_user():
        run(tyro.cli(Config, args=argv, prog="python -m clef_jax.prepare"))


def run(config: Config) -> pathlib.Path:
    """Prepares the data set and returns its folder; does nothing if it is already there."""
    from clef_jax.data import report  # after the command line, so that --help is quick

    console = rich.console.Console()
    version_dir = pathlib.Path(_builder(config).data_path)
    if version_dir.exists() and not config.overwrite:
        console.print(f"{version_dir} is already prepared. --overwrite prepares it again.")
        return version_dir
    if not config.source.is_dir():
        raise UserError(f"The source folder {config.source} does not exist.")
    _warn_of_leftovers(console, version_dir)
    with _set_aside(version_dir), _progress(console) as watch:
        built = _build(config, watch)
    for part in report.tables(built, version_dir):
        console.print(part, soft_wrap=isinstance(part, str), highlight=False)
    return version_dir


def _builder(config: Config, watch: "Watch | None" = None) -> "RecordingBuilder":
    from clef_jax import catalog
    from clef_jax.data import builder

    options = builder.Options(
        clinical_source=config.clinical_source,
        clinical=config.clinical,
        num_workers=config.workers,
        compression=config.compression,
        strict=config.strict,
        watch=watch,
    )
    return catalog.builder(config.dataset, data_dir=str(config.data_dir), options=options)


def _build(config: Config, watch: "Watch") -> "Report":
    import tensorflow_datasets as tfds

    builder = _builder(config, watch)
    download = tfds.download.DownloadConfig(manual_dir=str(config.source.resolve()))
    try:
        builder.download_and_prepare(download_config=download)
    except KeyboardInterrupt:
        raise UserError("Interrupted; no data set was made.") from None
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


def _warn_of_leftovers(console: rich.console.Console, version_dir: pathlib.Path) -> None:
    for folder in sorted(version_dir.parent.glob("*")):
        if folder.name.startswith(("incomplete.", _PREVIOUS)):
            console.print(
                f"{folder} is left from a build that was killed, or belongs to one that is "
                "running. It is not used; delete it if none is running.",
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

        def watch(report: "Report") -> None:
            rate = report.num_read / max(report.seconds, 1e-9)
            bar.update(
                task,
                description="recordings",
                total=report.num_listed,
                completed=report.num_done,
                facts=f"{rate:.0f} read/s, {report.num_quarantined} quarantined",
            )

        try:
            yield watch
        finally:
            signal.signal(signal.SIGTERM, before)


if __name__ == "__main__":
    main(sys.argv[1:])
