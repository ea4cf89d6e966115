"""Scores agree with scikit-learn, weights with repeated rows, and intervals cover the truth."""

import numpy as np
import pytest
import scipy.stats
import sklearn.calibration
import sklearn.metrics

from clef_jax.statistics import bootstrap, calibration, classification, comparison, regression

SCORES = {
    "auroc": (classification.auroc, sklearn.metrics.roc_auc_score),
    "auprc": (classification.auprc, sklearn.metrics.average_precision_score),
    "brier": (classification.brier, sklearn.metrics.brier_score_loss),
    "mae": (regression.mae, sklearn.metrics.mean_absolute_error),
    "rmse": (regression.rmse, sklearn.metrics.root_mean_squared_error),
    "r2": (regression.r2, sklearn.metrics.r2_score),
}


def make(num=300, seed=0, ties=True):
    """A target of 0 and 1, and scores that know something of it."""
    rng = np.random.default_rng(seed)
    target = (rng.random(num) < 0.3).astype(float)
    score = 1 / (1 + np.exp(-(target + rng.normal(0, 1, num))))
    return target, np.round(score, 1) if ties else score


@pytest.mark.parametrize("ties", [True, False])
@pytest.mark.parametrize("name", SCORES)
def test_scores_are_scikit_learn_s(name, ties):
    ours, theirs = SCORES[name]
    target, score = make(ties=ties)
    assert ours(target, score) == pytest.approx(theirs(target, score), rel=1e-12)


@pytest.mark.parametrize("name", SCORES)
def test_weights_are_repeated_rows(name, monkeypatch):
    monkeypatch.setattr(classification, "_CHUNK_VALUES", 700)  # several chunks
    ours, theirs = SCORES[name]
    target, score = make()
    weight = np.random.default_rng(1).integers(0, 4, (7, len(target))).astype(np.uint16)
    want = [theirs(np.repeat(target, w), np.repeat(score, w)) for w in weight]
    np.testing.assert_allclose(ours(target, score, weight), want, rtol=1e-10)


def test_balanced_accuracy_is_scikit_learn_s():
    rng = np.random.default_rng(0)
    target = np.eye(4)[rng.integers(0, 4, 200)]
    score = target + rng.normal(0, 0.8, target.shape)
    weight = rng.integers(0, 3, (5, 200))
    labels, guessed = target.argmax(axis=1), score.argmax(axis=1)
    found = classification.balanced_accuracy(target, score)
    assert found == pytest.approx(sklearn.metrics.balanced_accuracy_score(labels, guessed))
    want = [
        sklearn.metrics.balanced_accuracy_score(np.repeat(labels, w), np.repeat(guessed, w))
        for w in weight
    ]
    np.testing.assert_allclose(classification.balanced_accuracy(target, score, weight), want)


def test_the_score_of_an_absent_class_is_not_defined():
    target, score = make()
    assert np.isnan(classification.auroc(np.ones(300), score))
    assert np.isnan(classification.auroc(np.zeros(300), score))
    assert np.isnan(classification.auprc(np.zeros(300), score))
    weight = np.stack([target == 1, target == 0, np.ones(300)]).astype(np.uint16)
    assert np.isnan(classification.auroc(target, score, weight)).tolist() == [True, True, False]


def test_macro_averages_exclude_classes_with_one_outcome():
    target, score = make()
    columns = np.stack([target, np.zeros(300), 1 - target, np.ones(300)], axis=1)
    scores = np.stack([score] * 4, axis=1)
    assert classification.has_both_classes(columns).tolist() == [True, False, True, False]
    found = classification.mean_over_classes(classification.auroc, columns, scores)
    assert found == pytest.approx(0.5)  # as good for one class as bad for its opposite
    weight = np.ones((3, 300), np.uint16)
    assert classification.mean_over_classes(
        classification.auroc, columns, scores, weight
    ) == pytest.approx([0.5] * 3)
    nothing = classification.mean_over_classes(
        classification.auroc, np.ones((300, 2)), scores[:, :2], weight
    )
    assert np.isnan(nothing).all()


def test_limits_of_agreement():
    rng = np.random.default_rng(0)
    target = rng.normal(120, 20, 5000)
    agreement = regression.bland_altman(target, target + rng.normal(3, 5, 5000))
    assert agreement.bias == pytest.approx(3, abs=0.3)
    assert agreement.high - agreement.low == pytest.approx(2 * 1.96 * 5, rel=0.03)
    assert np.isnan(regression.r2(np.ones(5), np.arange(5)))


def test_limits_of_agreement_by_hand():
    # Differences 1, 2, 3, 6: mean 3; squared deviations 4 + 1 + 0 + 9 = 14; 14 / (4 - 1).
    target, value = np.array([100, 110, 120, 130]), np.array([101, 112, 123, 136])
    spread = 1.96 * (14 / 3) ** 0.5
    agreement = regression.bland_altman(target, value)
    assert agreement == pytest.approx((3, 3 - spread, 3 + spread), rel=1e-12)


