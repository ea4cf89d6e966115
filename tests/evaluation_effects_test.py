"""Effects are differences of runs that differ in one setting alone, with intervals over seeds."""

import numpy as np
import pytest
import scipy.stats
from culprits import assert_names

from clef_jax.evaluation import ablation, effects
from clef_jax.evaluation.ablation import MainScore
from clef_jax.evaluation.effects import Trial

RNG = np.random.default_rng(0)


def trial(leads, temperature, seed, value):
    point = {"leads": leads, "clef.temperature": temperature}
    return Trial(point, seed, {"task": MainScore("auroc", value)})


def grid(seeds=(1, 2, 3)):
    """A grid in which I is better by 0.1 and the temperature does not matter; seeds differ."""
    for seed in seeds:
        for leads, gain in (("random", 0.0), ("I", 0.1)):
            for temperature in ("0.05", "0.07"):
                noise = 0.01 * RNG.normal()
                yield trial(leads, temperature, seed, 0.5 + 0.1 * seed + gain + noise)


def test_effects_are_paired_by_seed_and_by_the_other_settings():
    found = {(e.flag, e.value): e for e in effects.estimate(list(grid()))}
    assert set(found) == {("leads", "I"), ("clef.temperature", "0.07")}
    effect = found["leads", "I"]
    assert effect.reference == "random"
    assert effect.mean == pytest.approx(0.1, abs=0.02)
    low, high = effect.interval
    assert 0 < low < 0.1 < high
    wanted = scipy.stats.ttest_1samp(effect.by_seed, 0).confidence_interval()
    assert (low, high) == pytest.approx(tuple(wanted))
    low, high = found["clef.temperature", "0.07"].interval
    assert low < 0 < high


def test_one_seed_has_no_interval():
    effect, *_ = effects.estimate(list(grid(seeds=(1,))))
    assert np.isnan(effect.interval).all()


def test_missing_and_undefined_runs_have_no_effect():
    trials = [trial("random", "0.05", 1, 0.6), trial("I", "0.05", 1, np.nan)]
    assert list(effects.estimate(trials)) == []
    trials = [trial("random", "0.05", 1, 0.6), trial("I", "0.05", 2, 0.7)]
    assert list(effects.estimate(trials)) == []
    assert list(effects.estimate([])) == []


def test_the_page_shows_them(tmp_path):
    rows = [{"leads": "random", "seeds": "3", "task: auroc": "0.6"}]
    ablation.write(tmp_path, rows, {"design": "product"}, {}, list(grid()))
    page = (tmp_path / ablation.PAGE).read_text()
    assert page.count('role="img"') == 2
    assert_names(page, 'id="effects"', "leads: compared with random")
