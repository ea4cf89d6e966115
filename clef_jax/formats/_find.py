"""Finds the recordings of a folder and its subfolders, in the order of their names.

The names of one folder at a time are in memory.
"""

import collections
import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path

from clef_jax import files, plugin
from clef_jax.errors import UserError
from clef_jax.finding import Defect, Finding, catch_failures
from clef_jax.formats import _registry
from clef_jax.wfdb import header as wfdb_header

LIST_NAME = "RECORDS"
"""Name of a WFDB list of records, which may be followed by `-` and a further name."""
SPECIAL, NO_SUFFIX = "pipe, socket or device", "without suffix"
"""Kinds of files that are named after no suffix."""


@dataclasses.dataclass
class Survey:
    """Files that `find` skips; complete when its iterator ends."""

    others: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    """Numbers of files that are not recordings and belong to none, by kind: the suffix in lower
    case, `RECORDS`, `SPECIAL` or `NO_SUFFIX`."""
    refused: list[Finding] = dataclasses.field(default_factory=list)
    """Findings about paths that were not opened, for example because they leave the folder."""

    @property
    def num_others(self) -> int:
        """Number of files that are not recordings and belong to none."""
        return self.others.total()

    def refuse(self, path: Path, defect: Defect) -> None:
        """Adds a path that is not opened."""
        self.refused.append(defect.finding(str(path)))


def find(path: Path, survey: Survey | None = None) -> Iterator[Path]:
    """Yields the files of all recordings, each of which `open` accepts.

    Args:
        path: a file, a WFDB record without suffix, a folder, which is searched with its subfolders,
            or a list of WFDB records named `RECORDS`, whose paths are relative to its folder.
        survey: gets the files that are skipped, except those whose names begin with a dot; by
            default they are not recorded.

    Raises:
        UserError: the path does not exist; the message proposes the nearest name.
    """
    survey = Survey() if survey is None else survey
    if path.is_dir():
        yield from _walk(path, path, survey)
    elif path.is_file() and path.name.partition("-")[0] == LIST_NAME:
        yield from _listed(path, survey)
    elif path.is_file() or wfdb_header.find(path.with_name(f"{path.name}.hea")).is_file():
        yield path
    elif files.is_special(path):
        raise UserError(f"{path} is a pipe, a socket or a device; give files or folders.")
    else:
        hint = plugin.did_you_mean(path.name, _names(path.parent))
        raise UserError(f"No file, folder or record found at {path}.{hint}")


def _names(parent: Path) -> list[str]:
    try:
        return os.listdir(parent)
    except OSError:
        return []


def _walk(directory: Path, root: Path, survey: Survey) -> Iterator[Path]:
    try:
        with os.scandir(directory) as entries:
            shown = [entry for entry in entries if not entry.name.startswith(".")]
            folders = {entry.name for entry in shown if _is_folder(entry)}
            special = {entry.name for entry in shown if _is_special(entry)}
            links = {entry.name for entry in shown if entry.is_symlink()}
            names = tuple(sorted(entry.name for entry in shown))
            del shown  # a million entries take more memory than their names
    except OSError as error:
        detail = f"The folder cannot be read: {error.strerror}."
        survey.refuse(directory, Defect("unreadable", detail))
        return
    parts = _parts(directory, tuple(name for name in names if name not in special), survey)
    refused = _refused(directory, root, links, folders)
    # A record whose signal file is such a link, or no file at all, is rejected as well.
    blocked = {os.path.splitext(name)[0]: _leaves_folder(name) for name in refused if name in parts}
    blocked |= {os.path.splitext(name)[0]: _not_a_file(name) for name in special}
    recordings: set[str] = set()
    others: list[Path] = []
    for name in names:
        path = directory / name
        if name in refused:
            survey.refuse(path, refused[name])
        elif name in special and not _has_suffix(path):
            survey.others[SPECIAL] += 1
        elif path.stem in blocked and name not in parts and _has_suffix(path):
            survey.refuse(path, blocked[path.stem])
        elif name in folders:
            yield from _walk(path, root, survey)
        elif name in parts:
            continue
        elif _is_recording(path):
            recordings.add(path.stem)
            yield path
        else:
            others.append(path)
    # Annotation files have the name of their recording and are not counted.
    survey.others.update(_kind(path) for path in others if path.stem not in recordings)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a circle of links
        return False


