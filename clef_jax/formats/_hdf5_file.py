"""Opens HDF5 files with h5py, lists what they hold, and checks what they claim before it is read.

Nothing outside the file is opened: no link is followed, and samples that a file keeps elsewhere are
refused. libhdf5 inflates a compressed chunk to whatever size it has, so suspicious chunks are
inflated here first, up to the size that the file states.
"""

import contextlib
import dataclasses
import functools
import itertools
import math
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from clef_jax.finding import Defect
from clef_jax.formats import _recording

SIGNATURE = b"\x89HDF\r\n\x1a\n"
_MAX_CHUNK_BYTES = 256 << 20
"""Largest accepted size of a chunk, which libhdf5 reads as a whole."""
_CACHE_BYTES, _CACHE_SLOTS = 128 << 20, 20_011
"""Size of the cache of chunks, in bytes and in slots, of which HDF5 wants a prime number. A chunk
of a stack may hold a few samples of hundreds of recordings, which are read in turn."""
_MAX_METADATA_BYTES = 64 << 20
"""Largest accepted size of a column of metadata, such as the ids of all recordings."""
_MAX_OBJECTS = 1_000_000
"""Largest accepted number of groups and data sets in a group."""
_MAX_DEPTH = 16
_DEFLATE = 1
_MAX_DEFLATE_RATIO = 1032
_TABLES = {"table", "tables", "meta", "metadata", "meta_data", "info", "header", "headers"}
_FILTERS = {_DEFLATE, 2, 3, 4, 5, 6, 32000}
"""Accepted filters: deflate, shuffle, Fletcher-32, szip, N-bit, scale-offset and LZF."""
_ERRORS = (OSError, RuntimeError, ValueError, TypeError, KeyError, AttributeError, IndexError)
_ERRORS += (OverflowError, NotImplementedError, SystemError)
"""Exceptions that h5py raises for malformed files."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Array:
    """A data set of a group, or a field of a table, which is not open."""

    name: str
    """Name of the data set, or of the field."""
    node: str
    """Name of the data set."""
    dtype: np.dtype
    shape: tuple[int, ...]

    @property
    def is_number(self) -> bool:
        return self.dtype.kind in "iuf"

    @property
    def is_field(self) -> bool:
        return self.name != self.node


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Group:
    """A group of a file."""

    path: str
    """Names of the groups down to this one, joined by `/`; empty for the root."""
    node: Any
    """The group of h5py."""
    arrays: dict[str, Array]
    """Data sets and fields by name in lower case."""
    parent: "Group | None"
    tables: "list[Group]"
    """Groups in this one that hold columns of metadata by their names, such as `metadata`."""

    @functools.cached_property
    def attributes(self) -> dict[str, str]:
        """Names of the group's attributes by names in lower case."""
        return attribute_names(self.node)

    @property
    def is_table(self) -> bool:
        return self.path.rpartition("/")[2].lower() in _TABLES


@contextlib.contextmanager
def catch(where: str) -> Iterator[None]:
    """Turns the errors of h5py into a `Defect` that names the file."""
    try:
        yield
    except _ERRORS as error:
        detail = f"{where} is malformed or truncated ({type(error).__name__})."
        raise Defect("unreadable", detail) from None


def open_file(path: Path) -> Any:
    """Returns the open file, which h5py closes when no data set of it is used any more.

    Raises:
        Defect: the file is malformed or truncated.
        UserError: h5py is not installed.
    """
    h5py = _recording.optional("h5py", "Reading HDF5")
    with catch(path.name):
        # The file is only read; locks fail on some network file systems.
        cache = {"rdcc_nbytes": _CACHE_BYTES, "rdcc_nslots": _CACHE_SLOTS}
        return h5py.File(path, "r", locking=False, **cache)


