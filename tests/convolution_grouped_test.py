"""All implementations of the grouped convolution give the same values and gradients."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from culprits import refuses

from clef_jax.convolution import rules
from clef_jax.convolution.grouped import IMPLEMENTATIONS, grouped_conv, use_implementation
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
    rng, channels = np.random.default_rng(length), depth * groups
    shapes = (2, length, channels), (taps, depth, channels), (channels,)
    x, kernel, bias = (rng.standard_normal(shape) for shape in shapes)
    layer = x, kernel / (taps * depth) ** 0.5, bias
    return tuple(jnp.asarray(array, jnp.float32) for array in layer)


def compute(*layer, **settings):
    """Computes the layer as one program; otherwise each of its operations is compiled by itself."""
    return jax.jit(functools.partial(grouped_conv, **settings))(*layer)


def assert_equal(got, want):
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-6 * max(1.0, np.abs(want).max()))


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(
    ("length", "depth", "groups"),
    [(100, 4, 3), (101, 4, 1), (33, 16, 2), (7, 4, 2), (1, 4, 2), (50, 1, 4)],
)
def test_every_implementation_is_the_definition(implementation, stride, length, depth, groups):
    x, kernel, bias = make_layer(length, depth, groups)
    want = convolve_in_numpy(x, kernel, bias, stride, groups)
    got = compute(x, kernel, bias, stride=stride, groups=groups, implementation=implementation)
    assert_equal(got, want)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize(
    ("stride", "length", "depth", "groups"),
    [(1, 40, 4, 3), (2, 41, 4, 3), (2, 40, 16, 2), (1, 9, 4, 2)],
)
def test_every_implementation_has_the_same_gradients(implementation, stride, length, depth, groups):
    layer = make_layer(length, depth, groups)

    def gradients(implementation):
        def loss(*layer):
            y = grouped_conv(*layer, stride=stride, groups=groups, implementation=implementation)
            return jnp.sin(y).sum()

        return jax.jit(jax.grad(loss, (0, 1, 2)))(*layer)

    for got, want in zip(gradients(implementation), gradients("lax"), strict=True):
        scale = np.abs(want).max()
        np.testing.assert_allclose(got, want, rtol=0, atol=2e-6 * max(1.0, scale))


@pytest.mark.parametrize(
    ("block", "stride", "taps"), list(itertools.product([1, 3, 8, 16], [1, 2, 3], [1, 5]))
)
def test_toeplitz_is_the_definition_for_any_block_stride_and_kernel(block, stride, taps):
    x, kernel, bias = make_layer(29, 2, 2, taps)
    want = convolve_in_numpy(x, kernel, bias, stride, 2)
    settings = {"stride": stride, "groups": 2, "implementation": "toeplitz", "block": block}
    assert_equal(compute(x, kernel, bias, **settings), want)


def test_without_a_bias_none_is_added():
    x, kernel, bias = make_layer(20, 4, 2)
    with_bias = grouped_conv(x, kernel, bias, stride=1, groups=2)
    assert_equal(grouped_conv(x, kernel, stride=1, groups=2), with_bias - bias[None, None])


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_every_implementation_can_take_what_a_swish_is_still_to_be_done_to(implementation):
    x, kernel, bias = make_layer(20, 4, 2)
    settings = {"stride": 1, "groups": 2, "implementation": implementation}
    got = grouped_conv(x, kernel, bias, activate=True, **settings)
    np.testing.assert_array_equal(got, grouped_conv(swish(x), kernel, bias, **settings))


def operations(implementation=None, platform=None, depth=4, groups=2, signals=2):
    x, kernel, bias = make_layer(20, depth, groups)
    x = jnp.broadcast_to(x[:1], (signals, *x.shape[1:]))
    settings = {
        "stride": 1,
        "groups": groups,
        "implementation": implementation,
        "platform": platform,
    }
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
    with use_implementation("dense"):
        assert operations() == operations("dense")
        assert operations("lax") != operations("dense"), "an argument outranks the block"
        with use_implementation(None):
            assert operations() == operations("toeplitz")
    assert operations() == operations("toeplitz")


def test_every_layer_finds_a_row_and_every_row_gives_a_reason():
    for platform, depth in itertools.product(("cpu", "tpu", "cuda", "rocm"), (1, 4, 16, 48, 999)):
        assert rules.default_choice(platform, depth).implementation in IMPLEMENTATIONS
    assert all(row.reason and row.choice.implementation in IMPLEMENTATIONS for row in rules.RULES)


def test_a_platform_can_be_set_for_all_that_is_traced():
    with use_platform("tpu"):
        assert operations() == operations("dense")
        assert operations(platform="cuda") == operations("lax")  # what is given wins
        with use_implementation("taps"):
            assert operations() == operations("taps")
    assert operations() == operations("toeplitz")


def test_an_unknown_form_names_its_nearest_neighbour():
    x, kernel, bias = make_layer(20, 4, 2)
    with refuses("'toplitz'", "'toeplitz'", error=ValueError):
        grouped_conv(x, kernel, bias, stride=1, groups=2, implementation="toplitz")
    with refuses("'dens'", "'dense'", error=ValueError), use_implementation("dens"):
        pass


@pytest.mark.parametrize(
    ("x_shape", "kernel_shape", "groups"),
    [((2, 9, 8), (3, 8, 8), 2), ((9, 8), (3, 4, 8), 2), ((2, 0, 8), (3, 4, 8), 2),
     ((2, 9, 8), (3, 4, 7), 2)],
)  # fmt: skip
def test_shapes_that_do_not_fit_are_refused(x_shape, kernel_shape, groups):
    with refuses(list(kernel_shape), groups, error=ValueError):
        grouped_conv(jnp.zeros(x_shape), jnp.zeros(kernel_shape), stride=1, groups=groups)
