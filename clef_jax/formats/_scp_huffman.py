"""Decodes the Huffman codes of SCP-ECG, with the standard's table or with those of a file.

The codes at all bits are looked up at once, so that only the step from code to code is a loop.
"""

import dataclasses
import struct

import numpy as np

from clef_jax.finding import Defect

_DEFAULT = 19999
"""Number of tables that stands for the standard's table."""
_CODE = struct.Struct("<BBBhI")
"""Bits of the prefix and of the whole code, 0 for a switch of tables, value or table, and prefix,
whose first bit is the lowest one."""
_MAX_BITS = 32
_MAX_TABLES = 16


@dataclasses.dataclass(frozen=True)
class Code:
    """A code word: a prefix, followed by further bits that are added to `value` if it has any."""

    prefix: int
    """Bits of the prefix; the first one is the highest."""
    prefix_bits: int
    extra_bits: int
    value: int
    is_switch: bool
    """Whether `value` is the number of the table, from 1, that holds from here on."""


@dataclasses.dataclass(frozen=True, eq=False)
class Table:
    """The codes of a table, sorted by prefix."""

    first: np.ndarray
    """Smallest 32 bits that begin with each prefix, int64 [codes]."""
    last: np.ndarray
    """Largest 32 bits that begin with each prefix, int64 [codes]."""
    prefix_bits: np.ndarray
    extra_bits: np.ndarray
    values: np.ndarray
    is_switch: np.ndarray


def default_codes() -> list[Code]:
    """Returns the codes of the standard's table.

    A magnitude m up to 8 is m ones, a zero and a sign; longer values follow nine ones and a bit.
    """
    codes = [Code(0, 1, 0, 0, False)]
    for magnitude in range(1, 9):
        prefix = ((1 << magnitude) - 1) << 2
        codes.append(Code(prefix, magnitude + 2, 0, magnitude, False))
        codes.append(Code(prefix + 1, magnitude + 2, 0, -magnitude, False))
    return [*codes, Code(0b1111111110, 10, 8, 0, False), Code(0b1111111111, 10, 16, 0, False)]


def parse_tables(body: bytes, where: str) -> tuple[Table, ...]:
    """Returns the tables of section 2; empty if the samples are not encoded.

    Args:
        body: content of the section; empty if the record does not have it.
        where: name of the file in messages.

    Raises:
        Defect: the section is truncated, or a table does not define one meaning for all bits.
    """
    if len(body) < 2:
        return ()
    (count,) = struct.unpack_from("<H", body)
    if count == _DEFAULT:
        return (_table(default_codes(), where),)
    if count > _MAX_TABLES:
        detail = f"{where} states {count:,} Huffman tables; at most {_MAX_TABLES} can be decoded."
        raise Defect("unreadable", detail)
    tables, at = [], 2
    for _ in range(count):
        if len(body) < at + 2:
            raise Defect("truncated", f"The Huffman tables of {where} are truncated.")
        (num_codes,) = struct.unpack_from("<H", body, at)
        end = at + 2 + num_codes * _CODE.size
        if len(body) < end:
            raise Defect("truncated", f"The Huffman tables of {where} are truncated.")
        codes = [_parse_code(fields, where) for fields in _CODE.iter_unpack(body[at + 2 : end])]
        tables.append(_table(codes, where))
        at = end
    for table in tables:
        targets = table.values[table.is_switch]
        if ((targets < 1) | (targets > count)).any():
            detail = f"A Huffman table of {where} switches to a table that does not exist."
            raise Defect("unreadable", detail)
    return tuple(tables)


def _parse_code(fields: tuple[int, int, int, int, int], where: str) -> Code:
    # The smaller length is the prefix's; writers differ in the order.
    prefix_bits, total_bits = sorted(fields[:2])
    if not (1 <= prefix_bits <= _MAX_BITS and total_bits - prefix_bits <= _MAX_BITS):
        detail = (
            f"A Huffman table of {where} has a code of {prefix_bits} and {total_bits} bits; only "
            f"prefixes of 1 to {_MAX_BITS} bits can be decoded."
        )
        raise Defect("unreadable", detail)
    _, _, mode, value, stored = fields
    if mode > 1:
        detail = f"A Huffman table of {where} has a code of the unknown mode {mode}."
        raise Defect("unreadable", detail)
    prefix = int(format(stored & ((1 << prefix_bits) - 1), f"0{prefix_bits}b")[::-1], 2)
    return Code(prefix, prefix_bits, total_bits - prefix_bits, value, mode == 0)


