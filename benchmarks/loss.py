"""Measures time and temporary memory of the CLEF loss with its gradient, plain and streamed.

python -m benchmarks.loss --num-patients 4096 --dimension 256
"""

import dataclasses
import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from clef_jax.objectives import clef


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of the measurement."""

    num_patients: int = 4096
    """Patients in the batch; the loss sees twice as many embeddings."""
    dimension: int = 256
    """Length of an embedding."""
    num_repeats: int = 3
    """Timed runs of each implementation; the median is printed."""
    plain: bool = True
    """Also measure the plain implementation, whose memory grows with the square of the batch."""


def measure(name: str, block_patients: int | None, settings: Settings) -> tuple[str, ...]:
    """Returns a row of the table: implementation, milliseconds, MiB of temporaries, loss."""
    rng = np.random.default_rng(0)
    n = settings.num_patients
    views = rng.standard_normal((2, n, settings.dimension)).astype(np.float32)
    risk = rng.gamma(2, 0.04, n).astype(np.float32)
    completeness = rng.uniform(size=n).astype(np.float32)

    def loss(view_a: jax.Array, view_b: jax.Array) -> jax.Array:
        known = jnp.asarray(risk), jnp.asarray(completeness)
        return clef.loss(view_a, view_b, *known, block_patients=block_patients)

    step = jax.jit(jax.value_and_grad(loss, (0, 1))).lower(*views).compile()
    memory = step.memory_analysis()
    seconds = []
    for _ in range(settings.num_repeats):
        start = time.perf_counter()
        value, _ = jax.block_until_ready(step(*views))
        seconds.append(time.perf_counter() - start)
    mib = "unknown" if memory is None else f"{memory.temp_size_in_bytes / 2**20:.1f}"
    return name, f"{1e3 * statistics.median(seconds):.0f}", mib, f"{float(value):.7f}"


def main(settings: Settings) -> None:
    table = Table("implementation", "ms", "temporaries, MiB", "loss")
    table.title = f"2N = {2 * settings.num_patients}, D = {settings.dimension}, value and gradient"
    table.add_row(*measure("default for this size", None, settings))
    if settings.plain:
        table.add_row(*measure("plain", settings.num_patients, settings))
    Console().print(table)


if __name__ == "__main__":
    main(tyro.cli(Settings))
