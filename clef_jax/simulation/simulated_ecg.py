"""Makes the ECG of a simulated person, in any leads, at any rate and of any length.

The small simulated source folders of the data sets use it.
"""

from collections.abc import Sequence

import numpy as np

from clef_jax import leads as lead_names
from clef_jax.simulation import heart, patient, recording, visit

# X, Y, Z from I, II, V1 to V6: the regression of Kors et al., Eur Heart J 1990;11:1083.
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
    """Returns the ECG of one simulated person in millivolts, float64 [leads, samples].

    Args:
        number: number of the person.
        leads: names of standard or Frank leads, in any spelling.
    """
    person = patient.sample(seed, number)
    study = visit.sample(seed, person, 1.0)[0]
    beating = heart.sample(seed, person, study)
    recorded_mv = recording.record(seed, person, study, beating).adc / recording.GAIN_PER_MV
    by_name: dict[str, np.ndarray] = dict(zip(recording.LEADS, recorded_mv, strict=True))
    independent_mv = np.stack([by_name[name] for name in _INDEPENDENT])
    by_name |= dict(zip(lead_names.FRANK, _KORS @ independent_mv, strict=True))
    chosen = np.stack([by_name[lead_names.canonical(name)] for name in leads])
    # The recording alternates with its mirror image, so that repetition causes no jump.
    loop = np.concatenate([chosen, chosen[:, ::-1]], axis=1)
    index = np.arange(num_samples) * (recording.SAMPLE_RATE_HZ / sample_rate_hz)
    corners = np.arange(loop.shape[1] + 1)
    closed = np.concatenate([loop, loop[:, :1]], axis=1)
    return np.stack([np.interp(index % loop.shape[1], corners, row) for row in closed])
