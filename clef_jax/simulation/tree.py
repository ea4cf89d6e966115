"""Writes the folder of a cohort patient by patient: MIMIC-IV-ECG 1.0 with MIMIC-IV's tables.

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
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from clef_jax import files
from clef_jax.errors import UserError
from clef_jax.simulation import hospital, measurement, waveform
from clef_jax.simulation.defect import PlantedFault
from clef_jax.simulation.patient import Patient
from clef_jax.simulation.visit import Visit

MARKER = "SIMULATED.txt"
"""File that marks a folder as simulated, so that it may be replaced."""
_HALF = ".half"
"""Name, or end of the name, of the folder that a run fills."""

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
    ("cart_id", "The ECG machine"),
    ("ecg_time", "Date and time on the ECG machine's clock"),
    ("report_0 ... report_17", "Lines of the machine's report"),
    ("bandwidth", "Bandwidth of the ECG machine"),
    ("filtering", "Filters of the ECG machine"),
    ("rr_interval", "Mean time between beats (ms)"),
    ("p_onset", "Start of the P wave (ms)"),
    ("p_end", "End of the P wave (ms)"),
    ("qrs_onset", "Start of the QRS complex (ms)"),
    ("qrs_end", "End of the QRS complex (ms)"),
    ("t_end", "End of the T wave (ms)"),
    ("p_axis", "Frontal axis of the P wave (degrees)"),
    ("qrs_axis", "Frontal axis of the QRS complex (degrees)"),
    ("t_axis", "Frontal axis of the T wave (degrees)"),
)
_BANDWIDTH, _FILTERING = "0.005-150 Hz", "60 Hz notch Baseline filter"
_FIRST_CART, _NUM_CARTS = 6_848_296, 40
_NOTED_PER_MILLE = 762
"""Recordings in a thousand with a cardiologist's note: 609,272 of MIMIC-IV-ECG's 800,035."""


def planted_path(out: pathlib.Path) -> pathlib.Path:
    """Returns the path of the list of planted faults, outside the cohort's folder."""
    return out.parent / f"planted_{out.name}.csv"


@contextlib.contextmanager
def new_folder(out: pathlib.Path, *, overwrite: bool) -> Iterator[pathlib.Path]:
    """Yields an empty temporary folder, whose content is in `out` when the block ends.

    A simulated cohort in `out` is replaced if `overwrite` is set. If the block raises, `out` has
    the content that it had before.

    Raises:
        UserError: `out` is not empty, and is not a simulated cohort or may not be overwritten; or
            the folder cannot be written, for example because the disk is full.
    """
    # An existing folder stays: it may be a mount point, or the working folder of the user.
    exists = out.is_dir()
    half = out / _HALF if exists else out.with_name(f".{out.name}{_HALF}")
    _check_replaceable(out, overwrite=overwrite)
    try:
        with files.writing(out, half):
            shutil.rmtree(half, ignore_errors=True)
            half.mkdir(parents=True)
            yield half
            if exists:
                _replace_content(out, half)
            else:
                half.rename(out)
    finally:
        shutil.rmtree(half, ignore_errors=True)


def _replace_content(folder: pathlib.Path, half: pathlib.Path) -> None:
    """Moves the content of `half`, a folder in `folder`, one level up instead of all else."""
    for path in folder.iterdir():
        if path.name not in (_HALF, MARKER):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    # The marker first, so that the folder may be replaced if the program is killed here.
    for path in sorted(half.iterdir(), key=lambda path: path.name != MARKER):
        path.replace(folder / path.name)


def _check_replaceable(out: pathlib.Path, *, overwrite: bool) -> None:
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file; choose another --out.")
    if out.exists() and any(path.name != _HALF for path in out.iterdir()):
        if not (out / MARKER).is_file():
            raise UserError(
                f"{out} is not empty and was not written by this command, so it is not replaced; "
                "choose another --out.",
                problem="foreign_folder",
            )
        if not overwrite:
            raise UserError(
                f"{out} already holds a simulated cohort; choose another --out, or replace it "
                "with --overwrite.",
                problem="already_simulated",
            )


def check_planted(out: pathlib.Path) -> None:
    """Raises an error if a file that is no list of planted faults has the name of that of `out`.

    Raises:
        UserError: such a file exists.
    """
    path = planted_path(out)
    files.check_output(
        path, lambda file: files.starts_with(file, _PLANTED_COLUMNS), can_overwrite=False
    )


class Tree:
    """Writes patients one after the other; a context manager that closes the tables."""

    def __init__(self, out: pathlib.Path, description: str):
        """Opens the tables in the empty folder `out`.

        Args:
            description: content of `MARKER`.
        """
        self.planted: list[PlantedFault] = []
        """The faults of the recordings that were written."""
        self._out = out
        self._open_files = contextlib.ExitStack()
        (out / MARKER).write_text(description, newline="\n")
        (out / "hosp").mkdir()
        self._tables = {
            name: self._table(out / name, columns) for name, columns in _COLUMNS.items()
        }
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
            self.planted.append(defect)

    def write_planted(self, path: pathlib.Path) -> None:
        """Writes the list of planted faults."""
        rows = [f"{fault.path},{fault.kind},{fault.lead}" for fault in self.planted]
        files.write_bytes(path, ("\n".join([_PLANTED_COLUMNS, *rows]) + "\n").encode())

    def _table(self, path: pathlib.Path, columns: str) -> Any:
        """Returns a CSV writer on a file that is closed with the tree."""
        raw = self._open_files.enter_context(path.open("wb"))
        if path.suffix == ".gz":
            # No name and no time in the file, so that equal tables are equal bytes.
            raw = gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=raw, mtime=0)
            self._open_files.enter_context(raw)
        text = self._open_files.enter_context(io.TextIOWrapper(raw, encoding="utf-8", newline=""))
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(columns.split(","))
        return writer
