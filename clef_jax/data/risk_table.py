"""Gives recordings the risk of a table instead of the prepared one.

`clef-jax train --risk-table=FILE.csv` trains with any number per recording: a score of one's own,
or a control that a claim about risk has to stand.

Shapes: N records.
"""

import dataclasses
import hashlib
import math
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from clef_jax import csv_file
from clef_jax.csv_file import Table
from clef_jax.data import index as index_lib, metadata
from clef_jax.errors import UserError

OPTION = "--risk-table"
ID, RISK, COMPLETENESS = "record_id", "risk", "completeness"
"""Names of the columns of the table; the last one may be absent."""
_UNKNOWN = ("", "nan", "na", "null")
"""Cells, in lower case, of an unknown value."""
_QUANTILES = np.linspace(0, 1, 101)


@dataclasses.dataclass(frozen=True)
class RiskTable:
    """Risks and completeness by record id."""

    values: Mapping[str, tuple[float, float]]
    """Risk, NaN where unknown, and completeness in [0, 1] of each recording."""
    digest: str
    """SHA-256 of the file."""

    def apply(self, indexes: Sequence[index_lib.Index]) -> list[index_lib.Index]:
        """Returns the indexes with the risks of the table; other recordings have no known risk.

        Reading the ids takes a pass over all records of the splits. The quantiles of the risk are
        those of each patient's first recording.
        """
        return [self._replaced(index) for index in indexes]

    def _replaced(self, index: index_lib.Index) -> index_lib.Index:
        risk = np.full(index.num_records, np.nan, np.float32)
        completeness = np.zeros(index.num_records, np.float32)
        records = metadata.read_records(index, np.arange(index.num_records))
        for number, record in enumerate(records):
            stated = self.values.get(record["record_id"].decode())
            if stated is not None:
                risk[number], completeness[number] = stated
        first = risk[index.patient_offset[:-1]]
        known = first[np.isfinite(first)]
        quantiles = np.quantile(known, _QUANTILES) if len(known) else np.full(101, np.nan)
        return dataclasses.replace(
            index,
            risk=risk,
            completeness=completeness,
            cohort_quantiles=quantiles.astype(np.float32),
            settings={**index.settings, "score": f"table {self.digest[:12]}"},
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

    An empty risk is unknown. Without completeness it is 1 where the risk is known, and 0 elsewhere.

    Raises:
        UserError: the file cannot be read, lacks a column, holds another value than a number, or
            names a recording twice.
    """
    path = pathlib.Path(path).expanduser()
    table = csv_file.read(path, OPTION)
    for name in (ID, RISK):
        if name not in table.names:
            raise UserError(
                f"{OPTION}: {path} has no column {name!r}. It needs the columns {ID} and {RISK}; "
                f"{COMPLETENESS} is optional. Its columns are: {', '.join(table.names)}.",
                problem="missing_column",
            )
    risk = _numbers(table, RISK, -math.inf, math.inf)
    if COMPLETENESS in table.names:
        completeness = _numbers(table, COMPLETENESS, 0, 1)
        completeness = [0.0 if math.isnan(value) else value for value in completeness]
    else:
        completeness = [float(not math.isnan(value)) for value in risk]
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
    return RiskTable(values, hashlib.sha256(path.read_bytes()).hexdigest())


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
            limits = "a finite number" if math.isinf(most) else f"from {least:g} to {most:g}"
            raise UserError(
                f"{OPTION}: the {name} on line {line} of {table.where} must be {limits}, with a "
                "point for decimals, or empty if it is unknown.",
                problem="wrong_number",
            )
        numbers.append(number)
    return numbers
