"""Tests the published preprocessing of ECGFounder: in the model, in its folder, and exported."""

import dataclasses
import json

import jax
import numpy as np
import pytest
import scipy.signal
from culprits import refuses
from flax import nnx

from clef_jax import convert, mesh as mesh_lib
from clef_jax.baselines import ecgfounder
from clef_jax.convert import onnx_file, stablehlo, torch_file, verify
from clef_jax.embedding import (
    encoder as encoder_lib,
    folder as model_folder,
    pretrained,
    recipe as recipe_lib,
    weight_file,
)
from clef_jax.embedding.preparation import PREPARATIONS
from clef_jax.embedding.recipe import ECGFOUNDER, Recipe
from clef_jax.embedding.window import Windower
from clef_jax.evaluation import adaptation, published_models
from clef_jax.models import create_encoder
from clef_jax.signal import reference

pytestmark = pytest.mark.usefixtures("quick_compiler")

ONE = mesh_lib.make_mesh(jax.devices()[:1])
FLAT, ALL_MISSING = 8, 9
"""Windows of `verify.windows` whose exact result is 0, but rounding in float64 is not."""


def wanted(signal_mv, rate_hz, variant):
    """What the authors compute from windows [B, C, T] in float64, with SciPy, and the standard
    deviations in mV by which they divide."""

    def filtered(x, coefficients):
        numerator, denominator = coefficients
        return scipy.signal.filtfilt(numerator, denominator, x, axis=-1)

    signal = scipy.signal
    if variant == "filter_bandpass":
        x = np.nan_to_num(signal_mv.astype(float))
        x = filtered(x, signal.iirnotch(50, 30, rate_hz))
        x = filtered(x, signal.butter(4, [0.67, 40], "bandpass", fs=rate_hz))
        taps = int(0.4 * rate_hz) + 1
        taps += 1 - taps % 2
        x = x - np.apply_along_axis(lambda row: signal.medfilt(row, taps), -1, x)
    else:
        x = reference.fill_gaps(signal_mv)
    if variant == "paper":
        for coefficients in (
            signal.butter(2, 0.5, "highpass", fs=rate_hz),
            signal.butter(2, 50, "lowpass", fs=rate_hz),
            signal.iirnotch(50, 30, rate_hz),
            signal.iirnotch(60, 30, rate_hz),
        ):
            x = filtered(x, coefficients)
    mean, std = x.mean((1, 2), keepdims=True), x.std((1, 2), keepdims=True)
    return (x - mean) / (std + 1e-8), std


def prepared(signal_mv, recipe):
    bandpass = encoder_lib.make_bandpass(recipe, ONE)
    run = jax.jit(lambda x, bandpass: encoder_lib.prepare(x, bandpass, recipe))
    return np.asarray(run(signal_mv, bandpass))


@pytest.mark.parametrize("variant", PREPARATIONS)
@pytest.mark.parametrize(
    ("num_leads", "rate_hz", "seconds"), [(1, 500.0, 10.0), (12, 500.0, 10.0), (2, 250.0, 3.7)]
)
def test_windows_are_those_of_scipy_in_float64(variant, num_leads, rate_hz, seconds):
    recipe = dataclasses.replace(
        ECGFOUNDER[variant], sample_rate_hz=rate_hz, window_seconds=seconds
    )
    signal_mv = verify.windows(num_leads, recipe.num_samples(rate_hz), rate_hz)
    got, (want, std_mv) = prepared(signal_mv, recipe), wanted(signal_mv, rate_hz, variant)
    # A median and filters leave a few microvolts of some windows, so that the rounding of float32
    # is a fraction of the input, not of the output.
    largest_mv = np.nanmax(np.abs(signal_mv[:FLAT]), axis=(1, 2), keepdims=True)
    error_mv = np.abs(got - want)[:FLAT] * std_mv[:FLAT]
    assert (error_mv < 5e-7 * largest_mv).all()
    np.testing.assert_array_equal(got[ALL_MISSING], 0)
    if num_leads == 1:
        np.testing.assert_array_equal(got[FLAT], 0)
        np.testing.assert_array_equal(prepared(signal_mv[:, 0], recipe), got[:, 0])


def test_the_variant_of_the_reference_is_clefs_own():
    assert ECGFOUNDER["as_reference"] == Recipe()


def test_missing_samples_are_zeros_before_a_recording_is_resampled():
    signal_mv = np.ones((1, 1, 2500))
    signal_mv[..., 1000:1500] = np.nan
    got = Windower(ECGFOUNDER["filter_bandpass"], 250.0).resample(signal_mv)
    want = reference.resample_to_count(np.nan_to_num(signal_mv), 5000)
    np.testing.assert_allclose(got, want, atol=1e-6)
    np.testing.assert_allclose(Windower(Recipe(), 250.0).resample(signal_mv), 1, atol=1e-6)


