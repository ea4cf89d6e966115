"""Models of a hub are loaded at a commit, verified, and only if an address asks for them."""

import json
import pathlib

import jax
import numpy as np
import pytest
from culprits import refuses
from hub_stand_in import Repository, contents, hub, write_model

import clef_jax
from clef_jax import mesh as mesh_lib
from clef_jax.embedding import folder as model_folder
from clef_jax.evaluation import models as models_lib
from clef_jax.hub import download

__all__ = ["hub"]

pytestmark = pytest.mark.usefixtures("quick_compiler")

NAMES = ("model.safetensors", "preprocessor_config.json")
TYPES = (model_folder.MODEL_TYPE,)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("model") / "m", head=True)


@pytest.fixture
def commit(hub, folder):
    """The commit of a model on the hub, which also holds code and other files."""
    more = {"weights.bin": b"1" * 1000, "nested/config.json": b"{}"}
    return hub.put("org/name", contents(folder) | more)


def edited(folder, **changes):
    config = json.loads((folder / "config.json").read_text()) | changes
    kept = {name: value for name, value in config.items() if value is not None}
    return contents(folder) | {"config.json": json.dumps(kept).encode()}


def test_a_branch_is_resolved_printed_and_recorded_as_a_commit(hub, folder, commit, capsys):
    model = clef_jax.load("hf:org/name")
    pinned = f"hf:org/name@{commit}"
    assert pinned in capsys.readouterr().err
    assert model.name == pinned
    assert model_folder.describe_run(model.embedder.run)["loaded_from"] == pinned
    local = clef_jax.load(folder)
    assert model.fingerprint == local.fingerprint
    np.testing.assert_array_equal(model.head.weight, local.head.weight)
    hub.requests.clear()
    hub.put("org/name", {"config.json": b"{}"})
    again = clef_jax.load(pathlib.Path(pinned))
    assert again.fingerprint == model.fingerprint
    assert not capsys.readouterr().err
    assert not hub.paths("PUT", "POST")


def test_only_the_files_of_a_model_are_downloaded(hub, commit):
    clef_jax.load("hf:org/name@main")
    read = {path.partition("/resolve/")[2] for path in hub.paths() if "/resolve/" in path}
    names = {name.partition("/")[2] for name in read}
    assert names == {"config.json", "head.safetensors", *NAMES}
    assert {name.partition("/")[0] for name in read} == {commit}


def test_a_commit_that_was_downloaded_needs_no_hub(hub, commit, monkeypatch):
    pinned = f"hf:org/name@{commit}"
    first = clef_jax.load(pinned)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    hub.requests.clear()
    assert clef_jax.load(pinned).fingerprint == first.fingerprint
    assert not hub.requests
    with refuses("org/name", problem="hub_unreachable"):
        clef_jax.load("hf:org/name")


def test_nothing_is_asked_without_the_prefix(hub, commit, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with refuses("org/name", "hf:ORG/NAME@COMMIT"):
        clef_jax.load("org/name")
    assert not hub.requests


def test_evaluate_takes_an_address_as_a_model(hub, commit):
    mesh = mesh_lib.make_mesh(jax.devices()[:1])
    (model,) = models_lib.collect(["hf:org/name"], "none", mesh, size="tiny", num_seeds=1, seed=0)
    assert model.name == f"hf:org/name@{commit}"


@pytest.mark.parametrize(
    ("address", "problem"),
    [
        ("hf:org/missing", "no_repository"),
        ("hf:org/name@v9", "no_revision"),
        ("hf:org/private", "no_repository"),
        ("hf:org/gated", "gated_repository"),
    ],
)
def test_what_a_hub_refuses_is_a_sentence(hub, commit, address, problem):
    hub.token = "Bearer of_the_owner"
    hub.repositories["org/private"] = Repository(private=True)
    hub.put("org/gated", {})
    hub.gated.add("org/gated")
    with refuses(address.removeprefix("hf:").partition("@")[0], problem=problem):
        clef_jax.load(address)


def test_a_hub_that_fails_is_a_sentence(hub, commit):
    hub.broken = 507
    with refuses("507", problem="hub_error"):
        clef_jax.load("hf:org/name")


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"model_type": "bert"}, "not_a_model_folder"),
        ({"model_type": None}, "not_a_model_folder"),
        ({"fingerprint": None}, "no_fingerprint"),
        ({"fingerprint": "0" * 64}, "other_fingerprint"),
    ],
)
def test_a_model_that_is_not_ours_or_not_verified_is_refused(hub, folder, changes, problem):
    commit = hub.put("org/other", edited(folder, **changes))
    if problem != "other_fingerprint":
        with refuses(f"hf:org/other@{commit}", problem=problem):
            download.fetch("hf:org/other", lambda _: NAMES, TYPES)
        assert not [path for path in hub.paths() if path.endswith("model.safetensors")]
    else:
        with refuses(problem=problem):
            clef_jax.load("hf:org/other")


def test_a_repository_without_configuration_is_refused(hub):
    hub.put("org/empty", {"README.md": b"hello"})
    with refuses("org/empty", "config.json", problem="not_a_model_folder"):
        clef_jax.load("hf:org/empty")


def test_a_hub_that_does_not_answer_is_a_sentence(hub, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    with refuses("org/name", problem="hub_unreachable"):
        clef_jax.load("hf:org/name")


@pytest.mark.parametrize("name", ["model.safetensors", "preprocessor_config.json"])
def test_a_damaged_file_is_noticed(hub, commit, name):
    folder, address = download.fetch("hf:org/name", lambda _: NAMES, TYPES)
    blob = (folder / name).resolve()
    blob.write_bytes(blob.read_bytes()[:-1] + b"x")
    with refuses(name, blob, problem="damaged_download"):
        download.fetch(str(address), lambda _: NAMES, TYPES)
