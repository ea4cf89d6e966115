"""StableHLO files compute what the model does, for any number of windows, at any rate."""

import json

import head_examples
import jax
import numpy as np
import pytest
from culprits import refuses
from flax import nnx

from clef_jax import convert, mesh as mesh_lib
from clef_jax.convert import exported_head, stablehlo, verify
from clef_jax.embedding import encoder as encoder_lib
from clef_jax.embedding.recipe import Recipe
from clef_jax.models import create_encoder

ONE = mesh_lib.make_mesh(jax.devices()[:1])


@pytest.fixture(scope="module")
def model():
    return encoder_lib.random("tiny", ONE, seed=0)


@pytest.mark.parametrize("rate", [None, 250.0])
def test_the_file_goes_from_millivolts_to_embedding(model, tmp_path, rate):
    path = tmp_path / "m.stablehlo"
    found = stablehlo.write(model, path, sample_rate_hz=rate)
    assert found.difference <= 1e-5
    assert found.num_bytes == path.stat().st_size
    facts = json.loads(path.with_suffix(".json").read_text())
    assert facts["fingerprint"] == model.fingerprint
    assert (facts["min_signal_seconds"], facts["min_signal_rate_hz"]) == (2, 50)
    rate = rate or 500.0
    windows = verify.windows(1, round(10 * rate), rate)
    assert list(windows.shape[2:]) == facts["window_shape"]
    want = verify.jax_features(model, windows)[1][-1]
    windows = windows[:, 0]
    call = stablehlo.load(path)
    for count in (1, 3, len(windows)):
        np.testing.assert_allclose(call(windows[:count]), want[:count], atol=1e-5)


@pytest.mark.parametrize("name", ["isotonic", "regression"])
def test_the_head_answers_beside_the_embedding(model, tmp_path, name):
    head, path = head_examples.ALL[name], tmp_path / "m.stablehlo"
    found = stablehlo.write(model, path, platforms=["cpu"], head=head)
    facts = json.loads(path.with_suffix(".json").read_text())
    answers = exported_head.output_of(head)
    assert facts["outputs"] == ["embedding", answers]
    assert facts["head"]["names"] == list(head.names)
    windows = verify.windows(1, 5000, 500.0)
    features = verify.jax_features(model, windows)[1][-1]
    made = stablehlo.load(path)(windows[:, 0])
    np.testing.assert_allclose(made["embedding"], features, atol=1e-5)
    want = exported_head.answers(head, features)
    output = np.asarray(made[answers])
    np.testing.assert_allclose(output / head.scale, want / head.scale, atol=1e-5)
    assert found.answer_difference < 1e-5 * head.scale.max()


def test_it_is_made_for_several_platforms(model, tmp_path):
    stablehlo.write(model, tmp_path / "m.stablehlo")
    exported = jax.export.deserialize(bytearray((tmp_path / "m.stablehlo").read_bytes()))
    assert set(exported.platforms) == set(convert.PLATFORMS)


def test_the_network_alone_takes_what_is_prepared(model, tmp_path):
    found = stablehlo.write(model, tmp_path / "m.stablehlo", preprocessing=False, platforms=["cpu"])
    assert found.difference <= 1e-5
    facts = json.loads((tmp_path / "m.json").read_text())
    assert facts["window_shape"] == [5000, 1]


def test_several_leads_are_taken_at_once(tmp_path):
    encoder = create_encoder("tiny", in_channels=12, rngs=nnx.Rngs(0))
    many = encoder_lib.of_encoder(encoder, ONE, name="12", recipe=Recipe())
    found = stablehlo.write(many, tmp_path / "m.stablehlo", platforms=["cpu"])
    assert found.difference <= 1e-5


def test_a_file_that_computes_something_else_is_not_kept(model, tmp_path, monkeypatch):
    real = verify.largest_difference
    monkeypatch.setattr(verify, "largest_difference", lambda *given: real(*given) + 2e-5)
    with refuses("m.stablehlo", problem="features_differ"):
        stablehlo.write(model, tmp_path / "m.stablehlo", platforms=["cpu"])
    assert not (tmp_path / "m.stablehlo").exists()


def test_an_unknown_platform_is_refused(model, tmp_path):
    with refuses("'gpu'", "cpu, cuda, tpu"):
        stablehlo.write(model, tmp_path / "m.stablehlo", platforms=["gpu"])
