"""Reads zip archives of recordings; each is named after its path in the archive.

Members are unpacked one at a time, to temporary files that are removed when nobody uses their
recordings any more. A record of WFDB is unpacked with its signal files and segments.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from clef_jax.finding import Defect
from clef_jax.formats import _failures, _registry, _unpacked
from clef_jax.formats._recording import Format, Hints, Opened
from clef_jax.formats._zip_members import Archive, Member
from clef_jax.wfdb import header as wfdb_header, segment

_HEADER = ".hea"
_MAX_TRIED = 200
"""Number of members whose content is inspected to find out whether an archive has recordings; one
with more is taken for such an archive."""


def looks_like(path: Path) -> bool:
    """Returns whether a member of an archive is a recording, or the archive is damaged."""
    with path.open("rb") as stream:
        if stream.read(4) not in (b"PK\3\4", b"PK\5\6"):
            return False
    try:
        with Archive(path) as archive:
            num_tried, scratch = 0, _unpacked.Folder()
            for members in archive.folders().values():
                for member in _candidates(members, _owned(archive, members)):
                    num_tried += 1
                    if num_tried > _MAX_TRIED or _is_recording(archive, member, scratch):
                        return True
    except Defect:
        return True
    return False


def open_zip(path: Path, hints: Hints) -> Iterator[Opened]:
    """Yields the recordings of all members, then raises if some could not be read.

    Raises:
        Defect: the archive is malformed, or members could not be read; the message counts them.
    """
    failures = _failures.Failures(path.name)
    num_read, scratch = 0, _unpacked.Folder()
    with Archive(path) as archive:
        for members in archive.folders().values():
            for member in _candidates(members, _owned(archive, members)):
                with failures.catch(member.path):
                    if not _is_recording(archive, member, scratch):
                        continue
                    for opened in _open(archive, member, members, hints):
                        num_read += 1
                        yield opened
    failures.report(num_read)
    if not num_read:
        raise Defect("empty", f"{path.name} holds no recordings.")


def _candidates(members: dict[str, Member], owned: set[str]) -> list[Member]:
    """Returns the members whose names end as those of recordings, without parts of others."""
    known = _registry.suffixes()
    return [
        member
        for member in members.values()
        if member.suffix in known and member.name not in owned and not _is_plain_link(member)
    ]


def _is_plain_link(member: Member) -> bool:
    """Returns whether a member is a link whose name is not that of a recording."""
    is_link = member.defect is not None and member.defect.problem == "not_a_file"
    return is_link and not member.suffix


def _owned(archive: Archive, members: dict[str, Member]) -> set[str]:
    """Returns the names in a folder that belong to the recordings of other members."""
    headers = [member for member in members.values() if member.suffix == _HEADER]
    folder = _unpacked.Folder()
    for header in headers:
        if header.defect is None:
            try:
                archive.unpack_beginning(header, folder.path)
            except Defect:  # opening the record reports it
                continue
    owned: set[str] = set()
    if headers:
        for file_format in _registry.load().values():
            owned |= file_format.parts(folder.path, tuple(members))
    return owned


def _is_recording(archive: Archive, member: Member, scratch: _unpacked.Folder) -> bool:
    """Returns whether a member is a recording by its beginning.

    Args:
        scratch: an empty folder, which is empty again afterwards.

    Raises:
        Defect: the member must not be unpacked or is damaged.
    """
    if member.is_archive:
        detail = f"{member.path} is an archive in an archive; unpack it first."
        raise Defect("nested_archive", detail)
    beginning = scratch.path / member.name
    try:
        archive.unpack_beginning(member, scratch.path)
        return _registry.find_format(beginning) is not None
    finally:
        with contextlib.suppress(OSError):
            beginning.unlink(missing_ok=True)


def _open(
    archive: Archive, member: Member, members: dict[str, Member], hints: Hints
) -> Iterator[Opened]:
    """Yields the recordings of a member.

    Raises:
        Defect: the member cannot be read.
    """
    folder = _unpacked.Folder()
    file = archive.unpack(member, folder.path)
    if member.suffix == _HEADER:
        _unpack_signals(archive, member, members, folder.path)
    if not file.stat().st_size:
        raise Defect("empty", f"The member {member.path} is empty.")
    file_format = _registry.find_format(file)
    if file_format is None:
        raise Defect("unknown_format", f"{member.path} is not a recording in a known format.")
    for opened in file_format.open(file, hints):
        if opened.num_samples < 1 or not opened.lead_names:
            raise Defect("empty", f"{member.path} holds no samples.")
        part = f"{member.path}#{opened.part}" if opened.part else member.path
        yield _unpacked.kept(opened, folder, part)


def _unpack_signals(
    archive: Archive, header: Member, members: dict[str, Member], folder: Path
) -> None:
    """Writes the segments and signal files that a header of WFDB names to its folder.

    Raises:
        Defect: a header is malformed, or a file must not be unpacked or is damaged.
    """
    unread, unpacked = [header.name], {header.name}
    while unread:
        name = unread.pop()
        names = {f"{own}{_HEADER}" for own in segment.read_names(folder / name)}
        if not names:
            names = {own.file for own in wfdb_header.read(folder / name[: -len(_HEADER)]).signals}
        for own in sorted((names & set(members)) - unpacked):
            archive.unpack(members[own], folder)
            unpacked.add(own)
            unread += [own] if own.endswith(_HEADER) else []


FORMAT = Format(name="zip archive", suffixes=(".zip",), looks_like=looks_like, open=open_zip)
