"""Reads a CSV table of a user as text, whatever program wrote it.

Encoding and delimiter are inferred; what cannot be read with certainty is refused by name.
"""

import collections
import csv
import dataclasses
import hashlib
import io
import pathlib
from collections.abc import Sequence

from clef_jax.errors import UserError, counted, printable

DELIMITERS = {",": "a comma", ";": "a semicolon", "\t": "a tab", "|": "a vertical bar"}
_MOST_BYTES = 1 << 30
"""Size in bytes of the largest table that is read."""
_BINARY = {
    b"PK\x03\x04": "an Excel or zip file",
    b"\xd0\xcf\x11\xe0": "an old Excel file",
    b"PAR1": "a Parquet file",
    b"\x1f\x8b": "a gzip file",
    b"%PDF": "a PDF",
}
"""First bytes of files that are often given instead of a CSV file, and what they are."""
_HEADER_SHOWN = 12
"""Most names of columns that a message lists."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Note:
    """Something about a table that the user should know, although it is used."""

    problem: str
    """A short stable code."""
    detail: str
    """One sentence, which may quote a cell."""
    public: str = ""
    """The sentence for the report, which quotes no cell; by default the same."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Table:
    """A table of texts, stripped of spaces around them."""

    names: tuple[str, ...]
    """Names of the columns, all different."""
    rows: tuple[tuple[str, ...], ...]
    """Cells of each row, as many as there are names."""
    lines: tuple[int, ...]
    """Number of the line of the file on which each row begins."""
    notes: tuple[Note, ...] = ()
    where: str = "The table"
    """Name of the file in messages."""
    digest: str = ""
    """SHA-256 of the file."""

    def column(self, name: str) -> list[str]:
        """Returns the cells of a column."""
        number = self.names.index(name)
        return [row[number] for row in self.rows]


def read(path: pathlib.Path, option: str = "--labels") -> Table:
    """Returns the table of a CSV file.

    Args:
        path: the file.
        option: option of the command line that names the file, for messages.

    Raises:
        UserError: the file is missing, is no CSV file, is empty or is malformed.
    """
    content = _content(path, option)
    text, notes = _decoded(path, content)
    delimiter = _delimiter(text, path) if text.strip() else ","
    lines = _parsed(text, delimiter, path)
    if not lines:
        raise UserError(
            f"{path} is empty; it needs a line of column names and a line for each recording.",
            problem="empty_labels",
        )
    (_, header), *rows = lines
    names, kept = _names(header, path)
    if not rows:
        raise UserError(
            f"{path} has column names, {_listed(names)}, but no rows; add a line for each "
            "recording.",
            problem="no_rows",
        )
    notes += _index_note(header)
    cells, short = [], []
    for line, row in rows:
        if len(row) > len(header) and any(cell.strip() for cell in row[len(header) :]):
            raise UserError(
                f"Line {line} of {path} has {counted(len(row), 'cell')}, but the first line names "
                f"{counted(len(header), 'column')}. Put texts that contain "
                f"{DELIMITERS[delimiter]} into double quotes, or name all columns.",
                problem="more_cells_than_names",
            )
        if len(row) < len(header):
            short.append(line)
        padded = [cell.strip() for cell in row] + [""] * (len(header) - len(row))
        cells.append(tuple(padded[number] for number in kept))
    if short:
        notes.append(
            Note(
                problem="short_rows",
                detail=f"{counted(len(short), 'line')} of {path.name}, first line {short[0]}, "
                "have fewer cells than there are columns; the missing cells count as blank.",
            )
        )
    numbers = tuple(line for line, _ in rows)
    return Table(
        names=names,
        rows=tuple(cells),
        lines=numbers,
        notes=tuple(notes),
        where=str(path),
        digest=hashlib.sha256(content).hexdigest(),
    )


def _content(path: pathlib.Path, option: str) -> bytes:
    try:
        return _read(path, option)
    except OSError as error:  # no permission, or a name that no file can have
        raise UserError(
            f"{option}: {printable(str(path))[:200]} cannot be read: {error.strerror}.",
            problem="unreadable_file",
        ) from error


