"""One grouped convolution over time, in several forms that give the same numbers.

Shapes: B batch, T time (samples), C channels.
"""

import jax
from jax import lax


def same_padding(length: int, taps: int, stride: int) -> tuple[int, int]:
    """Zeros before and after a signal so that ceil(length / stride) outputs come out."""
    outputs = -(-length // stride)
    total = max((outputs - 1) * stride + taps - length, 0)
    return total // 2, total - total // 2


def grouped_conv(
    x: jax.Array,
    kernel: jax.Array,
    bias: jax.Array | None = None,
    *,
    stride: int,
    groups: int,
    form: str | None = None,
) -> jax.Array:
    """Convolves [B, T, C_in] with kernel [taps, C_in / groups, C_out]; SAME padding."""
    y = lax.conv_general_dilated(
        x,
        kernel,
        (stride,),
        [same_padding(x.shape[1], kernel.shape[0], stride)],
        dimension_numbers=("NWC", "WIO", "NWC"),
        feature_group_count=groups,
    )
    return y if bias is None else y + bias[None, None, :]
