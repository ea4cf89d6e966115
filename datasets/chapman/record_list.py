"""Finds the recordings: all that lie in WFDBRecords, and those that a RECORDS file names."""

import pathlib
from collections.abc import Iterator

from clef_jax.errors import UserError

TREE = "WFDBRecords"


def find(source: pathlib.Path) -> tuple[str, ...]:
    """The paths of all recordings in the source folder, without extension, sorted.

    Raises:
        UserError: there is none.
    """
    files = [file for kind in ("hea", "mat") for file in (source / TREE).rglob(f"[!.]*.{kind}")]
    found = {file.relative_to(source).with_suffix("").as_posix() for file in files}
    if not found:
        raise UserError(
            f"{source} holds no {TREE} with recordings, so it is not the top of a "
            "Chapman-Shaoxing-Ningbo download.",
            problem="not_the_source",
        )
    names = {pathlib.PurePosixPath(path).name for path in found}
    missing = {path for path in _named(source) if pathlib.PurePosixPath(path).name not in names}
    return tuple(sorted(found | missing))


def _named(source: pathlib.Path) -> Iterator[str]:
    """What the files RECORDS name, at the top and in the folders: a line with / is a folder."""
    for file in (source / "RECORDS", *sorted((source / TREE).rglob("RECORDS"))):
        if not file.is_file():
            continue
        for line in file.read_text(encoding="utf-8-sig", errors="replace").splitlines():
            path = pathlib.PurePosixPath(file.parent.relative_to(source).as_posix(), line.strip())
            if line.strip() and not line.strip().endswith("/"):
                known = path.suffix in (".hea", ".mat")
                yield (path.with_suffix("") if known else path).as_posix()
