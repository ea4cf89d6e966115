"""Grouped convolution over time, in several implementations with the same result.

Shapes: B batch, T time (samples), C channels, G groups.
"""

import functools
from collections.abc import Callable
from typing import Protocol

import jax
import jax.numpy as jnp
from jax import lax

from clef_jax import machine, plugin
from clef_jax.convolution.even import even_conv
from clef_jax.convolution.rules import ConvShape, choose
from clef_jax.convolution.spatial import in_groups, spatial_conv
from clef_jax.convolution.swish import swish
from clef_jax.convolution.toeplitz import same_padding, toeplitz_conv
from clef_jax.errors import counted
from clef_jax.scoped import Block, Scoped

_forced = Scoped[str | None]("implementation", None)


class _Implementation(Protocol):
    def __call__(
        self, x: jax.Array, kernel: jax.Array, *, stride: int, groups: int, block: int
    ) -> jax.Array: ...


def use_implementation(implementation: str | None) -> Block:
    """Makes every grouped convolution traced inside the block use one implementation.

    None selects by the default rules.

    Raises:
        ValueError: the implementation is unknown.
    """
    return _forced.use(None if implementation is None else _known(implementation))


def grouped_conv(
    x: jax.Array,
    kernel: jax.Array,
    bias: jax.Array | None = None,
    *,
    stride: int,
    groups: int,
    activate: bool = False,
    implementation: str | None = None,
    block: int | None = None,
    platform: str | None = None,
) -> jax.Array:
    """Convolves over time, with XLA's SAME padding; all implementations agree up to rounding.

    Args:
        x: [B, T, C_in].
        kernel: [taps, C_in / G, C_out].
        bias: [C_out]; by default none.
        stride: samples between two outputs.
        groups: number of groups G.
        activate: whether swish is applied to `x` first.
        implementation: a key of `IMPLEMENTATIONS`; by default that of tuning results or the rules.
        block: outputs per Toeplitz block; by default as for `implementation`.
        platform: platform to select for; by default that of `use_platform`, else JAX's backend.

    Returns:
        The outputs, [B, ceil(T / stride), C_out].

    Raises:
        ValueError: the shapes do not match, or the implementation is unknown.
    """
    _check(x, kernel, stride, groups)
    platform = platform or machine.current_platform()
    taps, depth, channels = kernel.shape
    shape = ConvShape(x.shape[1], taps, depth, channels, groups, stride)
    chosen = choose(platform, shape, x.dtype.name, x.shape[0])
    implementation = implementation or _forced.get() or chosen.implementation
    convolve = IMPLEMENTATIONS[_known(implementation)]
    # Elementwise operations are fused only if they use the shape in which the compiler stores x.
    shaped = functools.partial(in_groups, groups=groups) if implementation == "spatial" else _plain
    if activate:
        x = shaped(swish, x)
    y = convolve(x, kernel, stride=stride, groups=groups, block=block or chosen.block)
    return y if bias is None else shaped(jnp.add, y, bias)


def _plain(function: Callable[..., jax.Array], x: jax.Array, *channels: jax.Array) -> jax.Array:
    """Applies an elementwise function to [B, T, C] and to values [C] per channel."""
    return function(x, *(values[None, None, :] for values in channels))


def _lax(x: jax.Array, kernel: jax.Array, *, stride: int, groups: int, block: int) -> jax.Array:
    """Convolves with the compiler's own grouped convolution."""
    return lax.conv_general_dilated(
        x,
        kernel,
        (stride,),
        [same_padding(x.shape[1], kernel.shape[0], stride)],
        dimension_numbers=("NWC", "WIO", "NWC"),
        feature_group_count=groups,
    )


def _dense(x: jax.Array, kernel: jax.Array, *, stride: int, groups: int, block: int) -> jax.Array:
    """Convolves without groups, with a kernel that is zero between groups."""
    taps, depth, channels = kernel.shape
    same_group = jnp.eye(groups, dtype=kernel.dtype)[None, :, None, :, None]
    per_group = kernel.reshape(taps, 1, depth, groups, channels // groups)
    full = (per_group * same_group).reshape(taps, groups * depth, channels)
    return _lax(x, full, stride=stride, groups=1, block=block)


def _taps(x: jax.Array, kernel: jax.Array, *, stride: int, groups: int, block: int) -> jax.Array:
    """Sums one product per tap."""
    batch, length = x.shape[:2]
    taps, depth, width = kernel.shape[0], kernel.shape[1], kernel.shape[2] // groups
    left, right = same_padding(length, taps, stride)
    outputs = -(-length // stride)
    x = jnp.pad(x, ((0, 0), (left, right), (0, 0)))
    x = x.reshape(batch, -1, groups, depth)
    kernel = kernel.reshape(taps, depth, groups, width)
    y = jnp.zeros((batch, outputs, groups, width), x.dtype)
    for tap in range(taps):
        samples = x[:, tap : tap + (outputs - 1) * stride + 1 : stride]
        y = y + jnp.einsum("btgi,igo->btgo", samples, kernel[tap])
    return y.reshape(batch, outputs, groups * width)


IMPLEMENTATIONS: dict[str, _Implementation] = {
    "lax": _lax,
    "dense": _dense,
    "toeplitz": toeplitz_conv,
    "taps": _taps,
    "spatial": spatial_conv,
    "even": even_conv,
}


def _known(implementation: str) -> str:
    if implementation in IMPLEMENTATIONS:
        return implementation
    label = "implementation of the grouped convolution"
    raise ValueError(plugin.unknown(label, implementation, IMPLEMENTATIONS))


def _check(x: jax.Array, kernel: jax.Array, stride: int, groups: int) -> None:
    if x.ndim != 3 or kernel.ndim != 3 or min(x.shape[1:]) < 1 or stride < 1 or groups < 1:
        raise ValueError(
            "A grouped convolution takes [batch, time, channels] and a kernel [taps, channels per "
            f"group, channels], but got {list(x.shape)} and {list(kernel.shape)} with stride "
            f"{stride} and {counted(groups, 'group')}."
        )
    if x.shape[2] != kernel.shape[1] * groups or kernel.shape[2] % groups:
        raise ValueError(
            f"{counted(x.shape[2], 'channel')} cannot be convolved in {counted(groups, 'group')} "
            f"with a kernel of shape {list(kernel.shape)}: its channels per group times the "
            "groups must be the input's "
            "channels, and the groups must divide its output channels."
        )
