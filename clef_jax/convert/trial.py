"""Signals that an exported model is tried with, and what the model itself makes of them."""

import numpy as np

from clef_jax.embedder import Embedder
from clef_jax.signal import reference
from clef_jax.simulation import strip

MAX_DIFFERENCE = 1e-5
"""Of any feature between an exported file and the model that it was made of."""
_NUM_STRIPS = 6


def windows(model: Embedder, sample_rate_hz: float) -> np.ndarray:
    """Windows in millivolts, float32 [B, samples], or [B, leads, samples] of several leads.

    Simulated beats, one of them with an offset and drift; noise; gaps at the edges and within; a
    flat line; nothing at all.
    """
    num_samples = model.recipe.num_samples(sample_rate_hz)
    rng = np.random.default_rng(0)
    found = [
        strip.make(number, ("I",), sample_rate_hz=sample_rate_hz, num_samples=num_samples)[0]
        for number in range(_NUM_STRIPS)
    ]
    found[1] = found[1] + 3 + np.linspace(-1, 1, num_samples)
    found[2][: num_samples // 7] = np.nan
    found[2][num_samples // 3 : num_samples // 2] = np.nan
    found[3][-num_samples // 9 :] = np.nan
    found += [0.3 * rng.standard_normal(num_samples), np.ones(num_samples)]
    found.append(np.full(num_samples, np.nan))
    signals = np.stack(found).astype(np.float32)
    channels = model.encoder.in_channels
    if channels == 1:
        return signals
    turned = [np.roll(signals, number, axis=0) for number in range(channels)]
    return np.stack(turned, axis=1)


def features(model: Embedder, windows_mv: np.ndarray, sample_rate_hz: float) -> np.ndarray:
    """What the model makes of windows: float32 [B, D of all layers]."""
    count, devices = len(windows_mv), model.mesh.size
    lacking = [(0, -count % devices)] + [(0, 0)] * (windows_mv.ndim - 1)
    found = model.of_mv(np.pad(windows_mv, lacking), sample_rate_hz)
    return np.asarray(found)[:count]


def preprocessed(model: Embedder, windows_mv: np.ndarray, sample_rate_hz: float) -> np.ndarray:
    """The windows as the network takes them, float32 [B, samples, leads], in double precision."""
    recipe = model.recipe
    x = reference.fill_gaps(windows_mv)
    x = reference.resample(x, sample_rate_hz, recipe.sample_rate_hz)
    if recipe.band_hz is not None:
        x = reference.bandpass(x, recipe.sample_rate_hz, *recipe.band_hz)
    x = reference.zscore(x) if recipe.zscored else x
    return (x[..., None] if x.ndim == 2 else x.swapaxes(1, 2)).astype(np.float32)
