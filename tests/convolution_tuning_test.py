"""Tuning times the network's convolutions within its limit, and selects the fastest."""

import collections

import jax
import numpy as np
import pytest
from culprits import refuses

from clef_jax.convolution import tuning
from clef_jax.convolution.program import ConvPrograms
from clef_jax.convolution.rules import Choice, ConvShape, default_choice, use_tuning

LAYER = ConvShape(length=30, taps=16, group_channels=4, channels=8, groups=2, stride=2)


class Machine:
    """A clock that advances only when programs are compiled and run."""

    def __init__(self, run_seconds, *, compile_seconds=1.0, cannot=()):
        self.now, self.run_seconds, self.compile_seconds = 0.0, run_seconds, compile_seconds
        self.cannot, self.batch_size = cannot, 4
        self.runs = collections.Counter()

    def clock(self):
        return self.now

    def program(self, choice):
        self.now += self.compile_seconds
        if choice in self.cannot:
            return None

        def run():
            self.runs[choice] += 1
            self.now += self.run_seconds.get(choice, 1.0)

        return run

    training = forward = program


def time_conv(machine, budget_seconds=1000.0):
    return tuning.time_conv(LAYER, 1, "cpu", machine, deadline=budget_seconds, clock=machine.clock)


@pytest.mark.parametrize("platform", ["cpu", "gpu", "tpu"])
def test_candidates_begin_with_the_table_and_hold_no_form_twice(platform):
    for layer in (LAYER, LAYER._replace(groups=64), LAYER._replace(group_channels=48)):
        found = tuning.candidates(platform, layer)
        assert found[0] == default_choice(platform, layer.group_channels, layer.groups)
        assert len(set(found)) == len(found) > 5
        assert [c.implementation for c in found].count("lax") == 1
        if platform != "tpu":
            assert ("dense" in {c.implementation for c in found}) == (layer.groups <= 32)


def test_the_fastest_form_wins_and_a_hopeless_one_is_run_once():
    machine = Machine({Choice("taps"): 0.5, Choice("dense"): 9.0})
    found = time_conv(machine)
    assert found.best.choice == Choice("taps")
    assert found.best.training_seconds == 0.5
    assert found.best.forward_seconds == 0.5
    assert found.timed_default is not None
    assert found.timed_default.forward_seconds == 1.0
    assert machine.runs[Choice("dense")] == 1
    assert machine.runs[Choice("lax")] > 3
    assert not found.skipped
    assert not found.failed


def test_the_table_stands_where_another_form_is_hardly_faster():
    assert time_conv(Machine({Choice("taps"): 0.97})).best.choice == Choice("toeplitz", 8)
    assert time_conv(Machine({Choice("taps"): 0.94})).best.choice == Choice("taps")


def test_a_short_budget_times_the_table_and_tells_what_was_skipped():
    machine = Machine({}, compile_seconds=10.0)
    found = time_conv(machine, budget_seconds=25.0)
    assert [one.choice for one in found.timed] == [Choice("toeplitz", 8), Choice("lax")]
    assert len(found.skipped) == 5
    assert found.best.choice == Choice("toeplitz", 8)


def test_forms_that_cannot_run_are_told_and_the_others_go_on():
    found = time_conv(Machine({}, cannot={Choice("toeplitz", 8), Choice("dense")}))
    assert set(found.failed) == {Choice("toeplitz", 8), Choice("dense")}
    assert found.timed_default is None
    assert found.best.choice not in found.failed
    everything = tuning.candidates("cpu", LAYER)
    with refuses("--batch-size", problem="no_form_runs"):
        time_conv(Machine({}, cannot=everything))


def test_forms_take_turns():
    order = []
    choices = [Choice("lax"), Choice("taps")]
    programs = {choice: lambda choice=choice: order.append(choice) for choice in choices}
    now = iter(range(1000))
    tuning._interleaved(programs, deadline=0.0, clock=lambda: float(next(now)))
    assert order == choices * 3


def test_time_that_a_layer_leaves_goes_to_the_next(monkeypatch):
    deadlines = []

    def time_conv(layer, count, platform, programs, *, deadline, clock):
        deadlines.append(deadline)
        return layer

    monkeypatch.setattr(tuning, "time_conv", time_conv)
    counts = {LAYER._replace(length=length): 1 for length in (10, 20, 30)}
    now = iter([0.0, 0.0, 2.0, 30.0])
    measured = tuning.measure(
        counts, platform="cpu", dtype="float32", batch_size=2, budget_seconds=30.0,
        clock=lambda: next(now),
    )  # fmt: skip
    assert len(list(measured)) == 3
    assert deadlines == [10.0, 16.0, 30.0]


def test_programs_compute_the_convolution_and_its_gradients():
    programs = ConvPrograms(LAYER, "float32", 3)
    x, kernel, gradient = programs._arrays
    assert x.shape == (3, 30, 8)
    assert kernel.shape == (16, 4, 8)
    assert gradient.shape == (3, 15, 8)
    results = [
        [program() for program in (programs.training(choice), programs.forward(choice)) if program]
        for choice in (Choice("lax"), Choice("toeplitz", 4))
    ]
    for got, want in zip(jax.tree.leaves(results[0]), jax.tree.leaves(results[1]), strict=True):
        np.testing.assert_allclose(got, want, atol=1e-4)
    assert len(jax.tree.leaves(results[0])) == 4


def test_a_layer_that_is_measured_is_traced_as_was_found():
    found = tuning.time_conv(LAYER, 1, "cpu", ConvPrograms(LAYER, "float32", 2), deadline=0.0)
    assert found.best.choice == Choice("toeplitz", 8)
    assert found.skipped
    choices = tuning.results([found], platform="cpu", device_kind="cpu", dtype="float32")
    with use_tuning(choices):
        assert choices.find(LAYER, "float32") == found.best.choice
