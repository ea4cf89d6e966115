"""Compares files with those of a repository on a hub, and commits them."""

import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from clef_jax.errors import UserError
from clef_jax.hub import client, digest
from clef_jax.hub.address import Address

NEW, REPLACED, SAME, DELETED = "new", "replaced", "same", "deleted"
"""The effects of a push on a file."""
_NEUTRAL = (".gitattributes",)
"""Files that a hub makes by itself."""


class Plan(NamedTuple):
    """Changes that a push makes."""

    exists: bool
    """Whether the repository exists."""
    commit: str | None
    """Its newest commit."""
    is_private: bool
    """Whether the repository is private, or will be."""
    changes: Mapping[str, str]
    """Effect on each file of the model, by name."""
    others: tuple[str, ...]
    """Other files of the repository, which stay."""

    @property
    def changes_nothing(self) -> bool:
        """Whether the repository holds the same files already."""
        return self.exists and set(self.changes.values()) <= {SAME}

    @property
    def touched(self) -> list[str]:
        """Files of the repository that would be replaced, deleted or mixed with the model."""
        return [n for n, c in self.changes.items() if c in (REPLACED, DELETED)] + list(self.others)


def compare(
    repository: str,
    files: Mapping[str, pathlib.Path],
    stale: frozenset[str],
    *,
    public: bool,
) -> Plan:
    """Returns what a push would change; asks the hub, and changes nothing.

    Args:
        repository: `ORG/NAME`.
        files: files to upload by their names.
        stale: names of files that a former push may have left, and that the model does not have.
        public: whether a new repository will be public.

    Raises:
        UserError: the hub refused the request or cannot be reached.
    """
    info = _info(repository)
    if info is None:
        return Plan(False, None, not public, dict.fromkeys(files, NEW), ())
    there = {file.rfilename: file for file in info.siblings or ()}
    changes = {name: _change(path, there.get(name)) for name, path in files.items()}
    changes |= dict.fromkeys(sorted(stale & there.keys() - files.keys()), DELETED)
    others = sorted(set(there) - set(changes) - set(_NEUTRAL))
    return Plan(True, info.sha, bool(info.private), changes, tuple(others))


def _info(repository: str) -> Any:
    """Returns what a hub knows about a repository and its files; None if it does not exist."""
    hub = client.import_hub()
    try:
        with client.sentences(repository):
            return hub.HfApi().model_info(repository, files_metadata=True)
    except UserError as error:
        if error.problem == "no_repository":
            return None
        raise


def _change(path: pathlib.Path, there: Any) -> str:
    if there is None:
        return NEW
    if there.lfs is not None:
        same = there.lfs.sha256 == digest.sha256(path)
    else:
        same = there.blob_id == digest.git(path)
    return SAME if same else REPLACED


def commit(repository: str, files: Mapping[str, pathlib.Path], plan: Plan, message: str) -> Address:
    """Uploads files in one commit, in a new repository if there is none, and returns its address.

    Args:
        repository: `ORG/NAME`.
        files: files by their names.
        plan: what `compare` returned; the push is refused if the repository changed since then.
        message: message of the commit.

    Raises:
        UserError: the hub refused the upload or cannot be reached.
    """
    hub = client.import_hub()
    api, parent = hub.HfApi(), plan.commit
    operations: list[Any] = []
    for name, change in plan.changes.items():
        if change == DELETED:
            operations.append(hub.CommitOperationDelete(name))
        elif change != SAME:
            operations.append(hub.CommitOperationAdd(name, str(files[name])))
    with client.sentences(repository):
        if not plan.exists:
            api.create_repo(repository, private=plan.is_private)
            parent = api.model_info(repository).sha
        done = api.create_commit(
            repository, operations, commit_message=message, parent_commit=parent
        )
    return Address(repository, done.oid)
