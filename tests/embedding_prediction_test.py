"""A loaded model with a head answers arrays as its parts would one after the other."""

import jax
import numpy as np
import pytest
import scipy.special
from culprits import assert_names, refuses

from clef_jax import mesh as mesh_lib
from clef_jax.answers.fitted import Fitted
from clef_jax.baselines import classical
from clef_jax.embedding import (
    encoder as encoder_lib,
    folder as model_folder,
    head as head_lib,
    pretrained,
    weight_file,
)
from clef_jax.embedding.head import Calibration, Head
from clef_jax.simulation import simulated_ecg

pytestmark = [
    pytest.mark.usefixtures("quick_compiler"),
    pytest.mark.filterwarnings("ignore:.*(hold no samples|are flat):UserWarning"),
]

ONE = mesh_lib.make_mesh(jax.devices()[:1])
RATE = 250.0
NAMES = ("I", "II")
SIGNAL = simulated_ecg.make(1, NAMES, sample_rate_hz=RATE, num_samples=25 * int(RATE))
SIGNAL[1, : 10 * int(RATE)] = np.nan  # of lead II, the first window is missing
FITTED = Fitted(leads=("I",), sample_rate_hz=(RATE, RATE), age_years=(18.0, 90.0))


def make_head(width=16, **changes):
    rng = np.random.default_rng(0)
    values = {
        "weight": rng.normal(size=(2, width)) / 4,
        "bias": rng.normal(size=2),
        "names": ("AF", "block"),
        "layer": "stage_2",
        "kind": "multilabel",
        "centre": np.zeros(2),
        "scale": np.ones(2),
        "calibration": Calibration("platt", np.array([0.5, 2.0]), np.array([0.1, -0.1])),
        "threshold": np.array([0.5, 0.4]),
        "prevalence": np.array([0.3, 0.1]),
        "fitted": FITTED.to_json(),
    }
    return Head(**values | changes)


@pytest.fixture(scope="module")
def embedder():
    return encoder_lib.random("tiny", ONE, seed=0)


@pytest.fixture(scope="module")
def model(embedder):
    return pretrained.Pretrained(embedder, make_head())


def test_an_answer_is_that_of_the_embedding(model):
    found = model.predict(SIGNAL, RATE, lead_names=NAMES)
    embedding = model.embed(SIGNAL, RATE).astype(np.float64)
    logits = embedding @ model.head.weight.T + model.head.bias
    want = scipy.special.expit(logits * [0.5, 2.0] + [0.1, -0.1])
    assert found.names == ("AF", "block")
    np.testing.assert_allclose(found.probabilities, want, atol=1e-6)
    np.testing.assert_array_equal(found.decisions, want >= [0.5, 0.4])
    assert found.usable.tolist() == [True, True]
    assert found.problems == [(), ("no_samples", "unfitted_lead")]
    assert found.model_fingerprint == model.fingerprint
    assert found.values is None
    assert found.intended_use
    assert found.limits


def test_each_window_has_an_answer(model):
    found = model.predict(SIGNAL, RATE, lead=1, lead_names=NAMES, each_window=True)
    assert found.probabilities.shape == (3, 2)
    np.testing.assert_allclose(found.start_seconds, [0, 10, 15])
    assert found.usable.tolist() == [False, True, True]
    assert np.isnan(found.probabilities[0]).all()
    assert np.isnan(found.decisions[0]).all()
    assert found.problems[0] == ("no_samples", "unfitted_lead")
    embedding = model.embed(SIGNAL[1], RATE, each_window=True)[1:]
    alone = pretrained.Pretrained(model.embedder, model.head)
    logits = embedding @ alone.head.weight.T + alone.head.bias
    want = scipy.special.expit(logits * [0.5, 2.0] + [0.1, -0.1])
    np.testing.assert_allclose(found.probabilities[1:], want, atol=1e-6)


def test_one_signal_has_one_answer(model):
    found = model.predict(SIGNAL[0], RATE, age_years=7)
    assert found.probabilities.shape == (2,)
    assert found.usable.shape == ()
    assert found.problems == ("unfitted_age",)
    assert model.predict(SIGNAL[0, ::2], RATE / 2).problems == ("unfitted_rate",)


def test_many_recordings_keep_their_axes(model):
    many = np.stack([SIGNAL, SIGNAL, SIGNAL])
    found = model.predict(many, RATE, lead_names=NAMES, each_window=True)
    assert found.probabilities.shape == (3, 2, 3, 2)
    assert found.usable.shape == (3, 2, 3)
    assert found.problems[2][1][0] == ("no_samples", "unfitted_lead")
    assert found.problems[2][0] == [(), (), ()]


