"""Projects the heart's moving dipole onto the leads.

Axes are Frank's: x to the patient's left, y to the feet, z to the back. Vectors are in millivolts
of the Frank leads, positions in centimetres from the centre of the ventricles.

Shapes: W waves, each with a direction and a position of the dipole; T time.
"""

import numpy as np

PROJECTED = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")
"""Leads computed from the dipole; the other four follow from I and II."""

ELECTRODES = ("RA", "LA", "LL", "V1", "V2", "V3", "V4", "V5", "V6")

DOWER = np.array(
    [
        [0.632, -0.235, 0.059],
        [0.235, 1.066, -0.132],
        [-0.515, 0.157, -0.917],
        [0.044, 0.164, -1.387],
        [0.882, 0.098, -1.277],
        [1.213, 0.127, -0.601],
        [1.125, 0.127, -0.086],
        [0.831, 0.076, 0.230],
    ]
)
"""Lead vectors of `PROJECTED` (Dower 1980), for a dipole in the centre of the ventricles."""

_CHEST_ELECTRODES_CM = np.array(
    [
        [-4.0, -1.0, -8.0],
        [1.0, -1.0, -8.5],
        [5.0, 1.0, -8.5],
        [8.5, 3.0, -7.0],
        [11.0, 3.0, -2.5],
        [12.0, 3.0, 2.0],
    ]
)
"""Positions of V1 to V6 on an adult chest; for the distant limb electrodes shifts do not matter."""

ELECTRODE_TO_LEAD = np.array(
    [
        [-1.0, 1.0, 0.0, 0, 0, 0, 0, 0, 0],
        [-1.0, 0.0, 1.0, 0, 0, 0, 0, 0, 0],
        *[[-1 / 3, -1 / 3, -1 / 3, *np.eye(6)[lead]] for lead in range(6)],
    ]
)
"""Effect of a disturbance at each of `ELECTRODES` on `PROJECTED`, [8, 9]; V leads are measured
against Wilson's central terminal."""


def project(vector_mv: np.ndarray, place_cm: np.ndarray, lead_vector: np.ndarray) -> np.ndarray:
    """Returns the amplitudes of waves in the projected leads, in millivolts, [W, 8].

    A dipole nearer to a chest electrode has a larger potential there and another direction. The
    lead vector is therefore corrected by the potential of a dipole in a homogeneous medium,
    (r - d) / |r - d|^3 relative to r / |r|^3.

    Args:
        vector_mv: dipole of each wave, [W, 3].
        place_cm: position of the dipole during the wave, [W, 3].
        lead_vector: lead vectors for a dipole in the centre, [8, 3]: `DOWER` or a patient's own.
    """
    electrode_cm = _CHEST_ELECTRODES_CM[None, :, :]  # [1, 6, 3]
    seen_cm = electrode_cm - place_cm[:, None, :]  # [W, 6, 3]
    distance_cm = np.linalg.norm(electrode_cm, axis=-1, keepdims=True)
    centred = electrode_cm / distance_cm
    moved = seen_cm / np.linalg.norm(seen_cm, axis=-1, keepdims=True) ** 3 * distance_cm**2
    chest = lead_vector[None, 2:, :]
    strength = np.linalg.norm(chest, axis=-1, keepdims=True)
    chest = chest + strength * (moved - centred)  # [W, 6, 3]
    limb_mv = vector_mv @ lead_vector[:2].T  # [W, 2]
    chest_mv = np.einsum("wec,wc->we", chest, vector_mv)
    return np.concatenate([limb_mv, chest_mv], axis=1)


def frontal_vector(
    axis_degrees: float,
    amplitude_mv: float,
    posterior_mv: float,
    besides_mv: tuple[float, float] | np.ndarray = (0.0, 0.0),
) -> np.ndarray:
    """Returns the dipole, [3], that has an electrical axis in leads I and II.

    Solves I = A cos(axis), II = A cos(axis - 60 degrees), Einthoven's triangle.

    Args:
        posterior_mv: component of the dipole towards the back.
        besides_mv: contribution of other waves to I and II.
    """
    axis = np.deg2rad(axis_degrees)
    wanted_mv = amplitude_mv * np.array([np.cos(axis), np.cos(axis - np.pi / 3)])
    frontal = np.linalg.solve(DOWER[:2, :2], wanted_mv - besides_mv - DOWER[:2, 2] * posterior_mv)
    return np.array([frontal[0], frontal[1], posterior_mv])


def sample_torso(rng: np.random.Generator) -> np.ndarray:
    """Samples a patient's lead vectors, [8, 3]: build of the chest and position of the heart."""
    angle = rng.normal(0.0, 0.07, 3)
    rotation = np.array(
        [[1.0, -angle[2], angle[1]], [angle[2], 1.0, -angle[0]], [-angle[1], angle[0], 1.0]]
    )
    gain = np.exp(rng.normal(0.0, [0.04, 0.04, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1]))
    return DOWER @ rotation * gain[:, None]
