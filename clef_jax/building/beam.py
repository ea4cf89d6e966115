"""Writes the shards of a build with Apache Beam: on Flink, Spark, Dataflow or this machine.

Beam calls the same function with the same tasks as worker processes do, so the shards have the same
bytes. Workers either access the source and data folders under the same paths as this machine, or
fetch the recordings from `remote_source` and write the shards to `remote_scratch`: folders in a
bucket or in any other file system of Beam. Needs the extra `beam`.
"""

import dataclasses
import pathlib
import pickle
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from typing import Any

from clef_jax.building import resume, shard
from clef_jax.building.listing import Entry
from clef_jax.errors import UserError, WrongArgument

_TASK_SUFFIX = ".task"
_SUMMARY_SUFFIX = ".npz"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of the pipeline. `remote_source` and `remote_scratch` must be given together.

    Raises:
        UserError: only one of the two is given.
    """

    options: str
    """Beam's pipeline options, `name=value` separated by commas or spaces."""
    remote_source: str | None = None
    """URL of a folder with the recordings, laid out like the source folder; by default workers read
    the source folder itself."""
    remote_scratch: str | None = None
    """URL of a folder for tasks and shards while the pipeline runs; by default workers write to the
    data folder itself."""

    def __post_init__(self):
        if (self.remote_source is None) != (self.remote_scratch is None):
            raise WrongArgument("--remote-source and --remote-scratch must be given together.")


def run(tasks: Iterable[shard.Task], settings: Settings) -> Iterator[shard.Summary]:
    """Writes all shards, then yields their summaries in the order of the tasks.

    Raises:
        UserError: Beam is not installed, or the pipeline failed.
    """
    try:
        import apache_beam as beam
        from apache_beam.options.pipeline_options import PipelineOptions
    except ImportError:
        raise UserError("--beam-options needs Apache Beam: pip install 'clef_jax[beam]'.") from None
    # Elements are the names of task files, not tasks, because runners limit the pipeline's size.
    shards = [(task.path, _save(task, settings)) for task in tasks]
    kept = {path for path, file in shards if resume.read(_load(file)) is not None}
    options = PipelineOptions(_flags(settings.options))
    try:
        with beam.Pipeline(options=options) as pipeline:
            files = [file for path, file in shards if path not in kept]
            names = pipeline | "shards" >> beam.Create(files) | beam.Reshuffle()
            _ = names | "write" >> beam.Map(write, settings)
    except Exception as error:  # runners have no common exception
        reason = str(error).strip().splitlines()[-1:] or [type(error).__name__]
        raise UserError(
            f"The Beam pipeline failed: {reason[0].rstrip('.')}. The complete shards are kept; the "
            "same command resumes from them."
        ) from error
    for path, file in shards:
        summary = _collect(file, settings, is_local=path in kept)
        yield dataclasses.replace(summary, kept=path in kept)


def _flags(options: str) -> list[str]:
    """Returns Beam's flags from `name=value,name=value`, with or without leading dashes."""
    return [f"--{option.lstrip('-')}" for option in options.replace(",", " ").split()]


def write(file: str, settings: Settings) -> None:
    """Writes the shard of a task file, unless it is written already; Beam's workers call this."""
    task = _load(file)
    if settings.remote_source is None or settings.remote_scratch is None:
        resume.write(task)
        return
    remote = _remote(task.path, settings)
    with tempfile.TemporaryDirectory() as folder:
        source, local = pathlib.Path(folder, "source"), pathlib.Path(folder, "part")
        if _file_systems().exists(remote + _SUMMARY_SUFFIX):
            _copy(remote + _SUMMARY_SUFFIX, f"{local}{_SUMMARY_SUFFIX}")
            if resume.is_current(task, local):
                return
        for patient in task.assignment.patients:
            for entry in patient:
                _fetch(task, entry, settings.remote_source, source)
        local_task = dataclasses.replace(task, source=str(source), path=str(local))
        resume.save(task, shard.write(local_task), local)
        for suffix in ("", _SUMMARY_SUFFIX):  # the summary last: it marks the shard as complete
            _copy(f"{local}{suffix}", remote + suffix)


def _fetch(task: shard.Task, entry: Entry, remote_source: str, source: pathlib.Path) -> None:
    """Copies the files of one listed recording; files that do not exist are not copied."""
    patterns = [f"{remote_source.rstrip('/')}/{name}" for name in task.files(entry)]
    for result in _file_systems().match(patterns):
        for file in result.metadata_list:
            relative = file.path[len(remote_source.rstrip("/")) + 1 :]
            target = source / relative
            target.parent.mkdir(parents=True, exist_ok=True)
            _copy(file.path, str(target))


def _collect(file: str, settings: Settings, *, is_local: bool) -> shard.Summary:
    """Returns the summary of a written shard, after fetching the shard unless it is local.

    Raises:
        UserError: the shard does not exist.
    """
    task = _load(file)
    if settings.remote_scratch is not None and not is_local:
        remote = _remote(task.path, settings)
        for suffix in ("", _SUMMARY_SUFFIX):
            _copy(remote + suffix, task.path + suffix)
        _file_systems().delete([remote, remote + _SUMMARY_SUFFIX])
    _file_systems().delete([file])
    summary = resume.read(task)
    if summary is None:
        raise UserError(
            f"The Beam workers did not write {task.path}. They must access the data folder under "
            "the same path as this machine; otherwise give --remote-source and --remote-scratch."
        )
    return summary


def _save(task: shard.Task, settings: Settings) -> str:
    file = _remote(task.path, settings) + _TASK_SUFFIX
    with _create(file) as stream:
        stream.write(pickle.dumps(task))
    return file


def _load(file: str) -> shard.Task:
    with _open(file) as stream:
        return pickle.loads(stream.read())


def _remote(path: str, settings: Settings) -> str:
    """Returns the path or URL of a shard while the pipeline runs."""
    if settings.remote_scratch is None:
        return path
    return f"{settings.remote_scratch.rstrip('/')}/{pathlib.Path(path).name}"


def _copy(source: str, target: str) -> None:
    with _open(source) as stream, _create(target) as out:
        shutil.copyfileobj(stream, out, 1 << 20)


def _open(path: str) -> Any:
    """Opens a file without decompression; by default Beam would decompress a .gz file."""
    return _file_systems().open(path, compression_type="uncompressed")


def _create(path: str) -> Any:
    return _file_systems().create(path, compression_type="uncompressed")


def _file_systems() -> Any:
    from apache_beam.io.filesystems import FileSystems

    return FileSystems
