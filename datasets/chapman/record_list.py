"""Finds the recordings in WFDBRecords, and those that a RECORDS file names."""

import pathlib
from collections.abc import Iterator

from clef_jax.errors import UserError

TREE = "WFDBRecords"


def find(source: pathlib.Path) -> tuple[str, ...]:
    """Returns the paths of all recordings in the source folder, without extension, sorted.

    Raises:
        UserError: the source folder has no recording.
    """
    files = [file for kind in ("hea", "mat") for file in (source / TREE).rglob(f"[!.]*.{kind}")]
    present = {file.relative_to(source).with_suffix("").as_posix() for file in files}
    if not present:
        raise UserError(
            f"No folder {TREE} with recordings found in {source}; give the top folder of "
            "Chapman-Shaoxing-Ningbo.",
            problem="not_the_source",
        )
    names = {pathlib.PurePosixPath(path).name for path in present}
    missing = {path for path in _named(source) if pathlib.PurePosixPath(path).name not in names}
    return tuple(sorted(present | missing))


def _named(source: pathlib.Path) -> Iterator[str]:
    """Yields the recordings that RECORDS files name; a line that ends with / is a folder."""
    for file in (source / "RECORDS", *sorted((source / TREE).rglob("RECORDS"))):
        if not file.is_file():
            continue
        for line in file.read_text(encoding="utf-8-sig", errors="replace").splitlines():
            path = pathlib.PurePosixPath(file.parent.relative_to(source).as_posix(), line.strip())
            if line.strip() and not line.strip().endswith("/"):
                has_extension = path.suffix in (".hea", ".mat")
                yield (path.with_suffix("") if has_extension else path).as_posix()
