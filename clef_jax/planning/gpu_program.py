"""Reads the step that XLA:GPU compiled: its kernels, their traffic and times, and its exchanges.

The compiler writes the estimates of its models beside each kernel. They are estimates: nothing has
run. cuDNN's convolutions and the kernels of `convolution.gpu_kernels` have none, so they count at
their roofline. Kernels run one after another,
without gaps; exchanges run beside them from their start to the instruction that needs them.
"""

import dataclasses
import math
import re
from collections.abc import Iterator

from clef_jax.chip import Chip
from clef_jax.convolution import gpu_kernels
from clef_jax.planning import hlo_text
from clef_jax.planning.hlo_text import Instruction

_NO_KERNEL = {
    *("parameter", "constant", "get-tuple-element", "tuple", "bitcast", "after-all"),
    *("partition-id", "replica-id", "opt-barrier", "while", "conditional", "call"),
}
_EXCHANGES = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
_MODELS = ("indexing-cost-model", "", "sol")
"""Models of the compiler, the best first; "sol" is a bound that counts bytes and links alone, and
knows exchanges and library products."""
_TRITON_PRODUCT = re.compile(r'"kind":"__triton\w*gemm\w*"')
_SLICES = ("slice", "dynamic-slice", "gather")


@dataclasses.dataclass(frozen=True)
class Kernel:
    """One instruction that a device executes, or an exchange."""

    name: str
    kind: str
    """`fusion`, `product`, `convolution`, `own` for a kernel of `convolution.gpu_kernels`, an
    exchange such as `all-reduce`, or another opcode."""
    origin: str
    """JAX's path of named scopes of the source code; empty if unknown."""
    times: int
    """Number of executions per step."""
    num_bytes: int
    """Bytes that one execution reads and writes; workspaces are no traffic."""
    seconds: float
    """Estimated time of one execution; 0 if the compiler has no model for the chip."""
    is_exchange: bool = False


@dataclasses.dataclass(frozen=True)
class GpuProgram:
    """Everything that a step executes on each device, by the compiler's estimates."""

    products: str
    """Library that computes matrix products: `triton` or `cublaslt`."""
    num_kernels: int
    """Kernels per step, without exchanges."""
    num_bytes: int
    """Bytes that the kernels of a step read and write."""
    kernel_seconds: float
    """Time of all kernels, one after another."""
    exchange_seconds: float
    """Time of all exchanges."""
    exposed_seconds: float
    """Time in which the device waits for an exchange."""
    costliest: tuple[Kernel, ...]
    """Kernels with the most time, or without times the most traffic, most first."""

    @property
    def seconds(self) -> float | None:
        """Estimated time of a step; None if the compiler has no model for the chip."""
        return self.kernel_seconds + self.exposed_seconds if self.kernel_seconds else None


def read(text: str, chip: Chip, *, products: str, num_costliest: int = 10) -> GpuProgram:
    """Parses the text of `compiled.as_text()` of a step for GPUs.

    Args:
        text: the optimised and scheduled HLO module.
        chip: its rates bound the convolutions.
        products: which library computes matrix products.
        num_costliest: number of kernels to list.

    Raises:
        ValueError: the text has no entry computation.
    """
    computations, entry = hlo_text.computations(text)
    reader = _Reader(computations, chip)
    reader.execute(entry, 1)
    reader.finish()
    kernels = [x for x in reader.kernels if not x.is_exchange]
    exchanges = [x for x in reader.kernels if x.is_exchange]
    return GpuProgram(
        products=products,
        num_kernels=sum(x.times for x in kernels),
        num_bytes=sum(x.times * x.num_bytes for x in kernels),
        kernel_seconds=sum(x.times * x.seconds for x in kernels),
        exchange_seconds=sum(x.times * x.seconds for x in exchanges),
        exposed_seconds=reader.exposed_seconds,
        costliest=tuple(sorted(kernels, key=_cost, reverse=True)[:num_costliest]),
    )


def _cost(kernel: Kernel) -> tuple[float, int]:
    return kernel.times * kernel.seconds, kernel.times * kernel.num_bytes


