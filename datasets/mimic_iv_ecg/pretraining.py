"""Separates pre-training and evaluation: excludes patients, and maps patients to splits."""

import pathlib

import duckdb
import numpy as np

from clef_jax.building import table
from clef_jax.building.listing import patient_split
from clef_jax.data import index, raw
from clef_jax.errors import UserError, counted

_DATASET = "mimic_iv_ecg"
_CONFIGS = ("one_per_patient", "all_records")


def exclude(database: duckdb.DuckDBPyConnection, path: pathlib.Path) -> dict[str, str]:
    """Removes the patients of the recordings in a table from the table `record`.

    A recording is named by any cell with a path such as files/p1000/p10000032/...

    Returns:
        Lines of the summary.

    Raises:
        UserError: the table names no recording.
    """
    columns = table.column_names(path)
    table.create_view(database, "excluded_source", path, columns)
    cells = ", ".join(f'"{column}"' for column in columns)
    database.execute(
        "CREATE TABLE excluded AS SELECT DISTINCT TRY_CAST(regexp_extract("
        f"concat_ws(' ', {cells}), 'files/(?:p\\d+/)?p(\\d{{5,}})/', 1) AS BIGINT) AS subject "
        "FROM excluded_source"
    )
    ((named,),) = database.execute("SELECT count(subject) FROM excluded").fetchall()
    if not named:
        raise UserError(
            f"The table {path} has no path such as files/p1000/p10000032/.", problem="no_paths"
        )
    count = (
        "SELECT count(*), count(DISTINCT subject) FROM record SEMI JOIN excluded USING (subject)"
    )
    ((records, patients),) = database.execute(count).fetchall()
    database.execute(
        "DELETE FROM record WHERE subject IN (SELECT subject FROM excluded WHERE subject NOT NULL)"
    )
    excluded = f"{counted(records, 'recording')} of {counted(patients, 'patient')}"
    return {"excluded by --leave-out": excluded}


class Splits:
    """Maps patients to pre-training splits."""

    def __init__(self, data_dir: pathlib.Path):
        """Reads the splits of the pre-training data in the data folder.

        If it is not prepared there, the splits are those that a build would assign.
        """
        prepared = set(index.list_prepared(data_dir)) & {f"{_DATASET}/{name}" for name in _CONFIGS}
        default = "not prepared yet; splits follow from a hash of the patient"
        self.description = ", ".join(sorted(prepared)) or default
        """Names of the prepared data sets, for the build's summary."""
        self._known: dict[str, str] | None = {} if prepared else None
        for dataset in sorted(prepared):
            folder = index.find(data_dir, dataset)
            for split in ("validation", "train"):  # train has priority over validation
                if split in index.splits(folder):
                    self._add(index.load(folder, split), split)

    def _add(self, split_index: index.Index, split: str) -> None:
        assert self._known is not None
        first_rows = split_index.row[np.asarray(split_index.patient_offset[:-1])]
        for name in raw.Reader(split_index).texts(first_rows, "patient_id"):
            if split == "train" or name not in self._known:
                self._known[name] = split

    def __call__(self, patient_id: str) -> str:
        """Returns `train`, `validation`, or `none` for a patient outside the pre-training data."""
        if self._known is None:
            return patient_split(patient_id)
        return self._known.get(patient_id, "none")
