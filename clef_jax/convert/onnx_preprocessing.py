"""Builds the ONNX graph of the preprocessing: raw millivolts to the encoder's input.

The steps, their order and their measures against float32 rounding are those of
`clef_jax.signal.device`.

Shapes: B batch, T time (samples), R = 20 rank of the filter's edge term.
"""

import numpy as np

from clef_jax.convert import onnx_fourier
from clef_jax.convert.onnx_graph import Builder
from clef_jax.convert.onnx_median import add_running_median
from clef_jax.embedding import encoder as encoder_lib
from clef_jax.embedding.recipe import Recipe
from clef_jax.signal import device, reference

SCOPE = "preprocessing"
"""Start of the names of these nodes."""

_DROPPED = 3e-8
"""Fraction of the largest singular value of the edge term, below which singular values are dropped:
they are less than the rounding of float32."""


def add_preprocessing(
    builder: Builder, signal_mv: str, sample_rate_hz: float, recipe: Recipe, num_leads: int = 1
) -> str:
    """Adds the nodes that preprocess `signal_mv` [B, T]; returns the name of the encoder's input.

    Samples that are not finite are missing. T is `recipe.num_samples(sample_rate_hz)`. Rows of
    `num_leads` leads follow each other, which variants of the recipe may scale together.

    Raises:
        UserError: the number of samples of a window has too large a prime factor.
    """
    builder.enter(SCOPE)
    before = recipe.num_samples(sample_rate_hz)
    after = recipe.num_samples(recipe.sample_rate_hz)
    x = _add_gap_filling(builder, signal_mv, before, zeros=recipe.zero_gaps)
    if after != before:
        # Subtract the mean and add it afterwards: an offset would make the transform less exact.
        x, mean = _centred(builder, x)
        x = onnx_fourier.add_resampling(builder, x, before, after)
        x = builder.op("Add", x, mean)
    if recipe.band_hz is not None:
        x = _add_bandpass(builder, x, encoder_lib.make_filter(recipe, recipe.band_hz))
    if recipe.preparation is not None:
        count = recipe.preparation.median_samples(recipe.sample_rate_hz)
        if count is not None:
            x = builder.op("Sub", x, add_running_median(builder, x, after, count))
        x = builder.op("Reshape", x, builder.integers(-1, num_leads, after))
        x = _add_zscore(builder, x, axes=(2, 1))
        return builder.op("Reshape", x, builder.integers(-1, after))
    return _add_zscore(builder, x) if recipe.zscored else x


def _add_gap_filling(builder: Builder, x: str, length: int, *, zeros: bool) -> str:
    """Adds linear interpolation of gaps; holds values at the edges, zeros if all are missing.

    Args:
        zeros: whether all missing samples become zeros instead.
    """
    largest = builder.number(float(np.finfo(np.float32).max))
    # Comparisons with NaN are false, so this node detects NaN as well as infinity.
    present = builder.op("LessOrEqual", builder.op("Abs", x), largest)
    x = builder.op("Where", present, x, builder.number(0))
    if zeros:
        return x
    zero, last = builder.number(0), builder.number(length - 1)
    time = np.arange(length, dtype=np.float32)[None]
    # 1 + the index of the last known sample, and the distance of the next known one from the end.
    seen = builder.op("Where", present, builder.constant(time + 1), zero)
    coming = builder.op("Where", present, builder.constant(length - time), zero)
    before = builder.op("Sub", _running_max(builder, seen, length, back=True), builder.number(1))
    after = _running_max(builder, coming, length, back=False)
    after = builder.op("Sub", builder.number(length), after)
    # At the edges only one neighbour exists, whose value is held.
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
    """Adds the running maximum of [B, T] from the start (`back`) or the end; no value is below 0.

    Each round doubles the reach of the maximum, so log2(T) rounds replace a loop.
    """
    reach = 1
    while reach < length:
        # Zeros as padding: equal to the smallest possible value.
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
    # Centre twice: a flat signal keeps the rounding of its mean, which the z-score would amplify.
    x, _ = _centred(builder, x)
    x, _ = _centred(builder, x)
    filtered = onnx_fourier.add_filter(
        builder,
        x,
        bandpass.num_samples,
        np.asarray(bandpass.spectrum, np.float64),
        bandpass.fft_length,
    )
    return builder.op("Add", filtered, _add_edge(builder, x, bandpass))


