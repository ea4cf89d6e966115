"""The layout of the repository: what is tracked, who may import whom, and what tests may assert.

These tests read source files only and import nothing of the package.
"""

import ast
import pathlib
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator

import pytest

TOP = pathlib.Path(__file__).parents[1]
PACKAGE = "clef_jax"
ROOMS = (PACKAGE, "datasets")

RUFF_EXCLUDES = {
    *("__pypackages__", "_build", "buck-out", "build", "dist", "node_modules"),
    *("site-packages", "venv"),
}
"""The folders that ruff leaves out by default, apart from hidden ones."""

FLOORS = (
    # The ground floor knows no task of the package.
    *("errors", "plugin", "finding", "files", "line_file", "csv_file", "lock_owner", "folder_lock"),
    *("scoped", "cores", "machine", "chip"),
    *("leads", "lead_order", "mesh", "dataset_list", "setting"),
    *("parse_errors", "command_line"),
    *("page", "signal", "statistics", "risk", "tasks"),
    # Recordings: the stored form, the readers of files, and simulated ones.
    *("data.record", "wfdb", "formats", "simulation"),
    # The network: its sizes are numbers only, so that convolutions can be measured for them.
    *("convolution", "models", "objectives", "config"),
    # Prepared data is read, made and trained on.
    *("data", "building", "training"),
    # Names and files of weights; an encoder in use; what needs an encoder.
    *("convert", "embedding.config_file", "embedding.head", "answers"),
    *("hub.address", "hub.client", "hub.digest", "hub.download", "embedding", "baselines"),
    *("convert.onnx_graph", "convert.onnx_fourier", "convert.onnx_median"),
    *("convert.onnx_preprocessing",),
    *("convert.verify", "convert.exported_head", "convert.jax_head", "convert.onnx_head"),
    *("convert.onnx_session", "convert.onnx_file", "convert.onnx_half", "convert.onnx_check"),
    *("convert.check_windows", "convert.onnx_quantised"),
    *("convert.stablehlo", "evaluation", "planning", "fitting", "predicting", "explaining"),
    *("hub",),
    *("speedrunning",),
    # The commands, and the package as users import it.
    *("simulate", "prepare", "train", "report", "plan", "embed", "predict", "evaluate", "ablate"),
    *("fit", "explain", "speedrun", "push"),
    *("autotune", "convert.__main__", "demo", "", "__main__"),
)
"""Rooms and modules, the lowest floor first; the most specific name of a module counts."""

MOST_WORDS = 4


def sources(folder: str) -> list[pathlib.Path]:
    return sorted((TOP / folder).rglob("*.py"))


