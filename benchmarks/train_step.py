"""Times a training step and a forward pass on CPU, beside the same network in plain PyTorch.

`python benchmarks/train_step.py --sizes small medium --batch-size 64`

Each framework runs in its own process with the same number of threads; the two take turns, so that
whatever else the machine does meets both. The loss is InfoNCE over two views; an augmented
input is not part of the step. PyTorch is the extra `torch`; without it our own times are printed.
"""

import dataclasses
import importlib.util
import json
import os
import pathlib
import runpy
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Literal

import tyro
from rich.console import Console
from rich.table import Table

from clef_jax.host_memory import keep_freed_memory

_TEMPERATURE = 0.1
_LEARNING_RATE, _WEIGHT_DECAY = 1e-4, 5e-4


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """What to time."""

    sizes: tuple[str, ...] = ("small",)
    batch_size: int = 64
    """Pairs: a step encodes twice as many signals."""
    num_samples: int = 5000
    """Samples of a signal: ten seconds at 500 Hz."""
    threads: int = 2
    """CPU threads of each framework, pinned to the first cores."""
    repeats: int = 7
    """Timed turns of each, after one that is not counted."""
    keep_memory: bool = True
    """Let both processes keep freed memory, as the training command does on CPU."""
    worker: Literal["", "jax", "torch"] = ""
    """For the processes that this program starts."""


def make_jax(size: str, config: Config) -> dict[str, Callable[[], object]]:
    """Our step and forward pass, compiled."""
    import jax
    import jax.numpy as jnp
    import optax
    from flax import nnx

    from clef_jax.models import create_encoder

    graph, params = nnx.split(create_encoder(size, rngs=nnx.Rngs(0)))
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


def make_torch(size: str, config: Config) -> dict[str, Callable[[], object]]:
    """The same in plain PyTorch, eager."""
    import torch

    torch.set_num_threads(config.threads)
    torch.manual_seed(0)
    twin_path = pathlib.Path(__file__).with_name("torch_net1d.py")
    encoder = runpy.run_path(str(twin_path))["TorchNet1D"](size)
    optimizer = torch.optim.AdamW(
        encoder.parameters(), lr=_LEARNING_RATE, weight_decay=_WEIGHT_DECAY
    )
    count = 2 * config.batch_size
    views = torch.randn(count, 1, config.num_samples)
    positive = torch.arange(count).roll(config.batch_size)
    own = torch.eye(count, dtype=torch.bool)

    def run_step():
        optimizer.zero_grad(set_to_none=True)
        z = torch.nn.functional.normalize(encoder(views))
        logits = (z @ z.T / _TEMPERATURE).masked_fill(own, -torch.inf)
        torch.nn.functional.cross_entropy(logits, positive).backward()
        optimizer.step()

    @torch.no_grad()
    def run_forward():
        encoder(views)

    return {"step": run_step, "forward": run_forward}


def work(config: Config) -> None:
    """A worker: prepares its programs, then runs one per line that it reads; answers seconds."""
    if config.keep_memory:
        keep_freed_memory()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: config.threads])
    start = time.perf_counter()
    make = {"jax": make_jax, "torch": make_torch}[config.worker]
    programs = make(config.sizes[0], config)
    answer(time.perf_counter() - start)
    for line in sys.stdin:
        start = time.perf_counter()
        programs[line.strip()]()
        answer(time.perf_counter() - start)


def answer(seconds: float) -> None:
    sys.stdout.write(f"{json.dumps(seconds)}\n")
    sys.stdout.flush()


class Worker:
    """A process that times one framework at one size."""

    def __init__(self, framework: str, size: str, config: Config):
        keep = "--keep-memory" if config.keep_memory else "--no-keep-memory"
        numbers = ("batch-size", "num-samples", "threads")
        command = [sys.executable, __file__, "--worker", framework, "--sizes", size, keep]
        for name in numbers:
            command += [f"--{name}", str(getattr(config, name.replace("-", "_")))]
        environment = os.environ | {"OMP_NUM_THREADS": str(config.threads), "JAX_PLATFORMS": "cpu"}
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self.setup_seconds = self._read()

    def run(self, program: str) -> float:
        """Seconds that one run of the program took."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{program}\n")
        self._process.stdin.flush()
        return self._read()

    def close(self) -> None:
        self._process.communicate()

    def _read(self) -> float:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("A worker of the benchmark ended early; its own message is above.")
        return float(json.loads(line))


def compare(size: str, frameworks: list[str], config: Config, table: Table) -> None:
    """Adds a row for each program of one size."""
    workers = {name: Worker(name, size, config) for name in frameworks}
    for program in ("step", "forward"):
        seconds: dict[str, list[float]] = {name: [] for name in frameworks}
        for turn in range(config.repeats + 1):
            for name, worker in workers.items():
                taken = worker.run(program)
                if turn:
                    seconds[name].append(taken)
        ours = statistics.median(seconds["jax"])
        row = [size, program, f"{ours * 1e3:.0f}", f"{2 * config.batch_size / ours:.0f}"]
        if "torch" in seconds:
            ratios = [t / j for t, j in zip(seconds["torch"], seconds["jax"], strict=True)]
            row += [
                f"{statistics.median(seconds['torch']) * 1e3:.0f}",
                f"{statistics.median(ratios):.2f}",
                f"{min(ratios):.2f} to {max(ratios):.2f}",
            ]
        else:
            row += ["", "", ""]
        table.add_row(*row, f"{workers['jax'].setup_seconds:.1f}")
    for worker in workers.values():
        worker.close()


def main(config: Config) -> None:
    console = Console()
    if config.worker:
        return work(config)
    frameworks = ["jax", "torch"]
    if importlib.util.find_spec("torch") is None:
        frameworks.remove("torch")
        console.print("PyTorch is not installed (extra `torch`), so only our own times follow.")
    table = Table(
        title=f"{config.batch_size} pairs of {config.num_samples} samples, {config.threads} threads"
    )
    for heading in (
        "size",
        "program",
        "ms",
        "signals/s",
        "PyTorch ms",
        "times faster",
        "of single turns",
        "setup s",
    ):
        table.add_column(heading, justify="right")
    for size in config.sizes:
        compare(size, frameworks, config, table)
    return console.print(table)


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
