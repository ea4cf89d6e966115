"""Writes a small simulated source folder of MIMIC-IV-ECG 1.0 and MIMIC-IV with typical faults.

The cohort is that of `python -m clef_jax.simulate`, to which faults of a download are added.
"""

import csv
import os
import pathlib

import numpy as np

from clef_jax import simulate
from clef_jax.signal.adc import to_mv
from clef_jax.simulation import recording, tree
from clef_jax.simulation.fixture import Fixture, Stored

_PROBLEM_OF_DEFECT = {"nan_run": "nan_run", "flat_lead": "flat_lead", "rail_run": "clipped"}
_RECORDS_PER_PATIENT = 1.6


def write(source: pathlib.Path, num_patients: int = 30) -> Fixture:
    """Writes the cohort, and adds a different fault to each of the last listed recordings."""
    settings = simulate.SimulateConfig(
        out=source,
        patients=num_patients,
        records_per_patient=_RECORDS_PER_PATIENT,
        defect_rate_multiplier=8.0,
    )
    simulate.simulate(settings)
    made = Fixture(source=source, config="all_records")
    listed = source / "record_list.csv"
    rows = list(csv.DictReader(listed.read_text().splitlines()))
    for row in rows:
        made.stored[row["path"]] = _stored(source, row)
    spoilt = _plant_written(made, tree.planted_path(source))
    intact = [row["path"] for row in rows if row["path"] not in spoilt]
    _break_files(made, intact)
    with listed.open("a") as stream:
        stream.write(f"{','.join(rows[0].values())}\n\nnot,a,row\n")
    made.plant(rows[0]["path"], "duplicate_record", "quarantined")
    made.plant("record_list.csv line", "bad_row", "quarantined")
    return made


def _stored(source: pathlib.Path, row: dict[str, str]) -> Stored:
    adc = np.fromfile(source / f"{row['path']}.dat", "<i2")
    adc = adc.reshape(-1, len(recording.LEADS)).T
    signal_mv = to_mv(adc, recording.GAIN_PER_MV, 0, np.float64)
    return Stored(
        signal_mv=signal_mv,
        lead_names=recording.LEADS,
        sample_rate_hz=float(recording.SAMPLE_RATE_HZ),
        patient_id=row["subject_id"],
    )


def _plant_written(made: Fixture, planted: pathlib.Path) -> set[str]:
    """Expects the faults that the simulation listed; returns the paths of their recordings."""
    defects = list(csv.DictReader(planted.read_text().splitlines()))
    for defect in defects:
        usable = defect["defect"] != "flat_lead"
        problem = _PROBLEM_OF_DEFECT[defect["defect"]]
        made.plant(defect["path"], problem, "kept" if usable else "lead_unusable")
    return {defect["path"] for defect in defects}


def _break_files(made: Fixture, intact: list[str]) -> None:
    truncated, no_signal, no_header, rate, lead, unit = intact[-6:]

    def file(path: str, extension: str) -> pathlib.Path:
        return made.source / f"{path}.{extension}"

    def edit(path: str, old: str, new: str) -> None:
        text = file(path, "hea").read_text()
        file(path, "hea").write_text(text.replace(old, new))

    os.truncate(file(truncated, "dat"), 100_000)
    file(no_signal, "dat").unlink()
    file(no_header, "hea").unlink()
    edit(rate, " 12 500 5000", " 12 250 5000")
    edit(lead, " 0 aVF", " 0 aVX")
    edit(unit, "(0)/mV", "(0)/uV")
    made.lose(truncated, "truncated")
    made.lose(no_signal, "missing_file")
    made.lose(no_header, "missing_file")
    made.lose(rate, "wrong_rate")
    made.lose(lead, "unknown_lead")
    made.lose(unit, "wrong_units")
