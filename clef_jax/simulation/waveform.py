"""Writes a recording as a WFDB record: a header and one file of interleaved 16-bit samples.

Format: physionet.org/physiotools/wag, header(5) and signal(5), format 16.
"""

import datetime
import pathlib

import numpy as np

from clef_jax.simulation.recording import GAIN_PER_MV, LEADS, NUM_SAMPLES, SAMPLE_RATE_HZ

_ADC_BITS = 16


def write(stem: pathlib.Path, adc: np.ndarray, time: datetime.datetime) -> None:
    """Writes `stem.hea` and `stem.dat` from int16 [12, T] in `LEADS` order."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    stem.with_suffix(".dat").write_bytes(adc.T.astype("<i2").tobytes())
    stem.with_suffix(".hea").write_text(_header(stem.name, adc, time), newline="\n")


def _header(name: str, adc: np.ndarray, time: datetime.datetime) -> str:
    lines = [f"{name} {len(LEADS)} {SAMPLE_RATE_HZ} {NUM_SAMPLES} {time:%H:%M:%S %d/%m/%Y}"]
    for lead, samples in zip(LEADS, adc, strict=True):
        gain = f"{float(GAIN_PER_MV)}(0)/mV"
        first, checksum = samples[0], _checksum(samples)
        lines.append(f"{name}.dat 16 {gain} {_ADC_BITS} 0 {first} {checksum} 0 {lead}")
    return "\n".join(lines) + "\n"


def _checksum(samples: np.ndarray) -> int:
    """Returns the sum of all samples, wrapped to a signed 16-bit number."""
    return (int(samples.sum(dtype=np.int64)) + 0x8000) % 0x10000 - 0x8000
