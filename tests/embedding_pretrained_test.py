"""A loaded model embeds signals of any rate, length, unit and lead, and says what it cannot."""

import subprocess
import sys
import warnings

import jax
import numpy as np
import pytest
from culprits import refuses
from flax import nnx

import clef_jax
from clef_jax import convert, leads, mesh as mesh_lib
from clef_jax.convert import torch_file
from clef_jax.embedding import encoder as encoder_lib, pretrained
from clef_jax.embedding.recipe import Recipe
from clef_jax.errors import UserError
from clef_jax.models import create_encoder
from clef_jax.signal import reference
from clef_jax.simulation import simulated_ecg

pytestmark = pytest.mark.usefixtures("quick_compiler")

RATE = 500
ONE = mesh_lib.make_mesh(jax.devices()[:1])


@pytest.fixture(scope="module")
def model():
    return pretrained.Pretrained(encoder_lib.random("tiny", ONE, seed=0))


def beats(seed=0, seconds=10, rate=RATE, names=("I",)):
    made = simulated_ecg.make(seed, names, sample_rate_hz=rate, num_samples=round(seconds * rate))
    return made.astype(float) if len(names) > 1 else made[0].astype(float)


def wanted(model, signal, rate=RATE):
    """By the reference, in float64."""
    x = reference.resample(reference.fill_gaps(signal), rate, 500)
    x = reference.zscore(reference.bandpass(x, 500)).astype(np.float32)
    return np.asarray(model.embedder.encoder(x[None, :, None]))[0]


def cosine(a, b):
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


@pytest.mark.parametrize("rate", [100, 128, 250, 360, 500, 1000])
def test_any_rate_gives_what_the_reference_preprocessing_does(model, rate):
    signal = beats(rate=rate)
    signal[rate : 2 * rate] = np.nan
    got = model.embed(signal, rate)
    assert (got.shape, got.dtype) == ((16,), np.float32)
    np.testing.assert_allclose(got, wanted(model, signal, rate), atol=2e-5)


def test_one_recording_is_embedded_alike_however_it_is_stored(model):
    millivolts = beats()
    want = model.embed(millivolts, RATE)
    for other in (
        model.embed(np.rint(1000 * millivolts).astype(np.int16), RATE),
        model.embed(1000 * millivolts, RATE, unit="uV"),
        model.embed(millivolts / 1000, RATE, unit="V"),
        model.embed(200 * millivolts + 1024, RATE, unit="adc"),
        model.embed(np.stack([0 * millivolts + 1, millivolts]), RATE, lead=1, unit="adc"),
        model.embed(reference.resample(millivolts, RATE, 360), 360),
        model.embed(reference.resample(millivolts, RATE, 100), 100),
    ):
        assert cosine(other, want) > 0.999


def test_a_missing_integer_is_a_gap(model):
    whole = np.rint(1000 * beats()).astype(np.int16)
    gap = whole.astype(float)
    whole[1000:1500], gap[1000:1500] = -32768, np.nan
    np.testing.assert_allclose(
        model.embed(whole, RATE), model.embed(gap, RATE, unit="adc"), atol=1e-6
    )


def test_shapes_go_through_and_time_may_come_first(model):
    signal = beats(names=leads.STANDARD_12)
    rows = model.embed(signal, RATE)
    assert rows.shape == (12, 16)
    np.testing.assert_array_equal(model.embed(signal.T, RATE), rows)
    assert model.embed(signal.reshape(3, 4, -1), RATE).shape == (3, 4, 16)
    np.testing.assert_allclose(model.embed(signal[1], RATE), rows[1], atol=1e-6)


def test_leads_are_chosen_by_name_or_number(model):
    signal = beats(names=("V1", "II"))
    rows = model.embed(signal, RATE)
    by_name = model.embed(signal, RATE, lead="ii", lead_names=["V1", "II"])
    np.testing.assert_allclose(by_name, rows[1], atol=1e-6)
    np.testing.assert_allclose(model.embed(signal, RATE, lead=0), rows[0], atol=1e-6)
    twelve = beats(names=leads.STANDARD_12)
    np.testing.assert_allclose(
        model.embed(twelve, RATE, lead="V6"), model.embed(twelve[11], RATE), atol=1e-6
    )
    np.testing.assert_array_equal(
        model.embed(twelve[0], RATE, lead="I"), model.embed(twelve[0], RATE)
    )


