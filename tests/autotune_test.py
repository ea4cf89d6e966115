"""The command that times the grouped convolutions."""

import io
import re

import pytest
import rich.console

from clef_jax import autotune
from clef_jax.convolution import tuning as tuning_lib, tuning_file
from clef_jax.convolution.rules import Choice
from clef_jax.models import SIZES

FLAGS = ["--size=tiny", "--window-seconds=0.2", "--batch-size=2", "--budget-seconds=2"]


def test_the_command_prints_a_table_and_keeps_the_choices(tmp_path, capsys):
    out = tmp_path / "choices.json"
    autotune.main([*FLAGS, f"--out={out}"])
    printed = capsys.readouterr().out
    layers = tuning_lib.layers(SIZES["tiny"], 100)
    assert "cpu, 2 signals of 100 samples, float32." in printed
    assert f"{len(layers)} layers are in" in printed
    assert re.search(r"All convolutions together: [\d.]+ ms by the table, [\d.]+ ms", printed)
    kept = tuning_file.read(out)
    assert {one.layer for one in kept.measured} == set(layers)
    assert {one.dtype for one in kept.measured} == {"float32"}

    again = ["--precision=bfloat16", "--budget-seconds=0.01", f"--out={out}"]
    autotune.main([*FLAGS, *again])
    assert "There was no time for" in capsys.readouterr().out
    both = tuning_file.read(out)
    assert set(kept.measured) < set(both.measured)
    assert {one.dtype for one in both.measured} == {"float32", "bfloat16"}


def test_the_file_of_another_device_is_left_alone(tmp_path):
    path = tmp_path / "choices.json"
    tpu = tuning_lib.choices([], platform="tpu", device_kind="TPU v4", dtype="bfloat16")
    tuning_file.write(path, tpu)
    mine = tuning_lib.choices([], platform="cpu", device_kind="cpu", dtype="float32")
    with pytest.raises(autotune.UserError, match="holds the choices for TPU v4"):
        autotune.keep(mine, path, rich.console.Console())
    assert tuning_file.read(path) == tpu


def times(table_seconds, best_seconds, *, count=1):
    layer = next(iter(tuning_lib.layers(SIZES["tiny"], 100)))
    by_table = Choice("toeplitz", 8)
    timed = [tuning_lib.Timed(Choice("taps"), best_seconds, None)]
    failed = (by_table,)
    if table_seconds is not None:
        timed.append(tuning_lib.Timed(by_table, table_seconds, 0.001))
        failed = ()
    return tuning_lib.LayerTimes(layer, count, by_table, tuple(timed), failed, ())


def test_the_sum_counts_layers_as_often_as_they_occur():
    (line,) = autotune.verdicts([times(0.004, 0.002, count=3), times(0.001, 0.002)])
    assert line.startswith("All convolutions together: 13.0 ms by the table, 7.0 ms")


def test_a_form_that_cannot_run_is_shown_as_such():
    written = io.StringIO()
    console = rich.console.Console(file=written, width=150)
    console.print(autotune.table([times(None, 0.002), times(0.004, 0.002)]))
    shown = written.getvalue()
    assert "cannot run" in shown
    assert "toeplitz 8" in shown
    assert "2.00" in shown
    assert autotune.verdicts([times(None, 0.002)]) == [
        "This device cannot run 1 forms at this batch."
    ]


@pytest.mark.parametrize(
    ("flag", "sentence"),
    [
        ("--size=smal", "did you mean 'small'"),
        ("--budget-seconds=0", "--budget-seconds must be above 0, not 0"),
        ("--batch-size=-1", "--batch-size must be above 0, not -1"),
    ],
)
def test_wrong_flags_are_told(flag, sentence, capsys):
    with pytest.raises(SystemExit):
        autotune.main([flag])
    assert sentence in capsys.readouterr().err
