"""Recorded or generated ECG noise, kept unchanged on the device.

Shapes: K = 4 kinds of noise, R = 15 rows (leads), N samples.
"""

import dataclasses
import functools
import hashlib
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import scipy.io

from clef_jax import leads
from clef_jax.errors import UserError
from clef_jax.signal import reference, synthetic_noise

KINDS = ("motion", "electrode", "baseline", "mixture")
"""Kinds of noise, in the order in which a bank holds them."""

ROWS = (*leads.STANDARD_12, *leads.FRANK)
"""Leads, in the order in which a bank holds them."""

FILE_SAMPLE_RATE_HZ = 500.0
"""Sampling rate of DATA_noises_real.mat."""

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
    """Noise recordings of every kind and lead; windows of it are copied, never written."""

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
    """Noise at `sample_rate_hz`, from a file or, without one, from a generator.

    Args:
        path: `DATA_noises_real.mat` of PhysioNet's ECG noise model (15 leads, 500 Hz, mV).
        sample_rate_hz: of the signals that the noise will be added to.
        num_seconds, seed: length and seed of generated noise; see `synthetic_noise`.

    Raises:
        UserError: there is no such file, or it is no such noise file; says what is wrong in it.
    """
    if path is None:
        kinds = synthetic_noise.generate(sample_rate_hz, num_seconds, seed)
    else:
        kinds = _read(pathlib.Path(path))
        kinds = {
            name: reference.resample(noise, FILE_SAMPLE_RATE_HZ, sample_rate_hz)
            for name, noise in kinds.items()
        }
    stacked = np.stack([kinds[name] for name in KINDS]).astype(np.float32)
    return NoiseBank(noise_mv=jnp.asarray(stacked), sample_rate_hz=sample_rate_hz)


def fingerprint(path: str | pathlib.Path | None) -> str:
    """Which noise `load_noise(path)` gives: the file's SHA-256, or a name for the generator's.

    Generated noise goes by its recipe, not by its bytes: another processor may round differently,
    and a run must be able to move there.
    """
    if path is None:
        return "generated"
    return hashlib.sha256(pathlib.Path(path).expanduser().read_bytes()).hexdigest()


def _read(path: pathlib.Path) -> dict[str, np.ndarray]:
    """The four matrices [R, N] of a file, cut to the shortest."""
    if not path.is_file():
        raise UserError(
            f"There is no noise file {path}; give the path of DATA_noises_real.mat, or none to "
            "train with generated noise.",
            problem="missing_file",
        )
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
        found = ", ".join(sorted(name for name in content if not name.startswith("__")))
        raise UserError(
            f"{path} has no variable {key!r} (it has: {found or 'none'}); a noise file holds "
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
