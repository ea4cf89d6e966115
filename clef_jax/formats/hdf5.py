"""Reads HDF5 files: stacks of recordings with a table of ids and rates, such as CODE-15 %, a data
set for each recording, or a data set for each lead. Samples stay on disk.

h5py reads them, as nothing else reads all variants of the format; `_hdf5_file` keeps it in bounds.
"""

import dataclasses
import functools
import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from clef_jax import leads
from clef_jax.errors import counted
from clef_jax.finding import Defect
from clef_jax.formats import (
    _array,
    _code_layout,
    _hdf5_file,
    _hdf5_metadata,
    _hdf5_scale,
    _recording,
)
from clef_jax.formats._hdf5_file import Array, Group
from clef_jax.formats._hdf5_metadata import Scope
from clef_jax.formats._recording import Format, Hints, Note, Opened, Patient

_MIN_PADDING = 16
"""Smallest number of zeros in all leads, at an end of a recording of a stack, that are padding."""
_MAX_BLOCK = 9
"""Number of positions at which the signature may be: 0, 512, 1024 and so on."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class _Signal:
    """Arrays that hold a recording, or a stack of recordings."""

    nodes: tuple[Any, ...]
    """The array, or one of a single dimension for each lead."""
    where: str
    is_stack: bool
    time_last: bool
    num_leads: int
    num_samples: int
    verified: set[Any] = dataclasses.field(default_factory=set)
    """Compressed chunks whose size was verified."""

    def read(self, row: int, start: int, stop: int) -> np.ndarray:
        """Returns stored numbers [L, stop - start] of a recording."""
        window = slice(start, stop)
        node = self.nodes[0]
        if node.ndim == 1:
            return np.stack([self._read(node, window) for node in self.nodes])
        first = (row,) if self.is_stack else ()
        if node.ndim - len(first) == 1:
            return self._read(node, *first, window)[None, :]
        every = slice(0, self.num_leads)
        block = (every, window) if self.time_last else (window, every)
        values = self._read(node, *first, *block)
        return values if self.time_last else values.T

    def _read(self, node: Any, *selection: Any) -> np.ndarray:
        return _hdf5_file.read(node, selection, self.where, self.verified)


def looks_like(path: Path) -> bool:
    """Returns whether a file has the signature of HDF5, which may follow a block of other data."""
    with path.open("rb") as stream:
        for number in range(_MAX_BLOCK):
            stream.seek(256 << number if number else 0)
            if stream.read(len(_hdf5_file.SIGNATURE)) == _hdf5_file.SIGNATURE:
                return True
    return False


def open_hdf5(path: Path, hints: Hints) -> Iterator[Opened]:
    """Yields the recordings of all groups of a file.

    Raises:
        Defect: the file is malformed, truncated or holds no signal, or refers to other files. If
            this concerns a part of the file, all other recordings are yielded before.
        UserError: h5py is not installed.
    """
    file = _hdf5_file.open_file(path)
    refused: list[Defect] = []
    file_bytes, num_opened = path.stat().st_size, 0
    # Arrays of any name are signals only if no array of the file has the name of one.
    only_named = any(_choose(g, only_named=True) for g in _hdf5_file.groups(file, path.name, []))
    for group in _hdf5_file.groups(file, path.name, refused):
        signals = _choose(group, only_named=only_named)
        for arrays in signals:
            part = group.path
            if len(signals) > 1:
                part = f"{part}/{arrays[0].name}".lstrip("/")
            try:
                for opened in _open(group, arrays, part, path.name, file_bytes, hints):
                    num_opened += 1
                    yield opened
            except Defect as defect:
                refused.append(defect)
    if refused:
        raise refused[0]
    if not num_opened:
        raise Defect("no_ecg_lead", f"{path.name} holds no array that can be a signal.")


def _choose(group: Group, *, only_named: bool) -> list[list[Array]]:
    """Returns the arrays of a group that are signals, and together those of single leads.

    Args:
        group: the group.
        only_named: whether only arrays count that have the name of a signal or a lead.
    """
    if group.is_table:
        return []
    usable = [
        array
        for name, array in group.arrays.items()
        if name not in _hdf5_metadata.NOT_SIGNALS
        and not array.is_field
        and (array.is_number or name in _array.SIGNAL_NAMES)
        and (not array.is_number or math.prod(array.shape) > 1)
        and not leads.is_other_signal(name)
    ]
    single = [a for a in usable if len(a.shape) == 1 and leads.is_standard(a.name)]
    if len(single) > 1 or (single and single[0].name.lower() not in _array.SIGNAL_NAMES):
        return [single]
    named = [array for array in usable if array.name.lower() in _array.SIGNAL_NAMES]
    if named or only_named:
        return [[array] for array in named]
    return [[array] for array in usable if 1 <= len(array.shape) <= 3]


def _open(
    group: Group, arrays: list[Array], part: str, file_name: str, file_bytes: int, hints: Hints
) -> Iterator[Opened]:
    """Yields the recordings of an array, or the one of arrays of single leads."""
    where = f"{file_name}: {f'{group.path}/{arrays[0].node}'.lstrip('/')}"
    nodes = []
    for array in arrays:
        if array.dtype.kind not in "iuf":
            raise Defect("unreadable", f"{where} is not a signal: it holds {array.dtype}.")
        _array.check_kind(array.dtype, array.shape, where)
        with _hdf5_file.catch(where):
            nodes.append(group.node[array.node])
        _hdf5_file.check(nodes[-1], where, file_bytes)
    lengths = sorted({len(node) for node in nodes})
    if len(nodes) > 1 and len(lengths) > 1:
        detail = f"{where} has leads of {lengths[0]} and of {lengths[-1]} samples."
        raise Defect("wrong_length", detail)
    scope = Scope(
        group=group,
        node=nodes[0] if len(nodes) == 1 else None,
        where=where,
        file_bytes=file_bytes,
        lead_nodes=tuple(nodes) if len(nodes) > 1 else (),
    )
    convention = _code_layout.detect(group, arrays[0].name, nodes[0], where)
    ids = _ids(scope, nodes[0])
    is_single = len(arrays[0].shape) == (1 if ids is None else 2)
    if len(nodes) > 1 or (is_single and _names_lead(arrays[0])):
        own: tuple[str, ...] | None = tuple(array.name for array in arrays)
    else:
        shape = nodes[0].shape[-2:] if nodes[0].ndim > 1 else (1,)
        shape = (*shape, 1) if nodes[0].ndim == 2 else shape  # a stack of single leads
        own = _hdf5_metadata.lead_names(scope.find(_hdf5_metadata.LEADS), shape)
    if own is None and convention is not None and hints.lead_names is None:
        own = _code_layout.LEAD_NAMES
    signal = _arrange(tuple(nodes), ids, own, where, hints)
    if own is None and signal.num_leads == 1 and _names_lead(arrays[0]):
        own = (arrays[0].name,)
    notes = convention or ()
    yield from _recordings(signal, scope, own, ids, part, hints, notes, convention is not None)


def _names_lead(array: Array) -> bool:
    """Returns whether an array has the name of a lead; `x` is rather any input of a network."""
    return leads.is_standard(array.name) and array.name.lower() not in _array.SIGNAL_NAMES


def _ids(scope: Scope, node: Any) -> list[str] | None:
    """Returns the id of each recording of a stack; None if the file states none."""
    if node.ndim == 1:
        return None
    values = scope.find(_hdf5_metadata.IDS, own=True)
    if values is None:
        above = scope.find(_hdf5_metadata.IDS)
        values = above if above is not None and above.size == len(node) else None
    if values is None or values.dtype.kind not in "iuSUO":
        return None
    return _hdf5_metadata.texts(values) if values.size == len(node) or node.ndim == 3 else None


def _arrange(
    nodes: tuple[Any, ...],
    ids: list[str] | None,
    names: tuple[str, ...] | None,
    where: str,
    hints: Hints,
) -> _Signal:
    """Returns which axes of an array are recordings, leads and time."""
    shape = nodes[0].shape
    if len(nodes) > 1 or len(shape) == 1:
        shape, is_stack, time_last = (len(nodes), shape[0]), False, True
    else:
        # A table of ids beside [N, T] means N recordings of one lead.
        are_leads = names is not None and len(names) in shape[:1] and len(names) > 1
        is_single = len(shape) == 2 and ids is not None and not are_leads and shape[0] != shape[1]
        is_stack = len(shape) == 3 or is_single
        if len(shape) == 3 and ids is not None and len(ids) not in (1, shape[0]):
            detail = (
                f"{where} holds {counted(shape[0], 'recording')}, but {len(ids)} ids stand beside "
                "it."
            )
            raise Defect("wrong_length", detail)
        axes = (1, shape[1]) if is_single else shape[-2:]
        metadata = _array.Metadata(where=where, lead_names=None if is_single else names)
        time_last = _array.time_is_last((axes[0], axes[1]), hints, metadata)
        shape = axes if time_last else axes[::-1]
    if shape[0] > _recording.MAX_LEADS:
        raise Defect("lead_count", f"{where} is not an ECG: it has {counted(shape[0], 'lead')}.")
    return _Signal(
        nodes=nodes,
        where=where,
        is_stack=is_stack,
        time_last=time_last,
        num_leads=shape[0],
        num_samples=shape[1],
    )


def _recordings(
    signal: _Signal,
    scope: Scope,
    own: tuple[str, ...] | None,
    ids: list[str] | None,
    part: str,
    hints: Hints,
    notes: tuple[Note, ...],
    is_convention: bool,
) -> Iterator[Opened]:
    count = len(signal.nodes[0]) if signal.is_stack else 1
    num_bytes = signal.num_leads * signal.num_samples * signal.nodes[0].dtype.itemsize
    _recording.check_size(num_bytes, num_bytes, signal.where)
    names, name_notes = _recording.lead_names(own, hints, signal.num_leads)
    rates = _rates(scope, count, hints, is_convention)
    shape = count, signal.num_leads
    scale = _hdf5_scale.find(scope, hints, shape, is_convention=is_convention)
    patients = _hdf5_metadata.patient(scope, count)
    ids = ids if ids is not None and len(ids) == count else None
    repeated = Counter(ids or ())
    for row in range(count):
        label, id_notes = part, ()
        if signal.is_stack:
            label = ids[row] if ids is not None and ids[row] else str(row)
            if repeated[label] > 1:
                detail = f"The id of recording {row} occurs {repeated[label]} times in the file."
                id_notes = (Note("duplicate_id", detail),)
                label = f"{label}/{row}"
            label = f"{part}/{label}".lstrip("/")
        yield Opened(
            part=label,
            lead_names=names,
            sample_rate_hz=rates[row if len(rates) > 1 else 0],
            num_samples=signal.num_samples,
            unit_known=scale.known,
            read=functools.partial(_read_window, signal, scale, row),
            notes=(*notes, *id_notes, *name_notes, *_recording.unit_notes(scale.known)),
            patient=patients if isinstance(patients, Patient) else patients[row],
        )


def _rates(scope: Scope, count: int, hints: Hints, is_convention: bool) -> list[float]:
    """Returns the rate of all recordings, or of each.

    Raises:
        Defect: a rate is missing or invalid, or their number is not that of the recordings.
    """
    values = scope.find(_hdf5_metadata.RATE)
    stated = [] if values is None else np.ravel(values).tolist()
    rates = [_hdf5_metadata.number(value) for value in stated]
    if not rates:
        default = _code_layout.RATE_HZ if is_convention else None
        rates = [hints.sample_rate_hz or default]
    if len(rates) not in (1, count):
        detail = (
            f"{scope.where} holds {counted(count, 'recording')}, but {len(rates)} rates stand "
            "beside it."
        )
        raise Defect("wrong_length", detail)
    return [_recording.check_rate(rate, scope.where) for rate in rates]


def _read_window(
    signal: _Signal, scale: _hdf5_scale.Scale, row: int, start: int, num_samples: int
) -> np.ndarray:
    _recording.check_window(start, num_samples, signal.num_samples)
    num_bytes = signal.num_leads * signal.num_samples * signal.nodes[0].dtype.itemsize
    if not signal.is_stack or num_bytes > _recording.SMALL_BYTES:
        stored = signal.read(row, start, start + num_samples)
        return scale.millivolts(stored, row)
    stored = signal.read(row, 0, signal.num_samples)
    millivolts = scale.millivolts(stored, row)
    filled = np.flatnonzero((stored != 0).any(axis=0))
    first, stop = (filled[0], filled[-1] + 1) if len(filled) else (signal.num_samples, 0)
    if first >= _MIN_PADDING:
        millivolts[:, :first] = np.nan
    if signal.num_samples - stop >= _MIN_PADDING:
        millivolts[:, stop:] = np.nan
    return np.ascontiguousarray(millivolts[:, start : start + num_samples])


FORMAT = Format(
    name="HDF5",
    suffixes=(".h5", ".hdf5", ".hdf", ".hd5"),
    extra="formats",
    looks_like=looks_like,
    open=open_hdf5,
)
