"""A process that dies or freezes takes the others with it, in time and with a sentence."""

import signal
import time

import pytest
from train_command import WITHIN_SECONDS, start_together

pytestmark = pytest.mark.slow

# Waits as a run does, but for ever, once all processes have agreed.
WAITING = """
import time
from clef_jax import processes
from clef_jax.processes import watch
real = processes.agree
def agree(*arguments):
    real(*arguments)
    print("agreed", flush=True)
    time.sleep(600)
processes.agree = agree
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
        assert "Process 1 was not heard of for 4 s" in told
    elif which == signal.SIGSTOP:
        assert "Process 0 does not answer any more" in told
    if (which, signalled) == (signal.SIGKILL, 0):
        assert other.returncode not in (0, None)  # JAX itself may be the first to notice
    else:
        assert other.returncode == 1
        assert "Started again with the same command" in told
    together[signalled].kill()
    for process in together:
        process.communicate(timeout=WITHIN_SECONDS)
