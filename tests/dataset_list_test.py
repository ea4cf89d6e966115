import pytest
from culprits import refuses

from clef_jax import dataset_list
from clef_jax.config import TrainConfig
from clef_jax.dataset_list import Entry
from clef_jax.training import arguments


def test_one_name_is_a_list_without_weights():
    assert dataset_list.parse("ptb_xl/100hz") == (Entry("ptb_xl/100hz", None),)
    assert dataset_list.normal("ptb_xl:0.3") == "ptb_xl"


def test_several_names_have_weights_or_none():
    several = (Entry("a", 0.5), Entry("b/x", 2.0))
    assert dataset_list.parse("a:.5, b/x:2") == dataset_list.parse("a:0.5 b/x:2.0") == several
    assert dataset_list.parse("a b") == (Entry("a", None), Entry("b", None))


@pytest.mark.parametrize(
    ("text", "problem", "culprit"),
    [
        ("", "no_dataset", "--dataset"),
        ("a:1 b", "missing_weight", "b"),
        ("a:1 b:0", "wrong_weight", "b:0"),
        ("a:1 b:half", "wrong_weight", "b:half"),
        ("a:1 b:inf", "wrong_weight", "b:inf"),
        ("a:1 :2", "wrong_weight", ":2"),
        ("a/x:1 b:1 a/y:1", "duplicate_dataset", "a"),
    ],
)
def test_wrong_lists_are_refused(text, problem, culprit):
    with refuses(culprit, problem=problem):
        dataset_list.parse(text)


def test_settings_keep_one_spelling():
    def make(dataset):
        return TrainConfig(data_dir="", workdir="", dataset=dataset)

    assert make("a:.5,b:0.50").dataset == make("a:0.5  b:.5").dataset == "a:0.5 b:0.5"
    assert make("mimic_iv_ecg/all_records").dataset == "mimic_iv_ecg/all_records"


@pytest.mark.parametrize(
    "given", [["--dataset", "a:0.5", "b:0.5"], ["--dataset=a:0.5 b:0.5"], ["--dataset=a:.5,b:.5"]]
)
def test_the_command_line_takes_a_list(given):
    config = arguments.parse([*given, "--data-dir=d", "--workdir=w"])
    assert config.dataset == "a:0.5 b:0.5"
    assert config.datasets == (Entry("a", 0.5), Entry("b", 0.5))
    assert arguments.parse(["--dataset=a", "--data-dir=d", "--workdir=w"]).dataset == "a"
