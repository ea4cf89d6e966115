"""Gives recordings the risk of a table instead of the prepared one.

`clef-jax train --risk-table=FILE.csv` trains with any number per recording: a score of one's own,
or a control that a claim about risk has to stand.

Shapes: N records.
"""

import dataclasses
import math
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from clef_jax import csv_file
from clef_jax.csv_file import Table
from clef_jax.data import index as index_lib, metadata
from clef_jax.errors import UserError

OPTION = "--risk-table"
ROWS = "risk_table_rows"
"""Setting of an index: number of its recordings that the table names."""
_LARGEST = 1e6
"""Largest size of a risk, far below what differences and their squares can hold."""
ID, RISK, COMPLETENESS = "record_id", "risk", "completeness"
"""Names of the columns of the table; the last one may be absent."""
_UNKNOWN = ("", "nan", "na", "null")
"""Cells, in lower case, of an unknown value."""


@dataclasses.dataclass(frozen=True)
class RiskTable:
    """Risks and completeness by record id."""

    values: Mapping[str, tuple[float, float]]
    """Risk, NaN where unknown, and completeness in [0, 1] of each recording."""
    digest: str
    """SHA-256 of the file."""
    notes: tuple[str, ...] = ()
    """Sentences about the file that its owner should know."""

    @property
    def name(self) -> str:
        """Name of the risk, as that of a score."""
        return f"table {self.digest[:12]}"

    def apply(self, indexes: Sequence[index_lib.Index]) -> list[index_lib.Index]:
        """Returns the indexes with the risks of the table; other recordings have no known risk.

        Reading the ids takes a pass over all records of the splits. The quantiles of the risk are
        those of each patient's first recording with a known risk.
        """
        return [self._replaced(index) for index in indexes]

    def _replaced(self, index: index_lib.Index) -> index_lib.Index:
        risk = np.full(index.num_records, np.nan, np.float32)
        num_named = 0
        completeness = np.zeros(index.num_records, np.float32)
        records = metadata.read_records(index, np.arange(index.num_records))
        for number, record in enumerate(records):
            stated = self.values.get(record["record_id"].decode())
            if stated is not None:
                num_named += 1
                risk[number], completeness[number] = stated
        known = np.flatnonzero(np.isfinite(risk))
        first = known[np.unique(index.patient[known], return_index=True)[1]]
        levels = np.linspace(0, 1, index_lib.NUM_QUANTILES)
        quantiles = np.quantile(risk[first], levels) if len(first) else np.full_like(levels, np.nan)
        return dataclasses.replace(
            index,
            risk=risk,
            completeness=completeness,
            cohort_quantiles=quantiles.astype(np.float32),
            settings={**index.settings, "score": self.name, ROWS: num_named},
        )


def check(indexes: Sequence[index_lib.Index]) -> None:
    """Raises UserError if no recording has a known risk, after `RiskTable.apply`."""
    if not any(np.isfinite(index.risk).any() for index in indexes):
        names = ", ".join(index.dataset for index in indexes)
        raise UserError(
            f"{OPTION}: no recording of {names} has a risk in the table. Its column {ID} must hold "
            "the ids with which the recordings were prepared.",
            problem="risk_of_no_recording",
        )


def read(path: str | pathlib.Path) -> RiskTable:
    """Returns the risks of a CSV file with the columns `record_id`, `risk` and, optionally,
    `completeness`.

    An empty risk is unknown. Where completeness is not stated, it is 1 if the risk is known and 0
    otherwise.

    Raises:
        UserError: the file cannot be read, lacks a column, holds another value than a number, or
            names a recording twice.
    """
    if not str(path):
        raise UserError(f"{OPTION} is empty; name a CSV file.", problem="missing_file")
    path = pathlib.Path(path).expanduser()
    table = csv_file.read(path, OPTION)
    for name in (ID, RISK):
        if name not in table.names:
            raise UserError(
                f"{OPTION}: {path} has no column {name!r}. It needs the columns {ID} and {RISK}; "
                f"{COMPLETENESS} is optional. Its columns are: {', '.join(table.names)}.",
                problem="missing_column",
            )
    risk = _numbers(table, RISK, -_LARGEST, _LARGEST)
    completeness = [math.nan] * len(risk)
    if COMPLETENESS in table.names:
        completeness = _numbers(table, COMPLETENESS, 0, 1)
    completeness = [
        float(not math.isnan(x)) if math.isnan(stated) else stated
        for stated, x in zip(completeness, risk, strict=True)
    ]
    values: dict[str, tuple[float, float]] = {}
    ids = table.column(ID)
    for line, name, *stated in zip(table.lines, ids, risk, completeness, strict=True):
        if name in values:
            raise UserError(
                f"{OPTION}: line {line} of {path} names a recording that an earlier line names; "
                "keep one of them.",
                problem="double_recording",
            )
        values[name] = (stated[0], stated[1])
    return RiskTable(values, table.digest, tuple(note.detail for note in table.notes))


def _numbers(table: Table, name: str, least: float, most: float) -> list[float]:
    """Returns the finite numbers of a column, NaN where a cell is empty.

    Raises:
        UserError: a cell is no such number; the message names its line, not its content.
    """
    numbers = []
    for line, cell in zip(table.lines, table.column(name), strict=True):
        try:
            number = math.nan if cell.lower() in _UNKNOWN else float(cell)
            is_wrong = math.isinf(number) or number < least or number > most
        except ValueError:
            number, is_wrong = math.nan, True
        if is_wrong:
            raise UserError(
                f"{OPTION}: the {name} on line {line} of {table.where} must be a number from "
                f"{least:g} to {most:g}, with a point for decimals, or empty if it is unknown.",
                problem="wrong_number",
            )
        numbers.append(number)
    return numbers
