"""Net1D, the ECG encoder: a 1-D ResNeXt with squeeze-excitation and no normalisation.

Shapes: B batch, T time (samples), C channels, D embedding.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

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
        gate = jax.nn.sigmoid(self.excite(swish(self.squeeze(_time_mean(x)))))  # [B, C]
        return x * gate.astype(x.dtype)[:, None, :]


class Block(nnx.Module):
    """Residual bottleneck block; `stride` 2 halves time, rounding up.

    With `input_affine` its own path, not the shortcut, starts with a scale and shift per channel.
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
        # The names are those that profiles and plans call the operations by.
        with jax.named_scope("reduce"):
            y = x if self.affine is None else self.affine(x)
            y = self.reduce(swish(y) if self.activate_input else y)
        with jax.named_scope("mix"):
            y = self.mix(y, activate=True)
        with jax.named_scope("expand"):
            y = self.expand(swish(y))
        with jax.named_scope("gate"):
            y = self.gate(y)
        with jax.named_scope("shortcut"):
            return y + shortcut(x, self.stride, self.channels)


class Stage(nnx.Module):
    """Blocks of one width; the first halves time."""

    def __init__(self, blocks: list[Block]):
        self.blocks = nnx.List(blocks)


class Net1D(nnx.Module):
    """The encoder of one size: `encoder(signal)` embeds [B, T, in_channels] as [B, D].

    `dtype` is the type of the activations (None: that of the signal); parameters keep float32, and
    means over time are taken in float32 or wider. With `remat` the backward pass recomputes each
    block, which saves memory on an accelerator and costs about a third more time. `input_affine`
    is for converted networks with batch norm: every block but the first, which does not activate
    its input, gets a scale and shift; see `clef_jax.baselines.ecgfounder`.
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
            raise ValueError(f"An encoder needs at least one input channel, not {in_channels}.")
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
        """Maps [B, T, in_channels] to [B, D]: the mean over time of the last stage."""
        return self.stages(signal)[-1]

    def stages(self, signal: jax.Array) -> list[jax.Array]:
        """The mean over time after each stage, [B, C] each; the last is the embedding."""
        self._check(signal)
        with jax.named_scope("stem"):
            x = swish(self.stem(signal if self.dtype is None else signal.astype(self.dtype)))
        means = []
        for i, stage in enumerate(self.stage_list):
            for j, block in enumerate(stage.blocks):
                with jax.named_scope(f"stage_{i}/block_{j}"):
                    x = nnx.remat(Block.__call__)(block, x) if self.remat else block(x)
            means.append(_time_mean(x))
        return means

    def _check(self, signal: jax.Array) -> None:
        if signal.ndim != 3 or signal.shape[-1] != self.in_channels:
            raise ValueError(
                f"The encoder takes signals [batch, time, {self.in_channels}], "
                f"but got an array of shape {list(signal.shape)}."
            )
        if not signal.shape[0] or not signal.shape[1]:
            raise ValueError(
                f"The encoder needs at least one signal of at least one sample, "
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
    """A freshly initialised `Net1D` of the named size; the same `rngs` give the same weights."""
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
    """Mean over time of [B, T, C] as [B, C], in float32 or wider."""
    return x.mean(axis=1, dtype=jnp.promote_types(x.dtype, jnp.float32))
