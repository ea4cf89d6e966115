"""The table of rows: which row of the labels and which recording was used, and why not."""

import csv
import pathlib
from collections.abc import Iterable

from clef_jax import files
from clef_jax.fitting.matching import Assigned

COLUMNS = ("line", "id", "recording", "used", "problem", "detail")


def is_table(path: pathlib.Path) -> bool:
    """Returns whether a file is a table that `write` wrote."""
    return files.starts_with(path, ",".join(COLUMNS))


def write(path: pathlib.Path, rows: Iterable[Assigned]) -> None:
    """Writes a line for every row of the labels and for every recording without a row."""
    with files.atomic_file(path) as half, half.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for row in rows:
            texts = (row.id, row.recording or "", "yes" if row.used else "no")
            cells = ("" if row.line is None else row.line, *texts, row.problem, row.detail)
            writer.writerow([files.spreadsheet_text(str(cell)) for cell in cells])
