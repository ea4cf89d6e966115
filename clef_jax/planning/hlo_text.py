"""The text of an optimised HLO module, taken apart into computations and instructions."""

import dataclasses
import math
import re

_TYPE_BYTES = {"pred": 1, "c64": 8, "c128": 16}
"""Bytes of a value whose type's name does not end in its bits."""

_INSTRUCTION = re.compile(r"\s+(?:ROOT )?%?([\w.\-]+) = (.*)")
_HEADER = re.compile(r"(ENTRY )?%?([\w.\-]+) \(.*\{")


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One line of a computation."""

    name: str
    result: str
    """Type of the result, as written: `f32[4,8]{1,0}`, or several in parentheses."""
    kind: str
    """Opcode."""
    rest: str
    """Operands and attributes."""

    @property
    def origin(self) -> str:
        """The path of JAX's names that it comes from, or empty."""
        name = re.search(r'op_name="([^"]*)"', self.rest)
        return name[1] if name else ""

    @property
    def cycles(self) -> int | None:
        """The compiler's estimate of one execution; None where it gives none."""
        cycles = re.search(r'"estimated_cycles":"(\d+)"', self.rest)
        return int(cycles[1]) if cycles else None

    @property
    def trip_count(self) -> int | None:
        """What the compiler knows of a loop's length."""
        known = re.search(r'known_trip_count":\{"n":"(\d+)"', self.rest)
        return int(known[1]) if known else None

    @property
    def operands(self) -> list[str]:
        """Names before the first closing parenthesis."""
        return re.findall(r"%?([\w.\-]+)", self.rest.split(")")[0])

    @property
    def group_size(self) -> int | None:
        """Devices that an exchange joins; None where the text does not say."""
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
        """Whether it stands for an exchange that an earlier fusion began: XLA:TPU writes the same
        exchange into each fusion that moves it on, and marks the first with -1. Channels do not
        tell them apart, as different exchanges may share one."""
        flag = re.search(r'"async_collective_fusion_config":\{"flag_start":"(-?\d+)"', self.rest)
        return flag is not None and int(flag[1]) >= 0

    def called(self, attribute: str) -> list[str]:
        """The computations that an attribute such as `body` names."""
        match = re.search(rf"\b{attribute}=(\{{[^}}]*\}}|%?[\w.\-]+)", self.rest)
        return re.findall(r"[\w.\-]+", match[1]) if match else []


def computations(text: str) -> tuple[dict[str, list[Instruction]], str]:
    """The instructions of every computation by its name, and the name of the entry.

    Raises:
        ValueError: the text holds no entry computation.
    """
    found: dict[str, list[Instruction]] = {}
    entry, current = "", None
    for line in text.splitlines():
        if header := _HEADER.fullmatch(line.rstrip()):
            current = found.setdefault(header[2], [])
            entry = header[2] if header[1] else entry
        elif current is not None and (match := _INSTRUCTION.match(line)):
            current.append(_instruction(match[1], match[2]))
    if not entry:
        raise ValueError("The text holds no entry computation: it is no optimised HLO module.")
    return found, entry


def arrays(result: str) -> list[tuple[str, int]]:
    """The arrays of a type as (`f32[4,8]`, bytes without padding)."""
    found = []
    for kind, shape in re.findall(r"\b([a-z]\w*)\[([\d,]*)\]", result):
        bits = re.search(r"\d+", kind)
        size = _TYPE_BYTES.get(kind) or (int(bits[0]) / 8 if bits else 0)
        count = math.prod(int(n) for n in shape.split(",") if n)
        found.append((f"{kind}[{shape}]", math.ceil(size * count)))
    return found


def second(result: str) -> str:
    """The second part of a tuple type; a type that is no pair or longer comes back as it is."""
    depth, parts = 0, [""]
    for letter in result[1:-1]:
        depth += (letter in "([{") - (letter in ")]}")
        if letter == "," and not depth:
            parts.append("")
        else:
            parts[-1] += letter
    return parts[1].strip() if result.startswith("(") and len(parts) > 1 else result


def _instruction(name: str, text: str) -> Instruction:
    end = _closing(text) if text.startswith("(") else text.index(" ")
    kind, _, rest = text[end:].lstrip().partition("(")
    return Instruction(name, text[:end], kind, rest)


def _closing(text: str) -> int:
    """The position behind the parenthesis that closes the first one."""
    depth = 0
    for position, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if not depth:
            return position + 1
    raise ValueError(f"An instruction's type does not end: {text[:80]}")
