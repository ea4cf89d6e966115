"""Measures the CPU time of `--help` of every command, and of the import that `load` needs.

`python benchmarks/startup.py` writes a table to standard output. With `--root=CHECKOUT` it measures
another checkout with the same Python, for comparison.
"""

import dataclasses
import os
import pathlib
import resource
import statistics
import subprocess
import sys

import markdown_table
import tyro

HERE = pathlib.Path(__file__).resolve().parents[1]
IMPORTS = {
    "import jax, flax.nnx": "import jax, flax.nnx",
    "import of clef_jax.load": "import clef_jax.embedding.pretrained",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Measures the CPU time of `--help` of every command, and of the import that `load` needs."""

    root: pathlib.Path = HERE
    """Checkout to measure."""
    repetitions: int = 5
    """Number of repetitions, of which the median is written."""


def commands(root: pathlib.Path) -> dict[str, list[str]]:
    """Returns the arguments of Python by the name of what is measured."""
    files = {path.stem: path for path in (root / "clef_jax").glob("[!_]*.py")}
    files |= {path.parent.name: path for path in (root / "clef_jax").glob("*/__main__.py")}
    names = sorted(name for name, path in files.items() if "\ndef main(" in path.read_text())
    measured = {f"{name} --help": ["-m", f"clef_jax.{name}", "--help"] for name in names}
    if (root / "clef_jax" / "__main__.py").exists():
        measured["clef-jax"] = ["-m", "clef_jax"]
    return measured | {name: ["-c", code] for name, code in IMPORTS.items()}


def cpu_seconds(arguments: list[str], root: pathlib.Path) -> float:
    """Returns the CPU time of a process that ran Python with these arguments."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = os.environ | {"PYTHONPATH": str(root)}
    subprocess.run(
        [sys.executable, *arguments], env=environment, stdout=subprocess.DEVNULL, check=True
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    config = tyro.cli(Config)
    root = config.root.resolve()
    sys.stdout.write(f"{markdown_table.head(('command', 'CPU seconds'))}\n")
    for name, arguments in commands(root).items():
        times = [cpu_seconds(arguments, root) for _ in range(config.repetitions)]
        cells = (f"`{name}`", f"{statistics.median(times):.2f}")
        sys.stdout.write(f"{markdown_table.line(cells)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