def groups(file: Any, where: str, refused: list[Defect]) -> Iterator[Group]:
    """Yields all groups of a file, parents first, each once.

    Args:
        file: the open file.
        where: the file's name.
        refused: gets a defect for each link that leaves the file.
    """
    seen: set[tuple[int, int]] = set()
    root = Group(path="", node=file, arrays={}, parent=None, tables=[])
    waiting = [iter([root])]
    while waiting:
        group = next(waiting[-1], None)
        if group is None:
            waiting.pop()
            continue
        address = _address(group.node, where)
        if address in seen or len(waiting) > _MAX_DEPTH:
            continue
        seen.add(address)
        names = _list(group, where, refused)
        for table in _children(group, [name for name in names if name.lower() in _TABLES], where):
            _list(table, where, [])
            group.tables.append(table)
        yield group
        waiting.append(_children(group, names, where))


def _address(node: Any, where: str) -> tuple[int, int]:
    h5py = _recording.optional("h5py", "Reading HDF5")
    with catch(where):
        information = h5py.h5o.get_info(node.id)
        return information.fileno, information.addr


def _list(group: Group, where: str, refused: list[Defect]) -> list[str]:
    """Fills the arrays of a group, and returns the names of the groups in it."""
    h5py = _recording.optional("h5py", "Reading HDF5")
    names = []
    with catch(where):
        if len(group.node) > _MAX_OBJECTS:
            raise Defect("too_large", f"A group of {where} holds more than a million objects.")
        for name in group.node:
            link = group.node.get(name, getlink=True)
            if isinstance(link, h5py.ExternalLink):
                detail = f"{name} in {where} is a link to another file; it was not followed."
                refused.append(Defect("path_outside_source", detail))
            elif isinstance(link, h5py.HardLink):  # other links lead to what is visited anyway
                kind = group.node.get(name, getclass=True)
                if kind is h5py.Group:
                    names.append(name)
                elif kind is h5py.Dataset:
                    group.arrays.update((a.name.lower(), a) for a in _describe(group, name))
    return names


def _describe(group: Group, name: str) -> Iterator[Array]:
    """Yields a data set, or the fields of a table; nothing if it has no type that NumPy knows."""
    try:
        node = group.node[name]
        dtype, shape = node.dtype, node.shape
    except _ERRORS:  # a type that NumPy lacks, or a damaged description
        return
    if shape is None:
        return
    yield Array(name=name, node=name, dtype=dtype, shape=shape)
    for field in dtype.names or ():
        if not dtype[field].shape and field != name:
            yield Array(name=field, node=name, dtype=dtype[field], shape=shape)


def _children(group: Group, names: list[str], where: str) -> Iterator[Group]:
    for name in names:
        path = f"{group.path}/{name}".lstrip("/")
        with catch(where):
            node = group.node[name]
        yield Group(path=path, node=node, arrays={}, parent=group, tables=[])


def check(node: Any, where: str, file_bytes: int) -> None:
    """Checks what a data set claims.

    Args:
        node: the data set.
        where: its name in messages.
        file_bytes: size of the file.

    Raises:
        Defect: its samples are in another file, have a filter that is not read, are not in the
            file or would be implausibly large.
    """
    with catch(where):
        if node.is_virtual or node.external:
            detail = f"{where} keeps its samples in other files, which are not opened."
            raise Defect("path_outside_source", detail)
        _check_filters(node, where)
        num_bytes = math.prod(node.shape) * node.dtype.itemsize
        stored = node.id.get_storage_size()
        if num_bytes and not stored:
            raise Defect("empty", f"{where} states a shape, but no samples were written.")
        if stored > file_bytes:
            detail = f"{where} is truncated: the file has {file_bytes} of its {stored} bytes."
            raise Defect("truncated", detail)
        chunk_bytes = math.prod(node.chunks or ()) * node.dtype.itemsize
        if node.chunks and chunk_bytes > _MAX_CHUNK_BYTES:
            raise Defect("too_large", f"{where} has chunks of {chunk_bytes:,} bytes.")
        is_bomb = num_bytes > _recording.MAX_RATIO * stored
        if num_bytes > _recording.SMALL_BYTES and is_bomb:
            detail = f"{where} was not read: its {stored:,} bytes would become {num_bytes:,}."
            raise Defect("too_large", detail)


