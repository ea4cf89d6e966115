"""The command that times the grouped convolutions."""

import io
import re

import pytest
import rich.console
from culprits import assert_names, refuses

from clef_jax import autotune
from clef_jax.convolution import tuning as tuning_lib, tuning_file
from clef_jax.convolution.rules import Choice
from clef_jax.models import SIZES, cost

FLAGS = ["--size=tiny", "--window-seconds=0.2", "--batch-size=2", "--budget-seconds=2"]


def test_the_command_prints_a_table_and_keeps_the_choices(tmp_path, capsys):
    out = tmp_path / "choices.json"
    autotune.main([*FLAGS, f"--out={out}"])
    printed = capsys.readouterr().out
    layers = cost.conv_shapes(SIZES["tiny"], 100)
    assert_names(
        printed, "cpu", "2 signals", "100 samples", "float32", f"{len(layers)} convolutions"
    )
    assert re.search(r"[\d.]+ ms .* [\d.]+ ms", printed)
    kept = tuning_file.read(out)
    assert {one.shape for one in kept.measured} == set(layers)
    assert {one.dtype for one in kept.measured} == {"float32"}

    again = ["--precision=bfloat16", "--budget-seconds=0.01", f"--out={out}"]
    autotune.main([*FLAGS, *again])
    shown = capsys.readouterr().out
    assert_names(shown, "bfloat16")
    assert "--budget-seconds" in shown  # what would measure the forms that there was no time for
    both = tuning_file.read(out)
    assert set(kept.measured) < set(both.measured)
    assert {one.dtype for one in both.measured} == {"float32", "bfloat16"}


def test_the_file_of_another_device_is_left_alone(tmp_path):
    path = tmp_path / "choices.json"
    tpu = tuning_lib.results([], platform="tpu", device_kind="TPU v4", dtype="bfloat16")
    tuning_file.write(path, tpu)
    mine = tuning_lib.results([], platform="cpu", device_kind="cpu", dtype="float32")
    with refuses(path, "TPU v4 (tpu)", "cpu (cpu)", "--out"):
        autotune.keep(mine, path, rich.console.Console())
    assert tuning_file.read(path) == tpu


def times(table_seconds, best_seconds, *, count=1):
    layer = next(iter(cost.conv_shapes(SIZES["tiny"], 100)))
    by_table = Choice("toeplitz", 8)
    timed = [tuning_lib.Timed(Choice("taps"), best_seconds, None)]
    failed = (by_table,)
    if table_seconds is not None:
        timed.append(tuning_lib.Timed(by_table, table_seconds, 0.001))
        failed = ()
    return tuning_lib.ConvTimes(layer, count, by_table, tuple(timed), failed, ())


def test_the_sum_counts_layers_as_often_as_they_occur():
    (line,) = autotune.verdicts([times(0.004, 0.002, count=3), times(0.001, 0.002)])
    assert_names(line, "13.0 ms", "7.0 ms")


def test_a_form_that_cannot_run_is_shown_as_such():
    written = io.StringIO()
    console = rich.console.Console(file=written, width=150)
    console.print(autotune.table([times(None, 0.002), times(0.004, 0.002)]))
    shown = written.getvalue()
    assert "cannot run" in shown
    assert "toeplitz 8" in shown
    assert "2.00" in shown
    (line,) = autotune.verdicts([times(None, 0.002)])
    assert_names(line, "1")


@pytest.mark.parametrize(
    ("flag", "culprits"),
    [
        ("--size=smal", ("--size", "'smal'", "'small'")),
        ("--budget-seconds=0", ("--budget-seconds", "0")),
        ("--batch-size=-1", ("--batch-size", "-1")),
    ],
)
def test_wrong_flags_are_told(flag, culprits, capsys):
    with pytest.raises(SystemExit):
        autotune.main([flag])
    assert_names(capsys.readouterr().err, *culprits)


@pytest.mark.parametrize("content", ['{"mine": 1}', "no json"])
def test_another_file_is_refused_before_the_timing(tmp_path, capsys, monkeypatch, content):
    path = tmp_path / "mine.json"
    path.write_text(content)
    monkeypatch.setattr(tuning_lib, "measure", None)
    with pytest.raises(SystemExit):
        autotune.main([*FLAGS, f"--out={path}"])
    assert_names(capsys.readouterr().err, path)
    assert path.read_text() == content
