import dataclasses

import pytest
from culprits import assert_names, refuses

from clef_jax import config as config_lib, leads, objectives
from clef_jax.config import TrainConfig, differences, saved


def make(**settings):
    return TrainConfig(data_dir="data", workdir="run", **settings)


def test_defaults_are_the_papers():
    config = make()
    assert config.loss_config == objectives.preset("clef", "paper").config
    assert (config.learning_rate, config.weight_decay, config.global_batch_size) == (1e-4, 5e-4, 64)
    assert config.lead_names == leads.STANDARD_12
    assert config.total_steps(161_352 // 64) == 100 * (161_352 // 64)


def test_num_steps_overrides_num_epochs():
    assert make(num_steps=7, num_epochs=1000).total_steps(10) == 7


def test_leads_are_read_by_name_in_any_spelling():
    assert make(leads="ii,AVR,ii").lead_names == ("II", "aVR")


@pytest.mark.parametrize(
    ("settings", "culprits"),
    [
        ({"size": "larg"}, ("'larg'", "'large'")),
        ({"objective": "clf"}, ("'clf'", "clef")),
        ({"preset": "papr"}, ("'papr'", "paper")),
        ({"leads": "I,V9"}, ("V9",)),
        ({"leads": "X"}, ("--leads=X",)),
        ({"global_batch_size": 1}, ("--global-batch-size", "2")),
        ({"num_steps": 0}, ("--num-steps", "1", "0")),
        ({"same_lead_fraction": 1.5}, ("--same-lead-fraction", "0", "1")),
        ({"window_seconds": float("nan")}, ("--window-seconds=nan",)),
        ({"window_seconds": 0.0}, ("--window-seconds", "above 0")),
        ({"num_epochs": float("inf")}, ("--num-epochs=inf",)),
        ({"num_epochs": -1.0}, ("--num-epochs", "-1.0")),
        ({"band_hz": (float("nan"), 40.0)}, ("--band-hz=", "nan")),
        ({"read_threads": 0}, ("--read-threads", "1", "0")),
        ({"warmup_steps": -1}, ("--warmup-steps", "-1")),
        ({"learning_rate": 1e-9}, ("--learning-rate", "--min-learning-rate")),
    ],
)
def test_bad_settings_are_refused_by_name(settings, culprits):
    with refuses(*culprits, error=ValueError):
        make(**settings)


def test_saved_configuration_comes_back():
    config = make(preset="released", band_hz=(1.0, 30.0), leads="I")
    back = config_lib.from_saved(config_lib.saved(config))
    assert config_lib.saved(back) == config_lib.saved(config)
    assert back.loss_config == config.loss_config
    assert back.band_hz == (1.0, 30.0)


def test_only_differences_that_matter_are_told():
    old = config_lib.saved(make())
    assert config_lib.differences(old, config_lib.saved(make(num_steps=9, read_threads=5))) == []
    told = config_lib.differences(old, config_lib.saved(make(seed=1, preset="released")))
    assert_names("; ".join(told), "seed", "42", "1", "objective_config.nce_weight")


def test_a_longer_run_stretches_the_cosine():
    old, new = (config_lib.saved(make(schedule="cosine", num_steps=n)) for n in (5, 9))
    (difference,) = config_lib.differences(old, new)
    assert_names(difference, "num_steps", "5", "9", "cosine")


def test_what_may_change_is_declared_with_each_setting():
    fields = dataclasses.fields(TrainConfig)
    assert {f.name for f in fields if f.metadata.get("resumable")} == TrainConfig.FREE_TO_CHANGE
    assert {f.name for f in fields if f.metadata.get("per_process")} == TrainConfig.PER_PROCESS
    assert {"num_steps", "read_threads", "workdir"} <= TrainConfig.FREE_TO_CHANGE
    assert {"process_id", "workdir"} <= TrainConfig.PER_PROCESS <= TrainConfig.FREE_TO_CHANGE
    decides = {"seed", "size", "global_batch_size", "schedule", "learning_rate", "precision"}
    assert not decides & TrainConfig.FREE_TO_CHANGE


def test_a_declared_setting_keeps_its_default_and_those_without_one_are_required():
    assert make().read_threads == 2
    with pytest.raises(TypeError, match="workdir"):
        TrainConfig(data_dir="data")


def test_a_run_from_before_a_setting_had_its_default():
    now = saved(TrainConfig(data_dir="", workdir=""))
    old = {name: value for name, value in now.items() if name != "window_start"}
    assert differences(old, now) == []
    assert differences(old, {**now, "window_start": "random"}) == [
        "window_start was 'record_start', now 'random'"
    ]
