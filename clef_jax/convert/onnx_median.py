"""Adds a running median to ONNX graphs, by the method of `clef_jax.signal.running_median`.

A median of gathered windows would need a multiple of the memory: their number of samples.

Shapes: B batch, T time (samples), N samples with the padding.
"""

import numpy as np

from clef_jax.convert.onnx_graph import Builder


def add_running_median(builder: Builder, x: str, length: int, num_samples: int) -> str:
    """Adds the median of the samples around each one of `x` [B, T]; returns [B, T].

    Args:
        length: T.
        num_samples: odd number of samples of which the median is taken; zeros lie beyond the ends.
    """
    half = num_samples // 2
    count = length + 2 * half
    padded = builder.op("Pad", x, builder.integers(0, half, 0, half))
    values, order = _sorted(builder, padded, count)
    _, rank = _sorted(builder, order, count)
    rows = builder.op("Mul", _slice(builder, rank, 0, length), builder.integers(0))  # zeros [B, T]
    begin = builder.op("Add", rows, _indices(builder, length))
    end = builder.op("Add", begin, builder.integers(num_samples))
    nth = builder.op("Add", rows, builder.integers(half))
    found = _add_ranks(builder, rank, count, begin, end, nth)
    return builder.op("GatherElements", values, found, axis=1)


def _add_ranks(builder: Builder, rank: str, count: int, begin: str, end: str, nth: str) -> str:
    """Adds the nth smallest of the ranks [B, N] in each range from begin to end, all [B, T].

    The nodes are the operations of `clef_jax.signal.running_median`.
    """
    op, position, result = builder.op, _indices(builder, count), None
    for level in reversed(range((count - 1).bit_length())):
        shifted = op("Div", rank, builder.integers(2**level))
        bit = op("Mod", shifted, builder.integers(2))
        ones = op("CumSum", bit, builder.constant(np.array(1)))
        zeros = op("Sub", op("Add", position, builder.integers(1)), ones)  # up to each index
        num_zeros = _slice(builder, zeros, count - 1, count)
        zeros = op("Pad", zeros, builder.integers(0, 1, 0, 0))  # before each index
        zeros_begin = op("GatherElements", zeros, begin, axis=1)
        zeros_end = op("GatherElements", zeros, end, axis=1)
        inside = op("Sub", zeros_end, zeros_begin)
        is_one = op("GreaterOrEqual", nth, inside)
        nth = op("Where", is_one, op("Sub", nth, inside), nth)
        added = op("Where", is_one, builder.integers(2**level), builder.integers(0))
        result = added if result is None else op("Add", result, added)
        begin = op("Where", is_one, _behind(builder, begin, zeros_begin, num_zeros), zeros_begin)
        end = op("Where", is_one, _behind(builder, end, zeros_end, num_zeros), zeros_end)
        if level:
            before = _slice(builder, zeros, 0, count)
            behind = _behind(builder, position, before, num_zeros)
            to = op("Where", op("Cast", bit, to=9), behind, before)  # TensorProto.BOOL
            rank = op("ScatterElements", rank, to, rank, axis=1)
    assert result is not None, "A padded signal has more than one sample."
    return result


def _behind(builder: Builder, index: str, zeros: str, num_zeros: str) -> str:
    """Adds the place of an index whose bit is 1: behind all zeros, after the ones before it."""
    return builder.op("Add", num_zeros, builder.op("Sub", index, zeros))


def _sorted(builder: Builder, x: str, count: int) -> list[str]:
    """Adds the values of [B, N] in ascending order, and where they were."""
    names = (None, None)
    return builder.split("TopK", x, builder.integers(count), names=names, largest=0, sorted=1)


def _indices(builder: Builder, count: int) -> str:
    return builder.constant(np.arange(count)[None])


def _slice(builder: Builder, x: str, start: int, stop: int) -> str:
    ends = builder.integers(start), builder.integers(stop)
    return builder.op("Slice", x, *ends, builder.integers(1))
