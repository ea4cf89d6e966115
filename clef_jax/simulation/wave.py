"""Makes the waves of one beat: time, duration, direction and position of the dipole.

Each wave is a Gaussian in time with a rising and a falling width. Directions come from textbook
vectorcardiograms (Frank axes as in `dipole`): the septum to the right and front, the apex to the
left and front, the free walls to the left and down, and last the base to the back and up;
repolarisation to the left, down and slightly to the front.
"""

import dataclasses

import numpy as np

from clef_jax.simulation.dipole import DOWER, frontal_vector
from clef_jax.simulation.heart import Heart

_USUAL_AXIS_DEGREES = 55.0
_NET_MV = 0.92
"""Frontal amplitude of the main QRS wave after the contributions of septum and base."""
_NORMAL_ACTIVATION_MS = 92.0
"""Activation time of the left ventricle in right bundle branch block."""

_SEPTAL = np.array([-0.13, -0.06, -0.22])
_APICAL = np.array([0.2, 0.05, -0.2])
_BASAL = np.array([-0.05, -0.18, 0.68])
_RIGHT_ATRIAL = np.array([0.025, 0.075, -0.05])
_LEFT_ATRIAL = np.array([0.06, 0.05, 0.045])
_REPOLARISATION = np.array([0.3, 0.2, -0.18])
_ELEVATION = np.array([0.55, 0.45, -0.7])
_ECTOPIC_QRS_MS = 155.0
_ECTOPIC_QT_MS = 430.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Waves:
    """Waves of one beat; times are seconds after the QRS onset.

    Shapes: W waves.
    """

    centre_seconds: np.ndarray
    """Time of the peak, [W]."""
    rise_seconds: np.ndarray
    """Standard deviation before the peak, [W]."""
    fall_seconds: np.ndarray
    """Standard deviation after the peak, [W]."""
    vector_mv: np.ndarray
    """Dipole at the peak, [W, 3]."""
    place_cm: np.ndarray
    """Position of the dipole, [W, 3]."""
    stretches: np.ndarray
    """Mask of repolarisation waves, which are later after a long RR interval, bool [W]."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Wave:
    centre_ms: float
    rise_ms: float
    fall_ms: float
    vector_mv: np.ndarray
    place_cm: tuple[float, float, float]
    stretches: bool = False


def sinus(heart: Heart) -> Waves:
    """Returns the waves of a beat conducted by the AV node; without P in atrial fibrillation."""
    depolarisation = {
        "normal": _normal_qrs,
        "right_block": _right_block_qrs,
        "left_block": _left_block_qrs,
    }[heart.conduction](heart)
    atrial = [] if heart.fibrillating else _p_waves(heart)
    return _stack([*atrial, *depolarisation, *_repolarisation(heart, depolarisation)])


def ventricular(heart: Heart) -> Waves:
    """Returns the waves of a ventricular premature beat: wide, tall, with discordant T."""
    azimuth = np.deg2rad(heart.ectopic_azimuth_degrees)
    main = np.array([np.cos(azimuth), 0.55 * np.cos(2.0 * azimuth + 0.5), -np.sin(azimuth)])
    side = np.array([-main[2], -0.3, main[0]])
    first, second = 1.25 * main + 0.2 * side, 0.8 * main - 0.5 * side
    width, end = _ECTOPIC_QRS_MS, _ECTOPIC_QT_MS
    return _stack(
        [
            _Wave(centre_ms=0.36 * width, rise_ms=20.0, fall_ms=22.0, vector_mv=first,
                  place_cm=(1.0, 1.0, -0.5)),
            _Wave(centre_ms=0.68 * width, rise_ms=24.0, fall_ms=22.0, vector_mv=second,
                  place_cm=(0.0, 0.0, 1.0)),
            _Wave(centre_ms=end - 115.0, rise_ms=70.0, fall_ms=48.0,
                  vector_mv=-0.42 * (first + 0.6 * second), place_cm=(0.5, 0.5, -0.3),
                  stretches=True),
        ]
    )  # fmt: skip


def _p_waves(heart: Heart) -> list[_Wave]:
    width, begin = heart.p_duration_ms, -heart.pr_ms
    return [
        _Wave(centre_ms=begin + 0.36 * width, rise_ms=0.15 * width, fall_ms=0.16 * width,
              vector_mv=heart.p_amplitude * _RIGHT_ATRIAL, place_cm=(-3.0, -3.0, 0.0)),
        _Wave(centre_ms=begin + 0.64 * width, rise_ms=0.16 * width, fall_ms=0.15 * width,
              vector_mv=heart.p_amplitude * _LEFT_ATRIAL, place_cm=(0.0, -3.0, 3.0)),
    ]  # fmt: skip


def _normal_qrs(heart: Heart, width_ms: float | None = None) -> list[_Wave]:
    width = heart.qrs_ms if width_ms is None else width_ms
    septal, apical, basal = (_rotated(vector, heart) for vector in (_SEPTAL, _APICAL, _BASAL))
    # Contributions by area relative to the main wave, without the scar, which does change the axis.
    besides_mv = DOWER[:2] @ (0.58 * septal + 0.6 * apical + basal)
    septal_centre, septal_width, main = 0.17, 0.075, 1.0
    posterior = 0.22
    if heart.scar == "inferior":
        septal, septal_centre, septal_width, main = np.array([0.05, -0.5, -0.12]), 0.2, 0.11, 0.8
    elif heart.scar == "anterior":
        septal, septal_centre, septal_width, main = np.array([0.02, -0.05, 0.4]), 0.2, 0.11, 0.75
        posterior, apical = 0.5, np.zeros(3)
    # The vector of a vertical heart lies in the frontal plane, that of a horizontal one does not.
    net_mv = _NET_MV * (1.2 - 0.35 * np.cos(np.deg2rad(heart.axis_degrees)))
    vector = main * frontal_vector(heart.axis_degrees, net_mv, posterior, besides_mv)
    return [
        _Wave(centre_ms=septal_centre * width, rise_ms=0.07 * width, fall_ms=septal_width * width,
              vector_mv=heart.voltage * septal, place_cm=(0.0, 0.0, -1.0)),
        _Wave(centre_ms=0.32 * width, rise_ms=0.075 * width, fall_ms=0.075 * width,
              vector_mv=heart.voltage * apical, place_cm=(1.0, 1.0, -1.0)),
        _Wave(centre_ms=0.42 * width, rise_ms=0.115 * width, fall_ms=0.135 * width,
              vector_mv=heart.voltage * vector, place_cm=(0.6, 0.6, 0.3)),
        _Wave(centre_ms=0.66 * width, rise_ms=0.13 * width, fall_ms=0.12 * width,
              vector_mv=heart.voltage * basal, place_cm=(1.0, -1.0, 1.0)),
    ]  # fmt: skip


def _right_block_qrs(heart: Heart) -> list[_Wave]:
    """Returns normal initial waves, then a late slow wave to the right and front."""
    late = heart.voltage * np.array([-0.42, 0.0, -0.52])
    width = heart.qrs_ms - _NORMAL_ACTIVATION_MS
    centre = _NORMAL_ACTIVATION_MS + 0.12 * width
    begin = [
        dataclasses.replace(wave, vector_mv=wave.vector_mv * strength)
        for wave, strength in zip(
            _normal_qrs(heart, _NORMAL_ACTIVATION_MS), (1.0, 1.0, 0.9, 0.7), strict=True
        )
    ]
    last = _Wave(centre_ms=centre, rise_ms=16.0, fall_ms=12.0 + 0.2 * width, vector_mv=late,
                 place_cm=(-1.0, 0.0, -1.0))  # fmt: skip
    return [*begin, last]


def _left_block_qrs(heart: Heart) -> list[_Wave]:
    """Returns one slow, notched wave to the left and back, without septal forces."""
    width = heart.qrs_ms
    early = frontal_vector(heart.axis_degrees + 15.0, _NET_MV, 0.6)
    late = frontal_vector(heart.axis_degrees - 15.0, _NET_MV, 0.7)
    return [
        _Wave(centre_ms=0.34 * width, rise_ms=0.125 * width, fall_ms=0.14 * width,
              vector_mv=heart.voltage * early, place_cm=(0.0, 0.5, 0.0)),
        _Wave(centre_ms=0.64 * width, rise_ms=0.13 * width, fall_ms=0.13 * width,
              vector_mv=heart.voltage * late, place_cm=(2.0, 0.0, 1.0)),
    ]  # fmt: skip


def _repolarisation(heart: Heart, depolarisation: list[_Wave]) -> list[_Wave]:
    """Returns ST level and T wave; their direction depends on parameters, scar and conduction."""
    direction = _rotated_backwards(_REPOLARISATION, heart.t_angle_degrees)
    vector = heart.t_amplitude * direction
    if heart.scar == "inferior":
        vector = vector * np.array([1.0, -0.4, 1.0])
    elif heart.scar == "anterior":
        vector = vector * np.array([0.5, 1.0, -0.7])
    if heart.conduction == "left_block":
        vector = 0.3 * vector - 0.22 * (depolarisation[0].vector_mv + depolarisation[1].vector_mv)
    elif heart.conduction == "right_block":
        vector = vector - 0.25 * depolarisation[-1].vector_mv
    fall = 0.105 * heart.qt_ms
    peak = heart.qt_ms - 2.1 * fall
    gap = max(peak - heart.qrs_ms, 60.0)
    level = heart.st_level_mv * _ELEVATION
    return [
        _Wave(centre_ms=heart.qrs_ms + 0.4 * gap, rise_ms=0.3 * gap, fall_ms=0.35 * gap,
              vector_mv=level, place_cm=(0.5, 0.5, -0.5), stretches=True),
        _Wave(centre_ms=peak, rise_ms=1.45 * fall, fall_ms=fall, vector_mv=vector,
              place_cm=(0.5, 0.5, -0.5), stretches=True),
    ]  # fmt: skip


def _rotated(vector: np.ndarray, heart: Heart) -> np.ndarray:
    """Returns the vector rotated in the frontal plane by the electrical axis."""
    angle = np.deg2rad(heart.axis_degrees - _USUAL_AXIS_DEGREES)
    cosine, sine = np.cos(angle), np.sin(angle)
    x, y, z = vector
    return np.array([cosine * x - sine * y, sine * x + cosine * y, z])


def _rotated_backwards(vector: np.ndarray, angle_degrees: float) -> np.ndarray:
    """Returns the vector rotated about the body's axis, from left over the chest to right."""
    angle = np.deg2rad(angle_degrees)
    x, y, z = vector
    # The vertical component shrinks, too: in strain, T is negative in II as in V5 and V6.
    return np.array(
        [
            np.cos(angle) * x + np.sin(angle) * z,
            y * np.cos(0.8 * angle),
            np.cos(angle) * z - np.sin(angle) * x,
        ]
    )


def _stack(waves: list[_Wave]) -> Waves:
    return Waves(
        centre_seconds=np.array([wave.centre_ms for wave in waves]) / 1000.0,
        rise_seconds=np.array([wave.rise_ms for wave in waves]) / 1000.0,
        fall_seconds=np.array([wave.fall_ms for wave in waves]) / 1000.0,
        vector_mv=np.stack([wave.vector_mv for wave in waves]),
        place_cm=np.array([wave.place_cm for wave in waves]),
        stretches=np.array([wave.stretches for wave in waves]),
    )


def limb_leads_mv(waves: Waves) -> np.ndarray:
    """Returns the amplitudes in leads I and II on an average chest, [W, 2]."""
    return waves.vector_mv @ DOWER[:2].T
