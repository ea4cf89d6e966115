"""Loads recorded or generated ECG noise, which stays unchanged on the device.

Shapes: K = 4 kinds of noise, R = 15 rows (leads), N samples.
"""

import dataclasses
import functools
import hashlib
import pathlib

import jax
import jax.numpy as jnp
import numpy as np

from clef_jax import leads
from clef_jax.errors import UserError
from clef_jax.signal import reference, synthetic_noise

KINDS = ("motion", "electrode", "baseline", "mixture")
"""Kinds of noise, in the order of a noise bank."""

ROWS = (*leads.STANDARD_12, *leads.FRANK)
"""Leads, in the order of the rows of a noise bank."""

FILE_SAMPLE_RATE_HZ = 500.0
"""Sampling rate of DATA_noises_real.mat in Hz."""

_FILE_KEYS = {
    "motion": "motion_artefacts",
    "electrode": "electrode_movement",
    "baseline": "baseline_wander",
    "mixture": "mixture_of_noises",
}


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=["noise_mv"], meta_fields=["sample_rate_hz"]
)
@dataclasses.dataclass(frozen=True)
class NoiseBank:
    """Noise recordings of every kind and lead."""

    noise_mv: jax.Array
    """float32 [K, R, N], kinds as in `KINDS` and rows as in `ROWS`."""
    sample_rate_hz: float


def load_noise(
    path: str | pathlib.Path | None = None,
    *,
    sample_rate_hz: float = FILE_SAMPLE_RATE_HZ,
    num_seconds: float = 120.0,
    seed: int = 0,
) -> NoiseBank:
    """Loads noise from a file, or generates it without one.

    Args:
        path: `DATA_noises_real.mat` of PhysioNet's ECG noise model (15 leads, 500 Hz, mV); by
            default the noise is generated.
        sample_rate_hz: sampling rate of the signals to which the noise is added, in Hz.
        num_seconds, seed: length and seed of generated noise; see `synthetic_noise`.

    Raises:
        UserError: the file does not exist or is not a valid noise file.
    """
    if path is None:
        kinds = synthetic_noise.generate(sample_rate_hz, num_seconds, seed)
    else:
        kinds = _read(_existing(path))
        kinds = {
            name: reference.resample(noise, FILE_SAMPLE_RATE_HZ, sample_rate_hz)
            for name, noise in kinds.items()
        }
    stacked = np.stack([kinds[name] for name in KINDS]).astype(np.float32)
    return NoiseBank(noise_mv=jnp.asarray(stacked), sample_rate_hz=sample_rate_hz)


def fingerprint(path: str | pathlib.Path | None) -> str:
    """Returns what identifies the noise of `load_noise(path)`: a file's SHA-256, or `generated`.

    A file that does not exist is refused as in `load_noise`.

    The bytes of generated noise are not used, because another processor may round differently and a
    run must be able to resume there.
    """
    if path is None:
        return "generated"
    return hashlib.sha256(_existing(path).read_bytes()).hexdigest()


def _existing(path: str | pathlib.Path) -> pathlib.Path:
    """Returns the path of a noise file.

    Raises:
        UserError: no file is there.
    """
    file = pathlib.Path(path).expanduser()
    if not file.is_file():
        raise UserError(
            f"Noise file {file} not found; set the path of DATA_noises_real.mat (--noise-path), or "
            "no path to train with generated noise.",
            problem="missing_file",
        )
    return file


def _read(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Returns the four matrices [R, N] of a file by kind, cropped to the shortest."""
    import scipy.io

    try:
        content = scipy.io.loadmat(path)
    except (ValueError, TypeError, NotImplementedError, OSError) as error:
        raise UserError(
            f"{path} cannot be read as a MATLAB file of version 7.2 or older: {error}",
            problem="unreadable",
        ) from error
    kinds = {name: _checked(path, content, key) for name, key in _FILE_KEYS.items()}
    length = min(noise.shape[1] for noise in kinds.values())
    return {name: noise[:, :length] for name, noise in kinds.items()}


def _checked(path: pathlib.Path, content: dict, key: str) -> np.ndarray:
    if key not in content:
        names = ", ".join(sorted(name for name in content if not name.startswith("__")))
        raise UserError(
            f"{path} has no variable {key!r}, only {names or 'none'}; a noise file holds "
            f"{', '.join(_FILE_KEYS.values())}.",
            problem="missing_variable",
        )
    noise = np.asarray(content[key])
    if noise.ndim != 2 or noise.shape[0] != len(ROWS) or noise.shape[1] < 2:
        raise UserError(
            f"{key} in {path} has the shape {noise.shape}; it must be ({len(ROWS)}, samples), one "
            f"row for each of {', '.join(ROWS)}.",
            problem="wrong_shape",
        )
    if not np.issubdtype(noise.dtype, np.number) or not np.isfinite(noise).all():
        raise UserError(
            f"{key} in {path} must hold finite numbers in millivolts.", problem="not_finite"
        )
    return noise
