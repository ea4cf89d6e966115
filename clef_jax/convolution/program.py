"""One grouped convolution by itself, compiled in any form, to be timed."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from clef_jax.convolution.grouped import grouped_conv
from clef_jax.convolution.rules import Choice, ConvShape


@dataclasses.dataclass(frozen=True)
class LayerPrograms:
    """Programs for one layer, a batch of `batch_size` signals and activations of `dtype`."""

    layer: ConvShape
    dtype: Any
    batch_size: int

    def training(self, choice: Choice) -> Callable[[], object] | None:
        """Value and both gradients; was run once. None if the device cannot run it."""
        convolve = self._convolve(choice)

        def value_and_gradients(x: jax.Array, kernel: jax.Array, gradient: jax.Array):
            y, pull_back = jax.vjp(convolve, x, kernel)
            return y, *pull_back(gradient)

        return self._compiled(value_and_gradients)

    def forward(self, choice: Choice) -> Callable[[], object] | None:
        """Value alone; was run once. None if the device cannot run it."""
        convolve = self._convolve(choice)
        return self._compiled(lambda x, kernel, _: convolve(x, kernel))

    def _convolve(self, choice: Choice) -> Callable[[jax.Array, jax.Array], jax.Array]:
        return functools.partial(
            grouped_conv,
            stride=self.layer.stride,
            groups=self.layer.groups,
            form=choice.form,
            block=choice.block,
        )

    def _compiled(self, function: Callable[..., Any]) -> Callable[[], object] | None:
        try:
            arrays = self._arrays
            compiled = jax.jit(function).lower(*arrays).compile()
            jax.block_until_ready(compiled(*arrays))
        except jax.errors.JaxRuntimeError:
            return None
        return lambda: jax.block_until_ready(compiled(*arrays))

    @functools.cached_property
    def _arrays(self) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Input [B, T, C_in], kernel [taps, C_in / G, C_out] and the gradient of the output,
        [B, ceil(T / stride), C_out], with B signals that are all the same."""
        layer, rng = self.layer, np.random.default_rng(0)

        def random(*shape: int) -> jax.Array:
            return jnp.asarray(rng.standard_normal(shape, np.float32), self.dtype)

        x = random(1, layer.length, layer.group_channels * layer.groups)
        gradient = random(1, -(-layer.length // layer.stride), layer.channels)
        kernel = random(layer.taps, layer.group_channels, layer.channels)
        times = (self.batch_size, 1, 1)
        return jnp.tile(x, times), kernel, jnp.tile(gradient, times)
