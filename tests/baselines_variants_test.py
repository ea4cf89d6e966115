"""What published networks are fed with equals formulas in float64, without running a network."""

import pathlib
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.interpolate
import scipy.signal

from clef_jax import signal as signal_lib
from clef_jax.baselines import ked, moirai, moment, st_mem
from clef_jax.embedding import foreign_step, published

pytestmark = pytest.mark.usefixtures("quick_compiler")

PUBLISHED = {"ked": ked, "moirai": moirai, "moment": moment, "st_mem": st_mem}
PUBLISHED = {name: module.PUBLISHED for name, module in PUBLISHED.items()}


def windows(variant, num_leads, batch=2):
    """ECG-like windows in mV with an offset, float32 [B, C, T]."""
    count = variant.recipe.num_samples(variant.sample_rate_hz)
    rng, time = np.random.default_rng(3), np.arange(count) / variant.sample_rate_hz
    beats = np.exp(-(((time % 0.8 - 0.4) / 0.02) ** 2)) + 0.3 * np.sin(2 * np.pi * 0.3 * time)
    sizes = rng.uniform(0.3, 1.5, (batch, num_leads, 1))
    noise = 0.02 * rng.standard_normal((batch, num_leads, count))
    return (sizes * beats + noise + rng.uniform(-1, 1, sizes.shape)).astype(np.float32)


def prepared(variant, signal_mv):
    constants = variant.constants()
    return np.asarray(jax.jit(lambda x: variant.prepare(x, constants))(signal_mv))


def assert_close(got, want):
    assert got.shape == want.shape
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-5 * np.abs(want).max())


def test_every_encoder_has_both_variants_and_says_what_they_are():
    for item in PUBLISHED.values():
        assert next(iter(item.variants)) == published.PRESCRIBED
        assert published.AS_REFERENCE in item.variants
        assert all(variant.sentence.endswith(".") for variant in item.variants.values())
        assert item.licence
        assert item.weights
        for checksum in item.checksums.values():
            assert len(bytes.fromhex(checksum)) == 32


@pytest.mark.parametrize("name", PUBLISHED)
def test_as_reference_is_the_preprocessing_of_clef(name):
    variant = PUBLISHED[name].variants["as_reference"]
    signal_mv = windows(variant, 2)
    want = signal_lib.zscore(signal_lib.bandpass(signal_mv.astype(float), 500.0))
    length = {"st_mem": 4950}.get(name, 5000)
    assert_close(prepared(variant, signal_mv), want[..., :length].swapaxes(1, 2))


@pytest.mark.parametrize("num_leads", [1, 12])
def test_st_mem_takes_three_filtered_views(num_leads):
    variant = PUBLISHED["st_mem"].variants["prescribed"]
    signal_mv = windows(variant, num_leads)
    high, low = (
        scipy.signal.butter(5, edge, kind, fs=250, output="sos")
        for edge, kind in ((0.67, "highpass"), (40, "lowpass"))
    )
    views = []
    for recording in signal_mv.astype(float):
        for start in (0, 125, 250):
            view = recording[:, start : start + 2250]
            view = scipy.signal.sosfiltfilt(low, scipy.signal.sosfiltfilt(high, view))
            views.append((view - view.mean()) / view.std())
    assert_close(prepared(variant, signal_mv), np.stack(views).swapaxes(1, 2))
    flat = np.ones_like(signal_mv)
    assert not prepared(variant, flat).any()


def test_moment_takes_512_interpolated_samples():
    variant = PUBLISHED["moment"].variants["prescribed"]
    signal_mv = windows(variant, 1)
    line = scipy.interpolate.interp1d(np.linspace(0, 1, 1000), signal_mv.astype(float))
    assert_close(prepared(variant, signal_mv), line(np.linspace(0, 1, 512)).swapaxes(1, 2))


@pytest.mark.parametrize("missing", [0, 1, 300, 900])
def test_moment_observes_only_what_follows_the_padding(missing):
    present = np.arange(1000)[None] >= missing
    got = np.asarray(foreign_step.observed(present, 512))[0]
    # A sample between two others is observed if both are.
    position = np.linspace(0, 999, 512)
    np.testing.assert_array_equal(got, np.floor(position) >= missing)


