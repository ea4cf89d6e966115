"""Reads the text tables of the data set."""

import csv
import pathlib

from clef_jax.errors import UserError


def read(path: pathlib.Path) -> tuple[tuple[str, ...], list[tuple[int, dict[str, str]]]]:
    """Returns the columns, and each row with the number of its last line.

    Cells are stripped, blank rows are skipped, and a row with too few or too many cells is empty.

    Raises:
        UserError: the file does not exist, or is not a table.
    """
    if not path.is_file():
        raise UserError(f"The table {path} does not exist.", problem="missing_file")
    try:
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as stream:
            reader = csv.reader(stream, skipinitialspace=True)
            columns = tuple(cell.strip() for cell in next(reader, []))
            rows = []
            for cells in reader:
                if any(cell.strip() for cell in cells):
                    is_complete = len(cells) == len(columns)
                    row = {c: cell.strip() for c, cell in zip(columns, cells, strict=False)}
                    rows.append((reader.line_num, row if is_complete else {}))
    except (csv.Error, OSError) as error:
        raise UserError(
            f"{path} cannot be read as a table: {error}", problem="unreadable_table"
        ) from error
    return columns, rows