def _add_edge(builder: Builder, x: str, bandpass: device.Bandpass) -> str:
    """Adds the edge term left (right' x), with both factors decomposed into sums of few products.

    A mode of the filter decays from block to block of the window as it does within a block, so both
    factors [K, 64, R] have a rank of some twenty over K: a third of the numbers.
    """
    length, right = bandpass.num_samples, np.asarray(bandpass.right, np.float64)
    num_blocks, block_samples, rank = right.shape
    padded = num_blocks * block_samples
    left = np.pad(np.asarray(bandpass.left, np.float64), [(0, padded - length), (0, 0)])
    over_blocks, inside = _split_blocks(right)
    if padded > length:
        x = builder.op("Pad", x, builder.integers(0, 0, 0, padded - length))
    x = builder.op("Reshape", x, builder.integers(-1, num_blocks, block_samples))
    x = builder.op("MatMul", builder.constant(over_blocks.T), x)
    # Summed block by block: one long float32 sum of slow drift is ten times less exact.
    x = builder.op("Unsqueeze", x, builder.integers(2))
    modes = builder.op("MatMul", x, builder.constant(inside))
    modes = builder.op("ReduceSum", modes, builder.integers(1, 2), keepdims=0)
    over_blocks, inside = _split_blocks(left.reshape(right.shape))
    shapes = np.moveaxis(inside, 2, 0).reshape(rank, -1)
    x = builder.op("MatMul", modes, builder.constant(shapes))
    x = builder.op("Reshape", x, builder.integers(-1, len(inside), block_samples))
    x = builder.op("MatMul", builder.constant(over_blocks), x)
    x = builder.op("Reshape", x, builder.integers(-1, padded))
    return onnx_fourier.cut(builder, x, padded, length)


def _split_blocks(factor: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns float32 [K, P] and [P, 64, R], whose product is `factor` [K, 64, R] to rounding."""
    u, scale, v = np.linalg.svd(factor.reshape(len(factor), -1), full_matrices=False)
    kept = int((scale > _DROPPED * scale[0]).sum())
    inside = (scale[:kept, None] * v[:kept]).reshape(kept, *factor.shape[1:])
    return u[:, :kept].astype(np.float32), inside.astype(np.float32)


def _add_zscore(builder: Builder, x: str, axes: tuple[int, ...] = (1,)) -> str:
    """Adds a scaling to mean 0 and standard deviation 1 over axes of `x`."""
    x, _ = _centred(builder, x, axes)
    # Centre again: the rounding of a flat signal must not be amplified to noise.
    x, _ = _centred(builder, x, axes)
    variance = _add_mean(builder, builder.op("Mul", x, x), axes)
    deviation = builder.op("Sqrt", variance)
    return builder.op("Div", x, builder.op("Add", deviation, builder.number(reference.STD_FLOOR)))


def _centred(builder: Builder, x: str, axes: tuple[int, ...] = (1,)) -> tuple[str, str]:
    """Subtracts the mean over axes of `x`, by default the time of [B, T]; returns the difference
    and the mean, whose axes have the length 1."""
    mean = _add_mean(builder, x, axes)
    return builder.op("Sub", x, mean), mean


def _add_mean(builder: Builder, x: str, axes: tuple[int, ...]) -> str:
    # Axis by axis: one long float32 sum is less exact.
    for axis in axes:
        x = builder.op("ReduceMean", x, axes=[axis], keepdims=1)
    return x