def _table(codes: list[Code], where: str) -> Table:
    """Returns the table of some codes; raises Defect if one is the beginning of another."""
    if not codes:
        raise Defect("unreadable", f"A Huffman table of {where} has no codes.")
    codes = sorted(codes, key=lambda code: code.prefix << (_MAX_BITS - code.prefix_bits))
    bits = np.array([code.prefix_bits for code in codes])
    first = np.array([code.prefix << (_MAX_BITS - code.prefix_bits) for code in codes])
    last = first + (np.int64(1) << (_MAX_BITS - bits)) - 1
    if (first[1:] <= last[:-1]).any():
        detail = f"A Huffman table of {where} has a code that is the beginning of another."
        raise Defect("unreadable", detail)
    return Table(
        first=first,
        last=last,
        prefix_bits=bits,
        extra_bits=np.array([0 if code.is_switch else code.extra_bits for code in codes]),
        values=np.array([code.value for code in codes]),
        is_switch=np.array([code.is_switch for code in codes]),
    )


def decode(data: bytes, tables: tuple[Table, ...]) -> tuple[np.ndarray, int]:
    """Returns all values that a lead's data hold, int64 [N], and how many they hold at least.

    The bits that fill the last bytes may decode as values, too: as zeros with the standard's table.
    The values begin with the first table and end where bits are no code.
    """
    num_bits = 8 * len(data)
    if not num_bits:
        return np.zeros(0, np.int64), 0
    words = _words(data)
    chosen: dict[int, np.ndarray] = {}
    # Lists are faster than arrays in the loop. 0 is no code, and negative numbers are switches.
    steps: dict[int, list[int]] = {}
    starts, numbers, current, at, end = [], [], 0, 0, 0
    while at < num_bits:
        if current not in steps:
            chosen[current] = _lookup(words, tables[current])
            steps[current] = _steps(chosen[current], tables[current]).tolist()
        step_list = steps[current]
        while at < num_bits and (step := step_list[at]) > 0:
            starts.append(at)
            at += step
        numbers += [current] * (len(starts) - len(numbers))
        if at > num_bits:  # the last code is incomplete
            numbers.pop()
            end = starts.pop()
            break
        end = at
        if at == num_bits or step_list[at] == 0:
            break
        index = int(chosen[current][at])
        at -= step_list[at]
        current = int(tables[current].values[index]) - 1
    values = _values(words, np.array(starts, np.int64), np.array(numbers), chosen, tables)
    ends = [*starts[1:], end]
    return values, int(np.searchsorted(ends, num_bits - _num_filling(data))) + 1


def _num_filling(data: bytes) -> int:
    """Returns how many bits at the end are equal, up to 31, and may therefore be no codes."""
    tail = format(int.from_bytes(data[-4:], "big"), "032b")[-8 * len(data) :]
    return min(len(tail) - len(tail.rstrip(tail[-1])), _MAX_BITS - 1)


def _words(data: bytes) -> np.ndarray:
    """Returns the 32 bits that begin at every bit, int64 [bits]; zeros follow the data."""
    padded = np.frombuffer(data + bytes(8), np.uint8).astype(np.int64)
    forty = np.zeros(len(data) + 4, np.int64)
    for number in range(5):
        forty = (forty << 8) | padded[number : number + len(forty)]
    shifts = 8 - np.arange(8)
    return ((forty[:, None] >> shifts) & 0xFFFFFFFF).reshape(-1)


def _lookup(words: np.ndarray, table: Table) -> np.ndarray:
    """Returns the index of the code at every bit, int64 [bits]; -1 where is none."""
    index = np.searchsorted(table.first, words, side="right") - 1
    return np.where((index >= 0) & (words <= table.last[index]), index, -1)


def _steps(chosen: np.ndarray, table: Table) -> np.ndarray:
    """Returns bits to the next code at every bit: negative after a switch, 0 where is no code."""
    lengths = table.prefix_bits + table.extra_bits
    return np.where(chosen >= 0, np.where(table.is_switch, -lengths, lengths)[chosen], 0)


def _values(
    words: np.ndarray,
    starts: np.ndarray,
    numbers: np.ndarray,
    chosen: dict[int, np.ndarray],
    tables: tuple[Table, ...],
) -> np.ndarray:
    """Returns the values of the codes that begin at some bits, int64 [N]."""
    values = np.zeros(len(starts), np.int64)
    for number, lookup in chosen.items():
        table, mask = tables[number], numbers == number
        at = starts[mask]
        index = lookup[at]
        extra_bits = table.extra_bits[index]
        extra = words[at + table.prefix_bits[index]] >> (_MAX_BITS - extra_bits)
        is_negative = (extra_bits > 0) & ((extra >> np.maximum(extra_bits - 1, 0)) == 1)
        # Without further bits, the shift by 32 leaves 0.
        values[mask] = table.values[index] + extra - (is_negative << extra_bits)
    return values
