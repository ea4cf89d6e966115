"""Files that appear whole or not at all, whenever the program or the machine stops."""

import contextlib
import os
import pathlib
from collections.abc import Iterator


@contextlib.contextmanager
def appearing(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """A path beside `path` to write to; it takes the name of `path` when the block ends well."""
    half = path.with_name(f".{path.name}.half")
    try:
        yield half
        with half.open("rb") as written:
            os.fsync(written.fileno())
        os.replace(half, path)
    finally:
        half.unlink(missing_ok=True)


def write_text(path: pathlib.Path, text: str) -> None:
    """Writes a text file as a whole."""
    with appearing(path) as half:
        half.write_text(text)


def share(path: pathlib.Path) -> None:
    """Gives a file that a library made for its owner alone the rights of any new file."""
    mask = os.umask(0)
    os.umask(mask)
    path.chmod(0o666 & ~mask)
