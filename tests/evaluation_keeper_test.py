"""A fine-tuned encoder is saved as a model folder whose head gives the same predictions."""

import dataclasses

import evaluation_finetune_test
import jax
import numpy as np
from evaluation_finetune_test import make

from clef_jax import tasks
from clef_jax.embedding import folder as model_folder, pretrained
from clef_jax.evaluation import finetune, prediction
from clef_jax.evaluation.keeper import Keeper

splits = evaluation_finetune_test.splits
"""The fixture: a prepared data set, embedded."""


def test_a_fine_tuned_encoder_is_a_model_folder(splits, tmp_path):
    encoder, kept = make(1), []
    keeper = Keeper(encoder, tmp_path, ("af",))

    def keep(found):
        kept.append(found)
        keeper(found)

    few = finetune.Config(batch_size=16, max_epochs=1)
    fit = finetune.make_fit(encoder, splits, few, keep)
    task = tasks.find("cinc2017_af")
    prediction.predict(task, splits, finetune.locations(splits), prediction.Protocol(fit=fit))
    folders = sorted(tmp_path.glob("*/*"))
    assert len(folders) == len(kept)
    again = pretrained.load(folders[0], encoder.mesh).embedder
    assert again.recipe == encoder.recipe
    assert again.run["model"]["learning_rates"] == {"encoder": 3e-4, "head": 3e-4}
    for a, b in zip(
        jax.tree.leaves(again.params), jax.tree.leaves(kept[0].params.encoder), strict=True
    ):
        np.testing.assert_array_equal(a, b)
    head = model_folder.load_head(folders[0])
    assert (head.names, head.kind, head.layer) == (("af",), "binary", "stage_2")
    np.testing.assert_array_equal(head.weight, kept[0].params.weight.T)
    np.testing.assert_array_equal(head.bias, kept[0].params.bias)


def test_a_saved_head_gives_the_same_predictions(splits, tmp_path):
    encoder, kept = make(1), []
    places = next(iter(finetune.locations(splits).values()))(splits["train"])
    places = places[np.isfinite(places).all(axis=1)]
    target = np.stack([100.0 + np.arange(len(places)), np.arange(len(places)) / 7], axis=1)
    examples = finetune.Examples(places, target, np.arange(len(places)))
    keeper = Keeper(encoder, tmp_path, ("hundreds", "sevenths"))
    few = finetune.Config(batch_size=16, max_epochs=1)
    fit = finetune.make_fit(encoder, splits, few, lambda tuned: (kept.append(tuned), keeper(tuned)))
    found = fit("regression", examples, examples)
    (folder,) = tmp_path.glob("*/1")
    model, head = pretrained.load(folder, encoder.mesh).embedder, model_folder.load_head(folder)
    same = dataclasses.replace(
        kept[0],
        params=finetune.Params(model.params, jax.numpy.asarray(head.weight.T), head.bias),
        centre=head.centre,
        scale=head.scale,
    )
    np.testing.assert_array_equal(same(places), found(places))
