"""Settings of a scored run: public data only, and no contradiction."""

import pytest
from culprits import assert_names

from clef_jax.errors import UserError
from clef_jax.speedrunning.settings import Config, check_public


def make(**settings):
    return Config(**({"data_dir": "data", "out": "out"} | settings))


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"dataset": ("mimic_iv_ecg:0.5", "ptb_xl:0.5")}, "credentialed_data"),
        ({"dataset": ("mc_med",)}, "credentialed_data"),
        ({"dataset": ("ptbxl",)}, "not_public"),
        ({"data_dir": ""}, "missing_flag"),
        ({"out": ""}, "missing_flag"),
        ({"test_folds": ()}, "wrong_folds"),
        ({"test_folds": (0, 9)}, "wrong_folds"),
        ({"test_folds": tuple(range(1, 11))}, "wrong_folds"),
        ({"train": "--exclude=strat_fold=1"}, "flag_of_the_command"),
        ({"train": "--num_steps 5"}, "flag_of_the_command"),
        ({"train": "--risk-table=risks.csv"}, "own_file"),
        ({"model": "untrained", "objective": "simclr"}, "model_is_not_trained"),
        ({"seed": -1}, "invalid_seed"),
        ({"size": "smal"}, "unknown_size"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(settings, problem):
    with pytest.raises(UserError) as caught:
        make(**settings)
    assert caught.value.problem == problem


@pytest.mark.parametrize(
    ("settings", "culprit"),
    [
        ({"minutes": 0.0}, "--minutes"),
        ({"minutes": float("nan")}, "--minutes"),
        ({"price_per_hour": -1.0}, "--price-per-hour"),
        ({"num_steps": 0}, "--num-steps"),
        ({"check": 0}, "--check"),
        ({"num_resamples": 10}, "--num-resamples"),
        ({"train": '"'}, "--train"),
    ],
)
def test_wrong_numbers_are_named(settings, culprit):
    with pytest.raises(UserError) as caught:
        make(**settings)
    assert_names(str(caught.value), culprit)


def test_public_data_sets_are_taken_with_config_and_weight():
    for name in ("ptb_xl/500hz", "chapman:0.3", "cinc2017"):
        check_public(name)


def test_the_table_stands_beside_the_records_unless_it_is_named():
    assert make(records="a/b.jsonl").table_path == make(records="a/b.jsonl").records_path.parent / (
        "b.md"
    )
    assert make(table="c.md").table_path.name == "c.md"
    assert make(render=True, data_dir="", out="").render