@pytest.mark.parametrize(
    ("name", "variant", "rate_hz"),
    [
        ("ked", "prescribed", 100),
        ("moirai", "prescribed", 500),
        ("moirai", "rate_100_patch_16", 100),
    ],
)
def test_others_take_millivolts(name, variant, rate_hz):
    chosen = PUBLISHED[name].variants[variant]
    assert (chosen.sample_rate_hz, chosen.window_seconds) == (rate_hz, 10)
    signal_mv = windows(chosen, 1)
    np.testing.assert_array_equal(prepared(chosen, signal_mv), signal_mv.swapaxes(1, 2))
    assert chosen.standardised == (name == "ked")


def test_moirai_s_variants_set_the_patches():
    arrays = {"mask_encoding.weight": np.zeros((1, 1), np.float32)}
    for name, want in (("prescribed", 64), ("rate_100_patch_32", 32), ("rate_100_patch_16", 16)):
        network = PUBLISHED["moirai"].variants[name].network(moirai.Moirai(arrays))
        assert (network.patch_size, network.as_reference) == (want, False)
    network = PUBLISHED["moirai"].variants["as_reference"].network(moirai.Moirai(arrays))
    assert (network.patch_size, network.as_reference) == (100, True)


def test_one_lead_of_st_mem_keeps_its_own_vector():
    arrays = {f"lead_embeddings.{n}": np.full(3, n, np.float32) for n in range(12)}
    alone = st_mem.one_lead(st_mem.STMEM({**arrays, "sep_embedding": np.zeros(3)}), 7)
    assert alone.in_channels == 1
    np.testing.assert_array_equal(alone["lead_embeddings.0"], np.full(3, 7))


def test_random_weights_fit_the_published_names():
    network = ked.untrained(0)
    arrays = PUBLISHED["ked"].to_torch(network)
    again = ked.from_torch(arrays)
    assert set(again.weights) == set(network.weights)
    assert again.in_channels == 12
    kernel = arrays["5.0.convs.1.0.weight"]
    assert abs(kernel.std() / np.sqrt(2 / np.prod(kernel.shape[1:])) - 1) < 0.02
    assert not arrays["6.3.convs.2.1.weight"].any()


def test_the_page_has_what_users_must_know_of_each_encoder():
    page = (pathlib.Path(__file__).parents[1] / "docs" / "baselines.md").read_text()
    for item in PUBLISHED.values():
        section = page.partition(f"\n## {item.title}\n")[2].partition("\n## ")[0]
        named = [f"`{variant}`" for variant in item.variants]
        names_of_files = [part for part in re.split(r"[, ]+", item.weights) if "." in part]
        for text in (*named, *names_of_files, *item.checksums, *item.checksums.values()):
            assert text in section, (item.title, text)
        assert item.licence.split(" (")[0] in section


@pytest.mark.parametrize(
    ("make", "shapes", "count", "steps"),
    [
        (ked.KED, ked._shapes(1), 1000, {"stage_1": 250, "stage_4": 32}),
        (moment.MOMENT, moment._shapes(), 512, {"block0": 64, "features": 64}),
        (moirai.Moirai, moirai._shapes(), 5000, {"layer0": 79, "features": 79}),
        (st_mem.STMEM, st_mem._shapes(1, 32), 2250, {"block0": 30, "features": 30}),
    ],
)
def test_time_steps_fit_the_layers(make, shapes, count, steps):
    def both(signal):
        network = make({key: jnp.zeros(shape) for key, shape in shapes.items()})
        layers, times = network.layers(signal), network.time_steps(signal)
        assert list(layers) == list(times)
        return layers, times

    layers, times = jax.eval_shape(both, jax.ShapeDtypeStruct((2, count, 1), jnp.float32))
    for name, shape in ((name, value.shape) for name, value in times.items()):
        assert (shape[0], shape[2]) == layers[name].shape
        assert shape[1] == steps.get(name, shape[1])
