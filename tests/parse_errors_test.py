"""Sentences about wrong arguments, with exit code 2, whatever tyro would print."""

import sys

import pytest
from culprits import assert_names

from clef_jax import __main__ as program, command_line, parse_errors
from clef_jax.embedding import settings

TRAIN = ("train", "--data-dir=d", "--workdir=w")
EMBED = ("embed", "--model=m", "--input=i", "--out=o.npz")


def refusal(capsys, *argv: str) -> str:
    """Returns the message about arguments that a command must refuse."""
    with pytest.raises(SystemExit) as stopped:
        program.main(argv)
    assert stopped.value.code == command_line.WRONG_ARGUMENTS
    shown = capsys.readouterr()
    assert not shown.out
    assert shown.err.startswith("Error: ")
    return shown.err


@pytest.fixture(autouse=True)
def as_the_program(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/usr/bin/clef-jax"])


@pytest.mark.parametrize(
    ("argv", "culprits"),
    [
        (("train", "--versoin=3"), ("clef-jax train", "'--versoin'", "'--version'")),
        ((*TRAIN, "--siez=small"), ("clef-jax train", "'--siez'", "'--size'")),
        ((*TRAIN, "--siez", "small"), ("'--siez'", "'--size'")),
        ((*TRAIN, "--clef.temprature=1"), ("'--clef.temperature'",)),
        ((*TRAIN, "--objective=simclr", "--simclr.temprature=1"), ("'--simclr.temperature'",)),
        (("train", "--data_dri=d"), ("'--data_dri'", "'--data-dir'")),
        (("convert", "to-onnx", "--modle=3"), ("clef-jax convert to-onnx", "'--model'")),
        (("convert", "to-onxx"), ("clef-jax convert", "'to-onxx'", "'to-onnx'")),
        (("convert",), ("clef-jax convert", "to-onnx", "from-torch")),
        ((*TRAIN, "surplus"), ("clef-jax train", "'surplus'")),
        ((*TRAIN, "--precision=flot32"), ("--precision", "'flot32'", "'float32'")),
        ((*TRAIN, "--num-steps=many"), ("--num-steps=many", "a whole number or None")),
        ((*TRAIN, "--learning_rate", "high"), ("--learning-rate=high", "a number")),
        ((*TRAIN, "--band-hz", "1"), ("--band-hz", "2 values")),
        ((*TRAIN, "--size=smol"), ("'smol'", "'small'")),
        ((*TRAIN, "--preset=papr"), ("'papr'", "'paper'")),
        ((*TRAIN, "--seed=-1"), ("--seed",)),
        ((*TRAIN, "--clef.temperature=0"), ("temperature=0.0",)),
        (("embed", "--model"), ("--model", "1 value.")),
        ((*EMBED, "--windows=foo"), ("--windows", "'foo'")),
        ((*EMBED, "--unit=foo"), ("'foo'", "adc")),
        ((*EMBED, "--sample-rate-hz=0"), ("--sample-rate-hz=0",)),
        (("embed", "--model=m", "--input=i", "--out=o.txt"), ("--out=o.txt",)),
        (("plan", "--topology=v5"), ("--topology=v5",)),
        (("plan", "--topology=v5x:2x2"), ("--topology=v5x:2x2", "v5e")),
    ],
)
def test_a_wrong_argument_is_a_sentence_that_names_it(argv, culprits, capsys):
    shown = refusal(capsys, *argv)
    assert_names(shown, *culprits)
    assert "Config" not in shown


def test_missing_options_are_named_with_the_command(capsys):
    with pytest.raises(SystemExit) as stopped:
        program.main(["train"])
    assert stopped.value.code == command_line.WRONG_ARGUMENTS
    assert_names(capsys.readouterr().err, "clef-jax train", "--data-dir", "--workdir")


@pytest.mark.parametrize("hook", [None, object()])
def test_without_its_hook_tyro_prints_its_own_box(hook, capsys, monkeypatch):
    """The hook is no part of tyro that its makers promise to keep."""
    monkeypatch.setattr(parse_errors, "tyro_errors", hook)
    with pytest.raises(SystemExit) as stopped:
        program.main([*TRAIN, "--siez=small"])
    assert stopped.value.code == command_line.WRONG_ARGUMENTS
    assert_names(capsys.readouterr().err, "--siez")


def test_an_error_that_tyro_describes_otherwise_is_left_to_its_box():
    class UnrecognizedArgs:
        """Has no `tokens`."""

    with parse_errors.sentences(settings.Config, [], "clef-jax embed"):
        parse_errors.tyro_errors._fire(UnrecognizedArgs())
