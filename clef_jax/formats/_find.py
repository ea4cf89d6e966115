"""Finds the recordings of a folder, one folder in memory at a time, in the order of their names."""

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path

from clef_jax import files, plugin
from clef_jax.errors import UserError
from clef_jax.finding import Defect, Finding
from clef_jax.formats import _registry

LIST_NAME = "RECORDS"
"""How WFDB calls a list of records; there may be an ending after a `-`."""


@dataclasses.dataclass
class Survey:
    """What `find` passes by on its way; complete when it ends."""

    num_others: int = 0
    """Files that are no recordings and belong to none."""
    refused: list[Finding] = dataclasses.field(default_factory=list)
    """Paths that were not opened because they leave the folder or lead in a circle."""

    def refuse(self, path: Path, defect: Defect) -> None:
        self.refused.append(defect.finding(str(path)))


def find(path: Path, survey: Survey | None = None) -> Iterator[Path]:
    """The files of all recordings, each of which `open` takes.

    Args:
        path: a file, a WFDB record without suffix, a folder, which is searched with its folders, or
            a list of WFDB records called `RECORDS`, whose paths are relative to it.
        survey: is told what is passed by. Names that begin with a dot are passed by in silence.

    Raises:
        UserError: the path does not exist; the message proposes the nearest name.
    """
    survey = Survey() if survey is None else survey
    if path.is_dir():
        yield from _walk(path, path, survey)
    elif path.is_file() and path.name.partition("-")[0] == LIST_NAME:
        yield from _listed(path, survey)
    elif path.is_file() or path.with_name(f"{path.name}.hea").is_file():
        yield path
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
            folders = {entry.name for entry in shown if entry.is_dir()}
            links = {entry.name for entry in shown if entry.is_symlink()}
            names = tuple(sorted(entry.name for entry in shown))
            del shown  # a million of these is more than their names
    except OSError as error:
        detail = f"The folder cannot be read: {error.strerror}."
        survey.refuse(directory, Defect("unreadable", detail))
        return
    parts = set().union(*(form.parts(directory, names) for form in _registry.load().values()))
    refused = _refused(directory, root, links, folders)
    # A record whose signal file is such a link is refused as well.
    stems = {os.path.splitext(name)[0] for name in refused if name in parts}
    recordings, others = set(), []
    for name in names:
        path = directory / name
        if name in refused or (path.stem in stems and name not in parts):
            survey.refuse(path, refused.get(name) or _leaves_folder(name))
        elif name in folders:
            yield from _walk(path, root, survey)
        elif name in parts:
            continue
        elif _is_recording(path):
            recordings.add(path.stem)
            yield path
        else:
            others.append(path.stem)
    # Annotations and the like have the name of the recording that they are about.
    survey.num_others += sum(stem not in recordings for stem in others)


def _refused(directory: Path, root: Path, links: set[str], folders: set[str]) -> dict[str, Defect]:
    """Why some links are not followed."""
    real_root = os.path.realpath(root) + os.sep
    refused = {}
    for name in links:
        if not f"{os.path.realpath(directory / name)}{os.sep}".startswith(real_root):
            refused[name] = _leaves_folder(name)
        elif name in folders:
            detail = f"{name} is a link to a folder that is searched already; it was passed by."
            refused[name] = Defect("link_to_folder", detail)
    return refused


def _leaves_folder(name: str) -> Defect:
    detail = f"{name}, or its signal file, is a link out of the folder; it was not opened."
    return Defect("path_outside_source", detail)


def _is_recording(path: Path) -> bool:
    try:
        return _registry.find_format(path) is not None
    except OSError:  # `open` will say why
        return True


def _listed(path: Path, survey: Survey) -> Iterator[Path]:
    """The records of a list, and those of the folders in it."""
    with path.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            name = line.strip()
            if not name or name.startswith("#"):
                continue
            try:
                record = files.locate(path.parent, name.rstrip("/"), (".hea", ".dat", ".mat", ""))
            except Defect as defect:
                survey.refuse(path.parent / name, defect)
                continue
            if record.is_dir():
                yield from _walk(record, path.parent, survey)
            else:
                yield record.with_name(f"{record.name}.hea")
