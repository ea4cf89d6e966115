"""Files of tuning results are validated, complete, and specific to a kind of device."""

import dataclasses
import json
import types

import pytest
from culprits import refuses

from clef_jax.convolution import tuning_file
from clef_jax.convolution.rules import Choice, ConvShape, TuningResult, TuningResults

LAYER = ConvShape(length=64, taps=16, group_channels=4, channels=8, groups=2, stride=1)
CHOICES = TuningResults(
    "gpu",
    "NVIDIA H200",
    (
        TuningResult(LAYER, "bfloat16", Choice("taps")),
        TuningResult(LAYER._replace(stride=2), "bfloat16", Choice("toeplitz", 4)),
    ),
)
DEVICE = types.SimpleNamespace(platform="gpu", device_kind="NVIDIA H200")
OTHER = types.SimpleNamespace(platform="gpu", device_kind="NVIDIA H100 80GB HBM3")


def test_what_was_written_is_read(tmp_path):
    path = tmp_path / "new" / "choices.json"
    tuning_file.write(path, CHOICES)
    assert tuning_file.read(path) == CHOICES
    assert [one.name for one in path.parent.iterdir()] == ["choices.json"]


def test_auto_takes_the_file_of_the_kind_of_device_and_else_the_table(tmp_path):
    folder = str(tmp_path)
    assert tuning_file.load("auto", DEVICE, folder) is None
    tuning_file.write(tuning_file.path_of(DEVICE.device_kind, folder), CHOICES)
    assert tuning_file.load("auto", DEVICE, folder) == CHOICES
    assert tuning_file.load("auto", OTHER, folder) is None
    assert tuning_file.load("table", DEVICE, folder) is None
    assert (tmp_path / "nvidia_h200.json").exists()
    assert tuning_file.path_of("TPU v5 lite").name == "tpu_v5_lite.json"


def test_a_file_of_another_device_is_refused(tmp_path):
    path = tmp_path / "choices.json"
    tuning_file.write(path, CHOICES)
    assert tuning_file.load(str(path), DEVICE) == CHOICES
    with refuses(path, "NVIDIA H200", "NVIDIA H100", problem="other_device"):
        tuning_file.load(str(path), OTHER)


def changed(**changes):
    values = tuning_file.to_json(CHOICES)
    values["choices"][0] |= changes
    return json.dumps(values)


@pytest.mark.parametrize(
    ("text", "culprit"),
    [
        ("{", "Expecting"),
        ("[]", "list"),
        (json.dumps(tuning_file.to_json(CHOICES) | {"version": 2}), "version 2"),
        (changed(form="fourier"), "'fourier'"),
        (changed(block=0), "0"),
        (changed(stride="2"), "'2'"),
        (json.dumps({"version": 1}), "choices"),
    ],
)
def test_a_file_that_is_something_else_is_told(tmp_path, text, culprit):
    path = tmp_path / "choices.json"
    path.write_text(text)
    with refuses(path, culprit, problem="unreadable_choices"):
        tuning_file.read(path)


def test_a_missing_file_is_told(tmp_path):
    with refuses(tmp_path / "nothing.json", problem="missing_file"):
        tuning_file.load(str(tmp_path / "nothing.json"), DEVICE)


def test_new_choices_replace_old_ones_of_the_same_layer_only():
    new = TuningResult(LAYER, "bfloat16", Choice("lax"))
    wide = TuningResult(LAYER, "float32", Choice("dense"))
    found = tuning_file.merged(CHOICES, TuningResults("gpu", "NVIDIA H200", (new, wide)))
    assert found.find(LAYER, "bfloat16") == Choice("lax")
    assert found.find(LAYER, "float32") == Choice("dense")
    assert found.find(LAYER._replace(stride=2), "bfloat16") == Choice("toeplitz", 4)
    assert len(found.measured) == 3


def test_a_run_keeps_the_choices_of_its_first_start(tmp_path):
    device = types.SimpleNamespace(platform=CHOICES.platform, device_kind=CHOICES.device_kind)
    file, workdir = tmp_path / "measured.json", tmp_path / "run"
    assert tuning_file.load_for_run("table", device, workdir) is None
    tuning_file.write(file, CHOICES)
    assert tuning_file.load_for_run(str(file), device, workdir) == CHOICES
    tuning_file.write(file, dataclasses.replace(CHOICES, measured=()))
    assert tuning_file.load_for_run(str(file), device, workdir) == CHOICES
    assert tuning_file.load_for_run("table", device, workdir) is None
    other = types.SimpleNamespace(platform="gpu", device_kind="another")
    assert tuning_file.load_for_run(str(file), other, workdir) is None
