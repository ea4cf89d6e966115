"""The lead-I protocol: random splits by record and logistic probes on features as they are."""

import json

import numpy as np
import pytest
import sklearn.linear_model
import sklearn.metrics
from culprits import assert_names, refuses
from prepared import build_simulated

from clef_jax import evaluate
from clef_jax.evaluation import lead_one, published
from clef_jax.evaluation.examples import Examples
from clef_jax.evaluation.prediction import Predictions

pytestmark = pytest.mark.usefixtures("quick_compiler")


def test_the_probe_is_scikit_learn_s_with_its_default_penalty():
    rng = np.random.default_rng(0)
    features = rng.normal(1, [3, 0.5, 1], (300, 3)).astype(np.float32)
    target = (features[:, :1] + rng.normal(size=(300, 1)) > 0).astype(float)
    found = lead_one.fit(Examples(features, target, np.arange(300)))
    exact = sklearn.linear_model.LogisticRegression(max_iter=1000, tol=1e-10)
    want = exact.fit(features.astype(float), target[:, 0])
    np.testing.assert_allclose(found.weight[:, 0], want.coef_[0], atol=2e-3)
    np.testing.assert_allclose(found(features)[:, 0], want.predict_proba(features)[:, 1], atol=1e-3)


def test_a_fifth_of_each_class_is_tested():
    target = np.arange(500) < 50
    masks = [lead_one.stratified(target, seed) for seed in (0, 0, 1)]
    for mask in masks:
        assert mask[:50].sum() == 10
        assert mask[50:].sum() == 90
    np.testing.assert_array_equal(masks[0], masks[1])
    assert (masks[0] != masks[2]).any()


def test_the_score_is_the_mean_over_the_test_sets():
    rng = np.random.default_rng(0)
    fold = np.repeat(np.arange(lead_one.NUM_SPLITS), 40)
    target = rng.integers(0, 2, 200).astype(float)
    predicted = target + rng.normal(size=200) + fold  # pooled, the folds would be mixed
    unknown = np.full(200, np.nan)
    predictions = Predictions(
        outputs=("af",),
        target=target[:, None],
        predicted=predicted[:, None],
        decided=(predicted > 2)[:, None].astype(float),
        patient=np.tile(np.arange(40), 5),
        age_years=unknown,
        male=unknown,
        strength=np.ones(1),
        layer="last",
        num_train=160,
        cross_validated=False,
        num_excluded=0,
        fold=fold,
    )
    task = lead_one.TASKS["ptb_xl_lead_I_af"]
    found = {s.name: s for s in lead_one.scores(task, predictions, num_resamples=100, seed=0)}
    values = [
        sklearn.metrics.roc_auc_score(target[fold == n], predicted[fold == n]) for n in range(5)
    ]
    assert found["auroc"].value == pytest.approx(np.mean(values))
    assert found["auroc"].interval.low < np.mean(values) < found["auroc"].interval.high


def test_one_command_gives_the_row_beside_the_published_ones(tmp_path, capsys):
    build_simulated("ptb_xl/500hz", tmp_path)
    flags = [f"--data-dir={tmp_path / 'data'}", f"--out={tmp_path}", "--preset=lead_I"]
    flags += ["--size=tiny", "--random-encoders=1", "--num-resamples=100"]
    evaluate.main([*flags, "--baselines=untrained,classical"])
    found = json.loads((tmp_path / "results.json").read_text())["results"]
    assert {line["task"] for line in found} == set(lead_one.TASKS)
    assert {line["lead"] for line in found} == {"I"}
    rows = {(line["model"], line["method"]) for line in found}
    untrained = "random tiny, seed 0"
    assert rows == {
        (untrained, "logistic"),
        (untrained, "logistic best stage"),
        ("rhythm and spectrum", "logistic"),
    }
    values = {
        (line["task"], line["method"]): line["value"]
        for line in found
        if line["model"] == untrained and line["score"] == "auroc"
    }
    for task in lead_one.TASKS:
        assert values[task, "logistic best stage"] >= values[task, "logistic"]
    page = (tmp_path / "report.html").read_text()
    assert_names(page, "CLEF-medium", "logistic best stage", "0.867")
    capsys.readouterr()
    with pytest.raises(SystemExit):
        evaluate.main([*flags, "--tasks=ptb_xl_lead_I_ap"])
    assert_names(capsys.readouterr().err, "'ptb_xl_lead_I_ap'", "ptb_xl_lead_I_af")


def test_every_concept_has_published_rows():
    for task in lead_one.TASKS:
        lines = published.for_task(task)
        assert {line.method for line in lines} == {"logistic", "logistic best stage"}
        assert {line.differs("I", line.method) for line in lines} == {""}


def test_a_rare_concept_is_refused():
    with refuses("ptb_xl_lead_I_mi", problem="one_class"):
        lead_one.check_counts("ptb_xl_lead_I_mi", np.arange(100) < 4)