def test_a_filter_needs_a_rate_that_has_its_frequency():
    recipe = dataclasses.replace(ECGFOUNDER["paper"], sample_rate_hz=110.0)
    with refuses("60 Hz", "110", problem="band_above_nyquist"):
        encoder_lib.make_bandpass(recipe, ONE)


def model_of(variant, num_leads=1):
    encoder = create_encoder("tiny", in_channels=num_leads, rngs=nnx.Rngs(0))
    return encoder_lib.of_encoder(encoder, ONE, name="founder", recipe=ECGFOUNDER[variant])


def test_fingerprints_tell_variants_apart_and_ours_stay_as_they_were():
    models = [model_of(variant) for variant in ECGFOUNDER]
    assert len({model.fingerprint for model in models}) == len(models)
    stated = "Recipe(sample_rate_hz=500.0, window_seconds=10.0, band_hz=(0.67, 40.0), zscored=True)"
    assert repr(Recipe()) == stated
    assert "variant" not in Recipe().settings()


def test_a_folder_keeps_the_variant(tmp_path):
    model = model_of("filter_bandpass", num_leads=12)
    folder = model_folder.save(model, tmp_path / "m")
    again = model_folder.load(folder, ONE)
    assert again.recipe == model.recipe
    assert again.fingerprint == model.fingerprint
    assert "running median" in (folder / model_folder.CARD).read_text()
    assert json.loads((folder / model_folder.CONFIG).read_text())["format"] == 2
    signal_mv = verify.windows(12, 5000, 500.0)
    np.testing.assert_array_equal(again(signal_mv, 500.0), model(signal_mv, 500.0))


@pytest.mark.parametrize(
    ("changes", "culprit"),
    [
        ({"variant": "filter_lowpass"}, "filter_lowpass"),
        ({"band_hz": [1.0, 30.0]}, "filter_bandpass"),
        ({"zscored": False}, "filter_bandpass"),
    ],
)
def test_a_folder_with_another_preprocessing_is_refused(tmp_path, changes, culprit):
    folder = model_folder.save(model_of("filter_bandpass"), tmp_path / "m")
    path = folder / model_folder.PREPROCESSOR
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    with refuses(culprit, problem="unsupported_preprocessing"):
        model_folder.load(folder, ONE)


@pytest.mark.parametrize(
    ("variant", "num_leads", "rate_hz"),
    [("filter_bandpass", 3, 500.0), ("paper", 1, 250.0), ("zscore", 12, 500.0)],
)
def test_exported_files_preprocess_as_the_model(tmp_path, variant, num_leads, rate_hz):
    pytest.importorskip("onnxruntime")
    model = model_of(variant, num_leads)
    onnx = onnx_file.write(model, tmp_path / "m.onnx", sample_rate_hz=rate_hz)
    assert onnx.largest_difference <= verify.LARGEST_DIFFERENCE
    hlo = stablehlo.write(
        model, tmp_path / "m.stablehlo", platforms=("cpu",), sample_rate_hz=rate_hz
    )
    assert hlo.difference <= verify.LARGEST_DIFFERENCE


@pytest.mark.parametrize("variant", PREPARATIONS)
def test_the_standalone_module_preprocesses_as_scipy(variant):
    pytest.importorskip("torch")
    from clef_jax.convert import pytorch_encoder

    preprocessing = json.loads(json.dumps(ECGFOUNDER[variant].settings()))
    signal_mv = verify.windows(2, 5000, 500.0)
    got = pytorch_encoder.preprocess(signal_mv, 500.0, preprocessing, num_leads=2).numpy()
    want, _ = wanted(signal_mv, 500.0, variant)
    np.testing.assert_allclose(got[:FLAT], want[:FLAT], rtol=0, atol=1e-5)
    np.testing.assert_array_equal(got[ALL_MISSING], 0)
    (alone,) = pytorch_encoder.preprocess(signal_mv[:1, 0], 500.0, preprocessing).numpy()
    np.testing.assert_allclose(alone, wanted(signal_mv[:1, :1], 500.0, variant)[0][0, 0], atol=1e-5)
    assert not pytorch_encoder.preprocess(np.full(5000, 1.3), 500.0, preprocessing).any()


