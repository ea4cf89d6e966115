"""Two training processes of which one is stopped or killed end together, and lose nothing."""

import signal

import pytest
from culprits import assert_names
from train_command import (
    HANG_SECONDS,
    STEPS,
    await_step,
    finish,
    kill_after,
    losses,
    start,
    start_together,
)

from clef_jax.training import saved_run, watch

pytestmark = [pytest.mark.slow, pytest.mark.faults]

SOON_MISSED = """
from clef_jax.training import watch
watch.SILENCE_SECONDS, watch.BEAT_SECONDS = 5.0, 0.5
"""


def test_sigterm_to_one_of_two_processes_stops_both_at_one_step(data_dir, tmp_path, survived):
    """The run is begun by one process and continued by two, of which one is asked to stop."""
    kill_after(start(data_dir, tmp_path, cheap_seconds=0.1), tmp_path, 6, signal.SIGTERM)
    together = start_together(data_dir, tmp_path, cheap_seconds=0.1)
    await_step(together[0], tmp_path, 10)
    together[1].send_signal(signal.SIGTERM)
    outputs = [finish(process) for process in together]
    stopped = saved_run.newest_step(tmp_path)
    assert_names(outputs[0], f"after step {stopped}")
    assert stopped < STEPS
    for process in start_together(data_dir, tmp_path, cheap_seconds=0.0):
        finish(process)
    assert survived(tmp_path, same_bits=False) == 0


def test_kill_9_of_one_of_two_processes_ends_the_other_and_loses_nothing(
    data_dir, tmp_path, survived
):
    together = start_together(data_dir, tmp_path, cheap_seconds=0.1, before=SOON_MISSED)
    await_step(together[0], tmp_path, 12)
    together[1].kill()
    together[1].communicate()
    output, _ = together[0].communicate(timeout=HANG_SECONDS)
    assert together[0].returncode not in (0, None), output
    assert watch.RESTART in " ".join(output.split())
    for process in start_together(data_dir, tmp_path, cheap_seconds=0.0):
        finish(process)
    assert survived(tmp_path, same_bits=False) <= 10
    assert len(losses(tmp_path)) == STEPS