class _Reader:
    """Goes through the schedule of a program with one clock for kernels and one for exchanges."""

    def __init__(self, computations: dict[str, list[Instruction]], chip: Chip):
        self._computations = computations
        self._chip = chip
        self._results: dict[str, str] = {}
        self._ends: dict[str, float] = {}
        """Time at which each exchange that was started ends."""
        self._now = 0.0
        self._exchanges_until = 0.0
        self.kernels: list[Kernel] = []
        self.exposed_seconds = 0.0

    def execute(self, name: str, times: int) -> None:
        """Executes a computation `times` times per step."""
        self._results |= {x.name: x.result for x in self._computations[name]}
        for instruction in self._computations[name]:
            if instruction.kind == "while":
                self.execute(instruction.called("body")[0], times * (instruction.trip_count or 1))
            elif instruction.kind == "conditional":
                branches = instruction.called("branch_computations")
                self.execute(max(branches, key=lambda x: len(self._computations[x])), times)
            elif instruction.kind == "call":
                self.execute(instruction.called("to_apply")[0], times)
            elif instruction.kind.endswith(("-done", "-update")):
                self._wait(instruction)
            elif instruction.kind not in _NO_KERNEL:
                self._run(instruction, times)

    def finish(self) -> None:
        """Waits for exchanges that no instruction needs."""
        self._wait_until(self._exchanges_until)

    def _run(self, instruction: Instruction, times: int) -> None:
        """Counts a kernel or an exchange, and lets its clock advance."""
        kind = self._kind(instruction)
        is_exchange = kind in _EXCHANGES
        touched = self._touched_bytes(instruction)
        seconds = self._seconds(instruction, kind, touched)
        origin = instruction.origin
        self.kernels.append(
            Kernel(instruction.name, kind, origin, times, touched, seconds, is_exchange)
        )
        if not is_exchange:
            self._now += times * seconds
            return
        self._exchanges_until = max(self._exchanges_until, self._now) + times * seconds
        self._ends[instruction.name] = self._exchanges_until
        if not instruction.kind.endswith("-start"):
            self._wait_until(self._exchanges_until)

    def _wait(self, done: Instruction) -> None:
        self._wait_until(max((self._ends.get(x, 0.0) for x in done.operands), default=0.0))

    def _wait_until(self, end: float) -> None:
        waited = max(0.0, end - self._now)
        self.exposed_seconds += waited
        self._now += waited

    def _kind(self, instruction: Instruction) -> str:
        if instruction.kind == "async-start":  # wraps an exchange without a form of its own
            (called,) = instruction.called("calls") or [""]
            inner = [x.kind for x in self._computations.get(called, []) if x.kind in _EXCHANGES]
            return inner[0] if inner else instruction.kind
        kind = instruction.kind.removesuffix("-start")
        if kind == "custom-call":
            target = instruction.target
            if target.startswith("__cudnn$conv"):
                return "convolution"
            if f"{gpu_kernels.NAME}_" in instruction.origin:
                return "own"
            return "product" if target.startswith("__cublas$") else kind
        return "product" if _TRITON_PRODUCT.search(instruction.rest) else kind

    def _seconds(self, instruction: Instruction, kind: str, touched: int) -> float:
        if kind in ("convolution", "own"):
            count = self._convolution_flops if kind == "convolution" else self._own_flops
            peak = self._chip.peak_flops_per_second or math.inf
            bandwidth = self._chip.memory_bytes_per_second or math.inf
            return max(touched / bandwidth, count(instruction) / peak)
        times_us = {
            name: float(time_us)
            for time_us, name in re.findall(
                r'"exec_time_us":([\d.e+\-]+)[^}]*?"name":"([^"]*)"', instruction.rest
            )
        }
        return next((times_us[x] for x in _MODELS if x in times_us), 0.0) / 1e6

    def _convolution_flops(self, convolution: Instruction) -> float:
        """Returns the operations of a convolution of any of its three directions."""
        labels = re.search(r"dim_labels=(\w+)_(\w+)->(\w+)", convolution.rest)
        shapes = [_shape(self._results[x]) for x in convolution.operands[:2]]
        result = _shape(convolution.result)
        if labels is None:
            return 0.0
        if convolution.target.endswith("BackwardFilter"):
            output, kernel = shapes[1], result
        elif convolution.target.endswith("BackwardInput"):
            output, kernel = shapes
        else:
            output, kernel = result, shapes[1]
        per_output = math.prod(kernel) / kernel[labels[2].index("o")]
        return 2 * math.prod(output) * per_output

    def _own_flops(self, kernel: Instruction) -> float:
        """Returns the operations of the product in one of our kernels.

        Its first two operands are [N, K] and [K, M], or [N, K] and [N, M].
        """
        first, second = (_shape(self._results[x]) for x in kernel.operands[:2])
        return 2 * math.prod(first) * math.prod(second) / first[first[0] != second[0]]

    def _touched_bytes(self, instruction: Instruction) -> int:
        """Returns the bytes of operands and results that an instruction reads and writes."""
        results = hlo_text.arrays(instruction.result)
        if instruction.kind == "custom-call" and len(results) > 1:
            results = [x for x in results if not x[0].startswith(("s8[", "u8["))]  # workspaces
        written = sum(size for _, size in results)
        if instruction.kind.removesuffix("-start") in _EXCHANGES:
            return written
        return written + sum(self._read_bytes(instruction))

    def _read_bytes(self, instruction: Instruction) -> Iterator[int]:
        """Yields the bytes that are read of each operand; of a buffer that is cut only the cuts."""
        cuts = self._cuts(instruction)
        for number, name in enumerate(instruction.operands):
            whole = sum(size for _, size in hlo_text.arrays(self._results.get(name, "")))
            yield min(whole, cuts.get(number, whole))

    def _cuts(self, instruction: Instruction) -> dict[int, int]:
        """Returns the bytes of those operands of which a fusion reads slices alone."""
        if instruction.kind in _SLICES:
            return {0: sum(size for _, size in hlo_text.arrays(instruction.result))}
        called = instruction.called("calls") if instruction.kind == "fusion" else []
        inner = [x for name in called for x in self._computations.get(name, [])]
        cuts = {}
        for parameter in inner:
            if parameter.kind != "parameter":
                continue
            users = [x for x in inner if parameter.name in x.operands]
            if users and all(x.kind in _SLICES and x.operands[0] == parameter.name for x in users):
                sizes = (size for x in users for _, size in hlo_text.arrays(x.result))
                cuts[int(parameter.rest.split(")")[0])] = sum(sizes)
        return cuts


def _shape(result: str) -> tuple[int, ...]:
    """Returns the shape of the first array of a type."""
    (name, _), *_ = hlo_text.arrays(result)
    return tuple(int(n) for n in name.partition("[")[2].rstrip("]").split(",") if n)
