"""What a simulated tree of a data set promises: which recordings a build must store, and how, and
which planted defects it must find.

A data set's folder holds `simulated.py` with `write(source, num_patients) -> Fixture`; one test
holds every builder to what it promises.
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
    """A recording, or window, that a build must store."""

    signal_mv: np.ndarray
    """float64 [L, T] as the source has it, NaN where it has a gap; in the source's unit where that
    is no millivolt."""
    lead_names: tuple[str, ...]
    """In the order of `signal_mv`, in any spelling."""
    sample_rate_hz: float
    patient_id: str
    labels: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Label values to compare, also of `age_years`, `male` and the like."""
    split: str | None = None
    """None if a hash decides."""
    tolerance_mv: float | None = None
    """None is one step of the stored converter."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Planted:
    """A defect that the quality report must name."""

    record_id: str
    """Begins the finding's record id."""
    problem: str
    action: str


@dataclasses.dataclass(kw_only=True)
class Fixture:
    """A tree and what must come of it, collected while it is written."""

    source: pathlib.Path
    config: str = ""
    """The variant that this is about; empty is the default."""
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    """Of the builder (`clef_jax.building.option.Options`)."""
    stored: dict[str, Stored] = dataclasses.field(default_factory=dict)
    """By record id: these and no others."""
    planted: list[Planted] = dataclasses.field(default_factory=list)

    def plant(self, record_id: str, problem: str, action: str = "kept") -> None:
        """A defect that is told, and the recording is stored all the same."""
        self.planted.append(Planted(record_id=record_id, problem=problem, action=action))

    def lose(self, record_id: str, problem: str) -> None:
        """A defect that costs the recording."""
        self.stored.pop(record_id, None)
        self.plant(record_id, problem, "quarantined")

    def change(self, record_id: str, **changes: Any) -> None:
        """Corrects what a recording promises."""
        self.stored[record_id] = dataclasses.replace(self.stored[record_id], **changes)


def quantise(signal_mv: np.ndarray, gain_per_mv: float, baseline: int = 0) -> np.ndarray:
    """Returns int16 samples, `MISSING_ADC` where the signal is NaN."""
    scaled = np.clip(np.rint(signal_mv * gain_per_mv) + baseline, -RAIL_ADC, RAIL_ADC)
    return np.where(np.isnan(signal_mv), MISSING_ADC, scaled).astype(np.int16)


def checksum(samples: np.ndarray) -> int:
    """The sum of all samples as WFDB headers store it, a signed 16-bit number."""
    return (int(samples.sum(dtype=np.int64)) + 0x8000) % 0x10000 - 0x8000


def write_wfdb(
    stem: pathlib.Path,
    adc: np.ndarray,
    *,
    leads: Sequence[str],
    sample_rate_hz: float,
    gain: str,
    form: str = "16",
    checksums: bool = True,
    record_line_end: str = "",
    comments: Sequence[str] = (),
) -> None:
    """Writes int16 [L, T] as a header and a signal file of 16-bit samples.

    Args:
        gain: as the header writes it, `200.0(0)/mV` for example.
        form: as the header writes it; `16+24` makes the file a MATLAB 4 matrix, `stem`.mat, and
            anything without an offset makes it `stem`.dat.
        checksums: False writes 0 for each, as some sources do.
        record_line_end: what follows the number of samples, a time or date.
        comments: whole lines.
    """
    stem.parent.mkdir(parents=True, exist_ok=True)
    matlab = "+" in form
    file = f"{stem.name}.mat" if matlab else f"{stem.name}.dat"
    head = struct.pack("<5i", 30, *adc.shape, 0, 4) + b"val\0" if matlab else b""
    stem.with_name(file).write_bytes(head + adc.T.astype("<i2").tobytes())
    first = f"{stem.name} {len(leads)} {sample_rate_hz:g} {adc.shape[1]} {record_line_end}"
    lines = [first.strip()]
    for lead, row in zip(leads, adc, strict=True):
        total = checksum(row) if checksums else 0
        lines.append(f"{file} {form} {gain} 16 0 {row[0]} {total} 0 {lead}")
    text = "\n".join([*lines, *comments]) + "\n"
    stem.with_name(f"{stem.name}.hea").write_text(text, newline="\n")


def write_annotations(
    stem: pathlib.Path, annotations: Sequence[tuple[int, str, str]], extension: str = "atr"
) -> None:
    """Writes `stem`.EXTENSION in MIT format.

    Args:
        annotations: sample, symbol and note of each, in the order of time.
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
