"""When a process ends or hangs, the others end in time with an error."""

import signal
import time

import pytest
from culprits import assert_names
from train_command import WITHIN_SECONDS, start_together

from clef_jax.training import watch

pytestmark = pytest.mark.slow

# Waits as a run does, but for ever, once all processes have agreed.
WAITING = """
import time
from clef_jax.training import agreement, watch
real = agreement.agree
def agree(*arguments):
    real(*arguments)
    print("agreed", flush=True)
    time.sleep(600)
agreement.agree = agree
"""


@pytest.mark.parametrize("signalled", [0, 1])
@pytest.mark.parametrize("which", [signal.SIGKILL, signal.SIGSTOP])
def test_a_process_that_falls_silent_ends_the_others(data_dir, tmp_path, which, signalled):
    silence = 4.0
    before = f"{WAITING}\nwatch.SILENCE_SECONDS = {silence}\nwatch.BEAT_SECONDS = 0.5"
    together = start_together(data_dir, tmp_path, before=before)
    for process in together:
        while "agreed" not in process.stdout.readline():
            assert process.poll() is None
    start_seconds = time.monotonic()
    together[signalled].send_signal(which)
    other = together[1 - signalled]
    other.wait(timeout=WITHIN_SECONDS)
    assert time.monotonic() - start_seconds < WITHIN_SECONDS
    told = " ".join(other.stdout.read().split())
    if signalled == 1:
        assert_names(told, "Process 1", "4 s")
    elif which == signal.SIGSTOP:
        assert_names(told, "Process 0")
    if (which, signalled) == (signal.SIGKILL, 0):
        assert other.returncode not in (0, None)  # JAX itself may be the first to notice
    else:
        assert other.returncode == 1
        assert watch.RESTART in told
    together[signalled].kill()
    for process in together:
        process.communicate(timeout=WITHIN_SECONDS)
