"""The blocks of code on the pages of the documentation, and the commands in them."""

import dataclasses
import pathlib
import re
import shlex
from collections.abc import Iterator

from clef_jax import command_line

ROOT = pathlib.Path(__file__).parents[1]
TUTORIALS = [
    ROOT / "docs" / "tutorials" / f"{name}.md"
    for name in ("first_result", "own_recordings", "comparison", "pod")
]
"""In the order in which they are read: each uses what the one before has made."""
PAGES = [
    *TUTORIALS,
    *sorted(set((ROOT / "docs").rglob("*.md")) - set(TUTORIALS)),
    *(ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "SECURITY", "CHANGELOG")),
    ROOT / "benchmarks" / "README.md",
    *sorted((ROOT / "datasets").rglob("README.md")),
]
_BLOCK = re.compile(
    r"(?:^<!-- not run: (?P<reason>.+?) -->\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_SHELL = re.compile(
    r"(?:[A-Z]+=\S+ )*(?:clef-jax|python|make|pip|wget|sbatch|launch/|export|\.venv/)"
)


@dataclasses.dataclass(frozen=True)
class Block:
    """A block of code on a page."""

    page: pathlib.Path
    line: int
    language: str
    text: str
    reason: str | None
    """Why a test cannot run it, as the page states in a comment before the block."""

    @property
    def name(self) -> str:
        return f"{self.page.relative_to(ROOT).as_posix()}:{self.line}"

    @property
    def is_shell(self) -> bool:
        return not self.language and _SHELL.match(self.text) is not None

    def lines(self) -> list[list[str]]:
        """Returns the words of each command of the shell, without comments."""
        joined = self.text.replace("\\\n", " ")
        words = [shlex.split(line, comments=True) for line in joined.splitlines()]
        return [line for line in words if line]


def read(page: pathlib.Path) -> Iterator[Block]:
    """Yields the blocks of a page in their order."""
    text = page.read_text(encoding="utf-8")
    for found in _BLOCK.finditer(text):
        line = text.count("\n", 0, found.start("text"))
        yield Block(page, line, found["language"], found["text"], found["reason"])


def command(words: list[str]) -> tuple[str, list[str]] | None:
    """Returns the name and the arguments of a command of this package; None for another program."""
    if words[0] == "clef-jax":
        return words[1], words[2:]
    if words[:2] == ["python", "-m"] and words[2].startswith("clef_jax."):
        return words[2].removeprefix("clef_jax."), words[3:]
    return None


def parse(name: str, arguments: list[str]) -> None:
    """Parses the arguments of a command as the command does, and runs nothing."""
    from clef_jax import plan
    from clef_jax.training import arguments as training

    if name == "train":
        training.parse(arguments)
    elif name == "plan":
        training.parse_beside(arguments, plan.Arguments, default=plan._NO_RUN, command="plan")
    else:
        command_line.parse(command_line.load(name).SETTINGS, arguments, name)
