"""Files that outlive a stop of the program or the machine: those that appear complete or not at
all, and what is left of those that grow line by line."""

import contextlib
import json
import os
import pathlib
import re
import shutil
from collections.abc import Iterable, Iterator
from typing import Any

from clef_jax.finding import Defect


@contextlib.contextmanager
def appearing(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields a path beside `path` to write to, which takes its name when the block ends well.

    If the block raises, `path` stays as it was.
    """
    half = _half(path)
    try:
        yield half
        _sync(half)
        os.replace(half, path)
    finally:
        half.unlink(missing_ok=True)


@contextlib.contextmanager
def appearing_folder(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields an empty folder beside `path`, which takes its name when the block ends well.

    A folder of that name is replaced. If the block raises, it stays as it was; if the program is
    killed in the middle of the replacement, there is none.
    """
    half = _half(path)
    shutil.rmtree(half, ignore_errors=True)
    half.mkdir(parents=True)
    try:
        yield half
        for file in half.rglob("*"):
            if file.is_file():
                _sync(file)
        if path.exists():
            shutil.rmtree(path)
        half.rename(path)
    finally:
        shutil.rmtree(half, ignore_errors=True)


def _half(path: pathlib.Path) -> pathlib.Path:
    return path.with_name(f".{path.name}.half")


def _sync(file: pathlib.Path) -> None:
    with file.open("rb") as written:
        os.fsync(written.fileno())


def write_text(path: pathlib.Path, text: str) -> None:
    """Writes a text file, complete or not at all."""
    with appearing(path) as half:
        half.write_text(text)


def write_bytes(path: pathlib.Path, data: bytes | bytearray) -> None:
    """Writes a binary file, complete or not at all."""
    with appearing(path) as half:
        half.write_bytes(data)


def read_json_lines(path: pathlib.Path) -> list[dict[str, Any]]:
    """The lines of a file that is appended to; none if it is not there."""
    lines = []
    for text in path.read_text().splitlines() if path.exists() else []:
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            continue  # only a kill in the middle of a write leaves such a line
    return lines


def name_of(text: str) -> str:
    """A file's name, without an ending, for any text: `NVIDIA H200` gives `nvidia_h200`."""
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")


def share(path: pathlib.Path) -> None:
    """Gives a file that a library made for its owner alone the rights of any new file."""
    mask = os.umask(0)
    os.umask(mask)
    path.chmod(0o666 & ~mask)


def locate(
    source: str | os.PathLike[str], relative: str, extensions: Iterable[str] = (".hea", ".dat")
) -> pathlib.Path:
    """Returns the path of a record that a source's own table names, extensions still to be added.

    Raises:
        Defect: the path leads out of the source folder, by `..`, as an absolute path or through a
            link.
    """
    path = pathlib.Path(source, relative)
    root = os.path.realpath(source)
    for extension in extensions:
        real = os.path.realpath(f"{path}{extension}") if "\0" not in relative else ""
        if pathlib.Path(relative).is_absolute() or not real.startswith(root + os.sep):
            detail = f"The path {relative!r} leads out of the source folder; it was not opened."
            raise Defect("path_outside_source", detail)
    return path
