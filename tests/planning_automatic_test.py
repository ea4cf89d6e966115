"""Remat and microbatches that are `auto` are the cheapest that fit."""

import dataclasses
import json

import pytest
import rich.console
from culprits import assert_names, refuses
from training_step_test import CONFIG, SAMPLE_RATE_HZ

from clef_jax import mesh as mesh_lib, plan
from clef_jax.chip import CHIPS
from clef_jax.config import AUTO_MICROBATCHES, AUTO_REMAT, TrainConfig
from clef_jax.planning import automatic
from clef_jax.planning.memory import Memory
from clef_jax.training import arguments

AUTO = TrainConfig(
    data_dir="",
    workdir="",
    global_batch_size=64,
    remat=AUTO_REMAT,
    num_microbatches=AUTO_MICROBATCHES,
)


def pairs(config, num_devices=8):
    return [(x.remat, x.num_microbatches) for x in automatic.candidates(config, num_devices)]


def test_candidates_are_in_the_order_of_what_is_computed_again():
    parts = [2, 4, 8]
    want = [(False, 1), (True, 1), *((False, n) for n in parts), *((True, n) for n in parts)]
    assert pairs(AUTO) == want


def test_only_what_is_automatic_varies():
    assert pairs(dataclasses.replace(AUTO, num_microbatches=4)) == [(False, 4), (True, 4)]
    assert pairs(dataclasses.replace(AUTO, remat=True)) == [(True, n) for n in (1, 2, 4, 8)]
    odd = dataclasses.replace(AUTO, global_batch_size=30, remat=False)
    assert pairs(odd, 2) == [(False, n) for n in (1, 3, 5, 15)]
    settled = dataclasses.replace(AUTO, remat=False, num_microbatches=2)
    assert not settled.is_automatic
    assert pairs(settled) == [(False, 2)]


def memory(needed, available):
    return Memory(
        parameters_bytes=0,
        optimizer_bytes=0,
        batch_bytes=0,
        constants_bytes=0,
        arguments_bytes=0,
        temporaries_bytes=needed,
        available_bytes=available,
        fits=needed <= available,
    )


def memory_of(available):
    def needed(config):
        return memory((40 if config.remat else 100) // config.num_microbatches, available), True

    return needed


@pytest.mark.parametrize(
    ("available", "chosen"), [(100, (False, 1)), (99, (True, 1)), (30, (False, 4)), (6, (True, 8))]
)
def test_the_first_that_fits_is_taken(available, chosen):
    config, trials = automatic.choose(AUTO, 8, memory_of(available))
    assert (config.remat, config.num_microbatches) == chosen
    assert [trial.memory.fits for trial in trials] == [False] * (len(trials) - 1) + [True]
    assert automatic.table(trials).row_count == len(trials)


@pytest.mark.parametrize(
    ("settings", "advice"),
    [
        ({}, "--global-batch-size"),
        ({"remat": True}, "--remat=auto"),
        ({"num_microbatches": 1}, "--num-microbatches=auto"),
    ],
)
def test_nothing_that_fits_is_an_error_with_what_was_not_tried(settings, advice):
    with refuses(advice, problem="nothing_fits"):
        automatic.choose(dataclasses.replace(AUTO, **settings), 8, memory_of(1))


def test_a_batch_that_the_devices_do_not_divide_is_refused():
    few = dataclasses.replace(AUTO, global_batch_size=4)
    with refuses("--global-batch-size=4"):
        automatic.settle(few, mesh_lib.make_mesh(), 500.0, rich.console.Console(quiet=True))
    with pytest.raises(SystemExit):
        plan.main(["--size=tiny", "--topology=h100:8", "--global-batch-size=4", "--remat=auto"])


def test_a_cpu_recomputes_nothing():
    mesh = mesh_lib.make_mesh()
    console = rich.console.Console(quiet=True)
    settled = automatic.settle(AUTO, mesh, 500.0, console)
    assert (settled.remat, settled.num_microbatches) == (False, 1)
    given = dataclasses.replace(AUTO, remat=True, num_microbatches=2)
    assert automatic.settle(given, mesh, 500.0, console) is given


@pytest.mark.slow
def test_the_devices_of_a_run_are_compiled_for(monkeypatch, capsys):
    config = dataclasses.replace(CONFIG, precision="float32", remat=AUTO_REMAT)
    mesh, console = mesh_lib.make_mesh(), rich.console.Console()
    limits = []

    def chip(_):
        return CHIPS["h100"], limits[-1]

    monkeypatch.setattr(automatic, "_chip", chip)
    monkeypatch.setattr(mesh_lib, "platform", lambda _: "gpu")
    limits.append(2**30)
    assert automatic.settle(config, mesh, SAMPLE_RATE_HZ, console).remat is False
    _, trials = automatic.choose(
        config, mesh.size, lambda x: (memory(2 if x.remat else 5, 3), True)
    )
    assert trials[-1].config.remat
    limits.append(1)
    with refuses("remat", problem="nothing_fits"):
        automatic.settle(config, mesh, SAMPLE_RATE_HZ, console)
    assert_names(capsys.readouterr().out, "without remat")


def test_a_plan_shows_what_it_tried(monkeypatch, capsys):
    flags = ["--size=tiny", "--topology=h100:2", "--global-batch-size=64"]
    flags += ["--remat=auto", "--num-microbatches=auto"]
    monkeypatch.setenv("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.0003")
    plan.main(flags)
    printed = capsys.readouterr().out
    assert_names(printed, "Remat and microbatches", "tiny, clef, bfloat16, remat")


@pytest.mark.parametrize(
    ("flags", "remat", "num_microbatches"),
    [
        ([], False, 1),
        (["--remat", "--num-microbatches=4"], True, 4),
        (["--remat=True"], True, 1),
        (["--no-remat"], False, 1),
        (["--remat=auto", "--num-microbatches=auto"], AUTO_REMAT, AUTO_MICROBATCHES),
    ],
)
def test_the_command_line_takes_auto(flags, remat, num_microbatches):
    parsed = arguments.parse(["--data-dir=a", "--workdir=b", *flags])
    assert parsed.remat is remat
    assert parsed.num_microbatches == num_microbatches


@pytest.mark.parametrize("flag", ["--remat=maybe", "--num-microbatches=0"])
def test_other_values_are_refused(flag, capsys):
    with pytest.raises(SystemExit):
        arguments.parse(["--data-dir=a", "--workdir=b", flag])
    assert_names(capsys.readouterr().err, flag, "auto")


def test_the_largest_batch_has_whole_microbatches(tmp_path, monkeypatch):
    monkeypatch.setenv("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.001")
    path = tmp_path / "plan.json"
    flags = ["--size=tiny", "--topology=h100:1", "--global-batch-size=12", f"--json={path}"]
    plan.main([*flags, "--num-microbatches=3", "--search-batch"])
    found = json.loads(path.read_text())["search"]
    assert found["rows"] > 12
    assert {trial["rows"] % 3 for trial in found["trials"]} == {0}
