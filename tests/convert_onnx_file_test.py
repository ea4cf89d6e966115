"""ONNX files reproduce the embeddings from raw millivolts, or are not written."""

import dataclasses
import json
import pathlib
import sys

import head_examples
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from culprits import refuses
from flax import nnx

from clef_jax import mesh as mesh_lib
from clef_jax.convert import exported_head, onnx_file, onnx_session, verify
from clef_jax.embedding import encoder as encoder_lib
from clef_jax.embedding.recipe import Recipe
from clef_jax.models import create_encoder
from clef_jax.signal.adc import MISSING_ADC
from clef_jax.wfdb import record as wfdb_record

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
MESH = mesh_lib.make_mesh(jax.devices()[:1])
SHORT = Recipe(window_seconds=2.0)
ORIGINAL = pathlib.Path(__file__).parents[2] / "shared" / "data" / "original_files"


@pytest.fixture(scope="module")
def model():
    return encoder_lib.random("tiny", MESH, seed=0, recipe=SHORT)


def of_leads(in_channels):
    encoder = create_encoder("tiny", in_channels=in_channels, rngs=nnx.Rngs(0))
    return encoder_lib.of_encoder(encoder, MESH, name="", recipe=SHORT)


def embed(path, signal):
    """The embedding, then other outputs."""
    return onnx_session.session(path).run(None, {"signal_mv": signal})


def test_a_file_embeds_raw_millivolts_of_any_number_of_windows(model, tmp_path):
    written = onnx_file.write(model, tmp_path / "model.onnx", sample_rate_hz=250)
    assert written.path.stat().st_size == written.num_bytes
    assert written.input_shape == ("batch", 500)
    assert written.outputs == ("embedding",)
    assert 0 < written.largest_difference < 1e-6
    assert written.latency_seconds > 0
    assert list(tmp_path.iterdir()) == [written.path]
    signal_mv = 3 * verify.windows(1, 500, 250.0)[:, 0]
    want = np.asarray(model(signal_mv[:, None], 250.0))[:, model.layers["stage_2"]]
    for rows in (slice(None), slice(2, 3)):
        (found,) = embed(written.path, signal_mv[rows])
        np.testing.assert_allclose(found, want[rows], atol=1e-6)


def test_layers_are_outputs_of_their_own(model, tmp_path):
    written = onnx_file.write(model, tmp_path / "model.onnx", layers=True)
    assert written.outputs == ("embedding", *model.layers)
    signal_mv = verify.windows(1, 1000, 500.0)[:, 0]
    embedding, *stages = embed(written.path, signal_mv)
    want = model(signal_mv[:, None], 500.0)
    np.testing.assert_allclose(np.concatenate(stages, axis=1), want, atol=1e-6)
    np.testing.assert_array_equal(embedding, stages[-1])


@pytest.mark.parametrize(
    ("name", "layer", "layers"),
    [
        ("isotonic", "stage_2", False),
        ("multiclass", "stage_2", True),
        ("regression", "stage_1", False),
    ],
)
def test_the_head_answers_from_raw_millivolts(model, tmp_path, name, layer, layers):
    head = head_examples.ALL[name]
    part = model.layers[layer]
    width = part.stop - part.start
    head = dataclasses.replace(head, layer=layer, weight=head.weight[:, :width])
    written = onnx_file.write(
        model, tmp_path / "model.onnx", sample_rate_hz=250, head=head, layers=layers
    )
    answers = exported_head.output_of(head)
    assert written.outputs == ("embedding", *(model.layers if layers else ()), answers)
    signal_mv = 3 * verify.windows(1, 500, 250.0)[:, 0]
    features = np.asarray(model(signal_mv[:, None], 250.0))
    embedding, *_, output = embed(written.path, signal_mv)
    np.testing.assert_allclose(embedding, features[:, model.layers["stage_2"]], atol=1e-6)
    want = exported_head.answers(head, features[:, part])
    np.testing.assert_allclose(output / head.scale, want / head.scale, atol=1e-5)
    assert written.largest_answer_difference < 1e-5 * head.scale.max()
    metadata = onnx_session.session(written.path).get_modelmeta().custom_metadata_map
    assert json.loads(metadata["head"])["fingerprint"]
    assert json.loads(metadata["head_names"]) == list(head.names)
    if name == "isotonic":
        assert json.loads(metadata["head_thresholds"]) == head.threshold.tolist()


def test_without_preprocessing_the_input_is_the_encoder_s(model, tmp_path):
    written = onnx_file.write(model, tmp_path / "model.onnx", preprocessing=False)
    signal = np.random.default_rng(0).standard_normal((3, 1000)).astype(np.float32)
    np.testing.assert_allclose(
        embed(written.path, signal)[0], model.encoder(jnp.asarray(signal)[..., None]), atol=1e-6
    )
    names = {node.op_type for node in onnx.load(written.path).graph.node}
    assert not names & {"MatMul", "Where"}


@pytest.mark.parametrize("preprocessing", [True, False])
def test_several_leads_have_an_axis_of_their_own(preprocessing, tmp_path):
    model = of_leads(3)
    written = onnx_file.write(model, tmp_path / "model.onnx", preprocessing=preprocessing)
    assert written.input_shape == ("batch", 3, 1000)
    signal = verify.windows(3, 1000, 500.0)
    if preprocessing:
        want = np.asarray(model(signal, 500.0))[:, -16:]
    else:
        signal = np.nan_to_num(signal)
        want = model.encoder(jnp.asarray(signal).swapaxes(1, 2))
    np.testing.assert_allclose(embed(written.path, signal)[0], want, atol=1e-6)


