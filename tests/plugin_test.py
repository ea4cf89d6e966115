"""Plug-ins of this repository and of installed packages are found, and names are compared."""

import json
import os
import subprocess
import sys
import textwrap

import pytest
from culprits import assert_names, refuses

from clef_jax import plugin

KIND = plugin.Kind(label="toy", package="toy_plugins", attribute="TOY", expected=int)
FUNCTION = plugin.Kind(label="toy", package="toy_plugins", attribute="make", expected=None)


def write(folder, **texts):
    """Writes modules, `package__module` as `package/module.py`."""
    for name, text in texts.items():
        path = folder.joinpath(*name.split("__")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))


def add_entry_points(folder, distribution, group, entries):
    """Writes what an installer records of a distribution with entry points."""
    records = folder / f"{distribution}-1.0.dist-info"
    records.mkdir(parents=True)
    (records / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n"
    )
    lines = [f"{name} = {module}" for name, module in entries.items()]
    (records / "entry_points.txt").write_text("\n".join([f"[{group}]", *lines]) + "\n")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder on the search path with a package of two plug-ins and a shared module."""
    (tmp_path / "toy_plugins").mkdir()
    (tmp_path / "toy_plugins" / "__init__.py").write_text("")
    write(tmp_path, toy_plugins__one="TOY = 1", toy_plugins__two="TOY = 2")
    write(tmp_path, toy_plugins___shared="raise AssertionError('Shared code is no plug-in.')")
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0].startswith("toy_")]:
        del sys.modules[name]


def test_names_import_no_plugin(folder):
    assert KIND.names() == ["one", "two"]
    assert KIND.module_name("two") == "toy_plugins.two"
    assert not any(name.startswith("toy_plugins.") for name in sys.modules)


def test_loading_a_plugin_imports_no_other(folder):
    assert KIND.load_one("two") == 2
    assert KIND.module("two") is sys.modules["toy_plugins.two"]
    assert "toy_plugins.one" not in sys.modules
    assert KIND.load() == {"one": 1, "two": 2}


def test_an_unknown_name_is_refused_with_the_nearest(folder):
    with refuses("toy", "'Tow'", "'two'", "one"):
        KIND.load_one("Tow")


@pytest.mark.parametrize("text", ["", "TOY = '3'", "TOY = None"])
def test_a_module_without_the_right_definition_is_refused(text, folder):
    write(folder, toy_plugins__three=text)
    with refuses("toy_plugins.three", "`TOY`", "int"):
        KIND.load()


def test_a_function_must_be_callable(folder):
    write(folder, toy_plugins__one="make = 1", toy_plugins__two="def make(): return 2")
    assert FUNCTION.load_one("two")() == 2
    with refuses("toy_plugins.one", "`make`", "function"):
        FUNCTION.load_one("one")


def test_a_mistake_of_the_user_in_a_module_names_the_module(folder):
    write(
        folder,
        toy_plugins__three="from clef_jax.errors import UserError\nraise UserError('Repair it.')",
    )
    with refuses("'three'", "toy_plugins.three", "Repair it."):
        KIND.load_one("three")


def test_a_plugin_may_be_a_package_with_a_module_of_its_name(folder):
    kind = plugin.Kind(
        label="toy",
        package="toy_plugins",
        attribute="Toy",
        expected=type,
        submodule="{name}_builder",
    )
    (folder / "toy_plugins" / "deep").mkdir()
    (folder / "toy_plugins" / "deep" / "__init__.py").write_text("")
    write(folder, toy_plugins__deep__deep_builder="class Toy: pass")
    add_entry_points(folder, "ignored", "toy_plugins", {"other": "toy_other"})
    assert kind.names() == ["deep"]
    assert kind.load_one("deep").__name__ == "Toy"


def test_a_missing_package_is_refused():
    with refuses("toy_nothing"):
        plugin.Kind(label="toy", package="toy_nothing", attribute="TOY", expected=int).names()


def test_other_packages_add_plugins(folder):
    write(folder, toy_other="TOY = 5", toy_wrong="")
    add_entry_points(folder, "other", "toy_plugins", {"five": "toy_other", "six": "toy_wrong"})
    add_entry_points(folder, "foreign", "toy_others", {"seven": "toy_other"})
    assert KIND.names() == ["five", "one", "six", "two"]
    assert "toy_other" not in sys.modules
    assert KIND.load_one("five") == 5
    with refuses("toy_wrong", "`TOY`"):
        KIND.load_one("six")


@pytest.mark.parametrize("module", ["toy_absent", "toy_plugins.one:TOY"])
def test_an_entry_point_that_cannot_be_imported_is_refused(module, folder):
    add_entry_points(folder, "other", "toy_plugins", {"five": module})
    with refuses("'five'", module):
        KIND.load_one("five")


def test_two_modules_of_one_name_are_refused(folder):
    add_entry_points(folder, "other", "toy_plugins", {"one": "toy_other.one"})
    with refuses("'one'", "toy_plugins.one", "toy_other.one"):
        KIND.names()


def test_two_packages_with_one_name_are_refused(folder):
    add_entry_points(folder, "other", "toy_plugins", {"five": "toy_other.five"})
    add_entry_points(folder, "foreign", "toy_plugins", {"five": "toy_foreign.five"})
    with refuses("'five'", "toy_other.five", "toy_foreign.five"):
        KIND.names()


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("very high", "very_high"),
        ("Very-Hihg", "very_high"),
        ("uv", "uV"),
        ("LVEF", "lvef"),
        (" one-per patient ", "one_per_patient"),
        (7, None),
        ("nothing like it", None),
    ],
)
def test_the_nearest_name_ignores_case_spaces_and_dashes(name, nearest):
    known = ("very_high", "uV", "lvef", "one_per_patient")
    hint = f" Did you mean {nearest!r}?" if nearest else ""
    assert plugin.did_you_mean(name, known) == hint
    text = plugin.unknown("thing", name, known)
    assert text == f"Unknown thing {name!r}.{hint} Available: {', '.join(known)}."


def test_an_unknown_name_without_any_known_one():
    assert plugin.unknown("thing", "x", ()) == "Unknown thing 'x'. None is available."


MODULES = {
    "my_task": """
        from clef_jax.tasks import Task

        TASK = Task(dataset="chapman", kind="regression", label="age", description="Age.")
        """,
    "my_objective": """
        import dataclasses

        from clef_jax.objectives import Objective, Outcome, Preset

        @dataclasses.dataclass(frozen=True)
        class Config:
            weight: float = 1.0

        def terms(inputs, config):
            return Outcome({"loss": config.weight * ((inputs.view_a - inputs.view_b) ** 2).mean()})

        OBJECTIVE = Objective(
            presets={"paper": Preset(config=Config()), "heavy": Preset(config=Config(weight=2.0))},
            terms=terms,
        )
        """,
    "my_score": """
        from clef_jax.risk import Score

        SCORE = Score(
            name="mine",
            inputs=("age_years",),
            function=lambda age_years, region: age_years / 100,
            ages_years=(0, 100),
            citation="Nobody.",
        )
        """,
    "my_baseline": """
        def make(context):
            yield context
        """,
    "my_format": """
        from clef_jax.formats import Format, Opened

        def open_it(path, hints):
            raise NotImplementedError

        FORMAT = Format(name="Mine", suffixes=(".mine",), open=open_it)
        """,
}
GROUPS = {
    "my_task": "tasks",
    "my_objective": "objectives",
    "my_score": "risk",
    "my_baseline": "baselines",
    "my_format": "formats",
}
USE = """
import json
import pathlib

