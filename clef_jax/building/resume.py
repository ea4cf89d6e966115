"""Keeps the shards of a build until all are written, so that a stopped build can go on.

Beside the folder of a data set, unfinished_1.0.0/ holds `part-00012` and, once that is whole,
`part-00012.npz`: its summary, and a key of everything that the shard was made from. A later build
takes over the shards whose keys are those of its own.
"""

import contextlib
import dataclasses
import fcntl
import hashlib
import json
import pathlib
import shutil
from collections.abc import Iterator
from typing import IO, Any

import numpy as np

from clef_jax import files
from clef_jax.building import shard
from clef_jax.data import index
from clef_jax.errors import UserError
from clef_jax.finding import Finding

_LOCK_FILE = "lock"


def folder_of(version_dir: pathlib.Path) -> pathlib.Path:
    """Where the build of a data set keeps its shards."""
    return version_dir.with_name(f"{index.UNFINISHED}{version_dir.name}")


def num_shards(version_dir: pathlib.Path) -> int:
    """How many whole shards a stopped build left."""
    return len(list(folder_of(version_dir).glob("part-*.npz")))


@contextlib.contextmanager
def owned(version_dir: pathlib.Path, scratch: pathlib.Path) -> Iterator[pathlib.Path]:
    """The folder for the time of one build, which removes it when nobody shall go on from it; left
    without a shard it is removed here.

    Args:
        scratch: this build's own TFDS folder; those of builds that were killed are removed.

    Raises:
        UserError: another build is at work on this data set.
    """
    folder = folder_of(version_dir)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / _LOCK_FILE).open("w") as lock:
        if _locked(lock, version_dir):
            for left in version_dir.parent.glob(f"incomplete.??????_{version_dir.name}"):
                if left != scratch:
                    shutil.rmtree(left)
        try:
            yield folder
        finally:
            if not any(folder.glob("part-*.npz")):
                shutil.rmtree(folder, ignore_errors=True)


def _locked(lock: IO[str], version_dir: pathlib.Path) -> bool:
    """Locks the folder; False where the file system knows no locks."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UserError(
            f"Another prepare is at work on {version_dir}; wait for it, or stop it first.",
            problem="build_in_progress",
        ) from None
    except OSError:
        return False
    return True


def clear(folder: pathlib.Path) -> None:
    """Removes the shards of a stopped build."""
    for path in folder.glob("part-*"):
        path.unlink()


def write(task: shard.Task) -> shard.Summary:
    """Writes one shard, unless it is there already: what runners call."""
    found = read(task)
    if found is not None:
        return dataclasses.replace(found, kept=True)
    summary = shard.write(task)
    save(task, summary, pathlib.Path(task.path))
    return summary


def save(task: shard.Task, summary: shard.Summary, path: pathlib.Path) -> None:
    """Records that the shard at `path` is complete, and what it was made from."""
    facts = {
        "key": _key(task),
        "size": path.stat().st_size,
        "digest": summary.digest.hex(),
        "findings": [dataclasses.astuple(finding) for finding in summary.findings],
        **{name: getattr(summary, name) for name in _PLAIN},
    }
    with files.appearing(pathlib.Path(f"{path}.npz")) as half, half.open("wb") as stream:
        np.savez(stream, facts=np.array(json.dumps(facts)), **summary.columns)  # pyright: ignore[reportArgumentType]


_PLAIN = ("split", "num_listed", "num_read", "num_bytes", "patient_counts", "label_counts")


def read(task: shard.Task) -> shard.Summary | None:
    """The summary of a shard that is whole and was made from the same; None otherwise."""
    found = _load(pathlib.Path(task.path))
    if found is None:
        return None
    facts, columns = found
    there = pathlib.Path(task.path)
    if facts["key"] != _key(task) or not there.is_file() or there.stat().st_size != facts["size"]:
        return None
    plain = {name: facts[name] for name in _PLAIN}
    plain["patient_counts"] = tuple(plain["patient_counts"])
    return shard.Summary(
        **plain,
        path=task.path,
        digest=bytes.fromhex(facts["digest"]),
        findings=tuple(Finding(*finding) for finding in facts["findings"]),
        columns=columns,
    )


def is_of(task: shard.Task, path: pathlib.Path) -> bool:
    """Whether the summary of the shard at `path` is of this task."""
    found = _load(path)
    return found is not None and found[0]["key"] == _key(task)


def _load(path: pathlib.Path) -> tuple[dict[str, Any], dict[str, np.ndarray]] | None:
    """The facts and columns that `save` wrote; None if there are none."""
    file = pathlib.Path(f"{path}.npz")
    if not file.is_file():
        return None
    with np.load(file, allow_pickle=False) as stored:
        columns = dict(stored.items())
    return json.loads(str(columns.pop("facts"))), columns


def _key(task: shard.Task) -> str:
    """Identifies all that decides a shard's content, but for the source files' own bytes."""
    functions = [
        f"{function.__module__}.{getattr(function, '__qualname__', '')}" if function else ""
        for function in (task.read, task.windows, task.files)
    ]
    plain = dataclasses.replace(task, read=None, windows=None, files=None)  # pyright: ignore[reportArgumentType]
    return hashlib.sha256(repr((index.FORMAT, functions, plain)).encode()).hexdigest()
