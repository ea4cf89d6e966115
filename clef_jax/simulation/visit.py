"""When one patient had an ECG, and under which numbers the recordings are filed."""

import dataclasses
import datetime

import numpy as np

from clef_jax.simulation import stream
from clef_jax.simulation.coefficient import RECORD_KEEPING
from clef_jax.simulation.patient import Patient

MAX_VISITS = 20
"""MIMIC-IV-ECG's maximum is 260; a simulated cohort has no use for such a tail."""

_LAST_YEAR = 2200
_PRIME = 9_999_991
"""The largest prime below ten million: multiplying modulo it shuffles serial numbers uniquely."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Visit:
    """One ECG study."""

    number: int
    study_id: int
    time: datetime.datetime
    years_since_anchor: int
    """Calendar years, the way that ages at the ECG are computed from MIMIC-IV's anchor."""
    path: str
    """The record's path inside the cohort's folder, without extension."""


def shuffled_serial(patient: Patient, number: int, *, multiplier: int) -> int:
    """A number below ten million that no other pair of patient and number has."""
    return (patient.index * MAX_VISITS + number + 1) * multiplier % _PRIME


def draw(seed: int, patient: Patient, records_per_patient: float) -> list[Visit]:
    """Draws a patient's ECG studies in the order of time."""
    rng = stream.make(seed, patient.index, "visit")
    start = datetime.datetime(patient.anchor_year, 1, 1)
    first = start + datetime.timedelta(minutes=int(rng.integers(0, 2 * 365 * 24 * 60)))
    times = [first]
    for _ in range(_draw_count(rng, records_per_patient) - 1):
        soon = rng.random() < RECORD_KEEPING.same_stay_fraction
        gap_days = 0.02 + rng.exponential(1.5 if soon else 300.0)
        later = times[-1] + datetime.timedelta(minutes=int(gap_days * 24 * 60))
        if later.year <= _LAST_YEAR:
            times.append(later)
    return [_file(patient, number, time) for number, time in enumerate(times)]


def _draw_count(rng: np.random.Generator, mean: float) -> int:
    """One study in the source's share of single visits, else two or more, geometrically."""
    # A mean that the source's share cannot give has more single visits and none above two.
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