def _read(path: pathlib.Path, option: str) -> bytes:
    if path.is_dir():
        raise UserError(f"{option}: {path} is a folder; name a CSV file.", problem="is_a_folder")
    if not path.is_file():
        raise UserError(
            f"{option}: the file {path} does not exist; check the path.", problem="missing_file"
        )
    if path.stat().st_size > _MOST_BYTES:
        raise UserError(f"{option}: {path} is larger than 1 GiB, too large for a table.")
    content = path.read_bytes()
    for start, what in _BINARY.items():
        if content.startswith(start):
            raise UserError(
                f"{path} is {what}, not a CSV file; save the table as CSV in UTF-8.",
                problem="not_csv",
            )
    return content


def _decoded(path: pathlib.Path, content: bytes) -> tuple[str, list[Note]]:
    """Returns the text of a file, and notes about its encoding."""
    encoding = "utf-8-sig"
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        encoding = "utf-16"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        if encoding == "utf-16" or b"\0" in content:
            raise _not_text(path) from error
        text = content.decode("cp1252", "replace")
        return text, [
            Note(
                problem="assumed_encoding",
                detail=f"{path.name} is not UTF-8 (byte {error.start:,}), so it was read as "
                "Windows-1252; save it as UTF-8 if names look wrong.",
            )
        ]
    if "\0" in text:
        raise _not_text(path)
    return text, []


def _not_text(path: pathlib.Path) -> UserError:
    return UserError(
        f"{path} is not text in UTF-8 or UTF-16; save the table as CSV in UTF-8.",
        problem="not_csv",
    )


def _delimiter(text: str, path: pathlib.Path) -> str:
    """Returns the delimiter that divides the first line, and most of the others alike.

    Raises:
        UserError: no delimiter divides the first line.
    """
    start = [line for line in text.splitlines()[:50] if line.strip()]
    best, most = "", (0.0, 1)
    for delimiter in DELIMITERS:
        try:
            counts = [len(row) for row in csv.reader(start, delimiter=delimiter) if row]
        except csv.Error:  # a very long cell, which `_parsed` reports with its line
            counts = [start[0].count(delimiter) + 1]
        if not counts or counts[0] < 2:
            continue
        alike = collections.Counter(counts)[counts[0]] / len(counts)
        if (alike, counts[0]) > most:
            best, most = delimiter, (alike, counts[0])
    if not best:
        first = printable(start[0][:60])
        raise UserError(
            f"The first line of {path}, {first!r}, has a single column. Divide columns by a comma, "
            "a semicolon or a tab: one column names the recordings, the others hold their values.",
            problem="one_column",
        )
    return best


def _parsed(text: str, delimiter: str, path: pathlib.Path) -> list[tuple[int, list[str]]]:
    """Returns the rows that are not blank, each with the number of its first line."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows, begin = [], 1
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                rows.append((begin, row))
            begin = reader.line_num + 1
    except csv.Error as error:
        advice = (
            "Cells are short; is this the right table?"
            if "field limit" in str(error)
            else "Every double quote needs its counterpart on the same line; write a quote within "
            "a text twice."
        )
        raise UserError(
            f"{path} cannot be read from line {begin} on: {error}. {advice}",
            problem="malformed_csv",
        ) from None
    return rows


def _names(header: Sequence[str], path: pathlib.Path) -> tuple[tuple[str, ...], list[int]]:
    """Returns the names of the columns, and their numbers; without columns that have no name."""
    stripped = [name.strip() for name in header]
    kept = [number for number, name in enumerate(stripped) if name and not _is_index(name)]
    names = tuple(stripped[number] for number in kept)
    repeated = [name for name, count in collections.Counter(names).items() if count > 1]
    if repeated:
        raise UserError(
            f"{path} has several columns named {repeated[0]!r}; give each column its own name.",
            problem="repeated_column",
        )
    return names, kept


def _is_index(name: str) -> bool:
    """Returns whether a column is a data frame's row number."""
    return name.startswith("Unnamed: ")


def _index_note(header: Sequence[str]) -> list[Note]:
    unnamed = sum(1 for name in header if not name.strip() or _is_index(name.strip()))
    if not unnamed:
        return []
    words = f"{counted(unnamed, 'column')} without a name, such as a row number, were ignored."
    return [Note(problem="unnamed_column", detail=words)]


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(printable(name) for name in names[:_HEADER_SHOWN])
    return shown + (", ..." if len(names) > _HEADER_SHOWN else "")