def test_layers_are_chosen_by_name_or_number(model):
    assert model.layers == {"stage_1": 8, "stage_2": 16}
    every = model.embed(beats(), RATE, layer="all")
    assert every.shape == (24,)
    np.testing.assert_array_equal(model.embed(beats(), RATE, layer="stage_1"), every[:8])
    np.testing.assert_array_equal(model.embed(beats(), RATE, layer=2), every[8:])
    np.testing.assert_array_equal(model.embed(beats(), RATE), every[8:])


def test_a_long_signal_is_the_mean_of_its_windows(model):
    signal = np.concatenate([beats(1), beats(2), beats(3, seconds=4)])
    each = model.embed(signal, RATE, each_window=True)
    assert each.shape == (3, 16)
    for row, part in zip(each, (signal[:5000], signal[5000:10000], signal[-5000:]), strict=True):
        np.testing.assert_allclose(row, wanted(model, part), atol=2e-5)
    np.testing.assert_allclose(model.embed(signal, RATE), each.mean(axis=0), atol=1e-6)
    assert model.embed(signal, RATE, stride_seconds=1, each_window=True).shape == (15, 16)


def test_unusable_windows_do_not_count(model):
    signal = np.concatenate([beats(1), np.zeros(5000)])
    with pytest.warns(UserWarning, match="1 of 2"):
        got = model.embed(signal, RATE)
    np.testing.assert_allclose(got, model.embed(signal[:5000], RATE), atol=1e-6)


def test_a_short_signal_is_embedded_too(model):
    with pytest.warns(UserWarning, match="shorter"):
        got = model.embed(beats(seconds=4), RATE)
    mirrored = np.pad(beats(seconds=4), (0, 3000), mode="symmetric")
    np.testing.assert_allclose(got, wanted(model, mirrored), atol=2e-5)


@pytest.mark.parametrize(
    ("signal", "words"),
    [
        (np.zeros(5000), "flat"),
        (np.full(5000, np.nan), "no sample"),
        (1000 * beats(), "exceed the amplitude of an ECG"),
        (np.where(np.arange(5000) < 2000, np.nan, beats()), "Mostly missing"),
    ],
)
def test_bad_windows_are_reported_and_stay_finite(model, signal, words):
    with pytest.warns(UserWarning, match=words):
        assert np.isfinite(model.embed(signal, RATE)).all()


def test_sound_windows_are_not_warned_of(model):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.embed(beats(names=("I", "II")), RATE)


@pytest.mark.parametrize(
    ("signal", "options", "words"),
    [
        ([], {}, "empty"),
        (["a"] * 50, {}, "real numbers"),
        (np.zeros((20, 3, 4)), {}, "only 4 samples"),
        (beats(), {"sample_rate_hz": 0}, "must be above 0 Hz"),
        (beats(), {"sample_rate_hz": np.nan}, "must be above 0 Hz"),
        (beats(), {"sample_rate_hz": 1.0}, "1 Hz"),
        (beats(), {"layer": "stage_7"}, "'stage_7'.*last, stage_1, stage_2"),
        (beats(), {"unit": "bar"}, "'bar'.*mV, uV, V, adc"),
        (beats(), {"stride_seconds": 11}, "at most the window's 10 s"),
        (beats(), {"lead": 3}, "Lead 3 not found: .*single"),
        (beats(names=("I", "II")), {"lead": 2}, "Lead 2 not found; .*2 leads"),
        (beats(names=("I", "II")), {"lead": "I"}, "give lead_names"),
        (beats(names=("I", "II")), {"lead_names": ["I"]}, "does not fit 1 lead name"),
    ],
)
def test_what_cannot_be_understood_is_a_sentence(model, signal, options, words):
    with pytest.raises(UserError, match=words):
        model.embed(signal, **{"sample_rate_hz": RATE, **options})


def test_encoders_of_several_leads_take_them_at_once():
    encoder = create_encoder("tiny", in_channels=12, rngs=nnx.Rngs(0))
    recipe = Recipe()
    many = pretrained.Pretrained(encoder_lib.of_encoder(encoder, ONE, name="12", recipe=recipe))
    signal = beats(names=leads.STANDARD_12)
    x = reference.zscore(reference.bandpass(signal, 500)).astype(np.float32)
    want = np.asarray(encoder(x.T[None]))[0]
    np.testing.assert_allclose(many.embed(signal, RATE), want, atol=2e-5)
    both = many.embed(np.stack([signal, signal]), RATE)
    np.testing.assert_allclose(both, [want, want], atol=2e-5)
    with refuses(12, problem="wrong_lead_count"):
        many.embed(signal[:3], RATE)


