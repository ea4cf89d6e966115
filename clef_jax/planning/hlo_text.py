"""Parses the text of an optimised HLO module into computations and instructions."""

import dataclasses
import math
import re

_TYPE_BYTES = {"pred": 1, "c64": 8, "c128": 16}
"""Bytes per value of types whose name does not end in the number of bits."""

_INSTRUCTION = re.compile(r"\s+(?:ROOT )?%?([\w.\-]+) = (.*)")
_HEADER = re.compile(r"(ENTRY )?%?([\w.\-]+) \(.*\{")


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One line of a computation."""

    name: str
    result: str
    """Type of the result as written: `f32[4,8]{1,0}`, or several types in parentheses."""
    kind: str
    """Opcode."""
    rest: str
    """Operands and attributes."""

    @property
    def origin(self) -> str:
        """JAX's path of named scopes of the source code; empty if unknown."""
        name = re.search(r'op_name="([^"]*)"', self.rest)
        return name[1] if name else ""

    @property
    def cycles(self) -> int | None:
        """The compiler's estimate of the cycles of one execution; None if absent."""
        cycles = re.search(r'"estimated_cycles":"(\d+)"', self.rest)
        return int(cycles[1]) if cycles else None

    @property
    def trip_count(self) -> int | None:
        """Number of iterations of a loop; None if the compiler does not know it."""
        known = re.search(r'known_trip_count":\{"n":"(\d+)"', self.rest)
        return int(known[1]) if known else None

    @property
    def operands(self) -> list[str]:
        """Names of the operands, which precede the first closing parenthesis."""
        listed = re.sub(r"/\*.*?\*/", "", self.rest.split(")")[0])  # XLA numbers every fifth
        return re.findall(r"%?([\w.\-]+)", listed)

    @property
    def target(self) -> str:
        """Name of the function that a custom call calls; empty for other instructions."""
        target = re.search(r'custom_call_target="([^"]*)"', self.rest)
        return target[1] if target else ""

    @property
    def group_size(self) -> int | None:
        """Number of devices in a group of a collective; None if unknown."""
        if match := re.search(r"replica_groups=\{\{([\d,]*)\}", self.rest):
            return len(match[1].split(","))
        if match := re.search(r"replica_groups=\[\d+,(\d+)\]<=", self.rest):
            return int(match[1])
        if match := re.search(r"replica_groups=mesh\[([^\]]*)\] \{([^}]*)\}", self.rest):
            sizes = dict(re.findall(r"'(\w+)'=(\d+)", match[1]))
            return math.prod(int(sizes[axis]) for axis in re.findall(r"'(\w+)'", match[2]))
        return None

    @property
    def is_continued(self) -> bool:
        """Whether the instruction continues a collective that an earlier fusion started.

        XLA:TPU writes the same collective into each fusion that advances it, and marks the first
        with -1. Channels do not distinguish collectives, because several may share one.
        """
        flag = re.search(r'"async_collective_fusion_config":\{"flag_start":"(-?\d+)"', self.rest)
        return flag is not None and int(flag[1]) >= 0

    def called(self, attribute: str) -> list[str]:
        """Returns the names of the computations in an attribute such as `body`."""
        match = re.search(rf"\b{attribute}=(\{{[^}}]*\}}|%?[\w.\-]+)", self.rest)
        return re.findall(r"[\w.\-]+", match[1]) if match else []


def computations(text: str) -> tuple[dict[str, list[Instruction]], str]:
    """Returns the instructions of each computation by its name, and the name of the entry.

    Raises:
        ValueError: the text has no entry computation.
    """
    instructions: dict[str, list[Instruction]] = {}
    entry, current = "", None
    for line in text.splitlines():
        if header := _HEADER.fullmatch(line.rstrip()):
            current = instructions.setdefault(header[2], [])
            entry = header[2] if header[1] else entry
        elif current is not None and (match := _INSTRUCTION.match(line)):
            current.append(_instruction(match[1], match[2]))
    if not entry:
        raise ValueError("The text has no entry computation, so it is not an optimised HLO module.")
    return instructions, entry


def arrays(result: str) -> list[tuple[str, int]]:
    """Returns the arrays of a type as pairs of name (`f32[4,8]`) and bytes without padding."""
    pairs = []
    for kind, shape in re.findall(r"\b([a-z]\w*)\[([\d,]*)\]", result):
        bits = re.search(r"\d+", kind)
        size = _TYPE_BYTES.get(kind) or (int(bits[0]) / 8 if bits else 0)
        count = math.prod(int(n) for n in shape.split(",") if n)
        pairs.append((f"{kind}[{shape}]", math.ceil(size * count)))
    return pairs


def second(result: str) -> str:
    """Returns the second element of a tuple type, and any other type unchanged."""
    depth, elements = 0, [""]
    for letter in result[1:-1]:
        depth += (letter in "([{") - (letter in ")]}")
        if letter == "," and not depth:
            elements.append("")
        else:
            elements[-1] += letter
    return elements[1].strip() if result.startswith("(") and len(elements) > 1 else result


def _instruction(name: str, text: str) -> Instruction:
    end = _closing(text) if text.startswith("(") else text.index(" ")
    kind, _, rest = text[end:].lstrip().partition("(")
    return Instruction(name, text[:end], kind, rest)


def _closing(text: str) -> int:
    """Returns the position after the parenthesis that closes the first one."""
    depth = 0
    for position, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if not depth:
            return position + 1
    raise ValueError(f"The type of an instruction has no closing parenthesis: {text[:80]}")
