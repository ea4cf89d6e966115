"""Lists the operations, with estimated cycles, and the collectives of an optimised HLO module.

Only what a step executes is counted: the entry computation, and the bodies of its loops as often as
they run.
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
    """Opcode, such as `fusion`."""
    origin: str
    """JAX's path of named scopes of the source code; empty if unknown."""
    times: int
    """Number of executions per step."""
    cycles: int
    """The compiler's estimate for all executions together."""


@dataclasses.dataclass(frozen=True)
class Collective:
    """One collective operation between devices."""

    kind: str
    """Opcode, such as `all-reduce`."""
    origin: str
    """JAX's path of named scopes of the source code; empty if unknown."""
    times: int
    """Number of executions per step."""
    num_bytes: int
    """Size of the result of one execution on a device."""
    group_size: int | None
    """Number of devices that take part together; None if unknown."""
    largest_shape: str
    """Type and shape of the largest array of the result, such as `f32[2,1024,256]`."""

    @property
    def sent_bytes(self) -> float:
        """Bytes that each device sends per step in a ring, the optimum for large arrays."""
        n = self.group_size or 1
        if self.kind in ("collective-permute", "collective-broadcast"):
            return self.times * self.num_bytes
        # A reduce-scatter returns a shard to each device, the others return the whole array.
        factor = {"all-reduce": 2 / n, "reduce-scatter": 1.0}.get(self.kind, 1 / n)
        return self.times * self.num_bytes * factor * (n - 1)


@dataclasses.dataclass(frozen=True)
class Program:
    """Everything that a step executes on each device."""

    operations: tuple[Operation, ...]
    collectives: tuple[Collective, ...]
    num_unknown_loops: int
    """Loops with an unknown number of iterations; they are counted once."""

    @property
    def estimated_cycles(self) -> int:
        """The compiler's estimate of a step without its collectives."""
        return sum(operation.cycles for operation in self.operations)

    def costliest(self, count: int) -> list[Operation]:
        """Returns the operations with the most cycles, most first."""
        return sorted(self.operations, key=lambda x: -x.cycles)[:count]


def read(text: str) -> Program:
    """Parses the text of `compiled.as_text()`.

    Raises:
        ValueError: the text has no entry computation.
    """
    computations, entry = hlo_text.computations(text)
    reader = _Reader(computations)
    reader.execute(entry, 1, "")
    return Program(tuple(reader.operations), tuple(reader.collectives), reader.num_unknown_loops)


class _Reader:
    """Counts operations and collectives of computations."""

    def __init__(self, computations: dict[str, list[Instruction]]):
        self._computations = computations
        self.operations: list[Operation] = []
        self.collectives: list[Collective] = []
        self.num_unknown_loops = 0

    def execute(self, name: str, times: int, caller_origin: str) -> None:
        """Counts a computation that is executed `times` times per step.

        Instructions of unknown origin get that of the instruction that calls the computation.
        """
        for instruction in self._computations[name]:
            origin = self._origin(instruction) or caller_origin
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
                # A collective, such as a reduce-scatter, may be inside a fusion.
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
            result = hlo_text.second(result)  # the first element is the operand
        arrays = hlo_text.arrays(result)
        largest = max(arrays, key=lambda x: x[1])[0]
        size, group = sum(x[1] for x in arrays), instruction.group_size
        self.collectives.append(Collective(kind, origin, times, size, group, largest))

    def _inner(self, fusion: Instruction) -> list[Instruction]:
        return [x for name in fusion.called("calls") for x in self._computations.get(name, [])]

    def _origin(self, instruction: Instruction) -> str:
        """Returns the origin of an instruction, or of the last one inside a fusion."""
        if instruction.origin or instruction.kind != "fusion":
            return instruction.origin
        named = [x.origin for x in self._inner(instruction) if x.origin]
        return named[-1] if named else ""

    def _trips(self, loop: Instruction) -> int | None:
        """Returns a loop's number of iterations; None if it is unknown."""
        if loop.trip_count is not None:
            return loop.trip_count
        condition = self._computations[loop.called("condition")[0]]
        numbers = {
            x.name: int(x.rest.split(")")[0])
            for x in condition
            if x.kind == "constant" and re.match(r"\d+\)", x.rest)
        }
        for x in condition:
            # JAX's loops count from 0.
            if x.kind == "compare" and "direction=LT" in x.rest:
                return numbers.get(x.operands[-1])
        return None

    def _costliest_branch(self, conditional: Instruction) -> str:
        """Returns the branch of a conditional with the most cycles."""

        def cycles(name: str) -> int:
            alone = _Reader(self._computations)
            alone.execute(name, 1, "")
            return sum(operation.cycles for operation in alone.operations)

        return max(conditional.called("branch_computations"), key=cycles)