def test_the_standalone_module_embeds_as_the_model(tmp_path):
    pytest.importorskip("torch")
    from clef_jax.convert import pytorch_encoder

    model = model_of("filter_bandpass", num_leads=12)
    folder = model_folder.save(model, tmp_path / "m")
    signal_mv = verify.windows(12, 5000, 500.0)[:FLAT]
    want = np.asarray(model(signal_mv, 500.0))[:, -16:]
    got = pytorch_encoder.embed(pytorch_encoder.load(folder), signal_mv, 500.0).numpy()
    np.testing.assert_allclose(got, want, rtol=0, atol=verify.LARGEST_DIFFERENCE)
    path = folder / model_folder.PREPROCESSOR
    path.write_text(path.read_text().replace("filter_bandpass", "filter_lowpass"))
    with pytest.raises(ValueError, match="filter_lowpass"):
        pytorch_encoder.load(folder)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """A file like ECGFounder's, with 3 classes."""
    arrays = convert.to_torch(create_encoder("medium", rngs=nnx.Rngs(0)))
    rng = np.random.default_rng(0)
    head = {"dense.weight": rng.standard_normal((3, 1024)), "dense.bias": rng.standard_normal(3)}
    arrays |= {key: value.astype(np.float32) for key, value in head.items()}
    path = tmp_path_factory.mktemp("ecgfounder") / "1_lead_ECGFounder.safetensors"
    torch_file.write_safetensors(path, arrays, {})
    return path


def test_a_file_is_read_with_each_variant(file):
    variants = (None, "paper", "as_reference")
    loaded = {name: weight_file.read(file, ONE, variant=name) for name in variants}
    assert loaded[None].model.recipe == ECGFOUNDER["filter_bandpass"]
    assert loaded[None].model.name == "1_lead_ECGFounder"
    assert "running median" in loaded[None].notes[0]
    assert "SHA-256" in loaded[None].notes[1]
    for name in variants[1:]:
        assert loaded[name].model.recipe == ECGFOUNDER[name]
        assert name in loaded[name].notes[0]
    assert loaded["paper"].model.name == "1_lead_ECGFounder, paper"
    assert loaded["paper"].head.names == ("class_0", "class_1", "class_2")
    assert recipe_lib.of_ecgfounder("prescribed") == recipe_lib.of_ecgfounder(None)
    with refuses("papers", "paper", problem="unknown_variant"):
        weight_file.read(file, ONE, variant="papers")


def test_the_folder_of_a_file_is_the_same_model(file, tmp_path):
    model = pretrained.load(file, ONE)
    folder = model.save(tmp_path / "m")
    card = (folder / model_folder.CARD).read_text()
    assert "ECGFounder (arXiv 2410.04133), MIT" in card
    assert "filter_bandpass" in card
    assert pretrained.load(folder, ONE).fingerprint == model.fingerprint
    other = pretrained.load(folder, ONE, variant="zscore")
    assert other.recipe == ECGFOUNDER["zscore"]
    assert other.fingerprint == pretrained.load(file, ONE, variant="zscore").fingerprint


def test_a_network_of_12_leads_is_not_evaluated_on_one(tmp_path):
    model = model_of("filter_bandpass", num_leads=12)
    with refuses("founder", "12 leads", problem="wrong_lead_count"):
        adaptation.adapt(model, tmp_path, "I", None, tmp_path)


def test_evaluations_state_what_ecgfounder_receives(file, tmp_path):
    model = weight_file.read(file, ONE, variant="as_reference").model
    inputs = published_models.inputs_of([model, model_of("as_reference")])
    assert list(inputs) == ["1_lead_ECGFounder, as_reference"]
    found = published_models.variants_of(model, str(file), ONE, ["paper"])
    assert [one.recipe for one in found] == [ECGFOUNDER["paper"]]
    recipe = ECGFOUNDER["zscore"].without_variant()
    assert recipe == Recipe()


def test_a_model_of_ours_has_no_variants(tmp_path):
    folder = model_folder.save(model_of("as_reference"), tmp_path / "m")
    with refuses("paper", problem="unknown_variant"):
        pretrained.load(folder, ONE, variant="paper")


def test_names_of_classes_that_a_training_state_holds_are_kept(tmp_path):
    torch = pytest.importorskip("torch")
    arrays = convert.to_torch(create_encoder("medium", rngs=nnx.Rngs(0)))
    arrays |= {"dense.weight": np.ones((2, 1024), np.float32), "dense.bias": np.ones(2, np.float32)}
    tensors = {f"module.{key}": torch.tensor(value) for key, value in arrays.items()}
    state = {"epoch": 3, "optimizer": {"state": {}}, "state_dict": tensors, "classes": ["AF", "SR"]}
    torch.save(state, tmp_path / "w.pth")
    assert weight_file.read(tmp_path / "w.pth", ONE).head.names == ("AF", "SR")
    assert ecgfounder._class_names({**state, "classes": ["AF"]}, 2) is None
    assert ecgfounder._class_names({**state, "classes": [1, 2]}, 2) is None
