"""Embedding and conversion work where packages that only builds and training need are absent.

array_record has no wheels for Windows; fcntl and resource are modules of Unix.
"""

import json
import subprocess
import sys
import tomllib

import jax
import numpy as np
import pytest
from culprits import assert_names
from packaging.requirements import Requirement
from wheel_test import PROJECT

from clef_jax import mesh as mesh_lib
from clef_jax.embedding import encoder as encoder_lib, folder as model_folder

ABSENT = (
    *("array_record", "grain", "tensorflow_datasets", "duckdb", "orbax"),
    *("fcntl", "resource", "apache_beam", "tensorboardX"),
)
BLOCK = f"import sys\nsys.modules.update(dict.fromkeys({ABSENT!r}))\n"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    mesh = mesh_lib.make_mesh(jax.devices()[:1])
    folder = tmp_path_factory.mktemp("portable") / "model"
    return model_folder.save(encoder_lib.random("tiny", mesh, seed=0), folder)


def blocked(code: str, cwd) -> subprocess.CompletedProcess:
    """Runs code in a process in which the import of the packages fails."""
    return subprocess.run(
        [sys.executable, "-c", BLOCK + code], cwd=cwd, capture_output=True, text=True
    )


def command(*argv: str, cwd) -> str:
    done = blocked(f"from clef_jax.__main__ import main\nmain({argv!r})", cwd)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_block_works(tmp_path):
    done = blocked("import grain", tmp_path)
    assert done.returncode == 1
    assert_names(done.stderr, "grain")


def test_a_model_embeds_an_array(model, tmp_path):
    code = (
        "import clef_jax, numpy as np\n"
        f"model = clef_jax.load({str(model)!r})\n"
        "print(model.embed(np.sin(np.arange(5000.0)), 500).shape)\n"
    )
    done = blocked(code, tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
def test_files_are_embedded(model, tmp_path, suffix):
    rng = np.random.default_rng(0)
    np.save(tmp_path / "a.npy", rng.normal(size=5000))
    np.savetxt(tmp_path / "b.csv", rng.normal(size=(5000, 1)), header="II", comments="")
    command(
        *("embed", f"--model={model}", "--input=.", f"--out=out{suffix}"),
        *("--sample-rate-hz=500", "--unit=mV"),
        cwd=tmp_path,
    )
    assert (tmp_path / f"out{suffix}").stat().st_size > 0


def test_weights_are_converted(model, tmp_path):
    command("convert", "to-torch", f"--model={model}", "--out=w.safetensors", cwd=tmp_path)
    command("convert", "from-torch", "--input=w.safetensors", "--out=again", cwd=tmp_path)
    config = json.loads((tmp_path / "again" / "config.json").read_text())
    assert config["size"] == "tiny"
    command("convert", "to-stablehlo", f"--model={model}", "--out=m.stablehlo", cwd=tmp_path)
    pytest.importorskip("onnxruntime")
    command("convert", "to-onnx", f"--model={model}", "--out=m.onnx", cwd=tmp_path)


def test_extras_do_not_need_each_other():
    """Each extra installs its own packages alone; `dev` is for tests, which need all of them."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    extras = {
        name: {Requirement(text).name for text in texts}
        for name, texts in project["optional-dependencies"].items()
    }
    del extras["dev"]
    for name, packages in extras.items():
        assert "clef_jax" not in packages, name
    assert not extras["onnx"] & extras["torch"]
    names = {Requirement(text).name for text in project["dependencies"]}
    assert not names & {"torch", "onnx", "onnxruntime", "apache-beam", "tensorflow", "pydicom"}