def test_a_resample_has_the_limits_of_its_recordings():
    rng = np.random.default_rng(0)
    target, value = rng.normal(1e6, 20, (2, 40))
    weight = rng.integers(0, 4, (5, 40)).astype(np.uint16)
    agreement = np.stack(regression.bland_altman(target, value, weight), axis=1)
    for got, counts in zip(agreement, weight, strict=True):
        copies = np.repeat(target, counts), np.repeat(value, counts)
        np.testing.assert_allclose(got, regression.bland_altman(*copies), rtol=1e-12)
        difference = copies[1] - copies[0]
        want = difference.mean() + 1.96 * np.std(difference, ddof=1)
        assert got[2] == pytest.approx(want, rel=1e-9)


def test_a_single_recording_has_no_limits_of_agreement():
    agreement = regression.bland_altman(np.array([100]), np.array([103]))
    assert agreement.bias == 3
    assert np.isnan([agreement.low, agreement.high]).all()


def test_resamples_hold_all_recordings_of_a_patient():
    patient = np.repeat(np.arange(50), np.arange(50) % 4 + 1)
    weight = bootstrap.patient_weights(patient, 400, seed=0)
    assert weight.shape == (400, len(patient))
    for number in range(50):
        of = weight[:, patient == number]
        assert (of == of[:, :1]).all()
    per_patient = np.stack([weight[:, np.flatnonzero(patient == n)[0]] for n in range(50)], axis=1)
    assert (per_patient.sum(axis=1) == 50).all()
    assert per_patient.mean() == pytest.approx(1, abs=0.02)
    np.testing.assert_array_equal(weight, bootstrap.patient_weights(patient, 400, seed=0))


def test_intervals_ignore_undefined_values():
    found = bootstrap.interval(np.array([np.nan, *np.linspace(0, 1, 101)]), 1_000_000)
    assert (found.low, found.high) == pytest.approx((0.025, 0.975), abs=1e-4)
    few = bootstrap.interval(np.linspace(0, 1, 101), 10)
    assert few.low < 0.015
    assert found.num_resamples == 101
    assert np.isnan(bootstrap.interval(np.full(10, np.nan), 10).low)
    assert np.isnan(bootstrap.interval(np.ones(10), 1).low)


def patients(rng, num_patients, per_patient):
    """Recordings of patients who are alike within, and their true AUROC is known by numbers."""
    patient = np.repeat(np.arange(num_patients), per_patient)
    target = (rng.random(num_patients) < 0.4).astype(float)[patient]
    own = rng.normal(0, 1.0, num_patients)[patient]
    return patient, target, target + own + rng.normal(0, 0.5, len(patient))


TRUE_AUROC = scipy.stats.norm.cdf(1 / np.sqrt(2 * (1.0**2 + 0.5**2)))


def coverage(score_of, truth, draw, *, by_patient=True, simulations=1500, resamples=300):
    """The fraction of simulated samples whose interval holds the truth, to half a percent or so."""
    hits = 0
    for seed in range(simulations):
        patient, target, score = draw(np.random.default_rng(seed))
        cluster = patient if by_patient else np.arange(len(patient))
        weight = bootstrap.patient_weights(cluster, resamples, seed + 1_000_000)
        found = bootstrap.interval(score_of(target, score, weight), len(np.unique(cluster)))
        hits += found.low <= truth <= found.high
    return hits / simulations


@pytest.mark.slow
def test_intervals_cover_the_truth():
    def single(rng):
        return patients(rng, 200, 1)

    assert 0.93 <= coverage(classification.auroc, TRUE_AUROC, single) <= 0.97

    def errors(rng):
        return np.arange(200), np.zeros(200), rng.normal(0, 1, 200)

    assert 0.93 <= coverage(regression.mae, np.sqrt(2 / np.pi), errors) <= 0.97


@pytest.mark.slow
def test_only_patients_make_intervals_that_cover_clustered_data():
    def clustered(rng):
        return patients(rng, 150, 4)

    assert 0.93 <= coverage(classification.auroc, TRUE_AUROC, clustered) <= 0.97
    naive = coverage(classification.auroc, TRUE_AUROC, clustered, by_patient=False, simulations=200)
    assert naive < 0.85


def test_a_better_model_is_distinguished_from_an_equal_one():
    rng = np.random.default_rng(0)
    patient, target, score = patients(rng, 300, 2)
    worse = score + rng.normal(0, 3, len(score))
    found = comparison.paired(
        classification.auroc, target, score, worse, patient, num_permutations=300
    )
    assert found.value > 0.1
    assert found.interval.low > 0
    assert found.p_value == pytest.approx(1 / 301)
    same = comparison.paired(classification.auroc, target, score, score, patient, num_resamples=99)
    assert (same.value, same.p_value) == (0, 1)