def _check_filters(node: Any, where: str) -> None:
    h5py = _recording.optional("h5py", "Reading HDF5")
    properties = node.id.get_create_plist()
    for number in range(properties.get_nfilters()):
        code, _, _, label = properties.get_filter(number)
        if code not in _FILTERS or not h5py.h5z.filter_avail(code):
            name = label.decode("ascii", "replace").strip("\0 ")[:80] or "without a name"
            detail = f"{where} is compressed by the filter {code} ({name}), which is not read."
            raise Defect("unreadable", detail)


def read(
    node: Any, selection: tuple[Any, ...], where: str, verified: set[Any] | None = None
) -> np.ndarray:
    """Returns a part of a data set that was checked.

    Args:
        node: the data set.
        selection: slices and indices, one for each axis.
        where: its name in messages.
        verified: chunks that need not be inflated again to verify their size; gets further ones.

    Raises:
        Defect: it is malformed or truncated, or inflates to more than the file states.
    """
    with catch(where):
        if node.chunks and node.compression == "gzip":
            _check_chunks(node, selection, where, set() if verified is None else verified)
        return np.asarray(node[selection])


def _check_chunks(node: Any, selection: tuple[Any, ...], where: str, verified: set[Any]) -> None:
    """Inflates the chunks of a selection that could exceed the size that the file states."""
    limit = math.prod(node.chunks) * node.dtype.itemsize + 64
    axes = []
    for item, length, chunk in zip(selection, node.shape, node.chunks, strict=True):
        first, stop = (item.start, item.stop) if isinstance(item, slice) else (item, item + 1)
        axes.append(range(first // chunk * chunk, min(stop, length), chunk))
    for offset in itertools.product(*axes):
        if (node.name, offset) in verified:
            continue
        chunk = node.id.get_chunk_info_by_coord(offset)
        may_exceed = chunk.size * _MAX_DEFLATE_RATIO >= max(_recording.SMALL_BYTES, limit)
        if may_exceed and _inflates_beyond(node.id.read_direct_chunk(offset)[1], limit):
            detail = f"{where} has a chunk that inflates to more than the {limit:,} bytes stated."
            raise Defect("too_large", detail)
        verified.add((node.name, offset))


def _inflates_beyond(data: bytes, limit: int) -> bool:
    """Returns whether deflated data has more than `limit` bytes when it is inflated."""
    inflater = zlib.decompressobj()
    try:
        inflater.decompress(data, limit)
    except zlib.error:
        return False  # not deflated at all, or damaged, which reading it reports
    return bool(inflater.unconsumed_tail)


def column(group: Group, array: Array, where: str, file_bytes: int) -> np.ndarray:
    """Returns a column of metadata: numbers, or texts as objects.

    Raises:
        Defect: it is too large, malformed or in another file.
    """
    where = f"{where}: {array.node}"
    with catch(where):
        node = group.node[array.node]
    check(node, where, file_bytes)
    if math.prod(array.shape) * node.dtype.itemsize > _MAX_METADATA_BYTES:
        raise Defect("too_large", f"{where} is too large for a column of metadata.")
    selection = tuple(slice(0, length) for length in array.shape)
    values = read(node, selection, where)
    return values[array.name] if array.is_field else values


def attribute_names(node: Any) -> dict[str, str]:
    """Returns the names of the attributes of a group or data set by names in lower case."""
    return {name.lower(): name for name in node.attrs}


def attribute(node: Any, name: str, where: str) -> np.ndarray | None:
    """Returns an attribute as an array; None if it is empty or too large.

    Raises:
        Defect: it is malformed.
    """
    with catch(where):
        if node.attrs.get_id(name).get_storage_size() > _MAX_METADATA_BYTES:
            return None
        value = np.asarray(node.attrs[name])
    return value if value.size else None
