"""Small whole NumPy files."""

import io

import numpy as np

from fuzz_seeds import ADC, Seed


def seeds() -> list[Seed]:
    """Returns whole recordings."""
    signal = np.stack([ADC, -ADC])
    seeds = []
    for array in (signal.astype(np.int16), np.asfortranarray(signal), np.stack([signal] * 3)):
        stream = io.BytesIO()
        np.save(stream, array)
        seeds.append(Seed("x.npy", {"x.npy": stream.getvalue()}))
    for save in (np.savez, np.savez_compressed):
        stream = io.BytesIO()
        save(stream, ecg=signal, fs="500", leads=np.array([b"I", b"II"]), units="uV")
        seeds.append(Seed("x.npz", {"x.npz": stream.getvalue()}))
    return seeds
