"""Scores of the controls, by hand-made predictions."""

import types

import benchmark_modules
import numpy as np
import pytest

controls = benchmark_modules.load("controls")
Intervals = controls.Intervals


def predictions(target, predicted, age_years):
    return types.SimpleNamespace(
        outputs=("NORM", "MI"),
        target=np.stack([np.zeros(len(target)), target], axis=1),
        predicted=np.stack([np.zeros(len(target)), predicted], axis=1),
        age_years=np.array(age_years, float),
        patient=np.arange(len(target)),
    )


def test_only_pairs_of_similar_age_count():
    # By age alone the score is perfect, and among patients of an age it is that of a coin.
    age = np.repeat([40, 70], 20)
    target = np.r_[np.zeros(20), np.ones(16), np.zeros(4)]
    by_age = predictions(target, age / 100, age)
    assert controls.auroc(by_age, "MI").value == pytest.approx((20 + 2) / 24)
    matched = controls.matched_auroc(by_age, "MI")
    assert (matched.value, matched.low, matched.high) == (0.5, 0.5, 0.5)
    better = predictions(target, age / 100 + 0.1 * target, age)
    assert controls.matched_auroc(better, "MI").value == 1


def test_the_stand_in_is_the_mean_rank_of_three_intervals():
    measured = [
        Intervals(60, 80, 400),
        Intervals(90, 120, 400),
        Intervals(75, np.nan, np.nan),
        Intervals(70, 100, 400),
    ]
    score = controls.acute_score(measured)
    np.testing.assert_allclose(score, [1 / 3, 1, np.nan, 2 / 3])


def test_a_table_has_an_empty_risk_where_it_is_unknown(tmp_path):
    risk = {"a": np.float64(0.5), "b": float("nan")}
    path = controls.write_table(tmp_path / "new" / "t.csv", risk)
    assert path.read_text().splitlines() == ["record_id,risk", "a,0.5", "b,"]


def test_rows_show_means_over_seeds():
    scores = [controls.Score(0.8, 0.7, 0.9), controls.Score(0.9, 0.8, 1.0)]
    years = [controls.Score(10.23, 9.51, 10.98)]
    row = {"MI": scores, "distance and risk": scores, "ptb_xl_age: mae": years}
    shown = controls.table({"age and sex": row})
    cells = [cell.strip() for cell in shown.splitlines()[-1].strip("|").split("|")]
    want = [".850 [.750, .950]", ".850 (p .700, .800)", "10.23 [9.51, 10.98]"]
    assert cells == ["age and sex", "2", *want]


def test_seeds_of_a_training_and_of_random_weights_share_a_row():
    names = ("age and sex_43", "tau 0.5_44", "random small, seed 2", "rhythm and spectrum")
    assert [controls.without_seed(name) for name in names] == [
        "age and sex",
        "tau 0.5",
        "random small",
        "rhythm and spectrum",
    ]
