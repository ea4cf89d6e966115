"""A window's preprocessing as ONNX nodes: raw millivolts to what the encoder takes.

The steps, their order and their care for float32 digits are those of `clef_jax.signal.device`.

Shapes: B batch, T time (samples), R = 20 rank of the filter's edge term.
"""

import numpy as np

from clef_jax.convert import onnx_fourier
from clef_jax.convert.onnx_graph import Builder
from clef_jax.embedding.recipe import Recipe
from clef_jax.signal import device, reference

SCOPE = "preprocessing"
"""What the names of these nodes start with."""

_DROPPED = 3e-8
"""Parts of the edge term below this share of the largest are less than float32's rounding."""


def add_preprocessing(
    builder: Builder, signal_mv: str, sample_rate_hz: float, recipe: Recipe
) -> str:
    """Adds the nodes that turn `signal_mv` [B, T] into the encoder's input; returns its name.

    What is not finite is missing. T is `recipe.num_samples(sample_rate_hz)`.
    Raises UserError where the window's length has too large a prime factor.
    """
    builder.enter(SCOPE)
    before = recipe.num_samples(sample_rate_hz)
    after = recipe.num_samples(recipe.sample_rate_hz)
    x = _add_gap_filling(builder, signal_mv, before)
    if after != before:
        # Taken off and added again: an offset would cost the transform its digits.
        x, mean = _centred(builder, x)
        x = onnx_fourier.add_resampling(builder, x, before, after)
        x = builder.op("Add", x, mean)
    if recipe.band_hz is not None:
        bandpass = device.make_bandpass(after, recipe.sample_rate_hz, *recipe.band_hz)
        x = _add_bandpass(builder, x, bandpass)
    return _add_zscore(builder, x) if recipe.zscored else x


def _add_gap_filling(builder: Builder, x: str, length: int) -> str:
    """Straight lines over gaps; the edges are held, and a signal without a sample is zeros."""
    largest = builder.number(float(np.finfo(np.float32).max))
    # A comparison with NaN is false, so this one node finds infinities too.
    present = builder.op("LessOrEqual", builder.op("Abs", x), largest)
    x = builder.op("Where", present, x, builder.number(0))
    zero, last = builder.number(0), builder.number(length - 1)
    time = np.arange(length, dtype=np.float32)[None]
    # One more than the place of the last sample seen, and the steps from the next one to the end.
    seen = builder.op("Where", present, builder.constant(time + 1), zero)
    coming = builder.op("Where", present, builder.constant(length - time), zero)
    before = builder.op("Sub", _running_max(builder, seen, length, back=True), builder.number(1))
    after = _running_max(builder, coming, length, back=False)
    after = builder.op("Sub", builder.number(length), after)
    # At the edges only one neighbour exists, and it is held.
    none_before = builder.op("Less", before, zero)
    none_after = builder.op("Greater", after, last)
    left = builder.op("Where", none_before, builder.op("Min", after, last), before)
    right = builder.op("Where", none_after, builder.op("Max", before, zero), after)
    start = builder.op("GatherElements", x, _integer(builder, left), axis=1)
    stop = builder.op("GatherElements", x, _integer(builder, right), axis=1)
    steps = builder.op("Max", builder.op("Sub", right, left), builder.number(1))
    passed = builder.op("Sub", builder.constant(time), left)
    rise = builder.op("Mul", builder.op("Sub", stop, start), builder.op("Div", passed, steps))
    return builder.op("Where", present, x, builder.op("Add", start, rise))


def _running_max(builder: Builder, x: str, length: int, *, back: bool) -> str:
    """The largest of each of [B, T] and all before it (`back`) or after it; none is below 0.

    Each round doubles how far a sample looks, so that log2(T) rounds do without a loop.
    """
    reach = 1
    while reach < length:
        # Zeros from outside: as large as the smallest value.
        pads = (0, reach, 0, 0) if back else (0, 0, 0, reach)
        first = 0 if back else reach
        padded = builder.op("Pad", x, builder.integers(*pads))
        start, stop = builder.integers(first), builder.integers(first + length)
        x = builder.op("Max", x, builder.op("Slice", padded, start, stop, builder.integers(1)))
        reach *= 2
    return x


