"""Published encoders are evaluated and fine-tuned like ours."""

import json

import evaluation_finetune_test
import jax
import numpy as np
import published_baseline as toy
import pytest
from culprits import refuses

from clef_jax import evaluate, mesh as mesh_lib, tasks
from clef_jax.convert import safetensors_file
from clef_jax.data import index as index_lib
from clef_jax.embedding import foreign, inputs, pretrained
from clef_jax.evaluation import adaptation, finetune, models, prediction
from clef_jax.evaluation.keeper import Keeper
from clef_jax.evaluation.prediction import HoldOut

pytestmark = pytest.mark.usefixtures("quick_compiler")

ONE = mesh_lib.make_mesh(jax.devices()[:1])
splits = evaluation_finetune_test.splits
"""The fixture: a prepared data set, embedded."""


@pytest.fixture(autouse=True)
def baseline(tmp_path_factory, monkeypatch):
    toy.register(tmp_path_factory.mktemp("packages"), monkeypatch)


def millivolts(index, kept=None):
    """All samples of lead I at 100 Hz, in whole windows of 2 s."""
    kept = index.usable_leads[:, 0] if kept is None else kept
    recordings = inputs.stored(index, np.flatnonzero(kept), "I")
    return [opened.read(0, opened.num_samples)[0] for opened in recordings]


def test_a_file_and_untrained_encoders_are_contestants(splits, tmp_path):
    path = tmp_path / "mine.safetensors"
    network = foreign.untrained("toy", ONE, seed=5).network
    safetensors_file.write_safetensors(path, toy.PUBLISHED.to_torch(network), {})
    version_dir = splits["train"].index.version_dir
    config = evaluate.Config(
        model=(str(path),),
        compare=("untrained:toy",),
        variant=("prescribed", "halves"),
        data_dir=str(version_dir.parents[1]),
        out=str(tmp_path / "out"),
        tasks="cinc2017_af",
        baselines="none",
        num_resamples=100,
    )
    results = evaluate.run(config, [])
    named = [name + more for name in ("mine", "untrained:toy, seed 0") for more in ("", ", halves")]
    assert [result.model for result in results][:4] == named
    about = json.loads((tmp_path / "out" / "results.json").read_text())
    assert {"parameters", "flops", "windows_per_second"} <= set(about["costs"]["mine"])
    assert about["inputs"]["mine, halves"] == "halves: Two halves."
    assert "Two halves." in (tmp_path / "out" / "report.html").read_text()


def test_names_of_published_encoders_are_checked():
    for culprit, name in (("untrained:toy", "toy"), ("untrained:tpy", "untrained:tpy")):
        with refuses(culprit.removeprefix("untrained:")):
            models.collect([name], "none", ONE, size="tiny", num_seeds=1, seed=0)


def test_the_mean_and_deviation_are_those_of_the_training_patients(splits, tmp_path):
    index = splits["train"].index
    model = foreign.untrained("toy", ONE, seed=0)
    adapted = adaptation.adapt(model, index.version_dir, "I", None, tmp_path)
    assert (adapted.in_channels, adapted.lead) == (1, "I")
    signals = np.concatenate(millivolts(index))
    mean, std = adapted.statistics
    # Windows overlap at the end of a recording, and resampling removes what is above 50 Hz.
    assert abs(mean - np.nanmean(signals)) < 0.02 * np.nanstd(signals)
    assert abs(std / np.nanstd(signals) - 1) < 0.05
    held = held_out(splits["train"])
    other = adaptation.adapt(model, index.version_dir, "I", held, tmp_path)
    assert other.statistics != adapted.statistics
    twice = adaptation.adapt(adapted, index.version_dir, "I", held, tmp_path)
    assert twice.fingerprint == adapted.fingerprint


def held_out(embedded):
    """A label and a value that some recordings of a split have, and others have not."""
    for label in index_lib.read_metadata(embedded.index.version_dir)["labels"]:
        values = [record[label["name"]] for record in embedded.metadata]
        if len(set(values)) > 1:
            return HoldOut(label=label["name"], values=(values[0],))
    raise AssertionError("all labels are constant")


def test_fine_tuning_trains_the_weights_but_not_the_statistics(splits, tmp_path):
    model, kept = foreign.untrained("toy", ONE, seed=0, variant="halves").for_lead("I"), []
    keeper = Keeper(model, tmp_path, ("af",))
    few = finetune.Config(batch_size=16, max_epochs=4, learning_rate=3e-2, min_improvement=-9)
    fit = finetune.make_fit(model, splits, few, lambda tuned: (kept.append(tuned), keeper(tuned)))
    task = tasks.find("cinc2017_af")
    protocol = prediction.Protocol(fit=fit)
    prediction.predict(task, splits, finetune.locations(splits), protocol)
    (folder,) = tmp_path.glob("*/1")
    tuned = pretrained.load(folder, ONE).embedder
    before, after = model.network, tuned.network
    key = "toy.norm.running_mean"
    np.testing.assert_array_equal(before[key], after[key])
    # Weight decay alone would scale all weights by one factor.
    assert np.ptp(after["toy.weight"] / before["toy.weight"]) > 1e-3
    np.testing.assert_array_equal(
        jax.tree.leaves(tuned.params)[0], jax.tree.leaves(kept[0].params.encoder)[0]
    )
