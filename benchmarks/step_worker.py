"""Times the encoder's training step and forward pass in one framework, in a separate process.

`train_step.py` starts a process for each framework and tells it when to run. The loss is InfoNCE
over two views, and the input stays on the device.
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import runpy
import sys
import time
from collections.abc import Callable
from typing import Literal

import tyro

from clef_jax.machine import keep_freed_memory

_TEMPERATURE = 0.1
_LEARNING_RATE, _WEIGHT_DECAY = 1e-4, 5e-4

Framework = Literal["jax", "torch", "torch_compile"]
Precision = Literal["float32", "bfloat16"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of a worker: one framework at one size."""

    framework: Framework = "jax"
    """Framework: `torch` is eager PyTorch, `torch_compile` uses `torch.compile`."""
    size: str = "small"
    batch_size: int = 64
    """Number of pairs; a step encodes twice as many signals."""
    num_samples: int = 5000
    """Samples of a signal; the default is ten seconds at 500 Hz."""
    device: Literal["cpu", "gpu"] = "cpu"
    precision: Precision = "float32"
    """Precision of the encoder's activations; PyTorch uses autocast for bfloat16."""
    threads: int = 2
    """CPU threads, pinned to the first cores."""
    keep_memory: bool = True
    """Keep freed memory, as the training command does on CPU."""


def make_jax(config: Config) -> dict[str, Callable[[], object]]:
    """Returns the compiled step and forward pass in JAX."""
    import jax
    import jax.numpy as jnp
    import optax
    from flax import nnx

    from clef_jax.models import create_encoder

    dtype = jnp.dtype(config.precision)
    graph, params = nnx.split(create_encoder(config.size, dtype=dtype, rngs=nnx.Rngs(0)))
    tx = optax.adamw(_LEARNING_RATE, weight_decay=_WEIGHT_DECAY)
    views = jax.random.normal(jax.random.key(0), (2 * config.batch_size, config.num_samples, 1))

    def loss_fn(params, views):
        z = nnx.merge(graph, params)(views)
        z = z / jnp.linalg.norm(z, axis=1, keepdims=True)
        logits = jnp.where(jnp.eye(len(z), dtype=bool), -jnp.inf, z @ z.T / _TEMPERATURE)
        positive = jnp.roll(jnp.arange(len(z)), len(z) // 2)
        return -jnp.take_along_axis(jax.nn.log_softmax(logits), positive[:, None], 1).mean()

    def train_step(state, views):
        params, opt_state = state
        loss, gradient = jax.value_and_grad(loss_fn)(params, views)
        updates, opt_state = tx.update(gradient, opt_state, params)
        return (optax.apply_updates(params, updates), opt_state), loss

    state = (params, tx.init(params))
    step = jax.jit(train_step, donate_argnums=0).lower(state, views).compile()
    embed = jax.jit(lambda params, views: nnx.merge(graph, params)(views))
    forward = embed.lower(params, views).compile()
    forward_params = jax.tree.map(jnp.copy, params)

    def run_step():
        nonlocal state
        state, loss = step(state, views)
        jax.block_until_ready((state, loss))

    return {
        "step": run_step,
        "forward": lambda: forward(forward_params, views).block_until_ready(),
    }


def make_torch(config: Config) -> dict[str, Callable[[], object]]:
    """Returns the same step and forward pass in plain PyTorch."""
    import torch

    torch.set_num_threads(config.threads)
    torch.manual_seed(0)
    device = "cuda" if config.device == "gpu" else "cpu"
    network_path = pathlib.Path(__file__).with_name("torch_net1d.py")
    encoder = runpy.run_path(str(network_path))["TorchNet1D"](config.size).to(device)
    optimizer = torch.optim.AdamW(
        encoder.parameters(), lr=_LEARNING_RATE, weight_decay=_WEIGHT_DECAY
    )
    count = 2 * config.batch_size
    views = torch.randn(count, 1, config.num_samples, device=device)
    positive = torch.arange(count, device=device).roll(config.batch_size)
    own = torch.eye(count, dtype=torch.bool, device=device)
    embed = torch.compile(encoder) if config.framework == "torch_compile" else encoder

    def activations():
        if config.precision == "float32":
            return contextlib.nullcontext()
        return torch.autocast(device, dtype=torch.bfloat16)

    def finish():
        if device == "cuda":
            torch.cuda.synchronize()

    def run_step():
        optimizer.zero_grad(set_to_none=True)
        with activations():
            z = embed(views)
        z = torch.nn.functional.normalize(z.float())
        logits = (z @ z.T / _TEMPERATURE).masked_fill(own, -torch.inf)
        torch.nn.functional.cross_entropy(logits, positive).backward()
        optimizer.step()
        finish()

    @torch.no_grad()
    def run_forward():
        with activations():
            embed(views)
        finish()

    return {"step": run_step, "forward": run_forward}


def work(config: Config) -> None:
    """Runs each program once, then one per input line, and prints the seconds of each run."""
    if config.keep_memory:
        keep_freed_memory()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: config.threads])
    start = time.perf_counter()
    programs = make_jax(config) if config.framework == "jax" else make_torch(config)
    for program in programs.values():
        program()
    report_seconds(time.perf_counter() - start)
    for line in sys.stdin:
        start = time.perf_counter()
        programs[line.strip()]()
        report_seconds(time.perf_counter() - start)


def report_seconds(seconds: float) -> None:
    """Prints the seconds for the parent process."""
    sys.stdout.write(f"{json.dumps(seconds)}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    work(tyro.cli(Config, description=__doc__))
