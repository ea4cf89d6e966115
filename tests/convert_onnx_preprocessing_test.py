"""The nodes of the preprocessing compute what the float64 references compute."""

import numpy as np
import onnx_run
import pytest

from clef_jax.convert import onnx_preprocessing, verify
from clef_jax.embedding.recipe import Recipe
from clef_jax.signal import reference

pytest.importorskip("onnxruntime")
UNTOUCHED = Recipe(sample_rate_hz=100.0, window_seconds=1.0, band_hz=None, zscored=False)


def run(signal_mv, sample_rate_hz, recipe):
    return onnx_run.run(
        lambda builder, name: [
            onnx_preprocessing.add_preprocessing(builder, name, sample_rate_hz, recipe)
        ],
        signal_mv,
    )[0]


def wanted(signal_mv, sample_rate_hz, recipe):
    x = reference.fill_gaps(np.where(np.isfinite(signal_mv), signal_mv, np.nan))
    x = reference.resample(x, sample_rate_hz, recipe.sample_rate_hz)
    if recipe.band_hz is not None:
        x = reference.bandpass(x, recipe.sample_rate_hz, *recipe.band_hz)
    return reference.zscore(x) if recipe.zscored else x


@pytest.mark.parametrize("rate", [100, 125, 128, 250, 257, 300, 360, 500, 512, 1000])
def test_windows_of_any_rate(rate):
    signal_mv = verify.windows(1, 10 * rate, rate)[:, 0]
    recipe = Recipe()
    found = run(signal_mv, float(rate), recipe)
    np.testing.assert_allclose(found, wanted(signal_mv, rate, recipe), atol=2e-5)


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe(band_hz=None),
        Recipe(zscored=False),
        Recipe(band_hz=None, zscored=False),
        Recipe(sample_rate_hz=250.0, window_seconds=5.0, band_hz=(0.5, 45.0)),
        Recipe(window_seconds=9.73),
    ],
)
def test_other_recipes(recipe):
    signal_mv = verify.windows(1, recipe.num_samples(200), 200)[:, 0]
    found = run(signal_mv, 200.0, recipe)
    np.testing.assert_allclose(found, wanted(signal_mv, 200, recipe), atol=2e-5)


def test_gaps_of_every_kind_are_filled():
    rng = np.random.default_rng(0)
    signal_mv = rng.standard_normal((40, 100)).astype(np.float32)
    signal_mv[:30][rng.random((30, 100)) < np.linspace(0, 0.99, 30)[:, None]] = np.nan
    for row, gap in enumerate([slice(0, 1), slice(99, 100), slice(0, 99), slice(1, 100)], 30):
        signal_mv[row, gap] = np.nan
    signal_mv[34] = np.nan
    signal_mv[35, 1:99] = np.nan
    signal_mv[36, 40:50] = np.inf
    signal_mv[37, 40:50] = -np.inf
    found = run(signal_mv, 100.0, UNTOUCHED)
    np.testing.assert_allclose(found, wanted(signal_mv, 100, UNTOUCHED), atol=1e-6)


def test_a_signal_without_gaps_is_left_to_the_last_digit():
    signal_mv = np.random.default_rng(0).standard_normal((3, 100)).astype(np.float32)
    np.testing.assert_array_equal(run(signal_mv, 100.0, UNTOUCHED), signal_mv)


@pytest.mark.parametrize("rate", [128, 500])
def test_a_flat_signal_stays_flat_at_any_offset(rate):
    signal_mv = np.full((4, 10 * rate), 1.23, np.float32) * [[0.0], [1.0], [-1.0], [7.0]]
    assert np.abs(run(signal_mv, float(rate), Recipe())).max() < 1e-4


def test_the_edge_term_is_stored_in_a_third_of_its_numbers():
    sizes = []

    def add(builder, name):
        result = onnx_preprocessing.add_preprocessing(builder, name, 500.0, Recipe())
        sizes.append(sum(constant.ByteSize() for constant in builder.constants))
        return [result]

    onnx_run.run(add, np.zeros((1, 5000)))
    assert sizes[0] < 700e3
