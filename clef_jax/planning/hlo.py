"""What an optimised HLO module executes: operations with their estimated cycles, exchanges.

Only what a step executes is counted: the entry computation and, with their trip counts, the bodies
of loops that it runs.
"""

import dataclasses
import re

from clef_jax.planning import hlo_text
from clef_jax.planning.hlo_text import Instruction

_COLLECTIVES = (
    "all-reduce",
    "all-gather",
    "reduce-scatter",
    "all-to-all",
    "collective-permute",
    "collective-broadcast",
)


@dataclasses.dataclass(frozen=True)
class Operation:
    """One instruction that the step executes."""

    name: str
    kind: str
    """Its opcode, such as `fusion`."""
    origin: str
    """Where in our code it comes from: the path of JAX's names, or empty."""
    times: int
    """How often a step executes it."""
    cycles: int
    """The compiler's estimate of all executions together."""


@dataclasses.dataclass(frozen=True)
class Collective:
    """One exchange between devices."""

    kind: str
    origin: str
    times: int
    num_bytes: int
    """Size of one execution's result on a device."""
    group_size: int | None
    """Devices that take part together; None where the text does not say."""
    largest_shape: str
    """Type and shape of the largest array of the result, such as `f32[2,1024,256]`."""

    @property
    def sent_bytes(self) -> float:
        """What each device sends per step around a ring, the least there is for large arrays."""
        n = self.group_size or 1
        if self.kind in ("collective-permute", "collective-broadcast"):
            return self.times * self.num_bytes
        # The result of a reduce-scatter is one part, those of the others are the whole.
        share = {"all-reduce": 2 / n, "reduce-scatter": 1.0}.get(self.kind, 1 / n)
        return self.times * self.num_bytes * share * (n - 1)


@dataclasses.dataclass(frozen=True)
class Program:
    """What a step executes on each device."""

    operations: tuple[Operation, ...]
    collectives: tuple[Collective, ...]
    num_unknown_loops: int
    """Loops whose trip count the text does not tell; they are counted once."""

    @property
    def estimated_cycles(self) -> int:
        """The compiler's estimate of a step; it has none for exchanges."""
        return sum(operation.cycles for operation in self.operations)

    def costliest(self, count: int) -> list[Operation]:
        """The operations with the most cycles, most first."""
        return sorted(self.operations, key=lambda x: -x.cycles)[:count]


def read(text: str) -> Program:
    """Reads what `compiled.as_text()` gives.

    Raises:
        ValueError: the text holds no entry computation.
    """
    computations, entry = hlo_text.computations(text)
    reader = _Reader(computations)
    reader.execute(entry, 1, "")
    return Program(tuple(reader.operations), tuple(reader.collectives), reader.num_unknown_loops)


class _Reader:
    def __init__(self, computations: dict[str, list[Instruction]]):
        self._computations = computations
        self.operations: list[Operation] = []
        self.collectives: list[Collective] = []
        self.num_unknown_loops = 0

    def execute(self, name: str, times: int, around: str) -> None:
        """Counts a computation; `around` is where the instruction comes from that runs it."""
        for instruction in self._computations[name]:
            origin = self._origin(instruction) or around
            self._count(instruction, times, origin)
            if instruction.kind == "while":
                trips = self._trips(instruction)
                self.num_unknown_loops += trips is None
                trips = 1 if trips is None else trips
                self.execute(instruction.called("body")[0], times * trips, origin)
            elif instruction.kind == "conditional":
                self.execute(self._costliest_branch(instruction), times, origin)
            elif instruction.kind in ("call", "async-start"):
                for called in instruction.called("calls") or instruction.called("to_apply"):
                    self.execute(called, times, origin)
            elif instruction.kind == "fusion":
                # A reduce-scatter, for one, may be a fusion around an all-reduce.
                for inner in self._inner(instruction):
                    self._count_collective(inner, times, inner.origin or origin)

    def _count(self, instruction: Instruction, times: int, origin: str) -> None:
        if instruction.cycles is not None:
            total = instruction.cycles * times
            operation = Operation(instruction.name, instruction.kind, origin, times, total)
            self.operations.append(operation)
        self._count_collective(instruction, times, origin)

    def _count_collective(self, instruction: Instruction, times: int, origin: str) -> None:
        kind = instruction.kind.removesuffix("-start")
        if kind not in _COLLECTIVES or instruction.is_continued:
            return
        result = instruction.result
        if instruction.kind.endswith("-start") and kind != "all-reduce":
            result = hlo_text.second(result)  # the first part is the operand
        arrays = hlo_text.arrays(result)
        largest = max(arrays, key=lambda x: x[1])[0]
        size, group = sum(x[1] for x in arrays), instruction.group_size
        self.collectives.append(Collective(kind, origin, times, size, group, largest))

    def _inner(self, fusion: Instruction) -> list[Instruction]:
        return [x for name in fusion.called("calls") for x in self._computations.get(name, [])]

    def _origin(self, instruction: Instruction) -> str:
        """A fusion without a name goes by the last named instruction within."""
        if instruction.origin or instruction.kind != "fusion":
            return instruction.origin
        named = [x.origin for x in self._inner(instruction) if x.origin]
        return named[-1] if named else ""

    def _trips(self, loop: Instruction) -> int | None:
        if loop.trip_count is not None:
            return loop.trip_count
        condition = self._computations[loop.called("condition")[0]]
        numbers = {
            x.name: int(x.rest.split(")")[0])
            for x in condition
            if x.kind == "constant" and re.match(r"\d+\)", x.rest)
        }
        for x in condition:
            # Loops of JAX count from 0.
            if x.kind == "compare" and "direction=LT" in x.rest:
                return numbers.get(x.operands[-1])
        return None

    def _costliest_branch(self, choice: Instruction) -> str:
        def cycles(name: str) -> int:
            alone = _Reader(self._computations)
            alone.execute(name, 1, "")
            return sum(operation.cycles for operation in alone.operations)

        return max(choice.called("branch_computations"), key=cycles)
