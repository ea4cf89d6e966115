"""Reads the long-term rhythm data of SCP-ECG version 3 (section 12), which are not compressed.

The layout is that of the BioSig library, which writes such files. A section whose length it does
not explain is refused.
"""

import dataclasses
import datetime
import struct

import numpy as np

from clef_jax.errors import counted
from clef_jax.finding import Defect
from clef_jax.formats import _patient, _recording, _scp_sections
from clef_jax.formats._scp_sections import Record

_HEAD = struct.Struct("<IBIBHBBBBB")
"""Rate in Hz, leads, samples, bytes of a sample, and year, month, day, hour, minute and second."""
_LENGTHS_AT, _HEAD_BYTES = 62, 70
"""Positions of the lengths of two optional blocks, and of the first of these blocks."""
_LEAD = struct.Struct("<BHB")
"""Code, step in nV, and a reserved byte."""
_MAX_RATE_HZ = 40_000
_FIRST_PROTOCOL = 26
"""Earlier versions leave the section to the manufacturers."""


@dataclasses.dataclass(frozen=True, eq=False)
class LongTerm:
    """The samples of section 12, all leads of a sample after each other."""

    names: tuple[str, ...]
    is_calculated: tuple[bool, ...]
    steps_nv: tuple[int, ...]
    sample_rate_hz: float
    samples: np.ndarray
    """Bytes of little-endian integers, uint8 [T, L, bytes of a sample]."""
    recorded_at: datetime.datetime | None

    def read_nv(self, start: int, num_samples: int) -> np.ndarray:
        """Returns a window in nanovolts, float64 [L, num_samples]."""
        _recording.check_window(start, num_samples, len(self.samples))
        window = self.samples[start : start + num_samples]
        width = window.shape[2]
        # The bytes become the upper ones of an integer, so that its sign is theirs.
        padded = np.zeros((*window.shape[:2], 4), np.uint8)
        padded[:, :, 4 - width :] = window
        values = padded.view("<i4")[:, :, 0] >> (8 * (4 - width))
        return values.T * np.array(self.steps_nv, np.float64)[:, None]


def parse(record: Record) -> LongTerm | None:
    """Returns the long-term data; None if the record has none.

    Raises:
        Defect: the section has another layout than the known one.
    """
    body = record.body(_scp_sections.LONG_TERM)
    if not body or record.protocol < _FIRST_PROTOCOL:
        return None
    if len(body) < _HEAD_BYTES:
        raise _unknown(record)
    rate, count, length, width, year, month, day, *time = _HEAD.unpack_from(body)
    if count > _recording.MAX_LEADS:
        raise Defect(
            "lead_count", f"{record.where} is not an ECG: it has {counted(count, 'lead')}."
        )
    leads_at = _HEAD_BYTES + sum(struct.unpack_from("<II", body, _LENGTHS_AT))
    data_at = leads_at + count * _LEAD.size
    size = length * count * width
    # A byte may follow, because sections have even lengths.
    is_known = 1 <= width <= 4 and size and 0 <= len(body) - data_at - size <= 1
    if not is_known or not 1 <= rate <= _MAX_RATE_HZ:
        raise _unknown(record)
    leads = [_LEAD.unpack_from(body, leads_at + number * _LEAD.size) for number in range(count)]
    steps_nv = tuple(step_nv for _, step_nv, _ in leads)
    if not all(steps_nv):
        detail = f"{record.where} does not state the size of the steps of its long-term data."
        raise Defect("wrong_units", detail)
    names = [_scp_sections.lead_name(code) for code, _, _ in leads]
    date = _patient.make_date(year, month, day)
    try:
        at = datetime.datetime.combine(date, datetime.time(*time)) if date else None
    except ValueError:
        at = None
    return LongTerm(
        names=tuple(name for name, _ in names),
        is_calculated=tuple(is_calculated for _, is_calculated in names),
        steps_nv=steps_nv,
        sample_rate_hz=float(rate),
        samples=np.frombuffer(body, np.uint8, size, data_at).reshape(length, count, width),
        recorded_at=at,
    )


def _unknown(record: Record) -> Defect:
    detail = f"The long-term rhythm data of {record.where} (section 12) have an unknown layout."
    return Defect("unreadable", detail)
