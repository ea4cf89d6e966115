"""Generates noise that follows published descriptions of recorded ECG noise.

Noise arises at electrodes. So it is generated per electrode, and the leads are derived from it as
from the heart's potentials: Einthoven's law and Wilson's reference hold between the rows.

| kind      | shape at an electrode                           | parameters                      |
|-----------|-------------------------------------------------|---------------------------------|
| baseline  | power 1/f^2, falling as 1/f^6 above a corner    | from 0.05 Hz, corner 0.5 Hz     |
| electrode | steps that decay, and band-limited noise of 0.7 | 0.4 steps/s, decay 0.3-1.5 s,   |
|           | of their standard deviation                     | band 1-10 Hz                    |
| motion    | band-limited noise in bursts over a quiet level | 1-20 Hz, a third of the time in |
|           |                                                 | bursts, level 1/6 of a burst    |
| mixture   | the sum of the three, each of equal power       |                                 |

The kinds are those of the MIT-BIH Noise Stress Test Database (bw, em, ma: Moody, Muldrow and Mark,
Computers in Cardiology 1984;11:381-384): wander below about 1 Hz, electrode motion as abrupt
changes with content that overlaps the QRS complex, movement artefacts as bursts. Recorded noise is
optional, and preferable where it is available.

Shapes: E electrodes, R = 15 leads, N samples.
"""

import numpy as np
import scipy.fft

_LIMBS = ("RA", "LA", "LL")
_CHEST = ("C1", "C2", "C3", "C4", "C5", "C6")
_FRANK = ("A", "C", "E", "H", "I", "M")
ELECTRODES: tuple[str, ...] = (*_LIMBS, *_CHEST, *_FRANK)

STD_MV = 0.1
"""Standard deviation of each kind of noise at an electrode, in mV."""

_FRANK_WEIGHTS = (
    {"A": 0.610, "C": 0.171, "I": -0.781},
    {"LL": 0.655, "M": 0.345, "H": -1.000},
    {"A": 0.133, "M": 0.736, "I": -0.264, "E": -0.374, "C": -0.231},
)
"""Electrode weights of X, Y and Z (Frank, Circulation 1956;13:737-749); LL is Frank's F."""


def generate(sample_rate_hz: float, num_seconds: float, seed: int) -> dict[str, np.ndarray]:
    """Generates noise of every kind; the same arguments give the same noise.

    Returns:
        The noise in mV by kind, float64 [R, N] each.

    Raises:
        ValueError: the rate is too low or the recording too short for the noise's frequencies.
    """
    if sample_rate_hz <= 2 * 20 or num_seconds < 10:
        raise ValueError(
            f"{sample_rate_hz} Hz for {num_seconds} s is not enough for noise that reaches 20 Hz "
            "and varies over seconds; use more than 40 Hz and at least 10 s."
        )
    rng = np.random.default_rng(seed)
    num_samples = round(sample_rate_hz * num_seconds)
    makers = {"motion": _motion, "electrode": _electrode, "baseline": _baseline}
    kinds = {name: _scaled(make(rng, num_samples, sample_rate_hz)) for name, make in makers.items()}
    kinds["mixture"] = _scaled(np.sum(list(kinds.values()), axis=0))
    to_leads = lead_matrix()
    return {name: to_leads @ noise for name, noise in kinds.items()}


def lead_matrix() -> np.ndarray:
    """Returns the matrix [R, E] from electrode potentials to the leads of `noise.ROWS`."""
    unit = dict(zip(ELECTRODES, np.eye(len(ELECTRODES)), strict=True))
    ra, la, ll = (unit[name] for name in _LIMBS)
    limb = [la - ra, ll - ra, ll - la]
    augmented = [ra - (la + ll) / 2, la - (ra + ll) / 2, ll - (ra + la) / 2]
    chest = [unit[name] - (ra + la + ll) / 3 for name in _CHEST]
    frank = [sum(w * unit[name] for name, w in weights.items()) for weights in _FRANK_WEIGHTS]
    return np.stack([*limb, *augmented, *chest, *frank])


def _scaled(noise: np.ndarray) -> np.ndarray:
    """Returns noise with mean 0 and standard deviation `STD_MV` per electrode."""
    noise = noise - noise.mean(axis=1, keepdims=True)
    return noise * (STD_MV / noise.std(axis=1, keepdims=True))


def _shaped(rng, num_samples: int, sample_rate_hz: float, amplitude) -> np.ndarray:
    """Returns Gaussian noise [E, N] with a spectrum of the given amplitude, a function of Hz."""
    length = scipy.fft.next_fast_len(num_samples, real=True)
    white = scipy.fft.rfft(rng.standard_normal((len(ELECTRODES), length)))
    frequency_hz = scipy.fft.rfftfreq(length, 1 / sample_rate_hz)
    return np.asarray(scipy.fft.irfft(white * amplitude(frequency_hz), length))[:, :num_samples]


def _band(low_hz: float, high_hz: float):
    """Returns the amplitude of a second-order band from `low_hz` to `high_hz`, a function of Hz."""

    def amplitude(frequency_hz: np.ndarray) -> np.ndarray:
        rise = (frequency_hz / low_hz) ** 2
        return rise / (1 + rise) / (1 + (frequency_hz / high_hz) ** 2)

    return amplitude


def _baseline(rng, num_samples: int, sample_rate_hz: float) -> np.ndarray:
    """Returns baseline wander [E, N]."""

    def amplitude(frequency_hz: np.ndarray) -> np.ndarray:
        return 1 / np.maximum(frequency_hz, 0.05) / (1 + (frequency_hz / 0.5) ** 2)

    return _shaped(rng, num_samples, sample_rate_hz, amplitude)


def _electrode(rng, num_samples: int, sample_rate_hz: float) -> np.ndarray:
    """Returns noise of moving electrodes [E, N]."""
    import scipy.signal  # takes half a second to import

    steps_per_second = 0.4
    steps = np.zeros((len(ELECTRODES), num_samples))
    for row in steps:
        time = np.flatnonzero(rng.random(num_samples) < steps_per_second / sample_rate_hz)
        impulses = np.zeros(num_samples)
        impulses[time] = rng.standard_normal(len(time))
        keep = np.exp(-1 / (rng.uniform(0.3, 1.5) * sample_rate_hz))
        row[:] = scipy.signal.lfilter([1.0], [1.0, -keep], impulses)
    content = _shaped(rng, num_samples, sample_rate_hz, _band(1, 10))
    return steps + content * (0.7 * steps.std() / content.std())


def _motion(rng, num_samples: int, sample_rate_hz: float) -> np.ndarray:
    """Returns motion artefacts [E, N]."""
    # A burst lasts while slow noise is above a level that it exceeds a third of the time.
    slow = _shaped(rng, num_samples, sample_rate_hz, lambda f: np.exp(-((f / 0.25) ** 2)))
    slow = slow / slow.std(axis=1, keepdims=True)
    envelope = 0.2 + 1 / (1 + np.exp(-6 * (slow - 0.43)))
    return envelope * _shaped(rng, num_samples, sample_rate_hz, _band(1, 20))
