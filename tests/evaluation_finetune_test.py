"""Fine-tuning improves on a frozen encoder, and agrees on any number of devices."""

import dataclasses

import jax
import numpy as np
import pytest
from prepared import build

from clef_jax import mesh as mesh_lib, tasks
from clef_jax.building import catalog
from clef_jax.data import index as index_lib
from clef_jax.embedding import (
    encoder as encoder_lib,
    prepared,
)
from clef_jax.embedding.recipe import Recipe
from clef_jax.evaluation import finetune, prediction

pytestmark = pytest.mark.usefixtures("quick_compiler")

CONFIG = finetune.Config(batch_size=16, max_epochs=12, learning_rate=3e-3, patience_epochs=12)


def make(devices):
    mesh = mesh_lib.make_mesh(jax.devices()[:devices])
    recipe = Recipe(window_seconds=2.0)
    return encoder_lib.random("tiny", mesh, seed=0, recipe=recipe)


@pytest.fixture(scope="module")
def splits(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finetune")
    tree = catalog.simulated("cinc2017").write(folder / "source", 40)
    made = build("cinc2017", tree.source, folder / "data")
    encoder = make(1)
    return {
        split: prepared.embed(encoder, index_lib.load(made.data_path, split), "I", folder / "cache")
        for split in index_lib.splits(made.data_path)
    }


def ask(encoder, splits, task, kept=None, config=CONFIG):
    keep = (lambda found: kept.append(found)) if kept is not None else lambda _: None
    fit = finetune.make_fit(encoder, splits, config, keep)
    return prediction.predict(
        task, splits, finetune.locations(splits), prediction.Protocol(fit=fit)
    )


@pytest.mark.parametrize("kind", ["binary", "multiclass"])
def test_predictions_are_probabilities_of_test_recordings(kind, splits):
    name = {"binary": "cinc2017_af", "multiclass": "cinc2017_rhythm"}[kind]
    kept = []
    predictions = ask(make(1), splits, tasks.find(name), kept)
    assert len(kept) == 1
    assert np.isfinite(predictions.predicted).all()
    assert ((predictions.predicted >= 0) & (predictions.predicted <= 1)).all()
    if kind == "multiclass":
        np.testing.assert_allclose(predictions.predicted.sum(axis=1), 1, rtol=1e-6)


def test_fine_tuning_fits_its_training_recordings(splits):
    """The target is a property of the signal that a frozen encoder does not represent."""
    encoder = make(1)
    samples = finetune.Samples(splits, encoder)
    places = next(iter(finetune.locations(splits).values()))(splits["train"])
    places = places[np.isfinite(places).all(axis=1)]
    windows = [np.nan_to_num(w.signal_mv[0, 0]).astype(float) for w in samples.windows(places)]
    places = places[[window.std() > 0 for window in windows]]
    windows = [window for window in windows if window.std() > 0]
    target = np.array([np.abs(w - w.mean()).mean() / w.std() for w in windows])[:, None]
    examples = finetune.Examples(places, target, np.arange(len(places)))
    config = dataclasses.replace(CONFIG, max_epochs=40, patience_epochs=40, learning_rate=1e-2)
    found = finetune.make_fit(encoder, splits, config)("regression", examples, examples)
    error = np.abs(found(places) - target).mean()
    assert error < 0.6 * np.abs(target - np.median(target)).mean()
    assert found.num_epochs == 40


@pytest.mark.parametrize(("head_start", "tolerance"), [("zero", 1e-4), ("linear", 1e-3)])
def test_many_devices_agree_with_one(head_start, tolerance, splits):
    """A linear probe, with which the head starts, is solved to about 1e-3 of a probability."""
    task = tasks.find("cinc2017_af")
    few = finetune.Config(batch_size=16, max_epochs=2, head_start=head_start)
    one = ask(make(1), splits, task, config=few)
    many = ask(make(4), splits, task, config=few)
    np.testing.assert_allclose(one.predicted, many.predicted, atol=tolerance)


def test_fine_tuning_is_never_worse_on_validation_than_the_linear_probe_it_starts_from(splits):
    kept, task = [], tasks.find("cinc2017_af")
    for rate in (1e-9, 1.0):  # the second rate destroys the encoder
        config = dataclasses.replace(CONFIG, max_epochs=2, min_improvement=0.0, learning_rate=rate)
        ask(make(1), splits, task, kept, config)
    linear, destroyed = kept
    assert destroyed.validation_loss <= linear.validation_loss + 1e-3
    zero = dataclasses.replace(config, learning_rate=1e-9, head_start="zero")
    ask(make(1), splits, task, kept, zero)
    np.testing.assert_array_equal(np.asarray(kept[-1].params.weight), 0)
    assert np.abs(np.asarray(linear.params.weight)).max() > 0


def test_training_stops_without_improvement(splits):
    kept = []
    config = finetune.Config(batch_size=16, max_epochs=20, patience_epochs=1, min_improvement=10.0)
    ask(make(1), splits, tasks.find("cinc2017_af"), kept, config)
    assert {found.num_epochs for found in kept} == {1}


def test_the_released_optimiser_runs(splits):
    config = dataclasses.replace(finetune.RELEASED, max_epochs=2, batch_size=16)
    predictions = ask(make(1), splits, tasks.find("cinc2017_af"), None, config)
    assert np.isfinite(predictions.predicted).all()


def test_the_rates_with_the_lowest_validation_loss_are_kept(splits):
    kept, task = [], tasks.find("cinc2017_af")
    few = dataclasses.replace(
        CONFIG, max_epochs=2, patience_epochs=2, min_improvement=0.0, head_start="zero"
    )
    for rates in ((1e-7,), (3e-3,), (1e-7, 3e-3)):
        config = dataclasses.replace(few, rates=rates)
        ask(make(1), splits, task, kept, config)
    slow, fast, chosen = kept
    assert slow.rates == (1e-7, 1e-7)
    assert slow.validation_loss > fast.validation_loss
    assert chosen.rates.encoder == 3e-3
    assert chosen.validation_loss <= fast.validation_loss
