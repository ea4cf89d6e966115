"""Measures the size of the package and what its commands import: `python benchmarks/house.py`.

With `--root=CHECKOUT` it measures another checkout with the same Python, for comparison.
"""

import ast
import dataclasses
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile

import tyro

HERE = pathlib.Path(__file__).resolve().parents[1]
HEAVY = ("orbax", "grain", "array_record", "tensorflow_datasets", "optax", "scipy", "tyro")
_LIST_MODULES = """
import json, sys
files = {n: getattr(m, "__file__", None) for n, m in sys.modules.items()}
print("@@" + json.dumps(files))
"""
_MAKE_MODEL = """
import sys
from flax import nnx
from clef_jax import convert, models
import safetensors.numpy
encoder = models.create_encoder("tiny", rngs=nnx.Rngs(0))
safetensors.numpy.save_file(convert.to_torch(encoder), sys.argv[1] + "/w.safetensors")
import clef_jax
clef_jax.load(sys.argv[1] + "/w.safetensors").save(sys.argv[1] + "/model")
"""
_EMBED = """
import numpy as np, clef_jax
signal = np.random.default_rng(0).normal(size=5000)
clef_jax.load({model!r}).embed(signal, 500)
"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Measures modules, lines, functions and imports of clef_jax."""

    root: pathlib.Path = HERE
    """Checkout to measure."""


def sizes(root: pathlib.Path) -> dict[str, object]:
    """Returns counts of files, lines and functions below `clef_jax/`."""
    files = sorted((root / "clef_jax").rglob("*.py"))
    lines = {path: len(path.read_text().splitlines()) for path in files}
    functions = {}
    for path in files:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                functions[f"{path.relative_to(root)}:{node.name}"] = length
    largest_file = max(lines, key=lambda path: lines[path])
    largest_function = max(functions, key=lambda name: functions[name])
    top = [path for path in files if path.parent.name == "clef_jax" and path.stem != "__init__"]
    return {
        "files": len(files),
        "lines": sum(lines.values()),
        "modules at the top": len(top),
        "median file": statistics.median(lines.values()),
        "largest file": f"{lines[largest_file]} {largest_file.relative_to(root)}",
        "median function": statistics.median(functions.values()),
        "largest function": f"{functions[largest_function]} {largest_function}",
    }


def imported(root: pathlib.Path, code: str) -> str:
    """Returns the modules and lines of clef_jax that code imports, and the heavy libraries."""
    command = [sys.executable, "-c", code + _LIST_MODULES]
    output = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout
    modules = json.loads(output.rpartition("@@")[2])
    ours = [file for name, file in modules.items() if name.split(".")[0] == "clef_jax" and file]
    lines = sum(len(pathlib.Path(file).read_text().splitlines()) for file in ours)
    heavy = [name for name in HEAVY if name in modules]
    return f"{len(ours)} modules, {lines} lines, with {' '.join(heavy)}"


def main(config: Config) -> None:
    root = config.root.resolve()
    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, "-c", _MAKE_MODEL, scratch]
        subprocess.run(command, cwd=root, check=True, capture_output=True)
        walks = {
            "import clef_jax.train": "import clef_jax.train",
            "import clef_jax.evaluate": "import clef_jax.evaluate",
            "load(FOLDER).embed": _EMBED.format(model=f"{scratch}/model"),
        }
        values = sizes(root) | {name: imported(root, code) for name, code in walks.items()}
    width = max(map(len, values))
    for name, value in values.items():
        print(f"{name:{width}}  {value}")  # noqa: T201


if __name__ == "__main__":
    main(tyro.cli(Config))
