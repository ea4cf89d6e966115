"""Times the implementations of an encoder's grouped convolutions on this machine."""

import dataclasses
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from clef_jax.convolution.program import ConvPrograms
from clef_jax.convolution.rules import (
    Choice,
    ConvShape,
    TuningResult,
    TuningResults,
    default_choice,
)
from clef_jax.errors import UserError, counted

_CANDIDATES = (
    # Implementations that are the fastest somewhere come first: a short budget skips the last.
    *(Choice("lax"), Choice("toeplitz", 8), Choice("toeplitz", 4), Choice("toeplitz", 2)),
    *(Choice("dense"), Choice("taps"), Choice("toeplitz", 16)),
)
_BLOCKED = "toeplitz"
"""Implementation whose time depends on the outputs per block."""

_MOST_DENSE_GROUPS = 32
"""Most groups for which `dense` is timed; with more, one run may exceed the time limit."""

_TOO_SLOW = 3.0
"""Implementations slower than the fastest by this factor in the first run are not repeated."""

_WORTH = 0.95
"""Fraction of the default's time below which an implementation replaces it; smaller differences may
be measurement error."""

_COMPILING = 0.75
"""Fraction of the time limit after which no further implementation is compiled."""

_MOST_ROUNDS, _LEAST_ROUNDS = 15, 3

Clock = Callable[[], float]


@dataclasses.dataclass(frozen=True)
class Timed:
    """Median times of one implementation over repetitions."""

    choice: Choice
    training_seconds: float
    """Time of value and both gradients."""
    forward_seconds: float | None
    """Time of the value alone; None if it was not timed."""


@dataclasses.dataclass(frozen=True)
class ConvTimes:
    """Times of the implementations of one convolution."""

    shape: ConvShape
    count: int
    """Number of such convolutions in the network."""
    default: Choice
    """Implementation of the default rules."""
    timed: tuple[Timed, ...]
    failed: tuple[Choice, ...]
    """Implementations that the device cannot run, mostly due to memory."""
    skipped: tuple[Choice, ...]
    """Implementations for which no time was left."""

    @property
    def timed_default(self) -> Timed | None:
        """Times of the default rules' implementation; None if it failed."""
        return next((timed for timed in self.timed if timed.choice == self.default), None)

    @property
    def best(self) -> Timed:
        """The fastest in training; that of the default rules unless another is clearly faster."""
        fastest = min(self.timed, key=lambda timed: timed.training_seconds)
        default = self.timed_default
        if default and fastest.training_seconds > _WORTH * default.training_seconds:
            return default
        return fastest


def candidates(platform: str, shape: ConvShape) -> list[Choice]:
    """Returns the implementations to time, beginning with that of the default rules."""
    first = default_choice(platform, shape.group_channels, shape.groups)
    others = [choice for choice in _CANDIDATES if choice != first]
    if shape.groups > _MOST_DENSE_GROUPS:
        others = [choice for choice in others if choice.implementation != "dense"]
    if first.implementation != _BLOCKED:
        others = [choice for choice in others if choice.implementation != first.implementation]
    return [first, *others]


def measure(
    counts: dict[ConvShape, int],
    *,
    platform: str,
    dtype: Any,
    batch_size: int,
    budget_seconds: float,
    clock: Clock = time.perf_counter,
) -> Iterator[ConvTimes]:
    """Times the implementations of each convolution on JAX's default device.

    Args:
        counts: shapes of the convolutions, and how often the network has each.
        platform: platform of the device.
        dtype: number format of the activations.
        batch_size: number of signals.
        budget_seconds: time limit for all convolutions, including compilation. Time that one does
            not need is left to the others. A run cannot be interrupted, so that the limit may be
            exceeded by one run.
        clock: returns the time in seconds.

    Yields:
        The times of each convolution.
    """
    end = clock() + budget_seconds
    for number, (shape, count) in enumerate(counts.items()):
        now = clock()
        deadline = now + max(0.0, end - now) / (len(counts) - number)
        programs = ConvPrograms(shape, dtype, batch_size)
        yield time_conv(shape, count, platform, programs, deadline=deadline, clock=clock)


def time_conv(
    shape: ConvShape,
    count: int,
    platform: str,
    programs: ConvPrograms,
    *,
    deadline: float,
    clock: Clock = time.perf_counter,
) -> ConvTimes:
    """Times the implementations of one convolution until `clock` reaches `deadline`.

    The implementation of the default rules is always timed.

    Raises:
        UserError: the device can run no implementation.
    """
    start = clock()
    last_compilation = start + _COMPILING * (deadline - start)
    default, *others = candidates(platform, shape)
    running: dict[Choice, Callable[[], object]] = {}
    first_seconds: dict[Choice, float] = {}
    failed, skipped = [], []
    for choice in (default, *others):
        if running and clock() >= last_compilation:
            skipped.append(choice)
            continue
        program = programs.training(choice)
        if program is None:
            failed.append(choice)
            continue
        running[choice] = program
        first_seconds[choice] = _seconds(program, clock)
    if not running:
        raise UserError(
            f"This device cannot run any implementation of the convolution {tuple(shape)} on "
            f"{counted(programs.batch_size, 'signal')}; use a smaller --batch-size.",
            problem="no_form_runs",
        )
    slowest = _TOO_SLOW * min(first_seconds.values())
    fast = {c: run for c, run in running.items() if c == default or first_seconds[c] <= slowest}
    repetitions = _interleaved(fast, deadline, clock)
    seconds = first_seconds | {c: statistics.median(runs) for c, runs in repetitions.items()}
    timed = tuple(Timed(choice, seconds[choice], None) for choice in running)
    times = ConvTimes(shape, count, default, timed, tuple(failed), tuple(skipped))
    return _with_forward(times, programs, clock)


def _interleaved(
    programs: Mapping[Choice, Callable[[], object]], deadline: float, clock: Clock
) -> dict[Choice, list[float]]:
    """Returns the seconds of each program's runs.

    The programs run alternately, so that other load on the machine affects all of them.
    """
    seconds: dict[Choice, list[float]] = {choice: [] for choice in programs}
    for number in range(_MOST_ROUNDS):
        if number >= _LEAST_ROUNDS and clock() >= deadline:
            break
        for choice, program in programs.items():
            seconds[choice].append(_seconds(program, clock))
    return seconds


def _with_forward(times: ConvTimes, programs: ConvPrograms, clock: Clock) -> ConvTimes:
    """Adds the time of the forward pass for the default and the best implementation."""
    running = {}
    for choice in {times.default, times.best.choice}:
        if (program := programs.forward(choice)) is not None:
            running[choice] = program
            program()
    repetitions = _interleaved(running, deadline=clock(), clock=clock)
    timed = tuple(
        dataclasses.replace(t, forward_seconds=statistics.median(repetitions[t.choice]))
        if t.choice in repetitions
        else t
        for t in times.timed
    )
    return dataclasses.replace(times, timed=timed)


def _seconds(program: Callable[[], object], clock: Clock) -> float:
    start = clock()
    program()
    return clock() - start


def results(
    times: list[ConvTimes], *, platform: str, device_kind: str, dtype: str
) -> TuningResults:
    """Returns the tuning results from the times of all convolutions, for use by a step."""
    measured = tuple(TuningResult(item.shape, dtype, item.best.choice) for item in times)
    return TuningResults(platform, device_kind, measured)
