"""Rows of the table of records that differ by their seed alone; table and plot show their means."""

import re
import statistics
from collections.abc import Callable, Iterable
from typing import NamedTuple

from clef_jax.speedrunning.record import Row

_SEED = re.compile(r" --seed=\S+")


class Group(NamedTuple):
    """Rows that differ by their seed alone."""

    lines: tuple[int, ...]
    """Lines of the rows in the table, from 1."""
    rows: tuple[Row, ...]

    def mean(self, value_of: Callable[[Row], float | None]) -> float | None:
        """Returns the mean of a value over the rows that have it; None if none has."""
        values = [value for row in self.rows if (value := value_of(row)) is not None]
        return statistics.mean(values) if values else None

    @property
    def score(self) -> float:
        """Mean score of the rows."""
        return statistics.mean(row["score"]["value"] for row in self.rows)

    @property
    def title(self) -> str:
        """Lines of the rows, for example `3, 7`."""
        return ", ".join(map(str, self.lines))


def of_rows(numbered: Iterable[tuple[int, Row]]) -> list[Group]:
    """Returns the groups of rows with their lines, the highest mean score first.

    Rows of a group have the same name, command, panel and kind of device.
    """
    groups: dict[tuple[str, ...], list[tuple[int, Row]]] = {}
    for line, row in numbered:
        command, device = _SEED.sub("", row["command"]), row["device"]
        key = (row["name"], command, row["panel"]["digest"], device["kind"], str(device["count"]))
        groups.setdefault(key, []).append((line, row))
    made = [
        Group(tuple(line for line, _ in members), tuple(row for _, row in members))
        for members in groups.values()
    ]
    return sorted(made, key=lambda group: -group.score)
