"""The modules of a model folder load it in `transformers`, of which a small stand-in is used here.

docs/hub.md says with which version of the library itself this was tried.
"""

import importlib
import json
import sys
import types

import numpy as np
import pytest
from culprits import refuses
from hub_stand_in import write_model

import clef_jax
from clef_jax.embedding import auto_map

torch = pytest.importorskip("torch")
safetensors_torch = pytest.importorskip("safetensors.torch")
pytestmark = pytest.mark.usefixtures("quick_compiler")


class PretrainedConfig:
    def __init__(self, **entries):
        self.__dict__.update(entries)


class PreTrainedModel(torch.nn.Module):
    """As the library: it builds the model of a configuration, and tells what did not fit."""

    def __init__(self, config):
        super().__init__()
        self.config = config

    dtype = torch.float32

    def post_init(self):
        pass

    @classmethod
    def from_pretrained(cls, folder, *, output_loading_info=False):
        model = cls(cls.config_class(**json.loads((folder / "config.json").read_text())))
        weights = safetensors_torch.load_file(folder / "model.safetensors")
        keys = model.load_state_dict(weights, strict=False)
        info = {"missing_keys": keys.missing_keys, "unexpected_keys": keys.unexpected_keys}
        return (model, info) if output_loading_info else model


class FeatureExtractionMixin:
    def __init__(self, **entries):
        self.entries = entries

    def to_dict(self):
        return self.entries


class Outputs(types.SimpleNamespace):
    def to_tuple(self):
        return tuple(vars(self).values())


@pytest.fixture
def module_of(monkeypatch):
    """Imports the module of a folder as the library does: from the folder, as a package."""
    names = {
        "transformers": {"PretrainedConfig": PretrainedConfig, "PreTrainedModel": PreTrainedModel},
        "transformers.feature_extraction_utils": {
            "BatchFeature": dict,
            "FeatureExtractionMixin": FeatureExtractionMixin,
        },
        "transformers.modeling_outputs": {"BaseModelOutputWithPooling": Outputs},
    }
    for name, content in names.items():
        module = types.ModuleType(name)
        module.__dict__.update(content)
        monkeypatch.setitem(sys.modules, name, module)

    def load(folder):
        package = types.ModuleType("of_a_folder")
        package.__path__ = [str(folder)]
        for name in ("of_a_folder.modeling_clef", "of_a_folder.pytorch_encoder"):
            monkeypatch.delitem(sys.modules, name, raising=False)
        monkeypatch.setitem(sys.modules, "of_a_folder", package)
        return importlib.import_module("of_a_folder.modeling_clef")

    yield load
    for name in [name for name in sys.modules if name.startswith("of_a_folder")]:
        del sys.modules[name]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("model") / "m", head=True)


def test_the_model_of_a_folder_embeds_as_this_package(folder, module_of):
    module = module_of(folder)
    config = json.loads((folder / "config.json").read_text())
    classes = {entry.rpartition(".")[2] for entry in config["auto_map"].values()}
    assert all(hasattr(module, name) for name in classes)
    preprocessor = json.loads((folder / "preprocessor_config.json").read_text())
    extract = module.ClefFeatureExtractor(**preprocessor)
    model = module.ClefModel.from_pretrained(folder)
    signal_mv = np.random.default_rng(0).standard_normal((3, 2500))
    inputs = extract(signal_mv, sampling_rate=250, return_tensors="pt")
    assert inputs["input_values"].shape == (3, 1, 5000)
    with torch.no_grad():
        outputs = model(**inputs)
        as_tuple = model(**inputs, return_dict=False)
    expected = clef_jax.load(folder).embed(signal_mv, 250)
    np.testing.assert_allclose(outputs.pooler_output, expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(
        outputs.last_hidden_state.mean(1), outputs.pooler_output, rtol=0, atol=1e-6
    )
    assert [tuple(means.shape) for means in outputs.hidden_states] == [(3, 8), (3, 16)]
    np.testing.assert_array_equal(as_tuple[1], outputs.pooler_output)
    one = extract(signal_mv[0], sampling_rate=250)["input_values"]
    np.testing.assert_array_equal(one, inputs["input_values"][:1])


def test_weights_of_another_network_are_refused_by_name(folder, tmp_path, module_of):
    other = write_model(tmp_path / "m")
    weights = safetensors_torch.load_file(other / "model.safetensors")
    weights["first_conv.conv.other"] = weights.pop("first_conv.conv.bias")
    safetensors_torch.save_file(weights, other / "model.safetensors")
    with refuses("first_conv.conv.bias", error=ValueError):
        module_of(other).ClefModel.from_pretrained(other)


def test_the_modules_are_those_of_this_version_and_go_with_the_model(folder, tmp_path):
    for name in auto_map.MODULES:
        assert (folder / name).read_bytes() == auto_map.source(name)
    auto_map.write(tmp_path)
    auto_map.remove(tmp_path)
    assert not list(tmp_path.iterdir())
