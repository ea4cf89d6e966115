"""Writes small SCP-ECG records with the encoder of the fuzz seeds, and reads them."""

import dataclasses
import pathlib
from typing import Any

import benchmark_modules
import numpy as np

from clef_jax import formats

benchmark_modules.load("fuzz_seeds")
scp = benchmark_modules.load("fuzz_seeds.scp_ecg")

LENGTH = 1000
ROWS = np.cumsum(np.random.default_rng(0).integers(-40, 41, (2, LENGTH)), axis=1)
"""Two leads in steps of 5 uV."""
BEAT = np.round(400 * np.exp(-(((np.arange(100) - 50) / 6) ** 2)) * np.array([[1], [-0.5]])).astype(
    np.int64
)
FIDUCIALS = (152, 552, 980)
BEATS = tuple((0, at - 49, at, at + 50) for at in FIDUCIALS)
ZONES = tuple((at - 27, at + 28) for at in FIDUCIALS)
REFERENCE = scp.Reference(samples=BEAT, fiducial=50, beats=BEATS, protected=ZONES)


def write(
    folder: pathlib.Path, rows: Any = ROWS, name: str = "x.scp", **options: Any
) -> pathlib.Path:
    """Writes leads [L, T], or a list of them, as a record with the options of the encoder."""
    path = folder / name
    path.write_bytes(scp.record(rows, scp.Options(**options)))
    return path


def read(
    path: pathlib.Path, hints: formats.Hints | None = None
) -> tuple[formats.Opened, np.ndarray]:
    """Returns the only recording of a file, and its samples."""
    (recording,) = formats.open(path, hints)
    return recording, recording.read(0, recording.num_samples)


def own(recording: formats.Opened, names: tuple[str, ...] = ("I", "II")) -> np.ndarray:
    """Returns the samples of leads of a recording, float32 [L, T]."""
    window = recording.read(0, recording.num_samples)
    return window[[recording.lead_names.index(name) for name in names]]


def problems(recording: formats.Opened) -> list[str]:
    return [note.problem for note in recording.notes]


def millivolts(rows: np.ndarray, step_nv: int = 5000) -> np.ndarray:
    return (rows * float(step_nv) * 1e-6).astype(np.float32)


def pointer(number: int) -> int:
    """Returns where the pointer to a section is in a record."""
    return 6 + 16 + 10 * number


def unsubtracted() -> Any:
    """Returns a reference beat that is stored, but was not subtracted."""
    return dataclasses.replace(REFERENCE, is_subtracted=False)
