"""EDF, EDF+ and BDF files, through edfio. Samples of EDF stay on disk, those of BDF do not.

Format: Kemp et al. 1992 and 2003 (edfplus.info), and BioSemi's with 24 bits.
"""

import functools
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from clef_jax import leads
from clef_jax.finding import Defect
from clef_jax.formats import _recording
from clef_jax.formats._recording import Format, Hints, Note, Opened
from clef_jax.signal import unit as unit_lib

_MAGIC = {".edf": b"0       ", ".bdf": b"\xffBIOSEMI"}
_NUM_RECORDS = slice(236, 244)
"""Where the header has the number of its data records; -1 while it is being recorded."""
_MAX_BDF_BYTES = 2 << 30
# What edfio throws at malformed headers; the last if the duration of a data record is 0.
_ERRORS = (ValueError, KeyError, IndexError, TypeError, ZeroDivisionError, OverflowError)
_ERRORS += (UnboundLocalError,)


def open_edf(path: Path, hints: Hints) -> Iterator[Opened]:
    """The ECG signals of a file, one recording for each of their rates.

    Raises:
        Defect: it is malformed, truncated or has gaps, or no signal is an ECG in volts.
        UserError: edfio is not installed.
    """
    file = _read(path)
    chosen, notes = _choose(file.signals, path.name)
    rates = sorted({signal.sampling_frequency for signal in chosen}, reverse=True)
    for rate in rates:
        signals = [signal for signal in chosen if signal.sampling_frequency == rate]
        own = tuple(signal.label for signal in signals)
        names, more = _recording.names_of(own, hints, len(signals))
        num_samples = file.num_data_records * signals[0].samples_per_data_record
        yield Opened(
            part=f"{rate:g}Hz" if len(rates) > 1 else "",
            lead_names=names,
            sample_rate_hz=_recording.check_rate(rate, path.name),
            num_samples=num_samples,
            unit_known=True,
            read=functools.partial(_read_window, signals, num_samples),
            notes=(*notes, *more),
        )


def _read(path: Path) -> Any:
    """The file as edfio has it.

    Raises:
        Defect: it is no such file, or shorter than its header says.
    """
    edfio = _recording.optional("edfio", "Reading EDF and BDF")
    suffix = path.suffix.lower()
    with path.open("rb") as stream:
        head = stream.read(256)
    if not head.startswith(_MAGIC[suffix]) or len(head) < 256:
        raise Defect("unreadable", f"{path.name} does not begin as {suffix[1:].upper()} files do.")
    if suffix == ".bdf" and path.stat().st_size > _MAX_BDF_BYTES:
        detail = f"{path.name} has more than 2 GiB, which BDF files are read up to."
        raise Defect("too_large", detail)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of another length, which is looked at here
            file = (edfio.read_bdf if suffix == ".bdf" else edfio.read_edf)(path)
        declared, stored = int(head[_NUM_RECORDS]), file.num_data_records
        continuous = "+D" not in file.reserved[:5] or file.is_continuous
    except _ERRORS as error:
        detail = f"{path.name} is malformed ({type(error).__name__})."
        raise Defect("unreadable", detail) from None
    if stored < declared:
        detail = f"{path.name} is truncated: it has {stored} of {declared} data records."
        raise Defect("truncated", detail)
    if not continuous:
        detail = f"{path.name} has gaps in time (EDF+D); split it into files without gaps."
        raise Defect("discontinuous", detail)
    return file


def _choose(signals: tuple[Any, ...], where: str) -> tuple[list[Any], list[Note]]:
    """The ECG signals in a unit of voltage, and why others are left out."""
    chosen, notes = [], []
    for signal in signals:
        unit = signal.physical_dimension
        if not leads.is_ecg(signal.label):
            continue
        if unit_lib.millivolts(unit) is None or not _calibrated(signal):
            detail = f"The signal {signal.label}, in {unit!r}, is not in volts and was left out."
            notes.append(Note("wrong_units", detail, signal.label))
            continue
        chosen.append(signal)
    if not chosen:
        labels = ", ".join(signal.label for signal in signals) or "none"
        detail = f"No signal of {where} is called as ECG leads in volts are; it has {labels}."
        raise Defect("no_ecg_lead", detail)
    return chosen, notes


def _calibrated(signal: Any) -> bool:
    try:
        physical, digital = signal.physical_range, signal.digital_range
        values = [*physical, *digital, signal.sampling_frequency]
    except _ERRORS:
        return False
    return (
        bool(np.isfinite(values).all()) and physical[0] != physical[1] and digital[0] < digital[1]
    )


def _read_window(signals: list[Any], length: int, start: int, num_samples: int) -> np.ndarray:
    _recording.check_window(start, num_samples, length)
    out = np.empty((len(signals), num_samples), np.float32)
    if num_samples == 0:
        return out
    rate = signals[0].sampling_frequency
    for row, signal in zip(out, signals, strict=True):
        # edfio asks for seconds and rounds them to samples, which gives our samples back.
        physical = signal.get_data_slice(start / rate, (start + num_samples) / rate)
        row[:] = _recording.as_float32(physical * unit_lib.millivolts(signal.physical_dimension))
    return out


FORMAT = Format(name="EDF", suffixes=(".edf", ".bdf"), extra="formats", open=open_edf)
