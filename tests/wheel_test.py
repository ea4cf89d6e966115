"""The wheel holds all packages, and an installation of it works in another folder."""

import os
import pathlib
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile

import pytest

PROJECT = pathlib.Path(__file__).parents[1]


def call(*command: object, cwd: pathlib.Path) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built from a copy of the project, as setuptools writes into its folder."""
    copy, out = tmp_path_factory.mktemp("project"), tmp_path_factory.mktemp("wheel")
    for name in ("clef_jax", "datasets"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(PROJECT / name, copy / name, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(PROJECT / name, copy / name)
    pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "wheel")
    call(*pip, "--no-deps", "--no-build-isolation", "--wheel-dir", out, copy, cwd=copy)
    (made,) = out.iterdir()
    return made


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A new environment with the wheel, which borrows this environment's packages."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder)
    python = folder / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
    call(*pip, "--python", python, "install", "--no-deps", wheel, cwd=folder)
    (own,) = folder.glob("lib/python*/site-packages")
    # A path in a .pth file does not run the .pth files there, such as that of our own sources.
    (own / "borrowed.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    return folder / "bin"


def test_the_wheel_holds_every_module_and_nothing_else(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    for source, package in (("clef_jax", "clef_jax"), ("datasets", "clef_datasets")):
        for path in (PROJECT / source).rglob("*.py"):
            name = f"{package}/{path.relative_to(PROJECT / source).as_posix()}"
            assert name in names
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"clef_jax", "clef_datasets"}
    assert "clef_jax/evaluation/published.csv" in names
    assert "clef_datasets/ptb_xl/CITATIONS.bib" in names


def test_no_package_is_shipped_as_data(wheel):
    """Each folder with modules is a package, which type checkers and other tools need."""
    names = zipfile.ZipFile(wheel).namelist()
    folders = {name.rpartition("/")[0] for name in names if name.endswith(".py")}
    assert {folder for folder in folders if f"{folder}/__init__.py" not in names} <= {
        "clef_datasets"  # a namespace: it holds packages only
    }


@pytest.mark.slow
def test_an_installation_simulates_prepares_trains_and_embeds(installed, tmp_path):
    program = installed / "clef-jax"
    shown = call(
        *(installed / "python", "-c"),
        "import clef_jax, clef_datasets.ptb_xl as d; print(clef_jax.__file__, d.__file__)",
        cwd=tmp_path,
    )
    assert all(path.startswith(str(installed.parent)) for path in shown.split())
    assert "train" in call(program, cwd=tmp_path)
    call(program, "simulate", "--out=raw", "--patients=8", cwd=tmp_path)
    call(program, "prepare", "--source=raw", "--data-dir=data", "--workers=1", cwd=tmp_path)
    flags = ("--size=tiny", "--num-steps=2", "--global-batch-size=4", "--health-every-steps=0")
    call(program, "train", "--data-dir=data", "--workdir=run", *flags, cwd=tmp_path)
    call(program, "embed", "--model=run", "--input=raw", "--out=table.parquet", cwd=tmp_path)
    assert (tmp_path / "table.parquet").stat().st_size > 0
