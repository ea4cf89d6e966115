"""Simulates a ten-second 12-lead recording in ADC units from the heart's parameters.

Shapes: T time, B beats, W waves.
"""

import dataclasses

import numpy as np

from clef_jax.signal.adc import RAIL_ADC
from clef_jax.simulation import dipole, noise, rhythm, stream, wave
from clef_jax.simulation.heart import Heart
from clef_jax.simulation.patient import Patient
from clef_jax.simulation.rhythm import Rhythm
from clef_jax.simulation.visit import Visit
from clef_jax.simulation.wave import Waves

LEADS = ("I", "II", "III", "aVR", "aVF", "aVL", "V1", "V2", "V3", "V4", "V5", "V6")
"""MIMIC-IV-ECG's order: aVF before aVL."""
SAMPLE_RATE_HZ = 500
NUM_SAMPLES = 5000
GAIN_PER_MV = 200

_DURATION_SECONDS = NUM_SAMPLES / SAMPLE_RATE_HZ
_BEFORE_SECONDS, _AFTER_SECONDS = 0.4, 0.9
"""Time before and after the QRS onset that the waves of a beat cover."""
_RESPIRATORY_GAIN = 0.035
"""Relative amplitude of the respiratory modulation of all waves."""
_BREATH_DRIFT_MV = 0.02
"""Typical amplitude of the respiratory baseline modulation."""
_FIBRILLATION_MV = 0.055
_LONGEST_QT_STRETCH = 0.12
"""Exponent of the beat-to-beat dependence of QT on the last RR; QT itself holds slow adaptation."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recording:
    """Recording and its beats."""

    adc: np.ndarray
    """Samples, int16 [12, T] in `LEADS` order, 200 ADC units per millivolt."""
    rhythm: Rhythm


def record(seed: int, patient: Patient, visit: Visit, heart: Heart) -> Recording:
    """Returns the recording of a patient's heart at a visit."""
    own = stream.make(seed, patient.index, "recording", 0)
    torso = dipole.sample_torso(own)  # the same stream at every visit: the chest stays the same
    rng = stream.make(seed, patient.index, "recording", visit.number + 1)
    beats = rhythm.schedule(heart, rng, _DURATION_SECONDS)
    # Electrode positions differ from visit to visit.
    lead_vector = torso * np.exp(rng.normal(0.0, 0.03, (8, 1)))
    projected_mv = heart_potential(heart, beats, lead_vector)
    time_seconds = np.arange(NUM_SAMPLES) / SAMPLE_RATE_HZ
    breath = np.sin(2.0 * np.pi * heart.respiration_hz * time_seconds + beats.respiration_phase)
    if heart.fibrillating:
        projected_mv += _sample_fibrillation(rng, time_seconds, lead_vector)
    electrode_mv = noise.sample(rng, len(dipole.ELECTRODES), NUM_SAMPLES, SAMPLE_RATE_HZ)
    swing_mv = _BREATH_DRIFT_MV * rng.normal(size=len(dipole.ELECTRODES))
    electrode_mv += swing_mv[:, None] * breath[None, :]
    projected_mv *= 1.0 + _RESPIRATORY_GAIN * breath[None, :]
    projected_mv += dipole.ELECTRODE_TO_LEAD @ electrode_mv
    return Recording(adc=digitise(projected_mv), rhythm=beats)


def heart_potential(heart: Heart, beats: Rhythm, lead_vector: np.ndarray) -> np.ndarray:
    """Returns the noise-free signal of all beats in mV, [8, T] in `dipole.PROJECTED` order."""
    signal_mv = np.zeros((NUM_SAMPLES, len(dipole.PROJECTED)))
    for waves, chosen in (
        (wave.sinus(heart), beats.origin != rhythm.VENTRICULAR),
        (wave.ventricular(heart), beats.origin == rhythm.VENTRICULAR),
    ):
        amplitude_mv = dipole.project(waves.vector_mv, waves.place_cm, lead_vector)  # [W, 8]
        first, shapes = _wave_shapes(heart, waves, beats, chosen)
        for start, complex_mv in zip(first, shapes @ amplitude_mv, strict=True):
            begin, end = max(start, 0), min(start + len(complex_mv), NUM_SAMPLES)
            if begin < end:
                signal_mv[begin:end] += complex_mv[begin - start : end - start]
    return signal_mv.T


