"""The real training step is timed in a separate process."""

import benchmark_modules
import pytest

from clef_jax.convolution.grouped import IMPLEMENTATIONS
from clef_jax.convolution.rules import Choice, ConvShape, TuningResult, TuningResults

bench_step = benchmark_modules.load("bench_step")
process = benchmark_modules.load("bench_process")

TINY = {"size": "tiny", "global_batch_size": 8, "window_seconds": 1.0, "seconds": 0.0}


def test_the_step_is_that_of_training_and_its_steps_are_finite():
    found = bench_step.run(bench_step.Settings(**TINY))
    assert found.fits
    assert len(found.step_seconds) == 3
    assert min(found.step_seconds) > 0
    assert found.precision == "float32"
    assert found.machine.num_devices == 8
    assert found.planned_bytes is None or found.planned_bytes > 0


def test_more_time_means_more_steps():
    found = bench_step.run(bench_step.Settings(**TINY | {"seconds": 3.0}))
    assert 3 < len(found.step_seconds) <= 50


def test_a_step_that_does_not_fit_is_an_outcome_and_other_errors_are_raised(monkeypatch):
    def refuse(message):
        def raising(*_):
            raise bench_step.jax.errors.JaxRuntimeError(message)

        monkeypatch.setattr(bench_step, "_timed", raising)

    refuse("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 1 bytes.")
    found = bench_step.run(bench_step.Settings(**TINY))
    assert not found.fits
    assert found.step_seconds == ()
    refuse("INTERNAL: something else")
    with pytest.raises(bench_step.jax.errors.JaxRuntimeError, match="something else"):
        bench_step.run(bench_step.Settings(**TINY))


def test_measured_forms_are_used_where_they_are_asked_for(monkeypatch):
    taps, traced = IMPLEMENTATIONS["taps"], []

    def spy(x, kernel, **rest):
        traced.append(x.shape[1:])
        return taps(x, kernel, **rest)

    def load(setting, device):
        assert (setting, device.platform) == ("auto", "cpu")
        layer = ConvShape(length=500, taps=16, group_channels=1, channels=8, groups=1, stride=2)
        return TuningResults("cpu", "cpu", (TuningResult(layer, "float32", Choice("taps")),))

    monkeypatch.setitem(IMPLEMENTATIONS, "taps", spy)
    monkeypatch.setattr(bench_step.tuning_file, "load", load)
    assert bench_step.run(bench_step.Settings(**TINY, conv_choices="auto")).fits
    assert set(traced) == {(500, 1)}, "the layer that was measured, and no other"


def test_a_process_that_is_killed_does_not_fit_and_one_that_fails_is_reported(monkeypatch):
    ended = bench_step.dataclasses.make_dataclass("Ended", ["returncode", "stdout"])
    monkeypatch.setattr(process.subprocess, "run", lambda *_, **__: ended(-9, ""))
    assert process.step(size="tiny") == process.NO_STEP
    monkeypatch.setattr(process.subprocess, "run", lambda *_, **__: ended(1, ""))
    with pytest.raises(RuntimeError, match="failed"):
        process.step(size="tiny")
    answer = ended(0, 'a warning\n{"fits": true}\n')
    monkeypatch.setattr(process.subprocess, "run", lambda *_, **__: answer)
    assert process.step(size="tiny") == {"fits": True}


def test_flags_are_as_the_command_line_takes_them():
    values = {"global_batch_size": 8, "remat": False, "describe": True}
    assert process.flags(values) == ["--global-batch-size=8", "--no-remat", "--describe"]