def test_a_signal_without_a_usable_window_has_no_answer(model):
    found = model.predict(np.zeros(5000), RATE)
    assert not found.usable
    assert np.isnan(found.probabilities).all()
    assert "flat_lead" in found.problems


@pytest.mark.parametrize("given", [{"AF": 0.02}, {"AF": 0.02, "block": 0.1}])
def test_another_prevalence_is_applied(model, given):
    before, after = (model.predict(SIGNAL[0], RATE, prevalence=p) for p in (None, given))
    odds = before.probabilities[0] / (1 - before.probabilities[0]) * (0.02 / 0.98) / (0.3 / 0.7)
    np.testing.assert_allclose(after.probabilities[0], odds / (1 + odds))
    np.testing.assert_allclose(after.probabilities[1], before.probabilities[1])
    np.testing.assert_array_equal(after.decisions, before.decisions)
    np.testing.assert_array_equal(after.prevalence, [0.02, 0.1])


def test_values_have_intervals(embedder):
    head = make_head(
        kind="regression",
        calibration=None,
        threshold=None,
        prevalence=None,
        half_width=np.array([3.0, 4.0]),
        coverage=0.8,
    )
    found = pretrained.Pretrained(embedder, head).predict(SIGNAL[0], RATE)
    assert found.values.shape == (2,)
    np.testing.assert_allclose(found.upper - found.lower, [6, 8])
    assert found.probabilities is None
    assert found.coverage == 0.8


def test_rhythm_and_spectrum_stand_behind_the_embedding(embedder):
    baseline = classical.Classical(embedder.recipe, ONE)
    head = make_head(16 + baseline.num_features, features=("embedding", "classical"))
    model = pretrained.Pretrained(embedder, head)
    beside = pretrained.Pretrained(baseline).embed(SIGNAL, RATE)
    features = np.concatenate([model.embed(SIGNAL, RATE), beside], axis=1).astype(np.float64)
    logits = features @ head.weight.T + head.bias
    want = scipy.special.expit(logits * [0.5, 2.0] + [0.1, -0.1])
    np.testing.assert_allclose(model.predict(SIGNAL, RATE).probabilities, want, atol=1e-5)
    fewer = make_head(16 + 5, features=("embedding", "classical"))
    with refuses("21", problem="misshapen_head"):
        pretrained.Pretrained(embedder, fewer).predict(SIGNAL, RATE)


def test_an_earlier_layer_is_read(embedder):
    head = make_head(8, layer="stage_1", calibration=None)
    model = pretrained.Pretrained(embedder, head)
    logits = model.embed(SIGNAL[0], RATE, "stage_1") @ head.weight.T + head.bias
    found = model.predict(SIGNAL[0], RATE).probabilities
    np.testing.assert_allclose(found, scipy.special.expit(logits), atol=1e-6)


def test_a_model_without_a_head_is_refused(embedder):
    with refuses("clef-jax fit", problem="no_head"):
        pretrained.Pretrained(embedder).predict(SIGNAL, RATE)


def test_the_head_of_a_folder_is_loaded_and_saved(embedder, model, tmp_path):
    folder = model_folder.save(embedder, tmp_path / "model", head=make_head())
    again = pretrained.load(folder, ONE)
    want = model.predict(SIGNAL, RATE)
    found = again.predict(SIGNAL, RATE)
    np.testing.assert_array_equal(found.probabilities, want.probabilities)
    assert found.head_fingerprint == want.head_fingerprint
    assert_names((folder / "README.md").read_text(), "AF", "block", "lead I", "medical device")
    copy = again.save(tmp_path / "copy")
    assert head_lib.entry(model_folder.load_head(copy)) == head_lib.entry(again.head)
    bare = model_folder.save(embedder, tmp_path / "bare")
    assert pretrained.load(bare, ONE).head is None
    assert "medical device" not in (bare / "README.md").read_text()


def test_the_classifier_of_a_file_answers_with_numbered_classes(embedder, tmp_path, monkeypatch):
    classifier = Head.of_classes(np.ones((3, 16)), np.zeros(3), layer="stage_2")
    path = tmp_path / "founder.pth"
    path.write_bytes(b"weights")
    found = weight_file.LoadedWeights(embedder, classifier, ())
    monkeypatch.setattr(weight_file, "read", lambda *_, **__: found)
    answers = pretrained.load(path, ONE).predict(SIGNAL[0], RATE)
    assert answers.names == ("class_0", "class_1", "class_2")
    assert answers.probabilities.shape == (3,)
    assert answers.decisions is None  # the file states no thresholds