def _wave_shapes(
    heart: Heart, waves: Waves, beats: Rhythm, chosen: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the first sample of each chosen beat, [B], and its waves, [B, samples, W]."""
    onset_seconds = beats.onset_seconds[chosen]
    first = np.floor((onset_seconds - _BEFORE_SECONDS) * SAMPLE_RATE_HZ).astype(int)
    num_span = round((_BEFORE_SECONDS + _AFTER_SECONDS) * SAMPLE_RATE_HZ)
    clock_seconds = (first[:, None] + np.arange(num_span)[None, :]) / SAMPLE_RATE_HZ
    local_seconds = clock_seconds - onset_seconds[:, None]  # [B, samples]
    relative_rr = beats.rr_seconds[chosen] / heart.mean_rr_seconds
    stretch = np.clip(relative_rr, 0.5, 1.6) ** _LONGEST_QT_STRETCH
    stretch = np.where(waves.stretches[None, :], stretch[:, None], 1.0)  # [B, W]
    from_centre = local_seconds[:, :, None] - (waves.centre_seconds[None, :] * stretch)[:, None, :]
    width = np.where(
        from_centre < 0.0, waves.rise_seconds[None, None, :], waves.fall_seconds[None, None, :]
    )
    return first, np.exp(-0.5 * (from_centre / (width * stretch[:, None, :])) ** 2)


def _sample_fibrillation(
    rng: np.random.Generator, time_seconds: np.ndarray, lead_vector: np.ndarray
) -> np.ndarray:
    """Samples f waves, [8, T], of 4 to 9 Hz and varying strength, largest in V1 and II."""
    frequency_hz, strength = rng.uniform(4.5, 8.0), np.exp(rng.normal(0.0, 0.45))
    vector_mv = _FIBRILLATION_MV * strength * np.array([[-0.45, 0.55, -0.7], [0.3, 0.5, 0.2]])
    amplitude_mv = dipole.project(vector_mv, np.tile([-3.0, -3.0, 0.5], (2, 1)), lead_vector)
    wobble = rng.uniform(0.0, 2.0 * np.pi, 6)
    slow = 2.0 * np.pi * time_seconds
    shapes = []
    for part in range(2):
        bend = 1.5 * np.sin(0.31 * slow + wobble[part]) + 0.9 * np.sin(
            1.1 * slow + wobble[part + 2]
        )
        phase = frequency_hz * slow + bend + wobble[part + 4]
        swell = 1.0 + 0.35 * np.sin(0.23 * slow + wobble[part])
        shapes.append(swell * (np.sin(phase) + 0.3 * np.sin(2.0 * phase)))
    return amplitude_mv.T @ np.stack(shapes)


def digitise(projected_mv: np.ndarray) -> np.ndarray:
    """Converts millivolts [8, T] to ADC units, int16 [12, T] in `LEADS` order.

    III and the augmented leads are computed from the rounded I and II, as in ECG machines, so that
    III = II - I holds exactly and the other identities hold to half a unit.
    """
    rounded = np.clip(np.rint(projected_mv * GAIN_PER_MV), -RAIL_ADC, RAIL_ADC)
    i, ii, chest = rounded[0], rounded[1], rounded[2:]
    limb = [i, ii, ii - i, -(i + ii) / 2, ii - i / 2, i - ii / 2]
    return np.clip(np.rint(np.vstack([*limb, chest])), -RAIL_ADC, RAIL_ADC).astype(np.int16)
