"""Decodes XLI, the lossless compression of Philips ECGs.

Written here, because the package `sierraecg` (0.4.0) fails on sums that wrap around, accepts
undefined codes, and rebuilds limb leads by position, one step too low where they are negative.

Each channel is a chunk: its size in bytes (int32), a code (int16), a first difference (int16), all
little-endian, and LZW codes of 10 bits. They expand to bytes, the high ones of all values first,
which are the first two samples and then second differences. Shapes: T time.
"""

import numpy as np

from clef_jax.finding import Defect

_HEADER_BYTES = 8
_CODE_BITS = 10
_END = (1 << _CODE_BITS) - 1
"""Code after the last one of a chunk; the table holds all codes below it."""
_MAX_BYTES = 32 << 20
"""Largest accepted size of all channels; 20 minutes of 12 leads at 1000 Hz are 29 MB."""
_BIAS = 64
"""Number that is added to each stored difference."""
LIMB = ("III", "aVR", "aVL", "aVF")
"""Leads that are stored as differences from what I and II predict."""


def decode(data: bytes, where: str) -> list[np.ndarray]:
    """Returns the stored values of each channel, int16 [T].

    Args:
        data: chunks of all channels.
        where: name of the file in messages.

    Raises:
        Defect: the data is truncated, malformed or too large.
    """
    channels, position, left = [], 0, _MAX_BYTES
    while position + _HEADER_BYTES <= len(data):
        size, first = (
            int.from_bytes(data[position + low : position + high], "little", signed=True)
            for low, high in ((0, 4), (6, 8))
        )
        position += _HEADER_BYTES
        if size <= 0 and not any(data[position:]):
            break  # padding
        if size <= 0:
            raise Defect("unreadable", f"A channel of {where} has an invalid size: {size} bytes.")
        if position + size > len(data):
            detail = f"A channel of {where} has {len(data) - position:,} of {size:,} bytes."
            raise Defect("truncated", detail)
        expanded = _expand(_codes(data[position : position + size]), left, where)
        position += size
        left -= len(expanded)
        channels.append(_integrate(_join(expanded), first))
    return channels


def rebuild(rows: dict[str, np.ndarray]) -> list[str]:
    """Replaces the stored differences of limb leads by their samples.

    Halves are rounded towards zero, as the vendor's own converter does.

    Args:
        rows: stored values by lead, float64 [T], NaN where missing; changed in place,
            without the leads that are returned.

    Returns:
        The leads that cannot be rebuilt, because a lead that predicts them is missing.
    """
    lost = []
    for name in LIMB:
        if name not in rows:
            continue
        predicted = predict(rows, name)
        if predicted is None:
            lost.append(name)
            del rows[name]
        else:
            rows[name] = predicted - rows[name]
    return lost


def predict(rows: dict[str, np.ndarray], name: str) -> np.ndarray | None:
    """Returns what the leads before a limb lead predict of it, float64 [T]; None without them."""
    first, second = {"III": ("I", "II"), "aVR": ("I", "II"), "aVL": ("I", "III")}.get(
        name, ("II", "III")
    )
    if first not in rows or second not in rows:
        return None
    if name == "III":
        return rows[second] - rows[first]
    if name == "aVR":
        return -np.trunc((rows[first] + rows[second]) / 2)
    if name == "aVL":
        return np.trunc((rows[first] - rows[second]) / 2)
    return np.trunc((rows[first] + rows[second]) / 2)


def _codes(chunk: bytes) -> list[int]:
    """Returns the codes of a chunk; incomplete ones at its end are padding."""
    bits = np.unpackbits(np.frombuffer(chunk, np.uint8))
    rows = bits[: len(bits) // _CODE_BITS * _CODE_BITS].reshape(-1, _CODE_BITS)
    return (rows @ (1 << np.arange(_CODE_BITS - 1, -1, -1))).tolist()


def _expand(codes: list[int], limit: int, where: str) -> bytes:
    """Returns the bytes of LZW codes."""
    table = [bytes([value]) for value in range(256)]
    parts, size, previous = [], 0, b""
    for code in codes:
        if code == _END:
            break
        if code < len(table):
            entry = table[code]
        elif code == len(table) and previous:
            entry = previous + previous[:1]
        else:
            raise Defect("unreadable", f"A channel of {where} has an undefined code: {code}.")
        if previous and len(table) < _END:
            table.append(previous + entry[:1])
        previous = entry
        parts.append(entry)
        size += len(entry)
        if size > limit:
            detail = f"The channels of {where} exceed {_MAX_BYTES:,} bytes, the largest size."
            raise Defect("too_large", detail)
    return b"".join(parts)


def _join(expanded: bytes) -> np.ndarray:
    """Returns the values, int16 [T], whose high bytes come first and then the low ones."""
    stored = np.frombuffer(expanded + b"\0" * (len(expanded) % 2), np.uint8)
    high, low = stored.reshape(2, -1).astype(np.uint16)
    return (high << 8 | low).view(np.int16)


def _integrate(stored: np.ndarray, first: int) -> np.ndarray:
    """Returns samples, int16 [T], of which `stored` has two, and then second differences.

    Each difference is stored one sample late; the first one is in the header. Sums wrap around as
    those of the device do.
    """
    values = stored.astype(np.int64)
    if len(values) < 3:
        return stored
    steps = np.concatenate(([first], values[2:-1] - _BIAS))
    slopes = (values[1] - values[0]) - np.concatenate(([0], np.cumsum(steps)))
    return (values[0] + np.concatenate(([0], np.cumsum(slopes)))).astype(np.int16)
