"""Writes files so that a crash leaves either the complete file or the previous one, and reads
files of JSON lines whose last line a crash may have cut."""

import contextlib
import errno
import json
import os
import pathlib
import re
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from clef_jax.errors import UserError
from clef_jax.finding import Defect


@contextlib.contextmanager
def atomic_file(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields a temporary path beside `path`; when the block ends, renames that file to `path`.

    If the block raises, `path` is unchanged.

    Raises:
        UserError: the file cannot be written, for example because the disk is full.
    """
    half = _half(path)
    try:
        with writing(path, half):
            yield half
            _sync(half)
            os.replace(half, path)
    finally:
        with contextlib.suppress(OSError):
            half.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields an empty temporary folder beside `path`; when the block ends, renames it to `path`.

    An existing folder `path` is replaced. If the block raises, `path` is unchanged; if the program
    is killed during the replacement, `path` does not exist.

    Raises:
        UserError: the folder cannot be written, for example because the disk is full.
    """
    half = _half(path)
    try:
        with writing(path, half):
            shutil.rmtree(half, ignore_errors=True)
            half.mkdir(parents=True)
            yield half
            for file in half.rglob("*"):
                if file.is_file():
                    _sync(file)
            if path.exists():
                shutil.rmtree(path)
            half.rename(path)
    finally:
        shutil.rmtree(half, ignore_errors=True)


@contextlib.contextmanager
def writing(path: pathlib.Path, temporary: pathlib.Path | None = None) -> Iterator[None]:
    """Turns an error of the system while the block writes `path` into a sentence that names it.

    Args:
        path: the file or folder that the block writes.
        temporary: the file or folder that becomes `path` at the end of the block; by default the
            block writes `path` itself.

    Raises:
        UserError: the block raised an OSError that does not name another file.
    """
    try:
        yield
    except OSError as error:
        if not _concerns(error, path, temporary or path):
            raise
        if temporary is None:
            state = ""
        elif os.path.lexists(path):
            state = " What stood there before is unchanged."
        else:
            state = " Nothing was left under that name."
        raise not_written(path, error, ", and run the command again.", state) from error


def not_written(path: pathlib.Path, error: OSError, advice: str, state: str = "") -> UserError:
    """Returns the error of a file that the system refused to write.

    Args:
        path: the file.
        error: the error of the system.
        advice: continues the sentence that ends in "the folder is writable".
        state: what the file holds now, with a leading space; by default not stated.
    """
    return UserError(
        f"{path} could not be written: {reason(error, path.parent)}.{state} Make sure that the "
        f"disk has space and the folder is writable{advice}",
        problem="not_written",
    )


def _concerns(error: OSError, path: pathlib.Path, temporary: pathlib.Path) -> bool:
    """Returns whether an error may be one of writing a path rather than of reading another file."""
    if error.filename is None or isinstance(error.filename, int):
        return not isinstance(error, BrokenPipeError | TimeoutError | ConnectionError)
    named = pathlib.Path(os.fsdecode(error.filename))
    if isinstance(error, FileNotFoundError) and path.parent.is_dir():
        return False  # the block wrote nothing, which is our mistake
    related = (path, temporary, *temporary.parents)
    return named in related or temporary in named.parents


def reason(error: OSError, folder: pathlib.Path) -> str:
    """Returns why the system could not write to a folder, without a full stop at the end."""
    with contextlib.suppress(OSError):
        if not folder.exists():
            return f"the folder {folder} does not exist or was moved"
    return (error.strerror or str(error)).rstrip(". ")


def make_folder(path: pathlib.Path) -> None:
    """Creates a folder with its parents, if it does not exist.

    Raises:
        UserError: the folder cannot be created.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"The folder {path} cannot be created: {error.strerror}. Choose another folder, or "
            "make its parent writable.",
            problem="out_unwritable",
        ) from error


def _half(path: pathlib.Path) -> pathlib.Path:
    return path.with_name(f".{path.name}.half")


def _sync(file: pathlib.Path) -> None:
    with file.open("rb") as written:
        os.fsync(written.fileno())


def write_text(path: pathlib.Path, text: str) -> None:
    """Writes a text file in UTF-8; a crash leaves the previous file."""
    with atomic_file(path) as half:
        half.write_text(text, encoding="utf-8")


def write_bytes(path: pathlib.Path, data: bytes | bytearray) -> None:
    """Writes a binary file; a crash leaves the previous file."""
    with atomic_file(path) as half:
        half.write_bytes(data)


def read_json_lines(path: pathlib.Path) -> list[dict[str, Any]]:
    """Returns the objects of a file of JSON lines; none if the file does not exist.

    Lines that are no JSON are skipped.
    """
    lines = []
    for text in path.read_text("utf-8", "replace").splitlines() if path.exists() else []:
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            continue  # the program was killed while it wrote this line
    return lines


def slug(text: str) -> str:
    """Returns a file name without extension for any text: `nvidia_h200` for `NVIDIA H200`."""
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")


def apply_umask(path: pathlib.Path) -> None:
    """Gives a file that only its owner may read the permissions of any new file.

    Some libraries create files with mode 600, whatever the user's umask.
    """
    mask = os.umask(0)
    os.umask(mask)
    path.chmod(0o666 & ~mask)


def is_special(path: pathlib.Path) -> bool:
    """Returns whether a path is a pipe, a socket or a device, which a reader could wait on forever.

    Links are followed. False if nothing is there.
    """
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def locate(
    source: str | os.PathLike[str], relative: str, extensions: Iterable[str] = (".hea", ".dat")
) -> pathlib.Path:
    """Returns the path, without extension, of a record that a table of the source folder names.

    Args:
        source: the source folder.
        relative: path of the record in the source folder, without extension.
        extensions: extensions of the record's files, each of which is checked.

    Raises:
        Defect: the path leads out of the source folder, by `..`, as an absolute path or through a
            link; or one of the files is a pipe, a socket or a device.
    """
    path = pathlib.Path(source, relative)
    root = os.path.realpath(source)
    for extension in extensions:
        real = os.path.realpath(f"{path}{extension}") if "\0" not in relative else ""
        if pathlib.Path(relative).is_absolute() or not real.startswith(root + os.sep):
            detail = f"The path {relative!r} leads out of the source folder; it was not opened."
            raise Defect("path_outside_source", detail)
        if is_special(pathlib.Path(real)):
            detail = f"{path.name}{extension} is a pipe, a socket or a device; it was not opened."
            raise Defect("not_a_file", detail)
    return path


_FILE_SUFFIXES = {
    *(".bin", ".ckpt", ".h5", ".hdf5", ".keras", ".npy", ".npz", ".onnx", ".pb", ".pickle", ".pkl"),
    *(".pt", ".pt2", ".pth", ".safetensors", ".stablehlo", ".tflite", ".tfrecord", ".torch"),
    *(".csv", ".db", ".json", ".jsonl", ".parquet", ".sqlite", ".tsv", ".xls", ".xlsx", ".xml"),
    *(".htm", ".html", ".ini", ".md", ".pdf", ".toml", ".txt", ".yaml", ".yml", ".jpg", ".png"),
    *(".7z", ".bz2", ".gz", ".rar", ".tar", ".tgz", ".xz", ".zip", ".zst"),
}
"""Suffixes of files; a new folder whose name ends in one of them is a mistake."""


def is_other_than_a_file(path: pathlib.Path) -> bool:
    """Returns whether a path is a folder, a pipe or a device, in one system call: another program
    may delete it at any moment."""
    try:
        return not stat.S_ISREG(path.stat().st_mode)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            raise
        return False


def check_output(
    path: pathlib.Path,
    is_ours: Callable[[pathlib.Path], bool],
    *,
    overwrite: bool = False,
    option: str = "--out",
    can_overwrite: bool = True,
) -> None:
    """Raises an error unless a command may write a file; call it before the work begins.

    Args:
        path: file to write.
        is_ours: returns whether an existing file was made by the same command. Such a file may be
            replaced; it is not called for anything but an existing regular file.
        overwrite: whether any existing file may be replaced.
        option: the option that names the file, for messages.
        can_overwrite: whether the command has the flag --overwrite, for messages.

    Raises:
        UserError: the path is a folder, a device or another command's or the user's file, or no
            file can be written there.
    """
    if path.is_dir():
        raise UserError(
            f"{path} is a folder; give {option} the name of a file.", problem="is_a_folder"
        )
    if is_other_than_a_file(path):
        raise UserError(
            f"{path} is a device or a pipe, which no result replaces; choose another {option}.",
            problem="not_a_file",
        )
    if path.exists() and not overwrite and not is_ours(path):
        remedy = ", or replace it with --overwrite" if can_overwrite else ""
        raise UserError(
            f"{path} exists and was not made by this command, so it is not replaced; choose "
            f"another {option}{remedy}.",
            problem="foreign_file",
        )
    _check_writable(path.absolute().parent, option)


def check_output_folder(path: pathlib.Path, *, option: str = "--out") -> None:
    """Raises an error unless a command may write files to a folder, which need not exist.

    Raises:
        UserError: the path is a file, a new folder would have the name of a file, or no file can
            be written there.
    """
    if path.exists() and not path.is_dir():
        raise UserError(
            f"{path} is a file, but {option} is a folder to write; choose another {option}.",
            problem="is_a_file",
        )
    if not path.exists() and path.suffix.lower() in _FILE_SUFFIXES:
        raise UserError(
            f"{option}={path} is the name of a {path.suffix} file, but a folder is written; omit "
            f"{path.suffix}.",
            problem="file_name",
        )
    _check_writable(path.absolute(), option)


def _check_writable(folder: pathlib.Path, option: str) -> None:
    """Raises UserError if no file can be made in a folder, or in its nearest existing parent."""
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        raise UserError(
            f"No file can be written in {existing} ({error.strerror}); make the folder writable, "
            f"or choose another {option}.",
            problem="out_unwritable",
        ) from error


def is_json_with(path: pathlib.Path, names: Iterable[str]) -> bool:
    """Returns whether a file is a JSON object that has all the given names."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(content, dict) and set(names) <= set(content)


def starts_with(path: pathlib.Path, start: str) -> bool:
    """Returns whether a file starts with a text."""
    try:
        with path.open("rb") as file:
            return file.read(len(start.encode())) == start.encode()
    except OSError:
        return False


def spreadsheet_text(text: str) -> str:
    """Returns a text for a cell of a CSV file, such that no spreadsheet runs it as a formula.

    A text that begins with =, +, - or @, a tab or a line break gets an apostrophe before it, unless
    it is a number.
    """
    try:
        float(text)
    except ValueError:
        return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r", "\n")) else text
    return text