def _is_special(entry: os.DirEntry[str]) -> bool:
    try:
        # Only what is neither file nor folder takes a further call of the system.
        return not (entry.is_file() or entry.is_dir()) and files.is_special(Path(entry.path))
    except OSError:
        return False


def _has_suffix(path: Path) -> bool:
    """Returns whether a name ends as that of a recording."""
    return bool(path.suffix) and path.suffix.lower() in _registry.suffixes()


def _kind(path: Path) -> str:
    """Returns the kind of a file that is not a recording."""
    suffix = path.suffix.lower()
    if path.name.partition("-")[0] == LIST_NAME:
        return LIST_NAME
    return suffix if suffix and not suffix[1:].isdigit() else NO_SUFFIX


def _parts(directory: Path, names: tuple[str, ...], survey: Survey) -> set[str]:
    """Returns the names of files that belong to the recordings of other files."""
    parts: set[str] = set()
    for file_format in _registry.load().values():
        try:
            with catch_failures(directory.name):
                parts |= file_format.parts(directory, names)
        except Defect as defect:
            survey.refuse(directory, defect)
    return parts


def _refused(directory: Path, root: Path, links: set[str], folders: set[str]) -> dict[str, Defect]:
    """Returns the links that are not followed, with the reason."""
    real_root = os.path.realpath(root) + os.sep
    refused = {}
    for name in links:
        if not f"{os.path.realpath(directory / name)}{os.sep}".startswith(real_root):
            refused[name] = _leaves_folder(name)
        elif name in folders:
            detail = f"{name} is a link to a folder that is searched already; it was skipped."
            refused[name] = Defect("link_to_folder", detail)
    return refused


def _leaves_folder(name: str) -> Defect:
    detail = f"{name}, or its signal file, is a link out of the folder; it was not opened."
    return Defect("path_outside_source", detail)


def _not_a_file(name: str) -> Defect:
    detail = f"{name} is a pipe, a socket or a device; it was not opened."
    return Defect("not_a_file", detail)


def _is_recording(path: Path) -> bool:
    try:
        with catch_failures(path.name):
            return _registry.find_format(path) is not None
    except Defect:  # `open` raises it again
        return True


def _listed(path: Path, survey: Survey) -> Iterator[Path]:
    """Yields the records of a list, and those of the folders that it names, each once.

    The segments of a record that the list names as well belong to that record.
    """
    try:
        lines = path.read_text("utf-8", "surrogateescape").splitlines()
    except OSError as error:
        raise UserError(f"The list {path} cannot be read: {error.strerror}.") from None
    names = [line.strip().rstrip("/") for line in lines if not line.strip().startswith("#")]
    of_folder: dict[str, set[str]] = {}
    for name in names:
        folder, _, stem = name.rpartition("/")
        of_folder.setdefault(folder, set()).add(stem)
    segments: dict[str, set[str]] = {}
    for name in filter(None, dict.fromkeys(names)):
        folder, _, stem = name.rpartition("/")
        try:
            with catch_failures(name):
                record = files.locate(path.parent, name, (".hea", ".dat", ".mat", ""))
                is_folder = record.is_dir()
                if not is_folder and folder not in segments:
                    segments[folder] = _segments(record.parent, of_folder[folder])
        except Defect as defect:
            survey.refuse(path.parent / name, defect)
            continue
        if is_folder:
            yield from _walk(record, path.parent, survey)
        elif stem not in segments[folder]:
            yield wfdb_header.find(record.with_name(f"{record.name}.hea"))


def _segments(folder: Path, stems: set[str]) -> set[str]:
    """Returns those records of a folder that are segments of others of the given ones."""
    if len(stems) == 1 or not folder.is_dir():
        return set()
    names = tuple(sorted(n for n in os.listdir(folder) if os.path.splitext(n)[0] in stems))
    parts = _parts(folder, names, Survey())  # opening the records reports what is wrong
    return {stem for stem, suffix in map(os.path.splitext, parts) if suffix.lower() == ".hea"}
