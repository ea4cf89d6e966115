"""When the heart beats: sinus rhythm with its variability, ectopic beats, atrial fibrillation."""

import dataclasses
import math

import numpy as np

from clef_jax.simulation.heart import Heart

SINUS, ATRIAL, VENTRICULAR = 0, 1, 2
"""Where a beat comes from."""

_SLOW_HZ = 0.1
_FIRST_SECONDS = -2.0
"""The schedule starts before the recording, so that its first seconds hold late T waves too."""
_REFRACTORY_SECONDS = 0.28


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rhythm:
    """The beats from two seconds before a recording to one second after it.

    Shapes: B beats.
    """

    onset_seconds: np.ndarray
    """[B] begin of each QRS complex, after the recording's first sample."""
    origin: np.ndarray
    """[B] SINUS, ATRIAL or VENTRICULAR; conducted fibrillation counts as SINUS."""
    rr_seconds: np.ndarray
    """[B] time since the beat before."""
    respiration_phase: float
    """Of the breathing that drives RR, amplitude and baseline together, in radians."""

    def inside(self, duration_seconds: float) -> np.ndarray:
        """[B] which beats begin inside the recording."""
        return (self.onset_seconds >= 0.0) & (self.onset_seconds < duration_seconds)


def schedule(heart: Heart, rng: np.random.Generator, duration_seconds: float) -> Rhythm:
    """Draws the beats of one recording."""
    phases = rng.uniform(0.0, 2.0 * math.pi, 2)
    end_seconds = duration_seconds + 1.0
    draw = _draw_fibrillation if heart.fibrillating else _draw_sinus
    beats = draw(heart, rng, phases, end_seconds)
    onset_seconds = np.array([beat[0] for beat in beats])
    rr_seconds = np.diff(onset_seconds, prepend=onset_seconds[0] - heart.mean_rr_seconds)
    return Rhythm(
        onset_seconds=onset_seconds,
        origin=np.array([beat[1] for beat in beats]),
        rr_seconds=rr_seconds,
        respiration_phase=float(phases[0]),
    )


def _draw_sinus(
    heart: Heart, rng: np.random.Generator, phases: np.ndarray, end_seconds: float
) -> list[tuple[float, int]]:
    """A modulated sinus node, whose clock an atrial beat resets and a ventricular one does not."""
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
        room = not blocked and premature_seconds < clock_seconds + 0.85 * rr_seconds
        blocked = False
        if room and premature < ectopy:
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
    turn = 2.0 * math.pi * time_seconds
    swing = heart.respiratory_variability * math.sin(heart.respiration_hz * turn + phases[0])
    swing += heart.slow_variability * math.sin(_SLOW_HZ * turn + phases[1])
    return heart.mean_rr_seconds * (1.0 + swing + 0.004 * rng.normal())


def _draw_fibrillation(
    heart: Heart, rng: np.random.Generator, phases: np.ndarray, end_seconds: float
) -> list[tuple[float, int]]:
    """Independent intervals with a fifth of their mean as scatter, never below refractoriness."""
    excess_seconds = heart.mean_rr_seconds - _REFRACTORY_SECONDS
    scatter_seconds = 0.21 * heart.mean_rr_seconds
    shape = (excess_seconds / scatter_seconds) ** 2  # a gamma law of that mean and scatter
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