@pytest.mark.slow
def test_p_values_of_equal_models_are_uniform():
    p_values = []
    for seed in range(150):
        rng = np.random.default_rng(seed)
        patient, target, _ = patients(rng, 40, 2)
        first, second = (target + rng.normal(0, 1, len(target)) for _ in range(2))
        found = comparison.paired(
            regression.mae, target, first, second, patient, num_resamples=99, seed=seed
        )
        p_values.append(found.p_value)
    assert scipy.stats.kstest(p_values, "uniform").pvalue > 0.01
    assert np.mean(np.array(p_values) <= 0.05) < 0.1


def test_predictions_of_all_classes_are_swapped_together():
    rng = np.random.default_rng(0)
    target = np.eye(3)[rng.integers(0, 3, 90)]
    good, bad = target + rng.normal(0, 0.5, (90, 3)), rng.random((90, 3))
    found = comparison.paired(
        classification.balanced_accuracy, target, good, bad, np.arange(90), num_resamples=199
    )
    assert found.p_value < 0.02


def test_holm_by_hand():
    found = comparison.holm([0.01, 0.04, 0.03, 0.5])
    np.testing.assert_allclose(found, [0.04, 0.09, 0.09, 0.5])
    np.testing.assert_allclose(comparison.holm([0.6, 0.7]), [1, 1])
    assert len(comparison.holm([])) == 0


def test_reliability_is_scikit_learn_s():
    target, score = make(num=1000, ties=False)
    found = calibration.reliability(target, score)
    share, mean = sklearn.calibration.calibration_curve(
        target, score, n_bins=10, strategy="quantile"
    )
    np.testing.assert_allclose(found.mean_score, mean, atol=2e-3)
    np.testing.assert_allclose(found.observed, share, atol=2e-2)
    assert found.count.tolist() == [100] * 10
    assert found.expected_error > 0.05


def test_a_calibrated_score_has_a_small_error_and_ties_share_a_bin():
    rng = np.random.default_rng(0)
    score = rng.random(20_000)
    target = (rng.random(20_000) < score).astype(float)
    assert calibration.reliability(target, score).expected_error < 0.02
    rough = calibration.reliability(target, np.round(score, 1))
    assert len(np.unique(rough.mean_score)) == len(rough.mean_score)
    assert calibration.reliability(np.ones(5), np.full(5, 0.7)).count.tolist() == [5]


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_scores_of_one_class_are_not_defined(value):
    _, score = make()
    target, decision = np.full(300, value), (score > 0.5).astype(float)
    weight = np.ones((2, 300), np.uint16)
    columns = np.stack([1 - target, target], axis=1)
    scores = np.stack([1 - score, score], axis=1)
    for found in (
        classification.auroc(target, score, weight),
        classification.auprc(target, score, weight),
        classification.f1(target, decision, weight),
        classification.balanced_accuracy(columns, scores, weight),
        classification.mean_over_classes(classification.auprc, columns, scores, weight),
    ):
        assert found.shape == (2,)
        assert np.isnan(found).all()
    assert np.isnan(classification.auprc(target, score))


def test_resamples_with_one_class_are_not_defined_in_any_score():
    target, score = make()
    weight = np.stack([target == 1, target == 0, np.ones(300)]).astype(np.uint16)
    columns, scores = np.stack([1 - target, target], 1), np.stack([1 - score, score], 1)
    for found in (
        classification.auprc(target, score, weight),
        classification.f1(target, np.round(score), weight),
        classification.balanced_accuracy(columns, scores, weight),
    ):
        assert np.isnan(found).tolist() == [True, True, False]


@pytest.mark.parametrize("value", [classification.auroc, classification.auprc])
def test_targets_of_other_codes_than_0_and_1_give_no_number(value):
    assert np.isnan(value(np.array([1, 2, 1, 2]), np.array([0.1, 0.9, 0.2, 0.8])))


@pytest.mark.parametrize("name", SCORES)
def test_a_score_that_is_nan_gives_no_number(name):
    ours, _ = SCORES[name]
    target, score = make()
    score[17] = np.nan
    assert np.isnan(ours(target, score))
    assert np.isnan(ours(target, score, np.ones((3, 300), np.uint16))).all()


def test_nan_among_the_predictions_of_classes_gives_no_number():
    rng = np.random.default_rng(0)
    target = np.eye(3)[rng.integers(0, 3, 90)]
    score = target + rng.normal(0, 0.5, (90, 3))
    score[5, 1] = np.nan
    assert np.isnan(classification.balanced_accuracy(target, score))
    assert np.isnan(classification.f1(target[:, 1], score[:, 1]))
    assert np.isnan(classification.mean_over_classes(classification.auroc, target, score))
    assert classification.best_f1_threshold(target[:, 1], score[:, 1]) == 0.5
    assert np.isnan(calibration.reliability(target[:, 1], score[:, 1]).expected_error)


def test_scores_of_no_recording_are_not_defined():
    none = np.zeros(0)
    assert np.isnan(classification.auroc(none, none))
    assert np.isnan(classification.brier(none, none, np.zeros((2, 0)))).all()
