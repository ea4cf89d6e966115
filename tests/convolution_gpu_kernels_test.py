"""The kernels for GPUs, interpreted on a CPU, agree with plain operations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from culprits import refuses

from clef_jax.convolution import gpu_kernels, kernel_twins

SHAPES = (
    # signals, samples of each, channels in, channels out
    pytest.param((3, 100, 48, 40), id="no multiple of a tile"),
    pytest.param((2, 64, 16, 16), id="less than a tile of rows"),
    pytest.param((1, 700, 8, 200), id="several tiles of outputs and parts of rows"),
    pytest.param((5, 7, 150, 24), id="several tiles of inputs, many signals in a tile"),
)


def arrays(shape, dtype=np.float32):
    signals, samples, k, m = shape
    rng = np.random.default_rng(0)

    def random(*lengths):
        return jnp.asarray(rng.standard_normal(lengths), jnp.float32)

    rows = signals * samples
    x, gradient = random(rows, k).astype(dtype), random(rows, m).astype(dtype)
    return x, random(k, m), random(m), gradient, random(signals, m), random(signals, m)


def assert_close(got, want, tolerance=2e-6):
    want = np.asarray(want, np.float32)
    largest = np.abs(want).max()
    np.testing.assert_allclose(np.asarray(got, np.float32), want, rtol=0, atol=tolerance * largest)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_product_is_that_of_its_twin(shape):
    x, kernel, bias, *_ = arrays(shape)
    got = gpu_kernels.product(x, kernel, bias, interpret=True)
    assert_close(got, kernel_twins.product(x, kernel, bias))


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_gradients_are_those_of_their_twins(shape, scaled):
    x, kernel, _, gradient, scale, shift = arrays(shape)
    scales = (scale, shift) if scaled else ()
    for name, arguments in (
        ("data_gradient", (gradient, kernel, x, *scales)),
        ("kernel_gradient", (x, gradient, *scales)),
    ):
        got = getattr(gpu_kernels, name)(*arguments, interpret=True)
        for a, b in zip(got, getattr(kernel_twins, name)(*arguments), strict=True):
            assert a.dtype == b.dtype
            assert_close(a, b)


def test_bfloat16_is_rounded_once_for_each_array():
    x, kernel, bias, gradient, *_ = arrays((2, 200, 32, 32), jnp.bfloat16)
    active = jax.nn.silu(x.astype(jnp.float32)).astype(jnp.bfloat16).astype(jnp.float32)
    rounded = kernel.astype(jnp.bfloat16).astype(jnp.float32)
    want = (active @ rounded + bias[None, :]).astype(jnp.bfloat16)
    got = gpu_kernels.product(x, kernel, bias, interpret=True)
    assert got.dtype == jnp.bfloat16
    assert_close(got, want, 2**-8)
    got_kernel, _ = gpu_kernels.kernel_gradient(x, gradient, interpret=True)
    assert_close(got_kernel, active.T @ gradient.astype(jnp.float32))


@pytest.mark.parametrize(("channels", "width"), [(1, 16), (16, 16), (17, 32), (160, 128)])
def test_a_tile_is_as_wide_as_the_channels_within_limits(channels, width):
    assert gpu_kernels._width(channels, 128) == width


def test_an_array_with_too_many_elements_is_refused(monkeypatch):
    x, kernel, bias, *_ = arrays((3, 100, 48, 40))
    monkeypatch.setattr(gpu_kernels, "_MOST_ELEMENTS", 300 * 48 - 1)
    with refuses("--num-microbatches", problem="too_large_for_own_kernels"):
        gpu_kernels.product(x, kernel, bias, interpret=True)
