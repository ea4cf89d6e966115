"""Simulates the ECG machine's measurements of a recording: intervals, axes and a report.

The machine measures the simulated parameters with an error. Where it fails it stores sentinels, at
the rates in the 800,035 rows of MIMIC-IV-ECG's machine_measurements.csv.
"""

import math

import numpy as np

from clef_jax.simulation import stream, wave
from clef_jax.simulation.heart import Heart
from clef_jax.simulation.patient import Patient
from clef_jax.simulation.recording import NUM_SAMPLES, SAMPLE_RATE_HZ
from clef_jax.simulation.rhythm import ATRIAL, VENTRICULAR, Rhythm
from clef_jax.simulation.visit import Visit

NUM_REPORTS = 18
VALUES = (
    "rr_interval", "p_onset", "p_end", "qrs_onset", "qrs_end", "t_end", "p_axis", "qrs_axis",
    "t_axis",
)  # fmt: skip
"""Columns of the measurements: intervals in ms, axes in degrees."""

NO_TIME, NO_AXIS, NO_RR = 29999, 32767, 65535
"""Sentinels for a time, an axis or an RR interval that could not be measured."""

_SOURCE_ROWS = 800_035
_NO_P_ONSET = 123_434 / _SOURCE_ROWS
_NO_P_END = 230_323 / _SOURCE_ROWS
_NO_AXIS_RATES = (7_199 / _SOURCE_ROWS, 1_440 / _SOURCE_ROWS, 1 / _SOURCE_ROWS)
_NO_RR = 5 / _SOURCE_ROWS
_FIBRILLATING_FRACTION = 0.08
"""Approximate fraction of a simulated cohort's records without a P wave."""
_P_ONSET_MS = 40
_TIME_ERROR_MS = 4.0
_AXIS_ERROR_DEGREES = 3.0


def measure(
    seed: int, patient: Patient, visit: Visit, heart: Heart, beats: Rhythm
) -> tuple[list[str], list[int]]:
    """Returns the lines of the report, at most 18, and the nine `VALUES`."""
    rng = stream.make(seed, patient.index, "measurement", visit.number)
    inside = beats.inside(NUM_SAMPLES / SAMPLE_RATE_HZ)
    onset_seconds = beats.onset_seconds[inside]
    rr_ms = round(1000.0 * float(np.diff(onset_seconds).mean()))
    errors = np.rint(_TIME_ERROR_MS * rng.normal(size=4)).astype(int)
    qrs_onset = _P_ONSET_MS + round(heart.pr_ms) + int(errors[0])
    p_onset, p_end = _P_ONSET_MS, _P_ONSET_MS + round(heart.p_duration_ms) + int(errors[1])
    qrs_end = qrs_onset + round(heart.qrs_ms) + int(errors[2])
    t_end = qrs_onset + round(heart.qt_ms) + int(3 * errors[3])
    axes = _axes_degrees(heart) + _AXIS_ERROR_DEGREES * rng.normal(size=3)
    axes = [round(float((axis + 180.0) % 360.0 - 180.0)) for axis in axes]

    uniform = rng.random(5)
    # Fibrillation explains some missing P waves; the others fail at random.
    failure_onset, failure_end = (
        max(rate - _FIBRILLATING_FRACTION, 0.0) / (1.0 - _FIBRILLATING_FRACTION)
        for rate in (_NO_P_ONSET, _NO_P_END)
    )
    if heart.fibrillating or uniform[0] < failure_onset:
        p_onset, axes[0] = NO_TIME, NO_TIME
    if heart.fibrillating or uniform[0] < failure_end:
        p_end = NO_TIME
    for axis, rate in enumerate(_NO_AXIS_RATES):
        if uniform[1 + axis] < rate:
            axes[axis] = NO_AXIS
    if uniform[4] < _NO_RR:
        rr_ms = NO_RR
    return _report(heart, beats.origin[inside]), [
        rr_ms, p_onset, p_end, qrs_onset, qrs_end, t_end, *axes
    ]  # fmt: skip


def _axes_degrees(heart: Heart) -> np.ndarray:
    """Returns the frontal axes of P, QRS and T, [3], from the summed areas of their waves."""
    waves = wave.sinus(heart)
    area = (waves.rise_seconds + waves.fall_seconds)[:, None] * wave.limb_leads_mv(waves)
    groups = (waves.centre_seconds < 0.0, ~waves.stretches & (waves.centre_seconds >= 0.0),
              waves.stretches)  # fmt: skip
    lead_i, lead_ii = np.array([area[group].sum(axis=0) for group in groups]).T
    # Einthoven's triangle: the component along aVF is (2 II - I) / sqrt(3).
    return np.rad2deg(np.arctan2((2.0 * lead_ii - lead_i) / math.sqrt(3.0), lead_i))


def _report(heart: Heart, origin: np.ndarray) -> list[str]:
    """Returns the report in the wording of the ECG machines, the overall verdict last."""
    findings = _conduction_statements(heart)
    if heart.scar != "none":
        location = heart.scar.capitalize()
        findings.append(f"{location} infarct - age undetermined")
    if heart.t_angle_degrees > 70.0 or heart.t_amplitude < 0.3:
        findings.append("Nonspecific T wave changes")
    if heart.st_level_mv < -0.06:
        findings.append("Nonspecific ST depression")
    if heart.voltage > 1.6:
        findings.append("Left ventricular hypertrophy by voltage")
    if heart.qtc_ms > 480.0 and heart.conduction == "normal":
        findings.append("Prolonged QT interval")
    extra = []
    if (origin == VENTRICULAR).any():
        extra.append("Ventricular premature complex(es)")
    if (origin == ATRIAL).any():
        extra.append("Atrial premature complex(es)")
    verdict = "Abnormal ECG" if findings else "Borderline ECG" if extra else "Normal ECG"
    if heart.fibrillating:
        verdict = "Abnormal ECG"
    return [_rhythm_statement(heart), *extra, *findings, verdict]


def _rhythm_statement(heart: Heart) -> str:
    if heart.fibrillating:
        fast = heart.heart_rate_bpm > 100.0
        return "Atrial fibrillation" + (" with rapid ventricular response" if fast else "")
    if heart.heart_rate_bpm > 100.0:
        return "Sinus tachycardia"
    return "Sinus bradycardia" if heart.heart_rate_bpm < 60.0 else "Sinus rhythm"


def _conduction_statements(heart: Heart) -> list[str]:
    statements = []
    if heart.pr_ms > 200.0 and not heart.fibrillating:
        statements.append("with 1st degree A-V block")
    if heart.conduction == "right_block":
        statements.append("Right bundle branch block")
    elif heart.conduction == "left_block":
        statements.append("Left bundle branch block")
    elif heart.qrs_ms > 114.0:
        statements.append("Nonspecific intraventricular conduction delay")
    if heart.axis_degrees < -30.0:
        statements.append("Left axis deviation")
    elif heart.axis_degrees > 95.0:
        statements.append("Right axis deviation")
    return statements
