"""Digests by which a hub names files: SHA-256 of large files, and git's SHA-1 of others."""

import hashlib
import pathlib


def sha256(path: pathlib.Path) -> str:
    """Returns the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def git(path: pathlib.Path) -> str:
    """Returns the SHA-1 by which git names the content of a file."""
    header = b"blob %d\0" % path.stat().st_size
    with path.open("rb") as file:
        made = hashlib.file_digest(file, lambda: hashlib.sha1(header, usedforsecurity=False))
    return made.hexdigest()
