"""Reads WFDB records (`.hea` with `.dat` or `.mat`) of one or several segments.

Format: physionet.org/physiotools/wag, header(5) and signal(5).
"""

import bisect
import dataclasses
import functools
import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from clef_jax import leads
from clef_jax.finding import Defect
from clef_jax.formats import _recording, _wfdb_patient
from clef_jax.formats._recording import Format, Hints, Note, Opened
from clef_jax.signal import unit as unit_lib
from clef_jax.wfdb import header as wfdb_header, record as wfdb_record, segment, storage
from clef_jax.wfdb.header import Header, Signal
from clef_jax.wfdb.segment import Record, Segment

DEFAULT_GAIN = 200.0
"""ADC units per physical unit that the format assumes for a signal that states no gain."""
_MAX_VERIFIED_BYTES = 16 << 20
"""Size of the largest signal file whose checksums are verified, which needs all samples."""
_UNNAMED = re.compile(
    r"(?:record\s.*)?(?:(?:ch|chan|channel|sig|signal)?[\s._#-]*\d{1,2})?", re.IGNORECASE
)
"""Names that do not say what a signal is, such as WFDB's default `record 100, signal 0`."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Source:
    """The signal of a segment that holds the samples of a lead."""

    position: int
    """Number of the lead."""
    row: int
    """Number of the signal in the segment."""
    gain_per_mv: float
    baseline: int
    missing: float
    """Stored value of a missing sample."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Part:
    """A segment, or the only part of a record, with its samples of some leads."""

    path: Path
    header: Header
    start: int
    """First sample of the part in the recording."""
    num_samples: int
    sources: tuple[_Source, ...]


def open_record(path: Path, hints: Hints) -> Iterator[Opened]:
    """Yields a recording for each sampling rate of the leads that a header describes.

    Args:
        path: a header, or a signal file that a header in its folder names.
        hints: values for what the header does not state.

    Raises:
        Defect: header or signal file is missing, malformed or truncated, or no signal is an ECG.
    """
    file = path if path.suffix.lower() == ".hea" else wfdb_header.of_signal_file(path)
    if file is None:
        raise Defect("missing_file", f"No header of the folder names {path.name}.")
    record = segment.read(file.with_suffix(""))
    notes = [Note(defect.problem, defect.detail) for defect in record.defects]
    rows, choice_notes = _choose(record.header.signals, hints)
    signals = record.header.signals
    patient = _wfdb_patient.read(file)
    rates = sorted({signals[row].samples_per_frame for row in rows}, reverse=True)
    for per_frame in rates:
        of_rate = [row for row in rows if signals[row].samples_per_frame == per_frame]
        rate = _recording.check_rate(record.header.frame_rate_hz * per_frame, file.name)
        num_samples = (record.header.num_frames or 0) * per_frame
        if record.is_segmented:
            _check_size(4 * num_samples * len(of_rate), file.name)
        own = tuple(signals[row].lead for row in of_rate)
        if hints.lead_names is not None and all(map(_UNNAMED.fullmatch, own)):
            own = None
        names, name_notes = _recording.lead_names(own, hints, len(of_rate))
        parts, part_notes = _parts(record, of_rate, hints)
        checksum_notes = [] if record.is_segmented else _checksum_notes(parts[0])
        yield Opened(
            part=f"{rate:g}Hz" if len(rates) > 1 else "",
            lead_names=names,
            sample_rate_hz=rate,
            num_samples=num_samples,
            unit_known=True,
            read=functools.partial(_read, parts, len(of_rate), num_samples),
            notes=(*notes, *choice_notes, *part_notes, *checksum_notes, *name_notes),
            patient=patient,
        )


def _check_size(num_bytes: int, where: str) -> None:
    """Raises Defect if a header claims more samples, gaps included, than a recording can have."""
    if num_bytes > _recording.MAX_BYTES:
        detail = f"{where} states a length that is implausible for a recording: {num_bytes:,} bytes"
        raise Defect("too_large", f"{detail} with its gaps.")


