"""Strips of a simulated heart in any leads, at any rate and of any length, as millivolts.

The small trees that stand in for the real data sets are made of them.
"""

from collections.abc import Sequence

import numpy as np

from clef_jax import leads as lead_names
from clef_jax.simulation import heart, patient, recording, visit

# Rows X, Y, Z on I, II, V1 to V6: the regression of Kors et al., Eur Heart J 1990;11:1083.
_KORS = np.array(
    [
        [0.38, -0.07, -0.13, 0.05, -0.01, 0.14, 0.06, 0.54],
        [-0.07, 0.93, 0.06, -0.02, -0.05, 0.06, -0.17, 0.13],
        [0.11, -0.23, -0.43, -0.06, -0.14, -0.20, -0.11, 0.31],
    ]
)
_INDEPENDENT = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")


def make(
    number: int, leads: Sequence[str], *, sample_rate_hz: float, num_samples: int, seed: int = 0
) -> np.ndarray:
    """float64 [leads, samples], millivolts of one simulated person.

    Args:
        number: of the person.
        leads: names of standard or Frank leads, in any spelling.
    """
    person = patient.draw(seed, number)
    study = visit.draw(seed, person, 1.0)[0]
    beating = heart.draw(seed, person, study)
    recorded_mv = recording.record(seed, person, study, beating).adc / recording.GAIN_PER_MV
    by_name: dict[str, np.ndarray] = dict(zip(recording.LEADS, recorded_mv, strict=True))
    independent_mv = np.stack([by_name[name] for name in _INDEPENDENT])
    by_name |= dict(zip(lead_names.FRANK, _KORS @ independent_mv, strict=True))
    chosen = np.stack([by_name[lead_names.canonical(name)] for name in leads])
    # Played forwards and backwards, a strip has no jump where it is repeated.
    loop = np.concatenate([chosen, chosen[:, ::-1]], axis=1)
    place = np.arange(num_samples) * (recording.SAMPLE_RATE_HZ / sample_rate_hz)
    corners = np.arange(loop.shape[1] + 1)
    closed = np.concatenate([loop, loop[:, :1]], axis=1)
    return np.stack([np.interp(place % loop.shape[1], corners, row) for row in closed])
