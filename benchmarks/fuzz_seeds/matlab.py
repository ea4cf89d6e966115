"""Small whole MATLAB files."""

import io

import numpy as np

from fuzz_seeds import ADC, Seed


def seeds() -> list[Seed]:
    """Returns whole recordings."""
    import scipy.io

    signal = np.stack([ADC, -ADC])
    variables = (
        {"val": signal.astype(np.int16), "Fs": 500.0, "gain": 1000},
        {"ECG": {"sex": "Male", "age": 63, "data": signal / 1000, "fs": 500}},
    )
    seeds = []
    for kept in variables:
        for compressed in (False, True):
            stream = io.BytesIO()
            scipy.io.savemat(stream, kept, do_compression=compressed)
            seeds.append(Seed("x.mat", {"x.mat": stream.getvalue()}))
    return seeds
