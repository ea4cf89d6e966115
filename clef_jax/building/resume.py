"""Keeps the shards of a build until all are written, so that an interrupted build can resume.

Beside the folder of a data set, unfinished_1.0.0/ holds `part-00012` and, once it is complete,
`part-00012.npz`: its summary, and a key of everything that the shard was made from. A later build
reuses the shards whose keys equal those of its own.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib
import shutil
from collections.abc import Iterator
from typing import Any

import numpy as np

from clef_jax import files, folder_lock
from clef_jax.building import shard
from clef_jax.data import index
from clef_jax.errors import UserError
from clef_jax.finding import Finding

PREVIOUS = "previous_"
"""Prefix of the name of a data set's folder while a build replaces it."""
_LOCK_FILE = "lock"


def shard_folder(version_dir: pathlib.Path) -> pathlib.Path:
    """Returns the folder in which the build of a data set keeps its shards."""
    return version_dir.with_name(f"{index.UNFINISHED}{version_dir.name}")


def previous_folder(version_dir: pathlib.Path) -> pathlib.Path:
    """Returns the folder to which a data set is moved while a build replaces it."""
    return version_dir.with_name(f"{PREVIOUS}{version_dir.name}")


def num_shards(version_dir: pathlib.Path) -> int:
    """Returns the number of complete shards that an interrupted build left."""
    return len(list(shard_folder(version_dir).glob("part-*.npz")))


@contextlib.contextmanager
def lock_folder(
    version_dir: pathlib.Path, scratch: pathlib.Path, *, keeps_shards: bool = True
) -> Iterator[folder_lock.FolderLock]:
    """Locks a build's shard folder; removes it afterwards if it holds nothing to resume from.

    Args:
        version_dir: folder of the data set.
        scratch: temporary TFDS folder of this build; those of interrupted builds are removed.
        keeps_shards: whether the complete shards of a build that fails are kept.

    Yields:
        The lock, whose file is in the shard folder.

    Raises:
        UserError: another build of this data set is running, here or on another host, or this
            build lost the folder.
    """
    folder = shard_folder(version_dir)
    with contextlib.ExitStack() as stack:
        try:
            lock = stack.enter_context(folder_lock.FolderLock(folder / _LOCK_FILE))
        except folder_lock.InUseError as error:
            raise UserError(
                f"Another prepare is building {version_dir}: {error.owner_text}. Wait for it to "
                "end, or stop it.",
                problem="build_in_progress",
            ) from error
        # Builds of versions that know only flock may be running where it has no effect.
        if lock.exclusive:
            for leftover in version_dir.parent.glob(f"incomplete.??????_{version_dir.name}"):
                if leftover != scratch:
                    shutil.rmtree(leftover)
        try:
            yield lock
        except (OSError, UserError):
            check(lock, version_dir)  # the error may come of a folder that was moved
            raise
        finally:
            # Another build that took the folder over needs what is in it.
            if lock.is_ours() and not (keeps_shards and any(folder.glob("part-*.npz"))):
                shutil.rmtree(folder, ignore_errors=True)


def check(lock: folder_lock.FolderLock, version_dir: pathlib.Path) -> None:
    """Raises UserError if the shard folder no longer belongs to this build."""
    try:
        lock.check()
    except folder_lock.LostError as error:
        advice = (
            "If the folder was moved, move it back; the same command then resumes from its "
            "complete shards."
            if error.problem == "moved"
            else "The build of that process goes on alone."
        )
        raise UserError(
            f"{error.cause} while this build used it. This build of {version_dir} stopped and "
            f"wrote no data set. {advice}",
            problem=error.problem,
        ) from error


def clear(folder: pathlib.Path) -> None:
    """Removes the shards of an interrupted build."""
    for path in folder.glob("part-*"):
        path.unlink()


def write(task: shard.Task) -> shard.Summary:
    """Writes one shard, or reuses it if it is written already; returns its summary.

    Raises:
        UserError: the source folder vanished, so that its recordings only seemed to be missing.
    """
    summary = read(task)
    if summary is not None:
        return dataclasses.replace(summary, kept=True)
    summary = shard.write(task)
    if not _has_files(task.source):
        raise UserError(
            f"The source folder {task.source} vanished during the build, which wrote no data set. "
            "The shards that were complete before are kept; when the folder is back, the same "
            "command resumes from them.",
            problem="source_vanished",
        )
    save(task, summary, pathlib.Path(task.path))
    return summary


def _has_files(folder: str) -> bool:
    """Returns whether a folder exists and is not empty, as the mount point of a lost disk is."""
    try:
        with os.scandir(folder) as entries:
            return any(entries)
    except OSError:
        return False


def save(task: shard.Task, summary: shard.Summary, path: pathlib.Path) -> None:
    """Writes the summary and key of a shard, which mark it as complete.

    Args:
        task: the task of the shard.
        summary: the summary of the shard.
        path: the file of the shard.
    """
    description = {
        "key": _key(task),
        "size": path.stat().st_size,
        "digest": summary.digest.hex(),
        "findings": [dataclasses.astuple(finding) for finding in summary.findings],
        **{name: getattr(summary, name) for name in _PLAIN},
    }
    with files.atomic_file(pathlib.Path(f"{path}.npz")) as half, half.open("wb") as stream:
        np.savez(stream, facts=np.array(json.dumps(description)), **summary.columns)  # pyright: ignore[reportArgumentType]


_PLAIN = ("split", "num_listed", "num_read", "num_bytes", "patient_counts", "label_counts")


def read(task: shard.Task) -> shard.Summary | None:
    """Returns the summary of a task's shard; None if it is incomplete or made from other inputs."""
    path = pathlib.Path(task.path)
    saved = _load(path)
    if saved is None:
        return None
    description, columns = saved
    if description["key"] != _key(task) or not path.is_file():
        return None
    if path.stat().st_size != description["size"]:
        return None
    plain = {name: description[name] for name in _PLAIN}
    plain["patient_counts"] = tuple(plain["patient_counts"])
    return shard.Summary(
        **plain,
        path=task.path,
        digest=bytes.fromhex(description["digest"]),
        findings=tuple(Finding(*finding) for finding in description["findings"]),
        columns=columns,
    )


def is_current(task: shard.Task, path: pathlib.Path) -> bool:
    """Returns whether the summary of the shard at `path` belongs to this task."""
    saved = _load(path)
    return saved is not None and saved[0]["key"] == _key(task)


def _load(path: pathlib.Path) -> tuple[dict[str, Any], dict[str, np.ndarray]] | None:
    """Returns the description and columns that `save` wrote; None if the file does not exist."""
    file = pathlib.Path(f"{path}.npz")
    if not file.is_file():
        return None
    with np.load(file, allow_pickle=False) as stored:
        columns = dict(stored.items())
    return json.loads(str(columns.pop("facts"))), columns


def _key(task: shard.Task) -> str:
    """Returns a hash of everything that determines a shard, except the bytes of source files."""
    functions = [
        f"{function.__module__}.{getattr(function, '__qualname__', '')}" if function else ""
        for function in (task.read, task.windows, task.files)
    ]
    plain = dataclasses.replace(task, read=None, windows=None, files=None)  # pyright: ignore[reportArgumentType]
    return hashlib.sha256(repr((index.FORMAT, functions, plain)).encode()).hexdigest()
