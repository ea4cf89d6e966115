"""Every form of the grouped convolution gives the same values and gradients."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from culprits import refuses

from clef_jax.convolution import rules
from clef_jax.convolution.grouped import FORMS, grouped_conv, use_form
from clef_jax.convolution.swish import swish
from clef_jax.machine import use_platform

TAPS = 16


def convolve_in_numpy(x, kernel, bias, stride, groups):
    """The definition, in float64: XLA's SAME padding, one output at a time."""
    x, kernel = np.asarray(x, np.float64), np.asarray(kernel, np.float64)
    outputs = -(-x.shape[1] // stride)
    total = max((outputs - 1) * stride + len(kernel) - x.shape[1], 0)
    x = np.pad(x, ((0, 0), (total // 2, total - total // 2), (0, 0)))
    per_group = np.split(x, groups, axis=2), np.split(kernel, groups, axis=2)
    y = [
        np.concatenate(
            [np.einsum("bki,kio->bo", g[:, t * stride : t * stride + len(k)], k)
             for g, k in zip(*per_group, strict=True)],
            axis=1,
        )
        for t in range(outputs)
    ]  # fmt: skip
    return np.stack(y, axis=1) + np.asarray(bias, np.float64)


def make_layer(length, depth, groups, taps=TAPS):
    keys = jax.random.split(jax.random.key(length), 3)
    channels = depth * groups
    x = jax.random.normal(keys[0], (2, length, channels))
    kernel = jax.random.normal(keys[1], (taps, depth, channels)) / (taps * depth) ** 0.5
    return x, kernel, jax.random.normal(keys[2], (channels,))


def assert_equal(got, want):
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-6 * max(1.0, np.abs(want).max()))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(
    ("length", "depth", "groups"),
    [(100, 4, 3), (101, 4, 1), (33, 16, 2), (7, 4, 2), (1, 4, 2), (50, 1, 4)],
)
def test_every_form_is_the_definition(form, stride, length, depth, groups):
    x, kernel, bias = make_layer(length, depth, groups)
    want = convolve_in_numpy(x, kernel, bias, stride, groups)
    got = grouped_conv(x, kernel, bias, stride=stride, groups=groups, form=form)
    assert_equal(got, want)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("stride", "length", "depth", "groups"),
    [(1, 40, 4, 3), (2, 41, 4, 3), (2, 40, 16, 2), (1, 9, 4, 2)],
)
def test_every_form_has_the_same_gradients(form, stride, length, depth, groups):
    layer = make_layer(length, depth, groups)

    def gradients(form):
        def loss(*layer):
            y = grouped_conv(*layer, stride=stride, groups=groups, form=form)
            return jnp.sin(y).sum()

        return jax.jit(jax.grad(loss, (0, 1, 2)))(*layer)

    for got, want in zip(gradients(form), gradients("lax"), strict=True):
        scale = np.abs(want).max()
        np.testing.assert_allclose(got, want, rtol=0, atol=2e-6 * max(1.0, scale))


@pytest.mark.parametrize(
    ("block", "stride", "taps"), list(itertools.product([1, 3, 8, 16], [1, 2, 3], [1, 5]))
)
def test_toeplitz_is_the_definition_for_any_block_stride_and_kernel(block, stride, taps):
    x, kernel, bias = make_layer(29, 2, 2, taps)
    want = convolve_in_numpy(x, kernel, bias, stride, 2)
    assert_equal(
        grouped_conv(x, kernel, bias, stride=stride, groups=2, form="toeplitz", block=block), want
    )


def test_without_a_bias_none_is_added():
    x, kernel, bias = make_layer(20, 4, 2)
    with_bias = grouped_conv(x, kernel, bias, stride=1, groups=2)
    assert_equal(grouped_conv(x, kernel, stride=1, groups=2), with_bias - bias[None, None])


@pytest.mark.parametrize("form", FORMS)
def test_every_form_can_take_what_a_swish_is_still_to_be_done_to(form):
    x, kernel, bias = make_layer(20, 4, 2)
    settings = {"stride": 1, "groups": 2, "form": form}
    got = grouped_conv(x, kernel, bias, activate=True, **settings)
    np.testing.assert_array_equal(got, grouped_conv(swish(x), kernel, bias, **settings))


def operations(form=None, platform=None, depth=4, groups=2, signals=2):
    x, kernel, bias = make_layer(20, depth, groups)
    x = jnp.broadcast_to(x[:1], (signals, *x.shape[1:]))
    settings = {"stride": 1, "groups": groups, "form": form, "platform": platform}
    traced = jax.make_jaxpr(lambda x: grouped_conv(x, kernel, bias, **settings))(x)
    return str(traced)


def test_the_platform_chooses_the_form():
    assert operations(platform="cuda") == operations("lax")
    assert operations(platform="tpu") == operations("dense")
    full = {"signals": 256}
    assert operations(platform="tpu", depth=16, **full) == operations("spatial", depth=16, **full)
    assert operations(platform="tpu", groups=9, **full) == operations("spatial", groups=9, **full)
    assert operations(platform="tpu", depth=16, signals=64) == operations(
        "lax", depth=16, signals=64
    )
    assert operations(platform="cpu") == operations("toeplitz") == operations()
    assert "conv_general_dilated" not in operations(platform="cpu")


def test_a_form_can_be_forced_on_everything_traced_inside_a_block():
    with use_form("dense"):
        assert operations() == operations("dense")
        assert operations("lax") != operations("dense"), "an argument outranks the block"
        with use_form(None):
            assert operations() == operations("toeplitz")
    assert operations() == operations("toeplitz")


def test_every_layer_finds_a_row_and_every_row_gives_a_reason():
    for platform, depth in itertools.product(("cpu", "tpu", "cuda", "rocm"), (1, 4, 16, 48, 999)):
        assert rules.of_table(platform, depth).form in FORMS
    assert all(row.reason and row.choice.form in FORMS for row in rules.TABLE)


def test_a_platform_can_be_set_for_all_that_is_traced():
    with use_platform("tpu"):
        assert operations() == operations("dense")
        assert operations(platform="cuda") == operations("lax")  # what is given wins
        with use_form("taps"):
            assert operations() == operations("taps")
    assert operations() == operations("toeplitz")


def test_an_unknown_form_names_its_nearest_neighbour():
    x, kernel, bias = make_layer(20, 4, 2)
    with refuses("'toplitz'", "'toeplitz'", error=ValueError):
        grouped_conv(x, kernel, bias, stride=1, groups=2, form="toplitz")
    with refuses("'dens'", "'dense'", error=ValueError), use_form("dens"):
        pass


@pytest.mark.parametrize(
    ("x_shape", "kernel_shape", "groups"),
    [((2, 9, 8), (3, 8, 8), 2), ((9, 8), (3, 4, 8), 2), ((2, 0, 8), (3, 4, 8), 2),
     ((2, 9, 8), (3, 4, 7), 2)],
)  # fmt: skip
def test_shapes_that_do_not_fit_are_refused(x_shape, kernel_shape, groups):
    with refuses(list(kernel_shape), groups, error=ValueError):
        grouped_conv(jnp.zeros(x_shape), jnp.zeros(kernel_shape), stride=1, groups=groups)
