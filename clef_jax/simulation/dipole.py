"""From the heart's moving dipole to the leads.

Axes are Frank's: x to the patient's left, y to the feet, z to the back; vectors in millivolts of
the Frank leads, places in centimetres from the middle of the ventricles.

Shapes: W waves, each one a direction and a place of the dipole; T time.
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
"""Lead vectors of `PROJECTED` (Dower 1980), for a dipole in the middle of the ventricles."""

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
"""V1 to V6 on an adult chest; limb electrodes are too far away for a shift to matter."""

ELECTRODE_TO_LEAD = np.array(
    [
        [-1.0, 1.0, 0.0, 0, 0, 0, 0, 0, 0],
        [-1.0, 0.0, 1.0, 0, 0, 0, 0, 0, 0],
        *[[-1 / 3, -1 / 3, -1 / 3, *np.eye(6)[lead]] for lead in range(6)],
    ]
)
"""[8, 9]: what a disturbance at one of `ELECTRODES` does to `PROJECTED`; V leads against Wilson's
central terminal."""


def project(vector_mv: np.ndarray, place_cm: np.ndarray, lead_vector: np.ndarray) -> np.ndarray:
    """Amplitudes of waves in the projected leads.

    A chest electrode sees a dipole that has come nearer more strongly and from another side: its
    lead vector is corrected by what the potential of a dipole in a homogeneous medium changes,
    (r - d) / |r - d|^3 against r / |r|^3.

    Args:
        vector_mv: [W, 3] dipole of each wave.
        place_cm: [W, 3] where the dipole is during that wave.
        lead_vector: [8, 3] of a dipole in the middle, `DOWER` or a patient's own.

    Returns:
        [W, 8] in millivolts.
    """
    electrode_cm = _CHEST_ELECTRODES_CM[None, :, :]  # [1, 6, 3]
    seen_cm = electrode_cm - place_cm[:, None, :]  # [W, 6, 3]
    distance_cm = np.linalg.norm(electrode_cm, axis=-1, keepdims=True)
    middle = electrode_cm / distance_cm
    moved = seen_cm / np.linalg.norm(seen_cm, axis=-1, keepdims=True) ** 3 * distance_cm**2
    chest = lead_vector[None, 2:, :]
    strength = np.linalg.norm(chest, axis=-1, keepdims=True)
    chest = chest + strength * (moved - middle)  # [W, 6, 3]
    limb_mv = vector_mv @ lead_vector[:2].T  # [W, 2]
    chest_mv = np.einsum("wec,wc->we", chest, vector_mv)
    return np.concatenate([limb_mv, chest_mv], axis=1)


def frontal_vector(
    axis_degrees: float,
    amplitude_mv: float,
    posterior_mv: float,
    besides_mv: tuple[float, float] | np.ndarray = (0.0, 0.0),
) -> np.ndarray:
    """[3]: the dipole that lead I and II see under an electrical axis.

    Solves I = A cos(axis), II = A cos(axis - 60 degrees), Einthoven's triangle, for a dipole with
    the given part towards the back. `besides_mv` is what other waves add to I and II already.
    """
    axis = np.deg2rad(axis_degrees)
    wanted_mv = amplitude_mv * np.array([np.cos(axis), np.cos(axis - np.pi / 3)])
    frontal = np.linalg.solve(DOWER[:2, :2], wanted_mv - besides_mv - DOWER[:2, 2] * posterior_mv)
    return np.array([frontal[0], frontal[1], posterior_mv])


def draw_torso(rng: np.random.Generator) -> np.ndarray:
    """[8, 3]: a patient's own lead vectors, from the chest's build and the heart's position."""
    turn = rng.normal(0.0, 0.07, 3)
    rotation = np.array(
        [[1.0, -turn[2], turn[1]], [turn[2], 1.0, -turn[0]], [-turn[1], turn[0], 1.0]]
    )
    gain = np.exp(rng.normal(0.0, [0.04, 0.04, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1]))
    return DOWER @ rotation * gain[:, None]
