"""The comparison of frameworks: turns, ratios, and the same network in each."""

import importlib.util
import io
import itertools

import benchmark_modules
import pytest
import rich.console

train_step = benchmark_modules.load("train_step")
worker = benchmark_modules.load("step_worker")


class Runs:
    """Stands for a process."""

    log: list[str] = []

    def __init__(self, config):
        self.config, self.setup_seconds = config, 4.0
        self.is_closed = False
        speed = {"jax": 1.0, "torch": 2.0, "torch_compile": 1.5}[config.framework]
        self.seconds = iter(speed * x for x in itertools.cycle((9.0, 1.0, 2.0, 4.0)))

    def run(self, program):
        Runs.log.append(f"{self.config.framework} {program}")
        return next(self.seconds)

    def close(self):
        self.is_closed = True


def compare(frameworks=("jax", "torch", "torch_compile")):
    Runs.log = []
    settings = train_step.Settings(batch_size=4, repeats=3, threads=1)
    return settings, train_step.compare(settings, "tiny", frameworks, Runs)


def test_frameworks_take_turns_and_the_first_turn_does_not_count():
    _, (step, forward) = compare()
    assert Runs.log[:4] == ["jax step", "torch step", "torch_compile step", "jax step"]
    assert len(Runs.log) == 2 * 4 * 3
    assert step.seconds == {"jax": 2.0, "torch": 4.0, "torch_compile": 3.0}
    assert step.times_faster == {"torch": (2.0, 2.0, 2.0), "torch_compile": (1.5, 1.5, 1.5)}
    assert forward.program == "forward"
    assert forward.setup_seconds["torch"] == 4.0


def test_ratios_are_within_one_turn():
    turns = {"jax": [1.0, 2.0, 4.0], "torch": [3.0, 2.0, 6.0]}
    assert train_step.times_faster(turns) == {"torch": (1.5, 1.0, 3.0)}


def test_the_table_has_a_row_for_each_other_framework():
    for frameworks, rows in ((("jax", "torch", "torch_compile"), 4), (("jax",), 2)):
        settings, found = compare(frameworks)
        table = train_step.table(settings, found)
        assert table.row_count == rows
        shown = io.StringIO()
        rich.console.Console(file=shown, width=160).print(table)
        assert ("torch.compile" in shown.getvalue()) == (rows == 4)


def test_workers_are_closed_when_one_ends_early():
    started = []

    def start(config):
        if config.framework == "torch":
            raise train_step.WorkerEnded("ended")
        started.append(Runs(config))
        return started[-1]

    settings = train_step.Settings(repeats=1)
    with pytest.raises(train_step.WorkerEnded):
        train_step.compare(settings, "tiny", ("jax", "torch"), start)
    assert [one.is_closed for one in started] == [True]


def test_without_pytorch_only_ours_is_run(monkeypatch):
    settings = train_step.Settings()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    frameworks, reasons = train_step.available(settings)
    assert frameworks == ["jax"]
    assert "not installed" in reasons[0]


def test_without_a_compiler_pytorch_runs_eagerly(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(train_step.shutil, "which", lambda name: None)
    frameworks, reasons = train_step.available(train_step.Settings())
    assert frameworks == ["jax", "torch"]
    assert "C++ compiler" in reasons[0]


@pytest.mark.parametrize("framework", ["jax", "torch"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_programs_of_a_worker_run(framework, precision):
    if framework == "torch":
        pytest.importorskip("torch", reason="the extra `torch` is not installed")
    config = worker.Config(
        framework=framework, size="tiny", batch_size=2, num_samples=200, precision=precision
    )
    make = worker.make_jax if framework == "jax" else worker.make_torch
    programs = make(config)
    assert set(programs) == set(train_step.PROGRAMS)
    for program in programs.values():
        program()
        program()
