"""Net1D, the ECG encoder: a 1-D ResNeXt with squeeze-excitation and no normalisation.

Shapes: B batch, T time (samples), C channels, D embedding.
"""

import itertools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from clef_jax.convolution.activated import gated_product, uses_own_kernels
from clef_jax.convolution.swish import swish
from clef_jax.models import size as size_lib
from clef_jax.models.layer import Affine, Conv, Linear
from clef_jax.models.shortcut import shortcut


class SqueezeExcitation(nnx.Module):
    """Scales each channel by a gate computed from the channels' means over time."""

    def __init__(self, spec: size_lib.BlockSpec, *, rngs: nnx.Rngs):
        squeeze, excite = spec.gate
        self.squeeze = Linear(squeeze.in_channels, squeeze.channels, rngs=rngs)
        self.excite = Linear(excite.in_channels, excite.channels, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps [B, T, C] to [B, T, C]."""
        return x * self.factor(_time_mean(x)).astype(x.dtype)[:, None, :]

    def factor(self, mean: jax.Array) -> jax.Array:
        """Maps means over time, [B, C], to the factor of each channel, [B, C]."""
        return jax.nn.sigmoid(self.excite(self.squeeze(mean), activate=True))


class Block(nnx.Module):
    """Residual bottleneck block; a stride of 2 halves the number of samples, rounded up.

    With `input_affine`, the residual path (not the shortcut) starts with a scale and shift per
    channel.
    """

    def __init__(self, spec: size_lib.BlockSpec, *, input_affine: bool = False, rngs: nnx.Rngs):
        reduce, mix, expand = spec.convolutions
        self.stride, self.activate_input = spec.stride, spec.activates_input
        self.channels = spec.channels
        self.affine = Affine(spec.in_channels) if input_affine else None
        self.reduce = Linear(reduce.in_channels, reduce.channels, rngs=rngs)
        self.mix = _conv(mix, rngs)
        self.expand = Linear(expand.in_channels, expand.channels, rngs=rngs)
        self.gate = SqueezeExcitation(spec, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps [B, T, C_in] to [B, ceil(T / stride), C]."""
        # Profiles and plans show the operations under these names.
        with jax.named_scope("reduce"):
            y = x if self.affine is None else self.affine(x)
            y = self.reduce(y, activate=self.activate_input)
        y = self._expanded_with_own_kernels(y) if uses_own_kernels() else self._expanded(y)
        with jax.named_scope("shortcut"):
            return y + shortcut(x, self.stride, self.channels)

    def _expanded(self, y: jax.Array) -> jax.Array:
        with jax.named_scope("mix"):
            y = self.mix(y, activate=True)
        with jax.named_scope("expand"):
            y = self.expand(y, activate=True)
        with jax.named_scope("gate"):
            return self.gate(y)

    def _expanded_with_own_kernels(self, y: jax.Array) -> jax.Array:
        with jax.named_scope("mix"):
            y = self.mix(y, activate=True, differentiate_bias=False)
        graph, params = nnx.split(self.gate, nnx.Param)

        def gate(params: nnx.State, mean: jax.Array) -> jax.Array:
            return nnx.merge(graph, params).factor(mean)

        with jax.named_scope("expand"):
            kernel, bias = self.expand.kernel[...], self.expand.bias[...]
            return gated_product(gate, params, y, kernel, bias, self.mix.bias[...])


class Stage(nnx.Module):
    """Blocks with the same number of channels; the first halves the number of samples."""

    def __init__(self, blocks: list[Block]):
        self.blocks = nnx.List(blocks)


class Net1D(nnx.Module):
    """ECG encoder: `encoder(signal)` embeds [B, T, in_channels] as [B, D].

    Args:
        size: shape of the network.
        in_channels: channels of the signal.
        dtype: number format of the activations; by default that of the signal. Parameters are
            float32, and means over time are computed in float32 or wider.
        remat: whether the backward pass recomputes each block, which saves memory on an
            accelerator and takes about a third more time.
        input_affine: whether every block but the first scales and shifts its input, for converted
            networks with batch norm; see `clef_jax.baselines.ecgfounder`.
        rngs: random numbers for the initialisation.

    Raises:
        ValueError: `in_channels` is below 1.
    """

    def __init__(
        self,
        size: size_lib.EncoderSize,
        *,
        in_channels: int = 1,
        dtype: Any = None,
        remat: bool = False,
        input_affine: bool = False,
        rngs: nnx.Rngs,
    ):
        if in_channels < 1:
            raise ValueError(f"in_channels={in_channels} must be at least 1.")
        self.size, self.in_channels = size, in_channels
        self.dtype = None if dtype is None else jnp.dtype(dtype)
        self.remat, self.input_affine = remat, input_affine
        self.stem = _conv(size.stem(in_channels), rngs)
        stages: list[list[Block]] = [[] for _ in size.stage_blocks]
        for spec in size.blocks():
            affine = input_affine and spec.activates_input
            stages[spec.stage].append(Block(spec, input_affine=affine, rngs=rngs))
        self.stage_list = nnx.List([Stage(blocks) for blocks in stages])

    def __call__(self, signal: jax.Array) -> jax.Array:
        """Maps [B, T, in_channels] to [B, D], the mean over time of the last stage."""
        return self.stages(signal)[-1]

    def stages(self, signal: jax.Array) -> list[jax.Array]:
        """Returns the mean over time after each stage, [B, C] each; the last is the embedding.

        Raises:
            ValueError: the signal is empty or does not have the shape [B, T, in_channels].
            TypeError: the signal is not floating-point.
        """
        return [_time_mean(x) for x in self._stages(signal)]

    def time_steps(self, signal: jax.Array, stage: int) -> jax.Array:
        """Returns what a stage, counted from 0, puts out: [B, n, C] for n steps of time.

        Raises:
            ValueError, TypeError: as `stages`.
        """
        return next(itertools.islice(self._stages(signal), stage, None))

    def _stages(self, signal: jax.Array) -> Iterator[jax.Array]:
        """Yields what each stage puts out, [B, n, C]."""
        self._check(signal)
        with jax.named_scope("stem"):
            x = swish(self.stem(signal if self.dtype is None else signal.astype(self.dtype)))
        for i, stage in enumerate(self.stage_list):
            for j, block in enumerate(stage.blocks):
                with jax.named_scope(f"stage_{i}/block_{j}"):
                    x = nnx.remat(Block.__call__)(block, x) if self.remat else block(x)
            yield x

    def _check(self, signal: jax.Array) -> None:
        if signal.ndim != 3 or signal.shape[-1] != self.in_channels:
            raise ValueError(
                f"The encoder takes signals [batch, time, {self.in_channels}], "
                f"but got an array of shape {list(signal.shape)}."
            )
        if not signal.shape[0] or not signal.shape[1]:
            raise ValueError(
                "The encoder needs at least one signal with at least one sample, "
                f"but got an array of shape {list(signal.shape)}."
            )
        if not jnp.issubdtype(signal.dtype, jnp.floating):
            raise TypeError(
                f"The encoder takes real floating-point signals, but got {signal.dtype}: "
                "scale the recording to millivolts first."
            )


def create_encoder(
    size: str,
    *,
    in_channels: int = 1,
    dtype: Any = None,
    remat: bool = False,
    input_affine: bool = False,
    rngs: nnx.Rngs,
) -> Net1D:
    """Returns a randomly initialised `Net1D`; the same `rngs` give the same weights.

    Args:
        size: name of the size, a key of `SIZES`.
        in_channels, dtype, remat, input_affine, rngs: as for `Net1D`.

    Raises:
        ValueError: the size is unknown, or `in_channels` is below 1.
    """
    return Net1D(
        size_lib.by_name(size),
        in_channels=in_channels,
        dtype=dtype,
        remat=remat,
        input_affine=input_affine,
        rngs=rngs,
    )


def abstract_encoder(size: str, dtype: Any = None) -> tuple[nnx.GraphDef, nnx.State]:
    """Returns the structure of an encoder, and the shapes and types of its parameters."""
    encoder = nnx.eval_shape(lambda: create_encoder(size, dtype=dtype, rngs=nnx.Rngs(0)))
    return nnx.split(encoder, nnx.Param)


def _conv(spec: size_lib.ConvSpec, rngs: nnx.Rngs) -> Conv:
    return Conv(
        spec.in_channels,
        spec.channels,
        taps=spec.taps,
        stride=spec.stride,
        groups=spec.groups,
        rngs=rngs,
    )


def _time_mean(x: jax.Array) -> jax.Array:
    """Returns the mean over time of [B, T, C], [B, C] in float32 or wider."""
    return x.mean(axis=1, dtype=jnp.promote_types(x.dtype, jnp.float32))