def test_the_file_says_what_it_is(model, tmp_path):
    written = onnx_file.write(model, tmp_path / "model.onnx", sample_rate_hz=128, window_seconds=4)
    made = onnx.load(written.path)
    facts = {fact.key: fact.value for fact in made.metadata_props}
    longer = dataclasses.replace(model, recipe=Recipe(window_seconds=4.0))
    assert facts["fingerprint"] == longer.fingerprint != model.fingerprint
    assert (facts["size"], facts["embedding_width"]) == ("tiny", "16")
    assert (facts["sample_rate_hz"], facts["window_seconds"]) == ("128", "4")
    assert (facts["unit"], facts["missing"], facts["preprocessing"]) == ("mV", "NaN", "inside")
    assert facts["band_hz"] == "0.67 40"
    assert (facts["min_signal_seconds"], facts["min_signal_rate_hz"]) == ("2", "50")
    assert "license" in facts
    assert written.input_shape == ("batch", 512)
    assert {(one.domain, one.version) for one in made.opset_import} == {("", 17)}


@pytest.mark.parametrize(
    ("options", "culprits", "problem"),
    [
        ({"sample_rate_hz": 250, "preprocessing": False}, ("500 Hz", "250 Hz"), None),
        ({"sample_rate_hz": -1}, ("-1",), None),
        ({"sample_rate_hz": 1}, ("1 Hz", "50 to 100,000 Hz"), "wrong_rate"),
        ({"window_seconds": 0.05}, ("25 samples", "34"), "signal_too_short"),
        ({"sample_rate_hz": 2501.5}, ("5003",), None),
    ],
)
def test_rates_and_lengths_that_do_not_fit_are_reported(
    options, culprits, problem, model, tmp_path
):
    with refuses(*culprits, problem=problem):
        onnx_file.write(model, tmp_path / "model.onnx", **options)
    assert not list(tmp_path.iterdir())


def test_a_file_that_differs_is_not_left(model, tmp_path, monkeypatch):
    to_torch = onnx_file.weights.to_torch
    key = "stage_list.1.block_list.1.se_fc2.bias"

    def other_weights(encoder, norms):
        arrays = to_torch(encoder, norms=norms)
        return arrays | {key: arrays[key] + 1e-3}

    monkeypatch.setattr(onnx_file.weights, "to_torch", other_weights)
    (tmp_path / "model.onnx").write_text("from before")
    with refuses("model.onnx", problem="features_differ"):
        onnx_file.write(model, tmp_path / "model.onnx")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["from before"]


def test_places_that_cannot_be_written_to_are_reported(model, tmp_path):
    with refuses(tmp_path, problem="is_a_folder"):
        onnx_file.write(model, tmp_path)
    with refuses(tmp_path / "none", "model.onnx", problem="missing_folder"):
        onnx_file.write(model, tmp_path / "none" / "model.onnx")


def test_a_model_beyond_what_a_file_holds_is_reported(model, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_file, "_MOST_BYTES", 1000)
    with refuses("2.1 GB", problem="too_large"):
        onnx_file.write(model, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_a_missing_runtime_is_reported_with_its_extra(model, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with refuses("onnxruntime", "clef_jax[onnx]"):
        onnx_file.write(model, tmp_path / "model.onnx")


@pytest.mark.slow
@pytest.mark.parametrize("size", ["small", "medium"])
def test_larger_sizes(size, tmp_path):
    model = encoder_lib.random(size, MESH, seed=0)
    written = onnx_file.write(model, tmp_path / "model.onnx", layers=True)
    assert written.largest_difference < 1e-5
    assert size != "small" or written.num_bytes < 3e6


def windows_of(header):
    """Raw millivolts [B, T] of all leads of a record, and its rate."""
    record = wfdb_record.read(header.with_suffix(""))
    mv = (record.signal - record.baseline[:, None]) / record.gain_per_mv[:, None]
    mv = np.where(record.signal == MISSING_ADC, np.nan, mv).astype(np.float32)
    length = SHORT.num_samples(record.sample_rate_hz)
    count = min(mv.shape[1] // length, 5)
    return mv[:, : count * length].reshape(-1, length), record.sample_rate_hz


@pytest.mark.slow
@pytest.mark.skipif(not ORIGINAL.is_dir(), reason="there are no real recordings at hand")
@pytest.mark.parametrize("folder", sorted({path.parent.name for path in ORIGINAL.glob("*/*.hea")}))
def test_real_recordings(folder, model, tmp_path):
    written = {}
    for header in sorted((ORIGINAL / folder).glob("*.hea")):
        signal_mv, rate = windows_of(header)
        if rate not in written:
            path = tmp_path / f"{rate:g}.onnx"
            written[rate] = onnx_file.write(model, path, sample_rate_hz=rate, layers=True)
        found = np.concatenate(embed(written[rate].path, signal_mv)[1:], axis=1)
        np.testing.assert_allclose(found, model(signal_mv[:, None], rate), atol=1e-5)
