"""Describes a simulated source folder: recordings that a build must store, faults it must report.

The folder of a data set holds `simulated.py` with `write(source, num_patients) -> Fixture`; a test
checks that every builder fulfils its fixture.
"""

import dataclasses
import pathlib
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from clef_jax.signal.adc import MISSING_ADC, RAIL_ADC
from clef_jax.wfdb import annotation as wfdb_annotation


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stored:
    """Recording, or window, that a build must store."""

    signal_mv: np.ndarray
    """Signal as in the source, float64 [L, T], NaN in gaps; in the source's unit if that is not
    millivolts."""
    lead_names: tuple[str, ...]
    """Lead names in the order of `signal_mv`, in any spelling."""
    sample_rate_hz: float
    patient_id: str
    labels: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Values to compare with those stored: labels, and `age_years`, `male` and the like."""
    split: str | None = None
    """Expected split; None if a hash decides it."""
    tolerance_mv: float | None = None
    """Largest allowed difference; None is one ADC unit of the stored recording."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Planted:
    """Planted fault that the quality report must contain."""

    record_id: str
    """Start of the finding's record id."""
    problem: str
    """Problem code of the finding."""
    action: str
    """Action of the finding, such as kept or quarantined."""


@dataclasses.dataclass(kw_only=True)
class Fixture:
    """Simulated source folder with the expected results, collected while it is written."""

    source: pathlib.Path
    """Source folder."""
    config: str = ""
    """Configuration of the data set that the fixture describes; empty is the default."""
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    """Options of the builder (`clef_jax.building.option.Options`)."""
    stored: dict[str, Stored] = dataclasses.field(default_factory=dict)
    """All recordings that the build must store, by record id."""
    planted: list[Planted] = dataclasses.field(default_factory=list)
    """Planted faults that the quality report must contain."""

    def plant(self, record_id: str, problem: str, action: str = "kept") -> None:
        """Adds a fault that is reported while the recording is still stored."""
        self.planted.append(Planted(record_id=record_id, problem=problem, action=action))

    def lose(self, record_id: str, problem: str) -> None:
        """Adds a fault for which the recording is quarantined."""
        self.stored.pop(record_id, None)
        self.plant(record_id, problem, "quarantined")

    def change(self, record_id: str, **changes: Any) -> None:
        """Changes the expected values of a recording."""
        self.stored[record_id] = dataclasses.replace(self.stored[record_id], **changes)


def quantise(signal_mv: np.ndarray, gain_per_mv: float, baseline: int = 0) -> np.ndarray:
    """Returns int16 samples, `MISSING_ADC` where the signal is NaN."""
    scaled = np.clip(np.rint(signal_mv * gain_per_mv) + baseline, -RAIL_ADC, RAIL_ADC)
    return np.where(np.isnan(signal_mv), MISSING_ADC, scaled).astype(np.int16)


def checksum(samples: np.ndarray) -> int:
    """Returns the sum of all samples as a signed 16-bit number, as WFDB headers store it."""
    return (int(samples.sum(dtype=np.int64)) + 0x8000) % 0x10000 - 0x8000


def write_wfdb(
    stem: pathlib.Path,
    adc: np.ndarray,
    *,
    leads: Sequence[str],
    sample_rate_hz: float,
    gain: str,
    storage_format: str = "16",
    checksums: bool = True,
    record_line_end: str = "",
    comments: Sequence[str] = (),
) -> None:
    """Writes int16 [L, T] as a WFDB header and a signal file of 16-bit samples.

    Args:
        gain: gain as in the header, `200.0(0)/mV` for example.
        storage_format: as in the header; `16+24` writes a MATLAB 4 matrix, `stem`.mat, and a
            format without offset writes `stem`.dat.
        checksums: whether to write checksums; otherwise each is 0, as in some sources.
        record_line_end: end of the record line after the number of samples: a time or date.
        comments: complete comment lines.
    """
    stem.parent.mkdir(parents=True, exist_ok=True)
    matlab = "+" in storage_format
    file = f"{stem.name}.mat" if matlab else f"{stem.name}.dat"
    head = struct.pack("<5i", 30, *adc.shape, 0, 4) + b"val\0" if matlab else b""
    stem.with_name(file).write_bytes(head + adc.T.astype("<i2").tobytes())
    first = f"{stem.name} {len(leads)} {sample_rate_hz:g} {adc.shape[1]} {record_line_end}"
    lines = [first.strip()]
    for lead, row in zip(leads, adc, strict=True):
        total = checksum(row) if checksums else 0
        lines.append(f"{file} {storage_format} {gain} 16 0 {row[0]} {total} 0 {lead}")
    text = "\n".join([*lines, *comments]) + "\n"
    stem.with_name(f"{stem.name}.hea").write_text(text, newline="\n")


def write_annotations(
    stem: pathlib.Path, annotations: Sequence[tuple[int, str, str]], extension: str = "atr"
) -> None:
    """Writes `stem`.EXTENSION in MIT format.

    Args:
        annotations: sample, symbol and note of each annotation, in the order of time.
    """
    codes = {symbol: code for code, symbol in wfdb_annotation.SYMBOLS.items()}
    data, last = bytearray(), 0
    for sample, symbol, note in annotations:
        interval, last = sample - last, sample
        if interval > 1023:
            data += struct.pack(
                "<3H", wfdb_annotation.SKIP << 10, interval >> 16, interval & 0xFFFF
            )
            interval = 0
        data += struct.pack("<H", codes[symbol] << 10 | interval)
        text = note.encode()
        if text:
            data += struct.pack("<H", wfdb_annotation.AUX << 10 | len(text))
            data += text + bytes(len(text) % 2)
    stem.with_name(f"{stem.name}.{extension}").write_bytes(bytes(data + bytes(2)))
