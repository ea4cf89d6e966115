"""Times every form of the grouped convolution at the layers of an encoder, on this machine."""

import dataclasses
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from clef_jax.convolution.program import LayerPrograms
from clef_jax.convolution.rules import Choice, Choices, ConvShape, MeasuredChoice, of_table
from clef_jax.errors import UserError

_CANDIDATES = (
    # Those that won somewhere come first: a short budget may not reach the last ones.
    *(Choice("lax"), Choice("toeplitz", 8), Choice("toeplitz", 4), Choice("toeplitz", 2)),
    *(Choice("dense"), Choice("taps"), Choice("toeplitz", 16)),
)
_BLOCK_FORM = "toeplitz"
"""The form whose time depends on the outputs per block."""

_MOST_DENSE_GROUPS = 32
"""With more groups a dense kernel has many times the work, and one run could eat up the budget."""

_HOPELESS = 3.0
"""A form this many times slower than the best one in its first run is not run again."""

_WORTH = 0.95
"""Share of the table's time that a form must stay below to take its place; less is noise."""

_COMPILING = 0.75
"""Share of the time after which no other form is compiled."""

_MOST_ROUNDS, _LEAST_ROUNDS = 15, 3

Clock = Callable[[], float]


@dataclasses.dataclass(frozen=True)
class Timed:
    """One form of one layer; medians over turns in which all forms of the layer took part."""

    choice: Choice
    training_seconds: float
    """Value and both gradients."""
    forward_seconds: float | None
    """Value alone; None where it was not timed."""


@dataclasses.dataclass(frozen=True)
class LayerTimes:
    """What was measured of one layer."""

    layer: ConvShape
    count: int
    """How often the network has it."""
    by_table: Choice
    timed: tuple[Timed, ...]
    failed: tuple[Choice, ...]
    """Forms that the device cannot run, most often for want of memory."""
    skipped: tuple[Choice, ...]
    """Forms for which there was no time left."""

    @property
    def table(self) -> Timed | None:
        """The table's own form; None where it failed."""
        return next((one for one in self.timed if one.choice == self.by_table), None)

    @property
    def best(self) -> Timed:
        """The fastest in training; the table's unless another one is clearly faster."""
        fastest = min(self.timed, key=lambda one: one.training_seconds)
        table = self.table
        if table and fastest.training_seconds > _WORTH * table.training_seconds:
            return table
        return fastest


def candidates(platform: str, layer: ConvShape) -> list[Choice]:
    """The forms to try, the table's first."""
    first = of_table(platform, layer.group_channels, layer.groups)
    others = [one for one in _CANDIDATES if one != first]
    if layer.groups > _MOST_DENSE_GROUPS:
        others = [one for one in others if one.form != "dense"]
    if first.form != _BLOCK_FORM:
        others = [one for one in others if one.form != first.form]
    return [first, *others]


def measure(
    counts: dict[ConvShape, int],
    *,
    platform: str,
    dtype: Any,
    batch_size: int,
    budget_seconds: float,
    clock: Clock = time.perf_counter,
) -> Iterator[LayerTimes]:
    """Times the forms of each layer on JAX's default device, within the budget for all of them.

    What a layer leaves of its share goes to the next ones. Compilation counts. One run cannot be
    stopped, so the end may be late by that of the slowest form.
    """
    end = clock() + budget_seconds
    for number, (layer, count) in enumerate(counts.items()):
        now = clock()
        deadline = now + max(0.0, end - now) / (len(counts) - number)
        programs = LayerPrograms(layer, dtype, batch_size)
        yield time_layer(layer, count, platform, programs, deadline=deadline, clock=clock)


def time_layer(
    layer: ConvShape,
    count: int,
    platform: str,
    programs: LayerPrograms,
    *,
    deadline: float,
    clock: Clock = time.perf_counter,
) -> LayerTimes:
    """Times the forms of one layer in turns until `clock` shows `deadline`.

    The table's form is always timed.

    Raises:
        UserError: the device can run none of them.
    """
    start = clock()
    last_compilation = start + _COMPILING * (deadline - start)
    table, *others = candidates(platform, layer)
    running: dict[Choice, Callable[[], object]] = {}
    first_seconds: dict[Choice, float] = {}
    failed, skipped = [], []
    for choice in (table, *others):
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
            f"This device cannot run any form of the convolution {tuple(layer)} of a batch of "
            f"{programs.batch_size} signals; try a smaller --batch-size.",
            problem="no_form_runs",
        )
    worst = _HOPELESS * min(first_seconds.values())
    hopeful = {c: run for c, run in running.items() if c == table or first_seconds[c] <= worst}
    turns = _in_turns(hopeful, deadline, clock)
    seconds = first_seconds | {c: statistics.median(turn) for c, turn in turns.items()}
    timed = tuple(Timed(choice, seconds[choice], None) for choice in running)
    found = LayerTimes(layer, count, table, timed, tuple(failed), tuple(skipped))
    return _with_forward(found, programs, clock)


def _in_turns(
    programs: Mapping[Choice, Callable[[], object]], deadline: float, clock: Clock
) -> dict[Choice, list[float]]:
    """Seconds of each program's runs; all take turns, so that a busy moment meets all of them."""
    seconds: dict[Choice, list[float]] = {choice: [] for choice in programs}
    for number in range(_MOST_ROUNDS):
        if number >= _LEAST_ROUNDS and clock() >= deadline:
            break
        for choice, program in programs.items():
            seconds[choice].append(_seconds(program, clock))
    return seconds


def _with_forward(found: LayerTimes, programs: LayerPrograms, clock: Clock) -> LayerTimes:
    """Adds the forward pass of the table's form and of the best one."""
    running = {}
    for choice in {found.by_table, found.best.choice}:
        if (program := programs.forward(choice)) is not None:
            running[choice] = program
            program()
    turns = _in_turns(running, deadline=clock(), clock=clock)
    timed = tuple(
        dataclasses.replace(one, forward_seconds=statistics.median(turns[one.choice]))
        if one.choice in turns
        else one
        for one in found.timed
    )
    return dataclasses.replace(found, timed=timed)


def _seconds(program: Callable[[], object], clock: Clock) -> float:
    start = clock()
    program()
    return clock() - start


def choices(times: list[LayerTimes], *, platform: str, device_kind: str, dtype: str) -> Choices:
    """The best form of every layer, as a step goes by them."""
    measured = tuple(MeasuredChoice(one.layer, dtype, one.best.choice) for one in times)
    return Choices(platform, device_kind, measured)
