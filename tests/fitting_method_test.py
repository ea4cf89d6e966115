"""Attention heads and fine-tuned encoders answer from their folders as they were fitted."""

import itertools

import fit_test
import jax
import numpy as np
import pytest
from culprits import refuses

from clef_jax import mesh as mesh_lib
from clef_jax.answers import calibration as calibration_lib
from clef_jax.embedding import encoder as encoder_lib, folder as model_folder, pretrained
from clef_jax.embedding.pretrained import Pretrained
from clef_jax.errors import WrongArgument
from clef_jax.evaluation import finetune
from clef_jax.fitting import method as method_lib, settings
from clef_jax.fitting.labelled_model import LOCATIONS, Request

pytestmark = pytest.mark.usefixtures("quick_compiler")

RATE, COUNT = fit_test.RATE, 20
FEW = finetune.Config(batch_size=8, max_epochs=6, patience_epochs=6)


@pytest.fixture(scope="module")
def model():
    mesh = mesh_lib.make_mesh(jax.local_devices())
    return Pretrained(encoder_lib.random("tiny", mesh, seed=0))


@pytest.fixture(scope="module")
def signals():
    """Recordings of which one has two windows, and one a flat stretch."""
    made = list(itertools.islice(fit_test.signals(), COUNT))
    made[3] = np.concatenate([made[3], made[5]])
    made[4][200:400] = 0.25
    return made


def keep_trained(monkeypatch, name):
    """Returns a list that receives every trained head of a method."""
    kept, make = [], getattr(method_lib, name)

    def recording(*given):
        fit = make(*given)

        def keeping(*examples):
            kept.append(fit(*examples))
            return kept[-1]

        return keeping

    monkeypatch.setattr(method_lib, name, recording)
    return kept


def assert_answers(fitted, trained, signals, folder):
    """Asserts that the folder answers as the head that was fitted last, and returns its model."""
    head, located = fitted.head, fitted.dataset.features[LOCATIONS]
    logits = trained.logits(located)
    loaded = pretrained.load(fitted.save(folder))
    for number in (0, 3, 4):
        answers = loaded.predict(signals[number], RATE)
        if head.kind == "regression":
            given, want = answers.values, logits[number]
        else:
            given = answers.probabilities
            want = calibration_lib.probabilities(head.kind, logits[number], head.calibration)
        np.testing.assert_allclose(given, want, atol=2e-5, rtol=1e-5)
    return loaded


def test_an_attention_head_answers_from_its_folder(model, signals, tmp_path, monkeypatch):
    kept = keep_trained(monkeypatch, "on_time_steps")
    labels = [60 + 40.5 * (number % 2) + number / 10 for number in range(COUNT)]
    fitted = model.fit(
        signals, labels, sample_rate_hz=RATE, method="attention", layer="stage_1", compare=False
    )
    assert (fitted.head.kind, fitted.head.layer) == ("regression", "stage_1")
    assert fitted.head.query.shape == (4, model.layers["stage_1"])
    assert not fitted.head.is_linear
    assert [result.method for result in fitted.fitted.results] == ["attention"]
    loaded = assert_answers(fitted, kept[-1], signals, tmp_path / "model")
    assert loaded.fingerprint == model.fingerprint
    assert "attention" in (tmp_path / "model" / "README.md").read_text()


def test_a_fine_tuned_encoder_is_in_the_folder_with_its_head(model, signals, tmp_path, monkeypatch):
    kept = keep_trained(monkeypatch, "fine_tuning")
    labels = {"rhythm": ["fast" if number % 2 else "slow" for number in range(COUNT)]}
    fitted = model.fit(
        signals, labels, sample_rate_hz=RATE, method="finetune", tuning=FEW, compare=False
    )
    assert len(kept) == 6
    assert fitted.head.names == ("fast", "slow")
    assert fitted.head.is_linear
    loaded = assert_answers(fitted, kept[-1], signals, tmp_path / "model")
    assert loaded.fingerprint == fitted.embedder.fingerprint != model.fingerprint
    assert loaded.embedder.run["model"]["fine_tuned_epochs"] == 6
    head = model_folder.load_head(tmp_path / "model")
    np.testing.assert_array_equal(head.weight, fitted.head.weight)


@pytest.mark.parametrize(
    ("wanted", "culprit"),
    [
        ({"method": "deep"}, "deep"),
        ({"method": "attention", "with_classical": True}, "attention"),
        ({"method": "finetune", "layer": "stage_1"}, "stage_1"),
    ],
)
def test_what_does_not_go_together_is_refused(wanted, culprit):
    with refuses(culprit, error=WrongArgument):
        Request(**wanted)


@pytest.mark.parametrize(
    ("wanted", "culprit"),
    [
        ({"finetune": True, "head": "attention"}, "--head"),
        ({"finetune": True, "with_features": ("classical",)}, "--with"),
        ({"head": "attention", "with_features": ("classical",)}, "--with"),
        ({"finetune": True, "layer": "stage_1"}, "--layer"),
        ({"finetune_epochs": 0}, "--finetune-epochs"),
        ({"finetune_rates": ()}, "--finetune-rates"),
        ({"finetune_rates": (2.0,)}, "--finetune-rates"),
    ],
)
def test_flags_that_do_not_go_together_are_refused(wanted, culprit):
    with refuses(culprit, error=WrongArgument):
        settings.Config(model="m", input="i", labels="l", out="o", **wanted)
