"""Keeps pre-training and evaluation apart: whom to leave out, and who was not left out."""

import pathlib

import duckdb
import numpy as np

from clef_jax.building import table
from clef_jax.building.listing import split_of
from clef_jax.data import index, raw
from clef_jax.errors import UserError

_DATASET = "mimic_iv_ecg"
_CONFIGS = ("one_per_patient", "all_records")


def leave_out(database: duckdb.DuckDBPyConnection, path: pathlib.Path) -> dict[str, str]:
    """Removes the patients of the recordings in a table from `record`.

    Every cell that holds a path like files/p1000/p10000032/... counts.

    Returns:
        Lines of the summary.

    Raises:
        UserError: the table names no recording.
    """
    columns = table.column_names(path)
    table.view(database, "left_out_source", path, columns)
    cells = ", ".join(f'"{column}"' for column in columns)
    database.execute(
        "CREATE TABLE left_out AS SELECT DISTINCT TRY_CAST(regexp_extract("
        f"concat_ws(' ', {cells}), 'files/(?:p\\d+/)?p(\\d{{5,}})/', 1) AS BIGINT) AS subject "
        "FROM left_out_source"
    )
    ((named,),) = database.execute("SELECT count(subject) FROM left_out").fetchall()
    if not named:
        raise UserError(
            f"The table {path} holds no path like files/p1000/p10000032/.", problem="no_paths"
        )
    count = (
        "SELECT count(*), count(DISTINCT subject) FROM record SEMI JOIN left_out USING (subject)"
    )
    ((records, patients),) = database.execute(count).fetchall()
    database.execute(
        "DELETE FROM record WHERE subject IN (SELECT subject FROM left_out WHERE subject NOT NULL)"
    )
    return {"left out by --leave-out": f"{records:,} recordings of {patients:,} patients"}


class Splits:
    """In which split of the pre-training data a patient is."""

    def __init__(self, data_dir: pathlib.Path):
        """Looks at what is prepared in the data folder; else answers what would be."""
        prepared = set(index.prepared(data_dir)) & {f"{_DATASET}/{name}" for name in _CONFIGS}
        self.words = ", ".join(sorted(prepared)) or "not prepared yet; told by the patient's hash"
        self._known: dict[str, str] | None = {} if prepared else None
        for dataset in sorted(prepared):
            folder = index.find(data_dir, dataset)
            for split in ("validation", "train"):  # in train anywhere is in train
                if split in index.splits(folder):
                    self._add(index.load(folder, split), split)

    def _add(self, one: index.Index, split: str) -> None:
        assert self._known is not None
        firsts = one.row[np.asarray(one.patient_offset[:-1])]
        for name in raw.Reader(one).texts(firsts, "patient_id"):
            if split == "train" or name not in self._known:
                self._known[name] = split

    def __call__(self, patient_id: str) -> str:
        if self._known is None:
            return split_of(patient_id)
        return self._known.get(patient_id, "none")
