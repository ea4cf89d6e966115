"""Small whole recordings, which fuzz.py damages: a module for each format, of the format's name.

A module defines `seeds()`, which returns a list of `Seed`. Where no example of a format is public,
its module is also the encoder that the tests of the reader use; it is written from the
specification and shares no code with the reader.
"""

import dataclasses
import importlib

import numpy as np

ADC = np.round(
    1000 * np.exp(-((((np.arange(1000) % 400) - 150) / 8) ** 2)) + 20 * np.sin(np.arange(1000) / 9)
)
"""One lead of two seconds in microvolts, float64 [1000]."""


@dataclasses.dataclass(frozen=True)
class Seed:
    """The files of a recording by name."""

    opened: str
    """Name of the file that is opened."""
    files: dict[str, bytes]


def write(name: str) -> list[Seed]:
    """Returns whole recordings of a format."""
    return importlib.import_module(f"{__name__}.{name}").seeds()