def _integer(builder: Builder, x: str) -> str:
    return builder.op("Cast", x, to=7)  # TensorProto.INT64


def _add_bandpass(builder: Builder, x: str, bandpass: device.Bandpass) -> str:
    # Twice: of a flat signal the first mean leaves its own rounding, which the z-score would raise.
    x, _ = _centred(builder, x)
    x, _ = _centred(builder, x)
    middle = onnx_fourier.add_filter(
        builder,
        x,
        bandpass.num_samples,
        np.asarray(bandpass.spectrum, np.float64),
        bandpass.fft_length,
    )
    return builder.op("Add", middle, _add_edge(builder, x, bandpass))


def _add_edge(builder: Builder, x: str, bandpass: device.Bandpass) -> str:
    """The edge term left (right' x), its factors themselves as sums of few products.

    A mode of the filter decays from piece to piece of the window as it does inside of one, so that
    both factors [K, 64, R] have a rank of some twenty over K: a third of the numbers.
    """
    length, right = bandpass.num_samples, np.asarray(bandpass.right, np.float64)
    pieces, piece_samples, rank = right.shape
    padded = pieces * piece_samples
    left = np.pad(np.asarray(bandpass.left, np.float64), [(0, padded - length), (0, 0)])
    over_pieces, inside = _split_pieces(right)
    if padded > length:
        x = builder.op("Pad", x, builder.integers(0, 0, 0, padded - length))
    x = builder.op("Reshape", x, builder.integers(-1, pieces, piece_samples))
    x = builder.op("MatMul", builder.constant(over_pieces.T), x)
    # Summed piece by piece: one long float32 sum of slow drift is ten times less exact.
    x = builder.op("Unsqueeze", x, builder.integers(2))
    modes = builder.op("MatMul", x, builder.constant(inside))
    modes = builder.op("ReduceSum", modes, builder.integers(1, 2), keepdims=0)
    over_pieces, inside = _split_pieces(left.reshape(right.shape))
    shapes = np.moveaxis(inside, 2, 0).reshape(rank, -1)
    x = builder.op("MatMul", modes, builder.constant(shapes))
    x = builder.op("Reshape", x, builder.integers(-1, len(inside), piece_samples))
    x = builder.op("MatMul", builder.constant(over_pieces), x)
    x = builder.op("Reshape", x, builder.integers(-1, padded))
    return onnx_fourier.cut(builder, x, padded, length)


def _split_pieces(factor: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """float32 [K, P] and [P, 64, R] whose product is `factor` [K, 64, R] to rounding."""
    u, scale, v = np.linalg.svd(factor.reshape(len(factor), -1), full_matrices=False)
    kept = int((scale > _DROPPED * scale[0]).sum())
    inside = (scale[:kept, None] * v[:kept]).reshape(kept, *factor.shape[1:])
    return u[:, :kept].astype(np.float32), inside.astype(np.float32)


def _add_zscore(builder: Builder, x: str) -> str:
    x, _ = _centred(builder, x)
    # Once more: what rounding leaves of a flat signal must not be scaled up to noise.
    x, _ = _centred(builder, x)
    variance = builder.op("ReduceMean", builder.op("Mul", x, x), axes=[1], keepdims=1)
    deviation = builder.op("Sqrt", variance)
    return builder.op("Div", x, builder.op("Add", deviation, builder.number(reference.STD_FLOOR)))


def _centred(builder: Builder, x: str) -> tuple[str, str]:
    """`x` [B, T] without its mean over time, and that mean [B, 1]."""
    mean = builder.op("ReduceMean", x, axes=[1], keepdims=1)
    return builder.op("Sub", x, mean), mean
