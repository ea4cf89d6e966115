"""Running median on the device, exact, in memory that does not depend on its length.

The samples are replaced by their ranks. A median of ranks is found bit by bit, from the highest:
the ranks are partitioned by the bit, those with 0 first and otherwise in their order, so that the
samples of a window stay together, and a count of zeros before each sample says which half holds the
median and where the window's part of that half lies (a wavelet matrix: Claude and Navarro 2012).

Shapes: T time (samples), N samples with the padding.
"""

import jax
import jax.numpy as jnp


def running_median(x: jax.Array, num_samples: int) -> jax.Array:
    """Returns the median of the samples around each one, float [B, T] for [B, T].

    It is `scipy.signal.medfilt` of each row: zeros lie beyond the ends.

    Args:
        x: finite signals.
        num_samples: odd number of samples of which the median is taken.
    """
    return jax.vmap(lambda row: _of_row(row, num_samples))(x)


def _of_row(x: jax.Array, num_samples: int) -> jax.Array:
    padded = jnp.pad(x, num_samples // 2)
    count = len(padded)
    order = jnp.argsort(jax.lax.stop_gradient(padded)).astype(jnp.int32)
    position = jnp.arange(count, dtype=jnp.int32)
    rank = jnp.zeros(count, jnp.int32).at[order].set(position, unique_indices=True)
    begin = position[: len(x)]
    found = _ranks(rank, begin, begin + num_samples, num_samples // 2)
    return padded[order[found]]


def _ranks(rank: jax.Array, begin: jax.Array, end: jax.Array, nth: int) -> jax.Array:
    """Returns the nth smallest rank, counted from 0, of each range from begin to end, int32 [T].

    Args:
        rank: a permutation of the numbers below N, int32 [N].
        begin, end: first index of each range and the one after its last, int32 [T].
    """
    count = len(rank)
    position = jnp.arange(count, dtype=jnp.int32)
    num_levels = (count - 1).bit_length()

    def descend(step: jax.Array, state: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        rank, begin, end, left, result = state
        level = num_levels - 1 - step
        bit = (rank >> level) & 1
        zeros = jnp.pad(jnp.cumsum(1 - bit, dtype=jnp.int32), (1, 0))  # before each index
        num_zeros = zeros[-1:]
        zeros_begin, zeros_end = zeros[begin], zeros[end]
        is_one = left >= zeros_end - zeros_begin
        left = jnp.where(is_one, left - (zeros_end - zeros_begin), left)
        result = result | (is_one.astype(jnp.int32) << level)
        begin = jnp.where(is_one, num_zeros + begin - zeros_begin, zeros_begin)
        end = jnp.where(is_one, num_zeros + end - zeros_end, zeros_end)
        to = jnp.where(bit == 1, num_zeros + position - zeros[:-1], zeros[:-1])
        rank = jnp.zeros_like(rank).at[to].set(rank, unique_indices=True)
        return rank, begin, end, left, result

    state = (rank, begin, end, jnp.full_like(begin, nth), jnp.zeros_like(begin))
    return jax.lax.fori_loop(0, num_levels, descend, state)[-1]
