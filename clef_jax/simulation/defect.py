"""Plants faults in recordings at MIMIC-IV-ECG's rates, and lists them to test a reader.

Rates: counts of a public validation of all 800,035 records of MIMIC-IV-ECG 1.0.
"""

import dataclasses
from typing import Literal

import numpy as np

from clef_jax.signal.adc import MISSING_ADC, RAIL_ADC
from clef_jax.simulation import stream
from clef_jax.simulation.patient import Patient
from clef_jax.simulation.recording import LEADS, NUM_SAMPLES
from clef_jax.simulation.visit import Visit

Kind = Literal["nan_run", "flat_lead", "rail_run"]

_SOURCE_RECORDS = 800_035
RATES: dict[Kind, float] = {
    "nan_run": 10_554 / _SOURCE_RECORDS,
    "flat_lead": 1_950 / _SOURCE_RECORDS,
    "rail_run": 989 / _SOURCE_RECORDS,
}
"""Fraction of records with missing samples, an all-zero lead, or values at the ADC's limit."""

MAX_MULTIPLIER = 1.0 / sum(RATES.values())
"""Multiplier at which every record has a fault."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlantedFault:
    """Fault that was planted in a recording."""

    path: str
    """Path of the recording in the cohort."""
    kind: Kind
    """Problem code of the fault."""
    lead: str
    """Name of the lead."""


def plant(
    seed: int, patient: Patient, visit: Visit, adc: np.ndarray, *, rate_multiplier: float
) -> tuple[np.ndarray, PlantedFault | None]:
    """Plants a fault in one lead of some recordings.

    Args:
        adc: recording, int16 [12, T] in `LEADS` order; not changed.
        rate_multiplier: factor applied to `RATES`.

    Returns:
        The recording to store, and its fault or None.
    """
    rng = stream.make(seed, patient.index, "defect", visit.number)
    uniform, lead = rng.random(), int(rng.integers(len(LEADS)))
    for kind, rate in RATES.items():
        uniform -= rate * rate_multiplier
        if uniform < 0.0:
            faulty = adc.copy()
            faulty[lead] = _make_faulty(kind, faulty[lead], rng)
            return faulty, PlantedFault(path=visit.path, kind=kind, lead=LEADS[lead])
    return adc, None


def _make_faulty(kind: Kind, lead_adc: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    lead_adc = lead_adc.copy()
    length = int(rng.integers(20, 500))
    start = int(rng.integers(NUM_SAMPLES - length))
    if kind == "nan_run":
        lead_adc[start : start + length] = MISSING_ADC
    elif kind == "rail_run":
        lead_adc[start : start + length] = RAIL_ADC if rng.random() < 0.5 else -RAIL_ADC
    else:
        lead_adc[:] = 0
    return lead_adc