def parse(path: pathlib.Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def git(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess:
    return subprocess.run(
        ["git", *arguments], cwd=TOP, input=stdin, capture_output=True, text=True, check=False
    )


def test_no_module_is_ignored_by_git():
    if shutil.which("git") is None or git("rev-parse", "--is-inside-work-tree").returncode:
        pytest.skip("this is no git checkout")
    paths = [str(path.relative_to(TOP)) for folder in ROOMS for path in sources(folder)]
    # With --no-index a tracked file is listed too if a rule would leave it out anywhere else.
    ignored = git("check-ignore", "--no-index", "--stdin", stdin="\n".join(paths))
    assert ignored.returncode in (0, 1), ignored.stderr
    assert not ignored.stdout.split()


def test_no_room_has_a_name_that_tools_leave_out():
    rules = (TOP / ".gitignore").read_text().splitlines()
    left_out = RUFF_EXCLUDES | {rule.strip("/") for rule in rules if rule.endswith("/")}
    rooms = {path.parent for folder in ROOMS for path in sources(folder)}
    named = {part for room in rooms for part in room.relative_to(TOP).parts}
    assert not {name for name in named if name in left_out or name.startswith(".")}


def test_tests_assert_codes_and_culprits_rather_than_sentences():
    pinned = {
        (path.name, text)
        for path in sources("tests")
        for text in pinned_texts(parse(path))
        if sum(bool(re.search(r"\w", word)) for word in text.split()) > MOST_WORDS
    }
    assert not pinned, "assert a problem code or a culprit, as tests/culprits.py does"


def pinned_texts(tree: ast.AST) -> Iterator[str]:
    """Yields the texts that a test expects in an error, in printed output or on a page."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.In | ast.NotIn):
            yield from texts_of([node.left])
        elif isinstance(node, ast.Call):
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            values = [word.value for word in node.keywords if word.arg == "match"]
            if name in ("refuses", "assert_names"):
                values += node.args[name == "assert_names" :]
            yield from texts_of(values)


def texts_of(nodes: Iterable[ast.expr]) -> Iterator[str]:
    """Yields the literal texts of expressions, with `x` for each value of an f-string."""
    for node in nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.JoinedStr):
            yield "".join(
                str(part.value) if isinstance(part, ast.Constant) else "x" for part in node.values
            )
        elif isinstance(node, ast.Tuple | ast.List):
            yield from texts_of(node.elts)


def test_private_modules_of_jax_are_used_in_one_file():
    users = {path.relative_to(TOP).as_posix() for path in using("jax._src")}
    assert users <= {f"{PACKAGE}/training/coordinator.py"}


@pytest.mark.parametrize("module", ["difflib", "pkgutil"])
def test_names_and_plug_ins_are_found_in_one_module(module):
    users = {
        path.relative_to(TOP).as_posix()
        for path in sources(PACKAGE)
        if any(name.split(".")[0] == module for name in imported(parse(path)))
    }
    assert users <= {f"{PACKAGE}/plugin.py"}


def using(text: str) -> Iterator[pathlib.Path]:
    return (path for path in sources(PACKAGE) if text in path.read_text(encoding="utf-8"))


def imported(tree: ast.AST, package: str = "") -> Iterator[str]:
    """Yields what a module imports, at its top or within functions.

    Imports that only type checkers see are left out. `from a import b` gives `a.b`, whatever b is.
    """
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from imported(ast.Module(body=node.orelse, type_ignores=[]), package)
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")
            base = ".".join(parents[: len(parents) - node.level + 1]) if node.level else ""
            origin = ".".join(part for part in (base, node.module) if part)
            yield from (f"{origin}.{alias.name}" for alias in node.names)
        yield from imported(node, package)


@pytest.fixture(scope="module")
def graph() -> dict[str, set[str]]:
    """The modules of the package and those of them that each imports; the package itself is ''."""
    paths = {module_of(path): path for path in sources(PACKAGE)}
    return {name: set(own(paths, name)) - {name} for name in paths}


def module_of(path: pathlib.Path) -> str:
    parts = path.relative_to(TOP / PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def own(paths: dict[str, pathlib.Path], name: str) -> Iterator[str]:
    """Yields the modules of the package that one of them imports."""
    is_room = paths[name].name == "__init__.py"
    package = f"{PACKAGE}.{name}".rstrip(".") if is_room else f"{PACKAGE}.{name}".rpartition(".")[0]
    for origin in imported(parse(paths[name]), package):
        top, _, rest = origin.partition(".")
        if top == PACKAGE:
            # The last part may be a class or function of the module before it.
            yield rest if rest in paths else rest.rpartition(".")[0]


def test_imports_have_no_circle(graph):
    finished: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, " -> ".join((*way[way.index(name) :], name))
        if name not in finished:
            for other in sorted(graph[name]):
                visit(other, (*way, name))
            finished.add(name)

    for name in graph:
        visit(name, ())


def floor(name: str) -> int:
    """Returns the floor of a module, by the most specific name that it begins with."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        room = ".".join(parts[:length])
        if room in FLOORS:
            return FLOORS.index(room)
    raise AssertionError(f"the module {name} has no floor: add its room to FLOORS")


def test_no_import_runs_upwards(graph):
    upward = {
        (name, other)
        for name, others in graph.items()
        for other in others
        if floor(other) > floor(name)
    }
    assert not upward


def test_every_floor_is_still_there(graph):
    assert not [room for room in FLOORS if not any(f"{n}.".startswith(f"{room}.") for n in graph)]
