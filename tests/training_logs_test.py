import math

import pytest
from culprits import refuses
from full_disk import no_file_above

from clef_jax.training import logs

VALUES = {
    "loss": 1.5,
    "pairs_per_second": 2.0,
    "data_seconds": 0.25,
    "device_seconds": 0.5,
    "host_seconds": 0.25,
    "host_memory_gib": 1.0,
    "model_flops_utilization": 0.3,
}


def test_lines_survive_and_later_steps_of_a_killed_run_are_dropped(tmp_path):
    with logs.Log(tmp_path, step=0, total_steps=10) as log:
        for step in (1, 2, 3):
            log.scalars(step, {"loss": float(step)})
    with (tmp_path / logs.METRICS_FILE).open("a") as file:
        file.write('{"step": 4, "lo')  # a kill in the middle of a write
    with logs.Log(tmp_path, step=2, total_steps=10) as log:
        log.scalars(3, {"loss": 30.0})
    assert logs.read(tmp_path) == [
        {"step": 1, "loss": 1.0},
        {"step": 2, "loss": 2.0},
        {"step": 3, "loss": 30.0},
    ]


@pytest.mark.parametrize("content", ["mine\n", '{"loss": 1}\n', '{"step": 1}\n{"epoch": 2}\n'])
def test_metrics_that_no_run_wrote_are_not_replaced(content, tmp_path):
    (tmp_path / logs.METRICS_FILE).write_text(content)
    with refuses(logs.METRICS_FILE, "--workdir", problem="not_ours"):
        logs.Log(tmp_path, step=0, total_steps=10)
    assert (tmp_path / logs.METRICS_FILE).read_text() == content


@pytest.mark.parametrize("content", ["\0\0\0\n", '{"st\n', '{"step": 4, "lo\n', ""])
def test_metrics_that_a_crash_cut_short_are_ours(content, tmp_path):
    (tmp_path / logs.METRICS_FILE).write_text(content)
    with logs.Log(tmp_path, step=0, total_steps=10):
        assert logs.read(tmp_path) == []


def test_numbers_that_json_lacks_become_null(tmp_path):
    with logs.Log(tmp_path, step=0, total_steps=10) as log:
        log.scalars(1, {"loss": math.nan, "grad_norm": math.inf})
    assert logs.read(tmp_path) == [{"step": 1, "loss": None, "grad_norm": None}]


def test_progress_tells_loss_rate_and_waiting(tmp_path, capsys):
    with logs.Log(tmp_path, step=0, total_steps=10) as log:
        log.progress(5, VALUES)
    line = capsys.readouterr().out
    for part in ("5/10", "loss 1.5000", "2.0 pairs/s", "25%", "30.0%"):
        assert part in line
    assert "gib" not in line


def test_tensorboard_gets_the_scalars(tmp_path):
    with logs.Log(tmp_path, step=0, total_steps=10) as log:
        log.scalars(1, {"loss": 1.0})
    (events,) = (tmp_path / "tensorboard").iterdir()
    assert b"loss" in events.read_bytes()


def test_clock_splits_the_time_of_steps_after_the_one_that_compiles(monkeypatch):
    now = iter([0.0, 50.0, 50.0, 51.0, 52.0, 52.5, 55.5, 56.0])
    monkeypatch.setattr(logs.time, "perf_counter", lambda: next(now))
    clock = logs.Clock()  # starts at 0
    clock.step_done()  # at 50, the step that compiled
    assert clock.rates(pairs_per_step=12)["pairs_per_second"] == 0
    clock.restart()
    with clock.waiting("data"):  # from 51 to 52
        pass
    with clock.waiting("device"):  # from 52.5 to 55.5
        pass
    clock.step_done()  # at 56
    assert clock.step_seconds == clock.busy_seconds == 6
    assert clock.rates(pairs_per_step=12) == pytest.approx(
        {"pairs_per_second": 2.0, "data_seconds": 1.0, "device_seconds": 3.0, "host_seconds": 2.0}
    )


def test_a_line_that_does_not_fit_on_the_disk_ends_the_run_and_leaves_complete_lines(tmp_path):
    full = refuses(tmp_path / logs.METRICS_FILE, problem="not_written")
    with full, logs.Log(tmp_path, step=0, total_steps=10) as log:
        log.scalars(1, {"loss": 1.0})
        with no_file_above(40):
            log.scalars(2, {"loss": 2.0})
    assert (tmp_path / logs.METRICS_FILE).read_text() == '{"step": 1, "loss": 1.0}\n'


def test_a_clock_that_stands_still_while_the_process_is_stopped_is_used():
    now = iter([0.0, 1.0, 1.0, 1.5, 2.5, 4.0])
    clock = logs.Clock(now=lambda: next(now))
    clock.step_done()
    clock.restart()
    with clock.waiting("data"):
        pass
    clock.step_done()
    assert clock.busy_seconds == 3.0
