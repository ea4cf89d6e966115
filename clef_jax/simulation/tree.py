"""The folder of a cohort: MIMIC-IV-ECG 1.0 with MIMIC-IV's tables beside it, written as a stream.

files/p1000/p10000032/s40689238/40689238.hea .dat
record_list.csv, machine_measurements.csv, ... RECORDS
hosp/patients.csv.gz, admissions, diagnoses_icd, omr, labevents
"""

import contextlib
import csv
import gzip
import io
import pathlib
import shutil
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from clef_jax.errors import UserError
from clef_jax.simulation import hospital, measurement, waveform
from clef_jax.simulation.defect import PlantedFault
from clef_jax.simulation.patient import Patient
from clef_jax.simulation.visit import Visit

MARKER = "SIMULATED.txt"
"""Says that nobody in this folder exists, and that the folder may be replaced."""

_REPORTS = ",".join(f"report_{number}" for number in range(measurement.NUM_REPORTS))
_COLUMNS = {
    "record_list.csv": "subject_id,study_id,file_name,ecg_time,path",
    "machine_measurements.csv": (
        f"subject_id,study_id,cart_id,ecg_time,{_REPORTS},bandwidth,filtering,"
        + ",".join(measurement.VALUES)
    ),
    "waveform_note_links.csv": "subject_id,study_id,waveform_path,note_id,note_seq,charttime",
    **{f"hosp/{name}.csv.gz": columns for name, columns in hospital.COLUMNS.items()},
}
_PLANTED_COLUMNS = "path,defect,lead"
_DICTIONARY_COLUMNS = "Variable,Description"
_DICTIONARY = (
    ("subject_id", "The patient"),
    ("study_id", "The recording"),
    ("cart_id", "The cart that recorded"),
    ("ecg_time", "Date and time on the cart's clock"),
    ("report_0 ... report_17", "Lines of the machine's report"),
    ("bandwidth", "Bandwidth of the cart"),
    ("filtering", "Filters of the cart"),
    ("rr_interval", "Mean time between beats (ms)"),
    ("p_onset", "Begin of the P wave (ms)"),
    ("p_end", "End of the P wave (ms)"),
    ("qrs_onset", "Begin of the QRS complex (ms)"),
    ("qrs_end", "End of the QRS complex (ms)"),
    ("t_end", "End of the T wave (ms)"),
    ("p_axis", "Frontal axis of the P wave (degrees)"),
    ("qrs_axis", "Frontal axis of the QRS complex (degrees)"),
    ("t_axis", "Frontal axis of the T wave (degrees)"),
)
_BANDWIDTH, _FILTERING = "0.005-150 Hz", "60 Hz notch Baseline filter"
_FIRST_CART, _NUM_CARTS = 6_848_296, 40
_NOTED_PER_MILLE = 762
"""609,272 of MIMIC-IV-ECG's 800,035 recordings have a cardiologist's note."""


def planted_path(out: pathlib.Path) -> pathlib.Path:
    """The list of planted defects: beside the cohort, where no reader of the cohort sees it."""
    return out.parent / f"planted_{out.name}.csv"


def make_room(out: pathlib.Path, *, overwrite: bool) -> None:
    """Makes sure that `out` is an empty folder.

    Raises:
        UserError: it holds something, and is no simulated cohort or may not be overwritten.
    """
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file; choose another --out.")
    if out.exists() and any(out.iterdir()):
        if not (out / MARKER).is_file():
            raise UserError(
                f"{out} is not empty and was not written by this command, so it is left alone; "
                "choose another --out.",
                problem="foreign_folder",
            )
        if not overwrite:
            raise UserError(
                f"{out} already holds a simulated cohort; choose another --out, or replace it "
                "with --overwrite.",
                problem="already_simulated",
            )
        shutil.rmtree(out)
    out.mkdir(parents=True, exist_ok=True)


class Tree:
    """Writes patients one after the other; a context, which closes the tables."""

    def __init__(self, out: pathlib.Path, description: str):
        """Begins the tables in the empty folder `out`.

        Args:
            description: what `MARKER` says about the cohort.
        """
        self._out = out
        self._open_files = contextlib.ExitStack()
        # First of all files, so that an interrupted run leaves a folder that may be replaced.
        (out / MARKER).write_text(description, newline="\n")
        (out / "hosp").mkdir()
        self._tables = {
            name: self._table(out / name, columns) for name, columns in _COLUMNS.items()
        }
        self._planted = self._table(planted_path(out), _PLANTED_COLUMNS)
        dictionary = out / "machine_measurements_data_dictionary.csv"
        self._table(dictionary, _DICTIONARY_COLUMNS).writerows(_DICTIONARY)
        self._records = self._open_files.enter_context((out / "RECORDS").open("w", newline="\n"))

    def __enter__(self) -> "Tree":
        return self

    def __exit__(self, *exception: Any) -> None:
        self._open_files.close()

    def write_patient(self, rows: Mapping[str, Iterable[hospital.Row]]) -> None:
        """Adds a patient's rows to the hospital's tables."""
        for name, table_rows in rows.items():
            self._tables[f"hosp/{name}.csv.gz"].writerows(table_rows)

    def write_record(
        self,
        patient: Patient,
        visit: Visit,
        adc: np.ndarray,
        measured: tuple[list[str], list[int]],
        defect: PlantedFault | None,
    ) -> None:
        """Adds a recording, int16 [12, T], to the folder and to every list."""
        subject_id, study_id, time = patient.subject_id, visit.study_id, visit.time
        waveform.write(self._out / visit.path, adc, time)
        self._records.write(f"{visit.path}\n")
        self._tables["record_list.csv"].writerow([subject_id, study_id, study_id, time, visit.path])
        report, values = measured
        report = report + [""] * (measurement.NUM_REPORTS - len(report))
        self._tables["machine_measurements.csv"].writerow(
            [subject_id, study_id, _FIRST_CART + study_id % _NUM_CARTS, time, *report,
             _BANDWIDTH, _FILTERING, *values]
        )  # fmt: skip
        if study_id % 1000 < _NOTED_PER_MILLE:
            number = visit.number + 1
            self._tables["waveform_note_links.csv"].writerow(
                [subject_id, study_id, visit.path, f"{subject_id}-EK-{number}", number, time]
            )
        if defect is not None:
            self._planted.writerow([defect.path, defect.kind, defect.lead])

    def _table(self, path: pathlib.Path, columns: str) -> Any:
        """A csv writer on a file that is closed with the tree."""
        raw = self._open_files.enter_context(path.open("wb"))
        if path.suffix == ".gz":
            # Without a name and a time of its own, so that equal tables are equal bytes.
            raw = gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=raw, mtime=0)
            self._open_files.enter_context(raw)
        text = self._open_files.enter_context(io.TextIOWrapper(raw, encoding="utf-8", newline=""))
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(columns.split(","))
        return writer