def _choose(signals: tuple[Signal, ...], hints: Hints) -> tuple[list[int], list[Note]]:
    """Returns the numbers of the signals that are ECG leads, and notes on excluded signals.

    Where no name says that a signal is an ECG, those count whose names say nothing, or those that
    the hints name.

    Raises:
        Defect: no signal is an ECG lead.
    """
    in_volts = [row for row, s in enumerate(signals) if unit_lib.millivolts(s.units) is not None]
    rows = [row for row in in_volts if leads.is_ecg(signals[row].lead)]
    if not rows and hints.lead_names is not None and len(hints.lead_names) == len(in_volts):
        rows = in_volts
    notes = []
    if not rows:
        rows = [row for row in in_volts if _UNNAMED.fullmatch(signals[row].lead)]
        labels = ", ".join(signals[row].lead for row in rows)
        if labels.strip(", "):
            detail = f"The names {labels!r} do not name leads; all were taken for ECG leads."
            notes.append(Note("unnamed_lead", detail))
    if not rows or (notes and len(rows) > _recording.MAX_UNNAMED_LEADS):
        names = ", ".join(signal.lead or "(no name)" for signal in signals)
        raise Defect("no_ecg_lead", f"None of the signals is an ECG lead in volts: {names}.")
    notes += [
        Note(
            "other_signal",
            f"The signal {signal.lead}, in {signal.units}, is not an ECG and was excluded.",
            signal.lead,
        )
        for row, signal in enumerate(signals)
        if row not in rows
    ]
    return rows, notes


def _parts(record: Record, rows: list[int], hints: Hints) -> tuple[list[_Part], list[Note]]:
    """Returns where the samples of leads of one rate are, and notes on what is converted.

    Args:
        record: the record.
        rows: numbers of the leads among the record's signals.
        hints: values for what the header does not state.
    """
    per_frame = record.header.signals[rows[0]].samples_per_frame
    parts: list[_Part] = []
    notes: dict[Note, None] = {}
    for piece in record.segments:
        sources = []
        for position, row in enumerate(rows):
            name, found = record.header.signals[row].lead, segment.find_row(record, piece, row)
            if found is None:
                if not record.is_variable:
                    detail = f"The segment {piece.path.name} has no lead {name}; it is a gap."
                    notes[Note("missing_lead", detail, name)] = None
                continue
            source, source_notes = _source(position, found, piece, name, per_frame, hints)
            notes |= dict.fromkeys(source_notes)
            sources += source
        parts.append(
            _Part(
                path=piece.path,
                header=piece.header,
                start=piece.start_frame * per_frame,
                num_samples=piece.num_frames * per_frame,
                sources=tuple(sources),
            )
        )
    return parts, list(notes)


def _source(
    position: int, row: int, piece: Segment, name: str, per_frame: int, hints: Hints
) -> tuple[list[_Source], list[Note]]:
    """Returns the signal of a segment as the source of a lead; none if rate or unit differ."""
    signal = piece.header.signals[row]
    factor = unit_lib.millivolts(signal.units)
    if factor is None or signal.samples_per_frame != per_frame:
        detail = f"Lead {name} of the segment {piece.path.name} is a gap: the segment states "
        if factor is None:
            return [], [Note("wrong_units", f"{detail}the unit {signal.units}.", name)]
        return [], [Note("wrong_rate", f"{detail}another sampling rate.", name)]
    notes = []
    gain = signal.gain / factor
    if not signal.gain and hints.gain_per_mv is not None:
        gain, factor = hints.gain_per_mv, 1.0
    elif not signal.gain:
        gain = DEFAULT_GAIN / factor
        detail = (
            f"Lead {name} states no gain; the default of the format was used, {DEFAULT_GAIN:g} ADC "
            f"units per {signal.units}."
        )
        notes.append(Note("default_gain", detail, name))
    if factor != 1:
        detail = f"Lead {name} was converted from {signal.units} to mV."
        notes.append(Note("units_converted", detail, name))
    missing = storage.missing_value(signal.format)
    source = _Source(
        position=position, row=row, gain_per_mv=gain, baseline=signal.baseline, missing=missing
    )
    return [source], notes