def test_any_number_of_windows_and_devices_gives_the_same(model):
    many = pretrained.Pretrained(encoder_lib.random("tiny", mesh_lib.make_mesh(), seed=0))
    signals = np.stack([beats(seed) for seed in range(11)])
    np.testing.assert_allclose(many.embed(signals, RATE), model.embed(signals, RATE), atol=1e-5)


def test_a_model_is_loaded_from_a_folder_or_a_file_of_weights(model, tmp_path):
    want = model.embed(beats(), RATE)
    folder = model.save(tmp_path / "model")
    file = tmp_path / "weights.safetensors"
    torch_file.write_safetensors(file, convert.to_torch(model.embedder.encoder), {})
    for path in (folder, str(folder), file):
        found = clef_jax.load(path)
        np.testing.assert_allclose(found.embed(beats(), RATE), want, atol=1e-5)
    assert clef_jax.load(folder).fingerprint == model.fingerprint


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("modle", "modle.*'model'"),
        ("nowhere/model", "nowhere"),
        ("empty", "checkpoints/"),
        ("run/checkpoints", "/run"),
        ("run/checkpoints/100", "/run"),
        ("weights.txt", ".ckpt"),
    ],
)
def test_what_is_no_model_is_reported(tmp_path, name, words):
    (tmp_path / "model").mkdir()
    (tmp_path / "empty").mkdir()
    (tmp_path / "run" / "checkpoints" / "100").mkdir(parents=True)
    (tmp_path / "weights.txt").write_text("1")
    with pytest.raises(UserError, match=words):
        clef_jax.load(tmp_path / name)


BLOCKED = """
import sys

class Block:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        trainer = name.startswith("clef_jax.training.") or name == "clef_jax.config"
        if trainer or top in {"orbax", "grain", "array_record", "tensorflow_datasets", "duckdb"}:
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, Block())
import numpy as np
import clef_jax

signal = np.sin(np.arange(5000) / 20) + np.sin(np.arange(5000) / 111)
print(clef_jax.load(sys.argv[1]).embed(signal, 500).sum())
"""


def test_a_model_folder_needs_no_trainer_and_no_reader_of_data_sets(model, tmp_path):
    model.save(tmp_path / "model")
    command = [sys.executable, "-c", BLOCKED, str(tmp_path / "model")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    signal = np.sin(np.arange(5000) / 20) + np.sin(np.arange(5000) / 111)
    assert float(done.stdout) == pytest.approx(model.embed(signal, 500).sum(), abs=1e-4)


def test_masked_values_are_gaps(model):
    signal, gap = beats(), np.arange(5000) // 500 == 4
    loud = np.where(gap, 50.0, signal)  # under the mask, in place of the signal
    want = model.embed(np.where(gap, np.nan, signal), RATE)
    masked = np.ma.masked_array(loud, mask=gap)
    np.testing.assert_array_equal(model.embed(masked, RATE), want)
    whole = np.ma.masked_array(np.rint(1000 * loud).astype(np.int32), mask=gap)
    assert cosine(model.embed(whole, RATE), want) > 0.999
    windows = model.windows(masked, RATE)
    np.testing.assert_array_equal(windows.mean(), want)
    assert windows.quality.missing_fraction.tolist() == [0.1]


def test_many_recordings_with_time_before_leads_are_as_one(model):
    signals = np.stack([beats(seed, names=("I", "II", "V5")) for seed in range(4)])
    want = model.embed(signals, RATE)
    assert want.shape == (4, 3, 16)
    np.testing.assert_array_equal(model.embed(signals.swapaxes(1, 2), RATE), want)
    np.testing.assert_allclose(model.embed(signals[2].T, RATE), want[2], atol=1e-5)


def test_short_and_slow_signals_are_warned_of_and_flagged(model):
    with pytest.warns(UserWarning, match="shorter"):
        model.embed(beats(seconds=2), RATE)
    with pytest.warns(UserWarning, match="below 100 Hz"):
        model.embed(beats(rate=50), 50)
    windows = model.windows(beats(seconds=4, rate=64), 64)
    assert windows.quality.problems == [("short", "low_rate")]
    assert windows.quality.usable.all()


@pytest.mark.parametrize(
    ("signal", "rate", "problem"),
    [
        (beats(seconds=1.99), RATE, "too_short"),
        (beats(rate=49), 49, "wrong_rate"),
        (beats(), 1e9, "wrong_rate"),
        (beats(), "500", "not_a_number"),
    ],
)
def test_what_can_hold_no_ecg_has_no_embedding_but_a_reason(model, signal, rate, problem):
    with refuses(problem=problem):
        model.embed(signal, rate)
