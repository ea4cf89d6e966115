"""A model folder stores a model exactly, and reports anything that does not fit."""

import dataclasses
import json

import jax
import numpy as np
import pytest
from culprits import assert_names, refuses
from fault_costs import lost_bytes, user_bytes
from full_disk import no_file_above

from clef_jax import mesh as mesh_lib
from clef_jax.embedding import encoder as encoder_lib, folder as model_folder
from clef_jax.embedding.head import Head
from clef_jax.embedding.recipe import Recipe
from clef_jax.errors import UserError

pytestmark = pytest.mark.usefixtures("quick_compiler")

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
        "modeling_clef.py",
        "preprocessor_config.json",
        "pytorch_encoder.py",
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


def test_a_head_is_written_and_removed(model, folder):
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


def test_a_run_is_described_without_its_paths(model, tmp_path):
    run = {
        "config": {"objective": "clef", "data_dir": "/secret/data", "workdir": "/secret/run"},
        "position": {"next_step": 7},
    }
    one = dataclasses.replace(model, run=run)
    folder = model_folder.save(one, tmp_path / "m")
    for file in ("README.md", "config.json"):
        assert "/secret" not in (folder / file).read_text()
    again = model_folder.load(folder, ONE)
    assert model_folder.describe_run(again.run) == {"objective": "clef", "num_steps": 7}
    model_folder.save(again, tmp_path / "again")
    assert (tmp_path / "again" / "config.json").read_text() == (folder / "config.json").read_text()


def test_replaced_weights_are_noticed(model, folder):
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


@pytest.mark.parametrize(
    ("file", "changes", "problem", "culprits"),
    [
        ("preprocessor_config.json", {"unit": "uV"}, "unsupported_unit", ("unit 'uV'", "'mV'")),
        ("preprocessor_config.json", {"missing": "0"}, "unsupported_missing", ("missing '0'",)),
        *(
            ("preprocessor_config.json", {name: value}, "unsupported_preprocessing", (name,))
            for name, value in {
                "sample_rate_hz": "500",
                "window_seconds": -10,
                "band_hz": [40.0, 0.67],
                "zscored": "yes",
            }.items()
        ),
        (
            "preprocessor_config.json",
            {"window_seconds": 1e9},
            "unsupported_preprocessing",
            ("windows of 1e+09 s",),
        ),
        *(
            ("config.json", {"architecture": stated}, "unsupported_architecture", culprits)
            for stated, culprits in (
                ({"kernel_taps": 5}, ("kernel_taps 5",)),
                ({"activation": "gelu"}, ("activation 'gelu'",)),
                ("resnet50", ("'resnet50'",)),
            )
        ),
        ("config.json", {"in_channels": 12}, "unsupported_architecture", ("in_channels 12", 1)),
        ("config.json", {"embedding_width": 9}, "unsupported_architecture", (9, 16)),
        ("config.json", {"layers": {"stage_1": 8}}, "unsupported_architecture", ("layers",)),
    ],
)
def test_what_no_encoder_supports_is_refused_by_name(folder, file, changes, problem, culprits):
    edit(folder / file, **changes)
    edit(folder / "config.json", fingerprint=None)
    with refuses(folder / file, *culprits, problem=problem):
        model_folder.load(folder, ONE)


def test_an_older_folder_that_states_less_is_read(model, folder):
    edit(folder / "preprocessor_config.json", unit=None, missing=None)
    edit(folder / "config.json", architecture=None, in_channels=None, embedding_width=None)
    assert model_folder.load(folder, ONE).fingerprint == model.fingerprint


def test_the_card_states_the_limits_of_signals(folder):
    card = (folder / "README.md").read_text()
    assert_names(card, "below 2 s", "50 Hz", "`short`", "below 5 s", "`low_rate`", "below 100 Hz")


def test_the_models_of_other_programs_are_not_replaced(model, folder):
    edit(folder / "config.json", model_type="wav2vec2")
    card = (folder / "README.md").read_text()
    with refuses(folder, problem="not_a_model_folder"):
        model_folder.save(model, folder)
    assert (folder / "README.md").read_text() == card


def test_a_model_whose_replacement_was_interrupted_is_replaced(model, folder):
    (folder / "config.json").unlink()
    model_folder.save(model, folder)
    assert model_folder.load(folder, ONE).fingerprint == model.fingerprint


@pytest.mark.faults
def test_a_full_disk_leaves_the_old_model(model, folder, fault_log):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    at_first = user_bytes(folder)
    with no_file_above(4096), refuses(folder, problem="not_written"):
        model_folder.save(encoder_lib.random("tiny", ONE, seed=4), folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    fault_log(lost_bytes=lost_bytes(at_first, folder))