def _checksum_notes(part: _Part) -> list[Note]:
    """Returns a note for each lead whose samples contradict its checksum."""
    size = 2 * part.num_samples * len(part.header.signals)
    if size > _MAX_VERIFIED_BYTES or not wfdb_record.has_checksums(part.header):
        return []
    rows = [source.row for source in part.sources]
    samples = wfdb_record.read_samples(part.path, part.header, rows, 0, part.num_samples)
    names = wfdb_record.find_bad_checksums(part.header, rows, samples)
    detail = "The samples of lead {} contradict the checksum in the header."
    return [Note("checksum_mismatch", detail.format(name), name) for name in names]


def _read(
    parts: list[_Part], num_leads: int, length: int, start: int, num_samples: int
) -> np.ndarray:
    """Returns a window in millivolts, float32 [num_leads, num_samples], NaN in gaps."""
    _recording.check_window(start, num_samples, length)
    window = np.full((num_leads, num_samples), np.nan, np.float32)
    first = max(bisect.bisect_right(parts, start, key=lambda part: part.start) - 1, 0)
    for part in parts[first:]:
        begin = max(start, part.start)
        end = min(start + num_samples, part.start + part.num_samples)
        if part.start >= start + num_samples:
            break
        if not part.sources or begin >= end:
            continue
        rows = [source.row for source in part.sources]
        samples = wfdb_record.read_samples(
            part.path, part.header, rows, begin - part.start, end - begin
        )
        positions = [source.position for source in part.sources]
        columns = slice(begin - start, end - start)
        window[positions, columns] = _to_millivolts(samples, part.sources)
    return window


def _to_millivolts(samples: np.ndarray, sources: tuple[_Source, ...]) -> np.ndarray:
    gain_per_mv, baseline, missing = (
        np.array(values, np.float64)[:, None]
        for values in zip(*((s.gain_per_mv, s.baseline, s.missing) for s in sources), strict=True)
    )
    with np.errstate(over="ignore", invalid="ignore"):
        millivolts = (samples - baseline) / gain_per_mv
    return _recording.as_float32(np.where(samples == missing, np.nan, millivolts))


def is_recording(path: Path) -> bool:
    """Returns whether a file is a header, or a signal file that a header in its folder names."""
    return path.suffix.lower() == ".hea" or wfdb_header.of_signal_file(path) is not None


def parts(folder: Path, names: tuple[str, ...]) -> set[str]:
    """Returns the signal files of a folder's headers, and the headers of segments of records.

    Only those headers are read that may list segments or name other signal files: without a signal
    file of their own name or with one that another header names, or with a name that is the
    beginning of another header's name.
    """
    known, by_lower_case = set(names), {name.lower(): name for name in names}
    stems = sorted(name[:-4] for name in names if name.lower().endswith(".hea"))
    is_header = set(stems)
    is_signals = (".dat", ".mat")
    owned = {n for n in names if n[-4:].lower() in is_signals and n[:-4] in is_header}
    with_signals = {name[:-4] for name in owned}
    pairs = itertools.pairwise([*stems, ""])
    unread = {s for s, following in pairs if s not in with_signals or following.startswith(s)}
    read: set[str] = set()
    while unread:
        stem = unread.pop()
        read.add(stem)
        try:
            segments = segment.read_names(wfdb_header.find(folder / f"{stem}.hea"))
            stated = {f"{name}.hea" for name in segments}
            if not segments:
                stated = {signal.file for signal in wfdb_header.read(folder / stem).signals}
        except Defect:  # opening the record reports it
            continue
        files = {name if name in known else by_lower_case.get(name.lower(), "") for name in stated}
        owned |= files
        if segments:
            continue
        unread |= ({Path(file).stem for file in files} & is_header) - read
    return owned & known


FORMAT = Format(
    name="WFDB",
    suffixes=(".hea", ".dat", ".mat"),
    looks_like=is_recording,
    open=open_record,
    parts=parts,
)