import numpy as np

from clef_jax import baselines, formats, objectives, risk, tasks

heavy = objectives.preset("my_objective", "heavy").config
inputs = objectives.Inputs(*np.float32([3, 1, 0, 0]), {}, None, None, None, None)
terms = objectives.load_one("my_objective").terms(inputs, heavy).terms

print(json.dumps({
    "tasks": [tasks.load()["my_task"].name, tasks.find("my_task").label],
    "objectives": ["my_objective" in objectives.load(), heavy.weight, float(terms["loss"])],
    "risk": [risk.load()["mine"].citation, "score2" in risk.load()],
    "baselines": ["my_baseline" in baselines.names(), *baselines.make("my_baseline", "context")],
    "formats": [
        formats.load()["my_format"].name,
        formats.find_format(pathlib.Path("a.mine")).name,
    ],
}))
"""


def run(script, *folders):
    """Runs a script with folders on the search path; returns exit code, output and errors."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, folders))}
    command = [sys.executable, "-c", script]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def assert_refused(finished, *culprits):
    """Asserts that a script ended with a `UserError` that names every culprit."""
    assert finished.returncode == 1
    assert_names(finished.stderr, "UserError", *culprits)


def test_an_installed_package_adds_one_of_each_kind(tmp_path):
    source, site, clash = tmp_path / "source", tmp_path / "site", tmp_path / "clash"
    write(source, my_package____init__="")
    write(source, **{f"my_package__{name}": text for name, text in MODULES.items()})
    entries = "".join(
        f'[project.entry-points."clef_jax.{group}"]\n{name} = "my_package.{name}"\n'
        for name, group in GROUPS.items()
    )
    (source / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
        '[project]\nname = "my-package"\nversion = "1.0"\n'
        f'{entries}[tool.setuptools]\npackages = ["my_package"]\n'
    )
    install = ["pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    install += ["--disable-pip-version-check", f"--target={site}", str(source)]
    subprocess.run([sys.executable, "-m", *install], check=True, capture_output=True)

    found = run(USE, site)
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout) == {
        "tasks": ["my_task", "age"],
        "objectives": [True, 2.0, 8.0],
        "risk": ["Nobody.", True],
        "baselines": [True, "context"],
        "formats": ["Mine", "Mine"],
    }

    taken = {"tasks": "lvef", "objectives": "clef", "baselines": "classical", "formats": "edf"}
    for group, name in taken.items():
        add_entry_points(clash, f"clash_{group}", f"clef_jax.{group}", {name: f"other.{name}"})
    for group, name in taken.items():
        call = "names" if group in ("tasks", "baselines") else "load"
        refused = run(f"from clef_jax import {group}; {group}.{call}()", site, clash)
        assert_refused(refused, f"clef_jax.{group}.{name}", f"other.{name}")


def test_a_score_whose_own_name_exists_is_refused(tmp_path):
    text = MODULES["my_score"].replace('"mine"', '"score2"')
    write(tmp_path, toy_score=text)
    add_entry_points(tmp_path, "other", "clef_jax.risk", {"my_score": "toy_score"})
    refused = run("from clef_jax import risk; risk.load()", tmp_path)
    assert_refused(refused, "'score2'", "clef_jax.risk.esc_2021", "toy_score")
