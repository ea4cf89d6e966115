"""Samples beat times: sinus rhythm with variability, ectopic beats and atrial fibrillation."""

import dataclasses
import math

import numpy as np

from clef_jax.simulation.heart import Heart

SINUS, ATRIAL, VENTRICULAR = 0, 1, 2
"""Origin of a beat."""

_SLOW_HZ = 0.1
_FIRST_SECONDS = -2.0
"""Start of the schedule; negative, so that the recording also holds T waves of earlier beats."""
_REFRACTORY_SECONDS = 0.28


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rhythm:
    """Beats from two seconds before a recording to one second after it.

    Shapes: B beats.
    """

    onset_seconds: np.ndarray
    """Time of each QRS onset after the first sample of the recording, [B]."""
    origin: np.ndarray
    """Origin of each beat, [B]: SINUS (also conducted fibrillation), ATRIAL or VENTRICULAR."""
    rr_seconds: np.ndarray
    """Time since the previous beat, [B]."""
    respiration_phase: float
    """Phase in radians of the respiration, which modulates RR, amplitude and baseline."""

    def inside(self, duration_seconds: float) -> np.ndarray:
        """Returns a mask, bool [B], of the beats that start inside the recording."""
        return (self.onset_seconds >= 0.0) & (self.onset_seconds < duration_seconds)


def schedule(heart: Heart, rng: np.random.Generator, duration_seconds: float) -> Rhythm:
    """Samples the beats of one recording."""
    phases = rng.uniform(0.0, 2.0 * math.pi, 2)
    end_seconds = duration_seconds + 1.0
    sample = _sample_fibrillation if heart.fibrillating else _sample_sinus
    beats = sample(heart, rng, phases, end_seconds)
    onset_seconds = np.array([beat[0] for beat in beats])
    rr_seconds = np.diff(onset_seconds, prepend=onset_seconds[0] - heart.mean_rr_seconds)
    return Rhythm(
        onset_seconds=onset_seconds,
        origin=np.array([beat[1] for beat in beats]),
        rr_seconds=rr_seconds,
        respiration_phase=float(phases[0]),
    )


def _sample_sinus(
    heart: Heart, rng: np.random.Generator, phases: np.ndarray, end_seconds: float
) -> list[tuple[float, int]]:
    """Samples sinus rhythm with ectopy; only atrial beats reset the sinus node."""
    clock_seconds = _FIRST_SECONDS + rng.uniform(0.0, heart.mean_rr_seconds)
    beats: list[tuple[float, int]] = []
    blocked = False
    while clock_seconds < end_seconds:
        if not blocked:
            beats.append((clock_seconds, SINUS))
        rr_seconds = _sinus_rr_seconds(heart, rng, phases, clock_seconds)
        premature, kind, coupling = rng.random(), rng.random(), rng.uniform(0.55, 0.72)
        premature_seconds = clock_seconds + max(coupling * rr_seconds, 0.36)
        ectopy = heart.ventricular_ectopy + heart.atrial_ectopy
        has_room = not blocked and premature_seconds < clock_seconds + 0.85 * rr_seconds
        blocked = False
        if has_room and premature < ectopy:
            if kind * ectopy < heart.ventricular_ectopy:
                beats.append((premature_seconds, VENTRICULAR))
                blocked = True  # the next sinus impulse finds the ventricles refractory
            else:
                beats.append((premature_seconds, ATRIAL))
                rr_seconds += premature_seconds - clock_seconds
        clock_seconds += rr_seconds
    return beats


def _sinus_rr_seconds(
    heart: Heart, rng: np.random.Generator, phases: np.ndarray, time_seconds: float
) -> float:
    radians = 2.0 * math.pi * time_seconds
    modulation = heart.respiratory_variability * math.sin(
        heart.respiration_hz * radians + phases[0]
    )
    modulation += heart.slow_variability * math.sin(_SLOW_HZ * radians + phases[1])
    return heart.mean_rr_seconds * (1.0 + modulation + 0.004 * rng.normal())


def _sample_fibrillation(
    heart: Heart, rng: np.random.Generator, phases: np.ndarray, end_seconds: float
) -> list[tuple[float, int]]:
    """Samples independent intervals above the refractory time; the scatter is 21 % of the mean."""
    excess_seconds = heart.mean_rr_seconds - _REFRACTORY_SECONDS
    scatter_seconds = 0.21 * heart.mean_rr_seconds
    shape = (excess_seconds / scatter_seconds) ** 2  # gamma distribution of that mean and scatter
    clock_seconds = _FIRST_SECONDS + rng.uniform(0.0, heart.mean_rr_seconds)
    beats: list[tuple[float, int]] = []
    while clock_seconds < end_seconds:
        ventricular = rng.random() < heart.ventricular_ectopy and len(beats) > 0
        beats.append((clock_seconds, VENTRICULAR if ventricular else SINUS))
        rr_seconds = _REFRACTORY_SECONDS + rng.gamma(shape, excess_seconds / shape)
        clock_seconds += (
            max(rr_seconds, 0.55 * heart.mean_rr_seconds) if ventricular else rr_seconds
        )
    return beats
