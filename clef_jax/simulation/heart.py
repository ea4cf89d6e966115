"""Samples the electrical parameters of a heart on the day of a recording."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from clef_jax.simulation import stream
from clef_jax.simulation.coefficient import HEART, RECORD_KEEPING, Trend
from clef_jax.simulation.patient import Patient, Scar
from clef_jax.simulation.visit import Visit

Conduction = Literal["normal", "right_block", "left_block"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Heart:
    """Parameters of one recording. Amplitudes without a unit are relative to the typical wave."""

    heart_rate_bpm: float
    respiratory_variability: float
    """Amplitude of the respiratory swing of RR, over the mean RR."""
    slow_variability: float
    """Amplitude of the 0.1 Hz swing of RR, over the mean RR."""
    respiration_hz: float
    fibrillating: bool
    ventricular_ectopy: float
    """Probability that a beat is a ventricular premature one."""
    atrial_ectopy: float
    pr_ms: float
    p_duration_ms: float
    p_amplitude: float
    conduction: Conduction
    qrs_ms: float
    qt_ms: float
    axis_degrees: float
    voltage: float
    t_amplitude: float
    t_angle_degrees: float
    """Angle of the T wave from its usual direction, away from the QRS."""
    st_level_mv: float
    scar: Scar
    ectopic_azimuth_degrees: float
    """Direction of the patient's ventricular premature beats, from left towards the chest."""

    @property
    def mean_rr_seconds(self) -> float:
        """Mean RR interval."""
        return 60.0 / self.heart_rate_bpm

    @property
    def qtc_ms(self) -> float:
        """QT interval corrected after Fridericia: QT over the cube root of RR in seconds."""
        return self.qt_ms / self.mean_rr_seconds ** (1.0 / 3.0)


def sample(seed: int, patient: Patient, visit: Visit) -> Heart:
    """Samples the parameters of a patient's heart on the day of a visit.

    The patient's own deviations and conduction are the same at every visit; only the daily scatter
    is sampled from the stream of the visit.
    """
    rng = stream.make(seed, patient.index, "heart", visit.number)
    traits = patient.traits(visit.years_since_anchor)

    def value(name: str) -> float:
        trend: Trend = getattr(HEART, name)
        own, day = patient.temperament[name] * trend.scatter, rng.normal() * trend.day_scatter
        return trend.expect(traits) + own + day

    fibrillating = bool(rng.random() < RECORD_KEEPING.fibrillating_fraction) & patient.fibrillation
    rate_bpm = value("heart_rate_bpm") + HEART.fibrillation_rate_bpm * fibrillating
    # Adds the long right tail (fever, anxiety, bleeding) that a normal distribution lacks.
    rate_bpm = float(np.clip(rate_bpm + rng.exponential(5.0), 42.0, 165.0))
    conduction = _conduction(patient, traits)
    respiration_hz = float(np.clip(rng.normal(0.26, 0.05), 0.14, 0.45))
    return Heart(
        heart_rate_bpm=rate_bpm,
        respiratory_variability=min(math.exp(value("log_respiratory_variability")), 0.14),
        slow_variability=min(math.exp(value("log_slow_variability")), 0.1),
        respiration_hz=respiration_hz,
        fibrillating=fibrillating,
        ventricular_ectopy=min(math.exp(value("log_ventricular_ectopy")), 0.25),
        atrial_ectopy=0.0 if fibrillating else min(math.exp(value("log_atrial_ectopy")), 0.2),
        # PR shortens with the heart rate by about 3 ms per 10 beats per minute.
        pr_ms=float(np.clip(value("pr_ms") - 0.3 * (rate_bpm - 75.0), 104.0, 310.0)),
        p_duration_ms=float(np.clip(value("p_duration_ms"), 70.0, 150.0)),
        p_amplitude=math.exp(value("log_p_amplitude")),
        voltage=math.exp(value("log_voltage")),
        t_amplitude=max(value("t_amplitude"), 0.08),
        t_angle_degrees=float(np.clip(value("t_angle_degrees"), -40.0, 165.0)),
        st_level_mv=value("st_level_mv"),
        scar=patient.scar,
        ectopic_azimuth_degrees=150.0 * patient.temperament["log_ventricular_ectopy"],
        **_ventricles(value, conduction, rate_bpm),
    )


def _ventricles(
    value: Callable[[str], float], conduction: Conduction, rate_bpm: float
) -> dict[str, Any]:
    """Returns the parameters that depend on conduction: QRS width, QT and axis."""
    normal_qrs_ms, block_qrs_ms = value("qrs_ms"), value("block_qrs_ms")
    qrs_ms = normal_qrs_ms if conduction == "normal" else max(block_qrs_ms, 122.0)
    qrs_ms = float(np.clip(qrs_ms, 68.0, 190.0))
    widening_ms = max(qrs_ms - 100.0, 0.0)  # a longer activation delays repolarisation
    qtc_ms = float(np.clip(value("qtc_ms"), 350.0, 530.0)) + 0.6 * widening_ms
    axis_degrees = value("axis_degrees") - 20.0 * (conduction == "left_block")
    # Right axis deviation is rare in adults, because the left ventricle dominates.
    axis_degrees -= 0.6 * max(axis_degrees - 78.0, 0.0)
    return {
        "conduction": conduction,
        "qrs_ms": qrs_ms,
        "qt_ms": qtc_ms * (60.0 / rate_bpm) ** (1.0 / 3.0),  # Fridericia
        "axis_degrees": float((axis_degrees + 180.0) % 360.0 - 180.0),
    }


def _conduction(patient: Patient, traits: dict[str, float]) -> Conduction:
    """Returns the conduction: a block if its probability exceeds the patient's threshold."""

    def passed(name: str) -> bool:
        threshold = 0.5 * (1.0 + math.erf(patient.temperament[name] / math.sqrt(2.0)))
        return threshold < getattr(HEART, name).probability(traits)

    if passed("left_block"):
        return "left_block"
    return "right_block" if passed("right_block") else "normal"
