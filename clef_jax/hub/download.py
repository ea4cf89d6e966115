"""Downloads the files of a model from a hub, at a commit."""

import json
import os
import pathlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from clef_jax import errors
from clef_jax.errors import UserError
from clef_jax.hub import address as address_lib, client, digest
from clef_jax.hub.address import Address

_CONFIG = "config.json"
_FINGERPRINT = "fingerprint"


class Snapshot(NamedTuple):
    """The files of a model at a commit, on this machine."""

    folder: pathlib.Path
    address: Address
    """Address with the commit as its revision."""


def fetch(
    text: str | pathlib.Path,
    names: Callable[[Mapping[str, Any]], Sequence[str]],
    model_types: Sequence[str],
) -> Snapshot:
    """Downloads the files of a model, unless they were downloaded before.

    A revision that is a branch or a tag is resolved to its commit, which is printed. No other files
    than the named ones are downloaded, in particular no code.

    Args:
        text: `hf:ORG/NAME@REVISION`.
        names: returns the files that a model with this `config.json` needs beside it.
        model_types: types of models that can be used, as `config.json` states them.

    Raises:
        UserError: the text is no address, the hub refused it or cannot be reached, the repository
            holds no such model, or a file was damaged on its way.
    """
    given = address_lib.parse(text)
    hub = client.import_hub()
    pinned = given if given.is_pinned else _resolve(hub, given)
    # The configuration first: another model may have files of many gigabytes.
    path = _download(hub, pinned, _CONFIG)
    config = _read_config(path, pinned, model_types)
    for name in names(config):
        _download(hub, pinned, name)
    return Snapshot(path.parent, pinned)


def _resolve(hub: Any, given: Address) -> Address:
    """Returns the address of the commit that a branch or a tag is now, and prints it."""
    with client.sentences(given.repository, given.revision):
        commit = hub.HfApi().model_info(given.repository, revision=given.revision).sha
    pinned = Address(given.repository, str(commit))
    if not pinned.is_pinned:
        raise UserError(
            f"{hub.constants.ENDPOINT} states no commit for {given}, but {commit!r}.",
            problem="no_commit",
        )
    errors.print_note(
        f"{given} is now the commit {pinned.revision}; {pinned} always loads this same model."
    )
    return pinned


def _download(hub: Any, pinned: Address, name: str) -> pathlib.Path:
    """Returns the verified file of a commit; if it was downloaded before, without the network."""
    with client.sentences(pinned.repository, pinned.revision):
        downloaded = hub.hf_hub_download(pinned.repository, name, revision=pinned.revision)
    path = pathlib.Path(downloaded)
    _check_content(path, pinned)
    return path


def _read_config(path: pathlib.Path, pinned: Address, model_types: Sequence[str]) -> dict[str, Any]:
    """Returns the configuration of a model folder with a fingerprint."""
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        config = None
    kind = config.get("model_type") if isinstance(config, dict) else None
    if not isinstance(config, dict) or kind not in model_types:
        states = f"states the model type {kind!r}" if kind else "states no model type"
        raise UserError(
            f"{pinned} is no model folder of this package: its {_CONFIG} {states}.",
            problem="not_a_model_folder",
        )
    if not isinstance(config.get(_FINGERPRINT), str):
        raise UserError(
            f"{pinned} cannot be verified, because its {_CONFIG} states no fingerprint of weights "
            "and preprocessing; ask its owner to push it with this package.",
            problem="no_fingerprint",
        )
    return config


def _check_content(path: pathlib.Path, pinned: Address) -> None:
    """Raises UserError if a file is not what the hub announced.

    The cache holds links to files that are named by their digest: SHA-256 of large files, git's
    SHA-1 of others. Where the file system has no links, nothing is compared.
    """
    # One link only: the file may itself be a link to one that is named by another kind of digest.
    link = path.parent / path.readlink() if path.is_symlink() else path
    blob = pathlib.Path(os.path.normpath(link))
    if not re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", blob.name):
        return
    found = digest.git(blob) if len(blob.name) == 40 else digest.sha256(blob)
    if found != blob.name:
        raise UserError(
            f"{path.name} of {pinned} was damaged on its way or on this disk: its digest is "
            f"{found}. Delete {blob} and run the command again.",
            problem="damaged_download",
        )
