"""The encoder's layers with parameters, initialised like PyTorch's.

Shapes: B batch, T time (samples), C channels.
"""

import jax
import jax.numpy as jnp
from flax import nnx

from clef_jax.convolution import activated
from clef_jax.convolution.grouped import grouped_conv


def _uniform(rngs: nnx.Rngs, shape: tuple[int, ...], fan_in: int) -> nnx.Param:
    """Samples U(-1/sqrt(fan_in), 1/sqrt(fan_in)), PyTorch's default for these layers."""
    bound = fan_in**-0.5
    return nnx.Param(jax.random.uniform(rngs.params(), shape, jnp.float32, -bound, bound))


class Conv(nnx.Module):
    """Grouped convolution over time: kernel [taps, C_in / groups, C_out], SAME padding, bias."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        taps: int,
        stride: int = 1,
        groups: int = 1,
        rngs: nnx.Rngs,
    ):
        self.stride, self.groups = stride, groups
        fan_in = taps * in_channels // groups
        self.kernel = _uniform(rngs, (taps, in_channels // groups, out_channels), fan_in)
        self.bias = _uniform(rngs, (out_channels,), fan_in)

    def __call__(
        self, x: jax.Array, *, activate: bool = False, differentiate_bias: bool = True
    ) -> jax.Array:
        """Maps [B, T, C_in] to [B, ceil(T / stride), C_out].

        Args:
            x: signals.
            activate: whether swish is applied first.
            differentiate_bias: whether the bias has a gradient; otherwise the next layer sums it.
        """
        kernel = self.kernel[...].astype(x.dtype)
        bias = self.bias[...].astype(x.dtype)
        if not differentiate_bias:
            bias = jax.lax.stop_gradient(bias)
        settings = {"stride": self.stride, "groups": self.groups, "activate": activate}
        return grouped_conv(x, kernel, bias, **settings)


class Affine(nnx.Module):
    """Scale and shift per channel [C], like a batch norm with fixed statistics."""

    def __init__(self, channels: int):
        self.scale = nnx.Param(jnp.ones(channels, jnp.float32))
        self.shift = nnx.Param(jnp.zeros(channels, jnp.float32))

    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps [B, T, C] to [B, T, C]."""
        scale, shift = self.scale[...].astype(x.dtype), self.shift[...].astype(x.dtype)
        return x * scale[None, None, :] + shift[None, None, :]


class Linear(nnx.Module):
    """Linear map of the last axis, also a convolution with one tap; kernel [C_in, C_out]."""

    def __init__(self, in_channels: int, out_channels: int, *, rngs: nnx.Rngs):
        self.kernel = _uniform(rngs, (in_channels, out_channels), in_channels)
        self.bias = _uniform(rngs, (out_channels,), in_channels)

    def __call__(self, x: jax.Array, *, activate: bool = False) -> jax.Array:
        """Maps [..., C_in] to [..., C_out]; `activate` first applies swish."""
        compute = activated.product if activate else activated.linear
        return compute(x, self.kernel[...], self.bias[...])
