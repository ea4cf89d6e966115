"""Samples the ECG studies of a patient: times, study ids and paths."""

import dataclasses
import datetime

import numpy as np

from clef_jax.simulation import stream
from clef_jax.simulation.coefficient import RECORD_KEEPING
from clef_jax.simulation.patient import Patient

MAX_VISITS = 20
"""Largest number of studies per patient (260 in MIMIC-IV-ECG)."""

_LAST_YEAR = 2200
_PRIME = 9_999_991
"""The largest prime below ten million: multiplying modulo it shuffles serial numbers uniquely."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Visit:
    """One ECG study."""

    number: int
    """Number of the study among those of the patient, from 0."""
    study_id: int
    time: datetime.datetime
    years_since_anchor: int
    """Calendar years since MIMIC-IV's anchor year, from which ages at the ECG are computed."""
    path: str
    """Path of the record inside the cohort's folder, without extension."""


def shuffled_serial(patient: Patient, number: int, *, multiplier: int) -> int:
    """Returns a number below ten million that is unique to the pair of patient and number."""
    return (patient.index * MAX_VISITS + number + 1) * multiplier % _PRIME


def sample(seed: int, patient: Patient, records_per_patient: float) -> list[Visit]:
    """Samples a patient's ECG studies in the order of time."""
    rng = stream.make(seed, patient.index, "visit")
    start = datetime.datetime(patient.anchor_year, 1, 1)
    first = start + datetime.timedelta(minutes=int(rng.integers(0, 2 * 365 * 24 * 60)))
    times = [first]
    for _ in range(_sample_count(rng, records_per_patient) - 1):
        soon = rng.random() < RECORD_KEEPING.same_stay_fraction
        gap_days = 0.02 + rng.exponential(1.5 if soon else 300.0)
        later = times[-1] + datetime.timedelta(minutes=int(gap_days * 24 * 60))
        if later.year <= _LAST_YEAR:
            times.append(later)
    return [_file(patient, number, time) for number, time in enumerate(times)]


def _sample_count(rng: np.random.Generator, mean: float) -> int:
    """Samples the number of studies: one at the source's rate, otherwise two or more, geometric."""
    # A smaller mean than that rate allows has more single visits, and otherwise two.
    single = max(RECORD_KEEPING.single_visit_fraction, 2.0 - mean)
    alone = rng.random() < single
    further_mean = (mean - single) / (1.0 - single) - 1.0 if single < 1.0 else 1.0
    further = int(rng.geometric(1.0 / max(further_mean, 1.0)))
    return 1 if alone else min(1 + further, MAX_VISITS)


def _file(patient: Patient, number: int, time: datetime.datetime) -> Visit:
    study_id = 40_000_000 + shuffled_serial(patient, number, multiplier=6_180_339)
    subject = f"p{patient.subject_id}"
    return Visit(
        number=number,
        study_id=study_id,
        time=time.replace(microsecond=0),
        years_since_anchor=time.year - patient.anchor_year,
        path=f"files/{subject[:5]}/{subject}/s{study_id}/{study_id}",
    )
