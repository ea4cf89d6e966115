"""Replays a recording at its own speed, and prints each answer as soon as its window is complete.

`python benchmarks/replay.py --model=models/small --recording=holter.edf --lead=II --speed=10`

It shows how a program embeds a signal while it is recorded: packets arrive at fixed times, some may
be lost, and `push` returns the windows that a packet completes, with answers where the model has a
head. "late ms" is the time from the arrival of the packet to the embedding and the answer.
"""

import dataclasses
import pathlib
import time

import numpy as np
import tyro
from rich.console import Console

import clef_jax
from clef_jax import formats, lead_order
from clef_jax.embedding.streaming import StreamedWindow
from clef_jax.errors import UserError, exit_on_user_error

CONSOLE = Console(highlight=False, soft_wrap=True)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of the replay."""

    model: pathlib.Path
    """A training run, a model folder or a file of weights."""
    recording: pathlib.Path
    """A recording in any format that `embed` reads."""
    lead: str = "I"
    """Lead to replay; a single lead without a name is taken for it."""
    sample_rate_hz: float | None = None
    """Sampling rate in Hz of a file that does not state one."""
    unit: str | None = None
    """Unit of a file that does not state one: mV, uV, V or adc."""
    speed: float = 1.0
    """How many times faster than the recording packets arrive; 0 for as fast as possible."""
    packet_samples: int = 73
    """Samples of a packet."""
    stride_seconds: float | None = None
    """Time between the starts of windows; by default their length."""
    lose: float = 0.0
    """Fraction of packets that are lost at random."""
    seed: int = 0
    """Seed of the losses."""


def main(config: Config) -> None:
    if config.packet_samples < 1 or not config.speed >= 0 or not 0 <= config.lose < 1:
        raise UserError(
            "Give --packet-samples of at least 1, a --speed of at least 0, and --lose below 1."
        )
    hints = formats.Hints(sample_rate_hz=config.sample_rate_hz, units=config.unit)
    opened = next(formats.open(config.recording, hints))
    row = 0 if opened.lead_names == ("",) else lead_order.find(config.lead, opened.lead_names)
    stream = clef_jax.load(config.model).stream(
        opened.sample_rate_hz,
        lead=config.lead,
        unit="mV" if opened.unit_known else "adc",
        stride_seconds=config.stride_seconds,
    )
    generator = np.random.default_rng(config.seed)
    begin = time.monotonic()
    for start in range(0, opened.num_samples, config.packet_samples):
        count = min(config.packet_samples, opened.num_samples - start)
        if config.speed:
            due = begin + (start + count) / opened.sample_rate_hz / config.speed
            time.sleep(max(0.0, due - time.monotonic()))
        packet = opened.read(start, count)[row]
        arrived = time.monotonic()
        lost = generator.random() < config.lose
        print_windows(stream.skip(count) if lost else stream.push(packet), arrived)
    print_windows(stream.finish(), time.monotonic())


def print_windows(windows: list[StreamedWindow], arrived: float) -> None:
    """Prints a line for each window.

    Args:
        arrived: time at which the packet arrived that completes them.
    """
    late_ms = 1e3 * (time.monotonic() - arrived)
    for window in windows:
        problems = window.problems if window.answer is None else window.answer.problems
        said = ", ".join(problems) or "no problem"
        CONSOLE.print(
            f"{window.start_seconds:9.1f} s  {'usable' if window.usable else 'unusable'}  {said}  "
            f"{said_by_head(window)}  late ms {late_ms:.1f}"
        )


def said_by_head(window: StreamedWindow) -> str:
    """Returns the answers to a window, or the norm of its embedding if the model has no head."""
    answer = window.answer
    if answer is None:
        return f"norm {np.linalg.norm(window.embedding):.4f}"
    if not answer.usable:
        return "no answer"
    parts = []
    for number, name in enumerate(answer.names):
        if answer.values is not None:
            interval = ""
            if answer.lower is not None and answer.upper is not None:
                interval = f" ({answer.lower[number]:.4g} to {answer.upper[number]:.4g})"
            parts.append(f"{name} {answer.values[number]:.4g}{interval}")
        elif answer.probabilities is not None:
            decided = answer.decisions is not None and answer.decisions[number] == 1
            parts.append(f"{name} {answer.probabilities[number]:.1%}{', yes' if decided else ''}")
    return "  ".join(parts)


if __name__ == "__main__":
    with exit_on_user_error():
        main(tyro.cli(Config, description=__doc__))
