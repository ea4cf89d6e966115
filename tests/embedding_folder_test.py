"""A model folder keeps a model exactly, and anything that does not fit is told."""

import dataclasses
import json

import jax
import numpy as np
import pytest
from culprits import refuses

from clef_jax import mesh as mesh_lib
from clef_jax.embedding import encoder as encoder_lib, folder as model_folder
from clef_jax.embedding.head import Head
from clef_jax.embedding.recipe import Recipe
from clef_jax.errors import UserError

ONE = mesh_lib.make_mesh(jax.devices()[:1])
RECIPE = Recipe(sample_rate_hz=250.0, window_seconds=5.0, band_hz=(0.5, 45.0))


@pytest.fixture(scope="module")
def model():
    return encoder_lib.random("tiny", ONE, seed=3, recipe=RECIPE)


@pytest.fixture
def folder(model, tmp_path):
    return model_folder.save(model, tmp_path / "model")


def edit(path, **changes):
    found = json.loads(path.read_text())
    for name, value in changes.items():
        found[name] = value
        if value is None:
            del found[name]
    path.write_text(json.dumps(found))


def test_saving_and_loading_is_exact(model, folder):
    found = model_folder.load(folder, ONE)
    assert found.name == "model"
    assert found.recipe == RECIPE
    assert found.fingerprint == model.fingerprint
    same = jax.tree.map(np.array_equal, found.params, model.params)
    assert all(jax.tree.leaves(same))


def test_no_filter_is_kept_as_no_filter(tmp_path):
    plain = encoder_lib.random("tiny", ONE, seed=0, recipe=Recipe(band_hz=None, zscored=False))
    assert model_folder.load(model_folder.save(plain, tmp_path / "m"), ONE).recipe == plain.recipe


def test_the_folder_is_a_repository_of_a_model_hub(folder):
    assert {one.name for one in folder.iterdir()} == {
        "README.md",
        "config.json",
        "model.safetensors",
        "preprocessor_config.json",
    }
    card = (folder / "README.md").read_text()
    front = card.split("---")[1]
    assert "library_name: clef_jax" in front
    assert "pipeline_tag: feature-extraction" in front
    assert "resampled to 250 Hz" in card
    assert str(folder) not in card


def test_a_model_is_written_over_a_model_and_over_nothing_else(model, folder, tmp_path):
    other = encoder_lib.random("tiny", ONE, seed=4)
    model_folder.save(other, folder)
    assert model_folder.load(folder, ONE).fingerprint == other.fingerprint
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_text("")
    with refuses(tmp_path / "photos", problem="not_a_model_folder"):
        model_folder.save(model, tmp_path / "photos")


def test_a_head_comes_along_and_goes_again(model, folder):
    head = Head.of_classes(np.ones((2, 16), np.float32), np.zeros(2, np.float32), layer="stage_2")
    model_folder.save(model, folder, head=head)
    assert model_folder.load(folder, ONE).fingerprint == model.fingerprint
    np.testing.assert_array_equal(model_folder.load_head(folder).weight, head.weight)
    model_folder.save(model, folder)
    assert model_folder.load_head(folder) is None
    assert not (folder / "head.safetensors").exists()


def test_a_head_of_another_width_leaves_no_model(model, tmp_path):
    head = Head.of_classes(np.ones((2, 8), np.float32), np.zeros(2, np.float32), layer="stage_2")
    with refuses(tmp_path / "m" / "head.safetensors", "16", problem="misshapen_head"):
        model_folder.save(model, tmp_path / "m", head=head)
    assert not model_folder.is_model(tmp_path / "m")


def test_a_run_is_told_without_its_paths(model, tmp_path):
    run = {
        "config": {"objective": "clef", "data_dir": "/secret/data", "workdir": "/secret/run"},
        "position": {"next_step": 7},
    }
    one = dataclasses.replace(model, run=run)
    folder = model_folder.save(one, tmp_path / "m")
    for file in ("README.md", "config.json"):
        assert "/secret" not in (folder / file).read_text()
    again = model_folder.load(folder, ONE)
    assert model_folder.told_of_run(again.run) == {"objective": "clef", "num_steps": 7}
    model_folder.save(again, tmp_path / "again")
    assert (tmp_path / "again" / "config.json").read_text() == (folder / "config.json").read_text()


def test_exchanged_weights_are_noticed(model, folder):
    other = encoder_lib.random("tiny", ONE, seed=5)
    model_folder.write_weights(folder / "model.safetensors", other)
    with refuses("config.json", problem="other_fingerprint"):
        model_folder.load(folder, ONE)
    edit(folder / "config.json", fingerprint=None)
    same = jax.tree.map(np.array_equal, model_folder.load(folder, ONE).params, other.params)
    assert all(jax.tree.leaves(same))


def test_changed_preprocessing_is_noticed(folder):
    edit(folder / "preprocessor_config.json", zscored=False)
    with refuses("config.json", problem="other_fingerprint"):
        model_folder.load(folder, ONE)


@pytest.mark.parametrize(
    ("file", "changes", "words"),
    [
        ("config.json", {"format": 99}, "99"),
        ("config.json", {"model_type": "bert"}, "'bert'"),
        ("config.json", {"size": "small"}, "'small'"),
        ("config.json", {"size": "tinny"}, "'tinny'.*'tiny'"),
        ("preprocessor_config.json", {"band_hz": None}, "band_hz"),
    ],
)
def test_what_does_not_fit_is_a_sentence(folder, file, changes, words):
    edit(folder / file, **changes)
    with pytest.raises(UserError, match=words):
        model_folder.load(folder, ONE)


@pytest.mark.parametrize("name", ["preprocessor_config.json", "model.safetensors"])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(UserError, match=name):
        model_folder.load(folder, ONE)


@pytest.mark.parametrize("text", ["{", "[]"])
def test_a_damaged_configuration_is_named(folder, text):
    (folder / "config.json").write_text(text)
    with refuses(folder / "config.json"):
        model_folder.load(folder, ONE)
