"""Writes the shards of a build with Apache Beam: on Flink, Spark, Dataflow or this machine.

The same tasks go to the same function as to worker processes, so that the same bytes come of it.
Workers either see the source and data folders under the same paths as this machine, or fetch the
recordings from a `remote_source` and leave the shards in a `remote_scratch`: folders in a bucket,
or wherever Beam has a file system. Needs the extra `beam`.
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
from clef_jax.errors import UserError

_TASK_SUFFIX = ".task"
_SUMMARY_SUFFIX = ".npz"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """How to run the pipeline. `remote_source` and `remote_scratch` go together."""

    options: str
    """Of the pipeline, `name=value` separated by commas or spaces."""
    remote_source: str | None = None
    """A URL of a folder that holds the recordings as the source folder would."""
    remote_scratch: str | None = None
    """A URL of a folder for tasks and shards while the pipeline runs."""

    def __post_init__(self):
        if (self.remote_source is None) != (self.remote_scratch is None):
            raise UserError("--remote-source and --remote-scratch go together; give both.")


def run(tasks: Iterable[shard.Task], settings: Settings) -> Iterator[shard.Summary]:
    """Summaries in the order of the tasks, after all are written.

    Raises:
        UserError: Beam is not installed, or the pipeline failed.
    """
    try:
        import apache_beam as beam
        from apache_beam.options.pipeline_options import PipelineOptions
    except ImportError:
        raise UserError(
            "--beam-options needs Apache Beam: pip install -c constraints.txt -e '.[beam]'."
        ) from None
    # Task files rather than tasks: runners limit the size of what a pipeline is made of.
    shards = [(task.path, _save(task, settings)) for task in tasks]
    kept = {path for path, file in shards if resume.read(_load(file)) is not None}
    options = PipelineOptions(_flags(settings.options))
    try:
        with beam.Pipeline(options=options) as pipeline:
            files = [file for path, file in shards if path not in kept]
            names = pipeline | "shards" >> beam.Create(files) | beam.Reshuffle()
            _ = names | "write" >> beam.Map(write, settings)
    except Exception as error:  # runners have no exception in common
        reason = str(error).strip().splitlines()[-1:] or [type(error).__name__]
        raise UserError(
            f"The Beam pipeline failed: {reason[0].rstrip('.')}. Shards that were finished are "
            "kept; the same command goes on from them."
        ) from error
    for path, file in shards:
        summary = _collect(file, settings, there=path in kept)
        yield dataclasses.replace(summary, kept=path in kept)


def _flags(options: str) -> list[str]:
    """Beam's flags from `name=value,name=value`; the dashes may be there already."""
    return [f"--{option.lstrip('-')}" for option in options.replace(",", " ").split()]


def write(file: str, settings: Settings) -> None:
    """Writes the shard of a task file; this is what Beam's workers call."""
    task = _load(file)
    if settings.remote_source is None or settings.remote_scratch is None:
        resume.write(task)
        return
    there = _remote(task.path, settings)
    with tempfile.TemporaryDirectory() as folder:
        source, here = pathlib.Path(folder, "source"), pathlib.Path(folder, "part")
        if _file_systems().exists(there + _SUMMARY_SUFFIX):
            _copy(there + _SUMMARY_SUFFIX, f"{here}{_SUMMARY_SUFFIX}")
            if resume.is_of(task, here):
                return
        for patient in task.share.patients:
            for entry in patient:
                _fetch(task, entry, settings.remote_source, source)
        local = dataclasses.replace(task, source=str(source), path=str(here))
        resume.save(task, shard.write(local), here)
        for suffix in ("", _SUMMARY_SUFFIX):  # the summary last: it says that the shard is whole
            _copy(f"{here}{suffix}", there + suffix)


def _fetch(task: shard.Task, entry: Entry, remote_source: str, source: pathlib.Path) -> None:
    """Copies the files of one listed recording; what is absent there is absent here."""
    patterns = [f"{remote_source.rstrip('/')}/{name}" for name in task.files(entry)]
    for result in _file_systems().match(patterns):
        for found in result.metadata_list:
            relative = found.path[len(remote_source.rstrip("/")) + 1 :]
            target = source / relative
            target.parent.mkdir(parents=True, exist_ok=True)
            _copy(found.path, str(target))


def _collect(file: str, settings: Settings, *, there: bool) -> shard.Summary:
    """The summary of a written shard, which is fetched unless it is there."""
    task = _load(file)
    if settings.remote_scratch is not None and not there:
        remote = _remote(task.path, settings)
        for suffix in ("", _SUMMARY_SUFFIX):
            _copy(remote + suffix, task.path + suffix)
        _file_systems().delete([remote, remote + _SUMMARY_SUFFIX])
    _file_systems().delete([file])
    summary = resume.read(task)
    if summary is None:
        raise UserError(
            f"The Beam workers did not write {task.path}. They must see the data folder under the "
            "same path as this machine, or be given --remote-source and --remote-scratch."
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
    """Where a shard lies for the time of the pipeline."""
    if settings.remote_scratch is None:
        return path
    return f"{settings.remote_scratch.rstrip('/')}/{pathlib.Path(path).name}"


def _copy(source: str, target: str) -> None:
    with _open(source) as stream, _create(target) as out:
        shutil.copyfileobj(stream, out, 1 << 20)


def _open(path: str) -> Any:
    """A stream of a file as it is: Beam would unpack a .gz otherwise."""
    return _file_systems().open(path, compression_type="uncompressed")


def _create(path: str) -> Any:
    return _file_systems().create(path, compression_type="uncompressed")


def _file_systems() -> Any:
    from apache_beam.io.filesystems import FileSystems

    return FileSystems
