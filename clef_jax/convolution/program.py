"""Compiles a single grouped convolution with any implementation, for timing."""

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
class ConvPrograms:
    """Compiled programs of one convolution for a batch of signals."""

    shape: ConvShape
    dtype: Any
    """Number format of the activations."""
    batch_size: int
    """Number of signals B."""

    def training(self, choice: Choice) -> Callable[[], object] | None:
        """Returns a program for value and both gradients, after running it once.

        Returns None if the device cannot run it.
        """
        convolve = self._convolve(choice)

        def value_and_gradients(x: jax.Array, kernel: jax.Array, gradient: jax.Array):
            y, pull_back = jax.vjp(convolve, x, kernel)
            return y, *pull_back(gradient)

        return self._compiled(value_and_gradients)

    def forward(self, choice: Choice) -> Callable[[], object] | None:
        """Returns a program for the value alone, after running it once.

        Returns None if the device cannot run it.
        """
        convolve = self._convolve(choice)
        return self._compiled(lambda x, kernel, _: convolve(x, kernel))

    def _convolve(self, choice: Choice) -> Callable[[jax.Array, jax.Array], jax.Array]:
        return functools.partial(
            grouped_conv,
            stride=self.shape.stride,
            groups=self.shape.groups,
            implementation=choice.implementation,
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
        """Input [B, T, C_in], kernel [taps, C_in / G, C_out], and gradient of the output
        [B, ceil(T / stride), C_out]; the B signals are identical."""
        shape, rng = self.shape, np.random.default_rng(0)

        def random(*lengths: int) -> jax.Array:
            return jnp.asarray(rng.standard_normal(lengths, np.float32), self.dtype)

        x = random(1, shape.length, shape.group_channels * shape.groups)
        gradient = random(1, -(-shape.length // shape.stride), shape.channels)
        kernel = random(shape.taps, shape.group_channels, shape.channels)
        repeats = (self.batch_size, 1, 1)
        return jnp.tile(x, repeats), kernel, jnp.tile(gradient, repeats)
