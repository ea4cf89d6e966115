"""Writes tables in Markdown."""

from collections.abc import Iterable, Sequence


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Returns a table; an empty string without rows."""
    lines = [line(row) for row in rows]
    return "\n".join([line(columns), "|" + "---|" * len(columns), *lines, ""]) if lines else ""


def line(cells: Iterable[object]) -> str:
    """Returns a line of a table."""
    return f"| {' | '.join(map(str, cells))} |"
