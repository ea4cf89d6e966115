import dataclasses

import pytest
from culprits import refuses

from clef_jax import objectives
from clef_jax.config import TrainConfig
from clef_jax.training import arguments

PLACES = ["--data-dir=d", "--workdir=w"]


def test_defaults():
    config = arguments.parse(PLACES)
    assert config.loss_config == objectives.preset("clef", "paper").config
    assert (config.data_dir, config.workdir, config.size) == ("d", "w", "small")


def test_flags_that_scripts_rely_on():
    flags = "--size=large --dataset=mimic_iv_ecg/all_records --global-batch-size=32 --num-steps=7"
    flags += " --seed=1 --learning-rate=1e-3 --weight-decay=0 --objective=simclr --preset=paper"
    flags += " --leads=I --precision=bfloat16 --num-epochs=3"
    config = arguments.parse([*PLACES, *flags.split()])
    assert config.size == "large"
    assert config.dataset == "mimic_iv_ecg/all_records"
    assert config.loss_config == objectives.preset("simclr", "paper").config
    assert config.lead_names == ("I",)
    assert (config.num_steps, config.seed, config.learning_rate) == (7, 1, 1e-3)


def test_preset_sets_the_objective_and_its_own_flags_win():
    config = arguments.parse([*PLACES, "--preset=released", "--clef.temperature=0.1"])
    released = objectives.preset("clef", "released").config
    assert config.loss_config == dataclasses.replace(released, temperature=0.1)


def test_cohort_distances_can_be_asked_for_before_the_data_is_known():
    config = arguments.parse([*PLACES, "--clef.risk-distance=rank"])
    assert config.loss_config.risk_distance == "rank"


@pytest.mark.parametrize(
    ("flag", "nearest"),
    [("--size=smal", "small"), ("--objective=cleff", "clef"), ("--preset=relesed", "released")],
)
def test_unknown_names_are_refused_with_the_nearest(flag, nearest):
    with refuses(nearest):
        arguments.parse([*PLACES, flag])


def test_unknown_flag_is_refused_with_the_nearest(capsys):
    with pytest.raises(SystemExit) as error:
        arguments.parse([*PLACES, "--lerning-rate=1"])
    assert error.value.code != 0
    assert "--learning-rate" in capsys.readouterr().err


def test_help_tells_every_setting(capsys):
    with pytest.raises(SystemExit):
        arguments.parse(["--help"])
    text = capsys.readouterr().out
    for field in dataclasses.fields(TrainConfig):
        if field.name not in ("objective_config", "augment"):
            assert "--" + field.name.replace("_", "-") in text, field.name
    assert "--clef.temperature" in text


@dataclasses.dataclass(frozen=True, kw_only=True)
class Own:
    """Settings of a command that uses the settings of a run."""

    machine: str
    """Name of the machine."""


def test_a_command_may_add_settings_of_its_own():
    default = TrainConfig(data_dir="", workdir="")
    flags = ["--machine=big", "--size=large", "--clef.temperature=0.5"]
    run, own = arguments.parse_beside(flags, Own, default=default, command="look")
    assert own == Own(machine="big")
    assert (run.size, run.data_dir, run.loss_config.temperature) == ("large", "", 0.5)
    with refuses("'smal'", "small"):
        arguments.parse_beside(["--machine=x", "--size=smal"], Own, default=default, command="look")
