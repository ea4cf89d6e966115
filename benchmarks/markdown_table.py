"""Writes tables in Markdown."""

from collections.abc import Iterable, Sequence


def table(columns: Sequence[str], rows: Iterable[Iterable[object]]) -> str:
    """Returns a table; an empty string without rows."""
    lines = [line(row) for row in rows]
    return "\n".join([head(columns), *lines, ""]) if lines else ""


def head(columns: Sequence[str]) -> str:
    """Returns the two lines with which a table begins."""
    return f"{line(columns)}\n|{'---|' * len(columns)}"


def line(cells: Iterable[object]) -> str:
    """Returns a line of a table."""
    return f"| {' | '.join(map(str, cells))} |"
