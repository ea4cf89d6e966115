"""One grouped convolution over time, in several forms that give the same numbers.

Shapes: B batch, T time (samples), C channels, G groups.
"""

import contextlib
import contextvars
import functools
from collections.abc import Callable, Iterator
from typing import Protocol

import jax
import jax.numpy as jnp
from jax import lax

from clef_jax import machine, plugin
from clef_jax.convolution.rules import ConvShape, choose
from clef_jax.convolution.spatial import in_groups, spatial_conv
from clef_jax.convolution.swish import swish
from clef_jax.convolution.toeplitz import same_padding, toeplitz_conv

_forced_form: contextvars.ContextVar[str | None] = contextvars.ContextVar("form", default=None)


class _Form(Protocol):
    def __call__(
        self, x: jax.Array, kernel: jax.Array, *, stride: int, groups: int, block: int
    ) -> jax.Array: ...


@contextlib.contextmanager
def use_form(form: str | None) -> Iterator[None]:
    """Makes every grouped convolution traced inside the block use `form`; None: the table's."""
    token = _forced_form.set(None if form is None else _known(form))
    try:
        yield
    finally:
        _forced_form.reset(token)


def grouped_conv(
    x: jax.Array,
    kernel: jax.Array,
    bias: jax.Array | None = None,
    *,
    stride: int,
    groups: int,
    activate: bool = False,
    form: str | None = None,
    block: int | None = None,
    platform: str | None = None,
) -> jax.Array:
    """Convolves [B, T, C_in] with kernel [taps, C_in / G, C_out] to [B, ceil(T / stride), C_out].

    Padding is XLA's SAME. With `activate`, x goes through a swish first. `form` is one of `FORMS`
    and `block` the outputs per Toeplitz block; without them `conv_choice` decides for `platform`,
    by its table or by what was measured. Unless given, the platform is the one of `use_platform`,
    or else JAX's default backend.
    Raises ValueError for shapes that do not fit. All forms agree to rounding.
    """
    _check(x, kernel, stride, groups)
    platform = platform or machine.current_platform()
    taps, depth, channels = kernel.shape
    layer = ConvShape(x.shape[1], taps, depth, channels, groups, stride)
    chosen = choose(platform, layer, x.dtype.name, x.shape[0])
    form = form or _forced_form.get() or chosen.form
    convolve = FORMS[_known(form)]
    # In the shape in which the compiler holds it, what is done to each number is done on the way.
    shaped = functools.partial(in_groups, groups=groups) if form == "spatial" else _plain
    if activate:
        x = shaped(swish, x)
    y = convolve(x, kernel, stride=stride, groups=groups, block=block or chosen.block)
    return y if bias is None else shaped(jnp.add, y, bias)


def _plain(function: Callable[..., jax.Array], x: jax.Array, *channels: jax.Array) -> jax.Array:
    """An elementwise function of [B, T, C] and of values [C] per channel."""
    return function(x, *(values[None, None, :] for values in channels))


def _lax(x: jax.Array, kernel: jax.Array, *, stride: int, groups: int, block: int) -> jax.Array:
    """The compiler's own grouped convolution."""
    return lax.conv_general_dilated(
        x,
        kernel,
        (stride,),
        [same_padding(x.shape[1], kernel.shape[0], stride)],
        dimension_numbers=("NWC", "WIO", "NWC"),
        feature_group_count=groups,
    )


def _dense(x: jax.Array, kernel: jax.Array, *, stride: int, groups: int, block: int) -> jax.Array:
    """An ungrouped convolution whose kernel is zero between groups."""
    taps, depth, channels = kernel.shape
    same_group = jnp.eye(groups, dtype=kernel.dtype)[None, :, None, :, None]
    per_group = kernel.reshape(taps, 1, depth, groups, channels // groups)
    full = (per_group * same_group).reshape(taps, groups * depth, channels)
    return _lax(x, full, stride=stride, groups=1, block=block)


def _taps(x: jax.Array, kernel: jax.Array, *, stride: int, groups: int, block: int) -> jax.Array:
    """One product per tap, summed."""
    batch, length = x.shape[:2]
    taps, depth, width = kernel.shape[0], kernel.shape[1], kernel.shape[2] // groups
    left, right = same_padding(length, taps, stride)
    outputs = -(-length // stride)
    x = jnp.pad(x, ((0, 0), (left, right), (0, 0)))
    x = x.reshape(batch, -1, groups, depth)
    kernel = kernel.reshape(taps, depth, groups, width)
    y = jnp.zeros((batch, outputs, groups, width), x.dtype)
    for tap in range(taps):
        seen = x[:, tap : tap + (outputs - 1) * stride + 1 : stride]
        y = y + jnp.einsum("btgi,igo->btgo", seen, kernel[tap])
    return y.reshape(batch, outputs, groups * width)


FORMS: dict[str, _Form] = {
    "lax": _lax,
    "dense": _dense,
    "toeplitz": toeplitz_conv,
    "taps": _taps,
    "spatial": spatial_conv,
}


def _known(form: str) -> str:
    if form in FORMS:
        return form
    raise ValueError(plugin.unknown("form of the grouped convolution", form, FORMS))


def _check(x: jax.Array, kernel: jax.Array, stride: int, groups: int) -> None:
    if x.ndim != 3 or kernel.ndim != 3 or min(x.shape[1:]) < 1 or stride < 1 or groups < 1:
        raise ValueError(
            "A grouped convolution takes [batch, time, channels] and a kernel [taps, channels per "
            f"group, channels], but got {list(x.shape)} and {list(kernel.shape)} with stride "
            f"{stride} and {groups} groups."
        )
    if x.shape[2] != kernel.shape[1] * groups or kernel.shape[2] % groups:
        raise ValueError(
            f"{x.shape[2]} channels cannot be convolved in {groups} groups with a kernel of shape "
            f"{list(kernel.shape)}: its channels per group times the groups must be the input's "
            "channels, and the groups must divide its output channels."
        )
