"""Lists and unpacks the members of a zip archive, of which nothing is believed."""

import dataclasses
import lzma
import posixpath
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from clef_jax.finding import Defect
from clef_jax.formats import _recording, _registry, _unpacked

MAX_MEMBERS = 250_000
_MAX_DIRECTORY_BYTES = 64 << 20
"""Largest accepted list of members, which is in memory."""
_END, _END_64 = struct.Struct("<4s4H2LH"), struct.Struct("<4sQ2H2L4Q")
_END_MAGIC, _LOCATOR_MAGIC, _END_64_MAGIC = b"PK\5\6", b"PK\6\7", b"PK\6\6"
_TAIL_BYTES = (1 << 16) + 256
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2)
_IGNORED = ("__MACOSX", ".DS_Store")
_MALFORMED = (zipfile.BadZipFile, NotImplementedError, EOFError, zlib.error, struct.error)
_MALFORMED += (lzma.LZMAError, ValueError, RuntimeError, OverflowError, LookupError)


@dataclasses.dataclass(frozen=True)
class Member:
    """A file in an archive."""

    info: zipfile.ZipInfo
    folder: str
    """Folder in the archive, empty for the top."""
    name: str
    """Name of the file without its folder."""
    defect: Defect | None
    """Why the member is not unpacked; None if nothing is known against it."""

    @property
    def path(self) -> str:
        return posixpath.join(self.folder, self.name)

    @property
    def suffix(self) -> str:
        return _registry.suffix(Path(self.name))

    @property
    def is_archive(self) -> bool:
        """Whether the member is an archive of several files."""
        return self.suffix == ".zip"


class Archive:
    """An open archive."""

    def __init__(self, path: Path):
        """Opens an archive.

        Raises:
            Defect: the archive is malformed or truncated, or lists too many members.
        """
        self._size = path.stat().st_size
        _check_directory(path, self._size)
        try:
            self._file = zipfile.ZipFile(path)
        except _MALFORMED as error:
            detail = f"{path.name} is not a complete zip archive; copy it again."
            raise Defect("unreadable", detail) from error
        self._total = _unpacked.Budget(path.name, self._size)
        self._name = path.name

    def __enter__(self) -> "Archive":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def folders(self) -> dict[str, dict[str, Member]]:
        """Returns the members of each folder by their names, sorted; hidden ones are left out.

        Raises:
            Defect: the archive has too many members.
        """
        infos = self._file.infolist()
        if len(infos) > MAX_MEMBERS:
            raise _too_many(self._name, len(infos))
        folders: dict[str, dict[str, Member]] = {}
        for info in infos:
            path = info.filename.replace("\\", "/")
            folder, name = posixpath.split(path)
            hidden = any(p.startswith(".") and p.strip(".") for p in path.split("/"))
            if not name or hidden or any(part in _IGNORED for part in path.split("/")):
                continue
            members = folders.setdefault(folder, {})
            defect = _defect(info, path, repeated=name in members)
            members[name] = Member(info, folder, name, defect)
        return {
            folder: dict(sorted(members.items())) for folder, members in sorted(folders.items())
        }

    def unpack(self, member: Member, folder: Path) -> Path:
        """Writes a member to a folder and returns its path there.

        Raises:
            Defect: the member must not be unpacked, is damaged, or becomes too large.
        """
        self._check(member)
        stored = min(member.info.compress_size, self._size)
        _recording.check_size(member.info.file_size, stored, member.path)
        target = folder / member.name
        budget = _unpacked.Budget(member.path, stored, total=self._total)
        _unpacked.write(self._pieces(member), target, budget)
        return target

    def unpack_beginning(self, member: Member, folder: Path) -> Path:
        """Writes the beginning of a member to a folder and returns its path there.

        Raises:
            Defect: the member must not be unpacked, or its beginning is damaged.
        """
        self._check(member)
        target = folder / member.name
        self._total.spend_share(min(member.info.file_size, _unpacked.BEGINNING_BYTES))
        _unpacked.write_beginning(self._pieces(member), target)
        return target

    def _check(self, member: Member) -> None:
        if member.defect is not None:
            raise member.defect

    def _pieces(self, member: Member) -> Iterator[bytes]:
        try:
            with self._file.open(member.info) as stream:
                while piece := stream.read(_unpacked.PIECE_BYTES):
                    yield piece
        except _MALFORMED as error:
            detail = f"{member.path} is damaged in the archive; it cannot be unpacked."
            raise Defect("unreadable", detail) from error
        except OSError as error:
            if error.errno is not None:
                raise
            detail = f"{member.path} is damaged in the archive; it cannot be unpacked."
            raise Defect("unreadable", detail) from error


def _defect(info: zipfile.ZipInfo, path: str, *, repeated: bool) -> Defect | None:
    """Returns why a member must not be unpacked; None if nothing is known against it."""
    parts = path.split("/")
    if ".." in parts or not parts[0] or parts[0].endswith(":"):
        detail = f"The archive names the member {path!r} outside its own folder."
        return Defect("path_outside_source", detail)
    mode = info.external_attr >> 16
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        detail = f"The member {path} is a link or a device; it was not unpacked."
        return Defect("not_a_file", detail)
    if info.flag_bits & 1:
        return Defect("encrypted", f"The member {path} is encrypted; unpack it with its password.")
    if info.compress_type not in _METHODS:
        detail = f"The member {path} is compressed with a method that is not read; unpack it first."
        return Defect("unsupported_compression", detail)
    if repeated:
        return Defect("duplicate_member", f"The archive has several members named {path}.")
    return None


def _too_many(name: str, count: int) -> Defect:
    detail = (
        f"{name} lists {count:,} members, more than the {MAX_MEMBERS:,} that are read from an "
        "archive; unpack it first."
    )
    return Defect("too_large", detail)


def _check_directory(path: Path, size: int) -> None:
    """Checks the size of the list of members before it is read.

    Raises:
        Defect: the list is missing or too large.
    """
    with path.open("rb") as stream:
        stream.seek(max(0, size - _TAIL_BYTES))
        tail = stream.read()
        is_last = tail[-_END.size :].startswith(_END_MAGIC) and tail.endswith(b"\0\0")
        start = len(tail) - _END.size if is_last else tail.rfind(_END_MAGIC)
        if start < 0 or len(tail) - start < _END.size:
            detail = f"{path.name} is not a complete zip archive; copy it again."
            raise Defect("unreadable", detail)
        fields = _END.unpack_from(tail, start)
        count, num_bytes = fields[4], fields[5]
        locator = tail[max(0, start - 20) : start]
        if locator.startswith(_LOCATOR_MAGIC) and len(locator) == 20:
            stream.seek(min(struct.unpack_from("<Q", locator, 8)[0], size))
            end = stream.read(_END_64.size)
            if len(end) == _END_64.size and end.startswith(_END_64_MAGIC):
                count, num_bytes = _END_64.unpack(end)[7:9]
    if count > MAX_MEMBERS or num_bytes > _MAX_DIRECTORY_BYTES:
        raise _too_many(path.name, count)
