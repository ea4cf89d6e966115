import signal
import subprocess
import sys
import time

import processes

PROGRAM = """
import time
from clef_jax.training import active_time
with active_time.ActiveTime() as active:
    print("begins", flush=True)
    wall, start = time.perf_counter(), active.seconds()
    time.sleep(6)  # within one step: it is stopped in the middle
    print(time.perf_counter() - wall, active.seconds() - start, active.stopped_seconds)
"""

STOPPED_SECONDS = 4.0


def test_time_in_which_the_process_was_stopped_does_not_pass():
    process = processes.start([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE)
    process.stdout.readline()
    time.sleep(1.5)
    process.send_signal(signal.SIGSTOP)
    time.sleep(STOPPED_SECONDS)
    process.send_signal(signal.SIGCONT)
    wall, active, stopped = map(float, process.communicate(timeout=60)[0].split())
    assert wall > 5.9
    assert abs(stopped - STOPPED_SECONDS) < 1.0
    assert abs(wall - active - stopped) < 0.1


def test_a_process_that_is_busy_is_not_stopped():
    busy = PROGRAM.replace("time.sleep(6)", "while time.perf_counter() < wall + 3: pass")
    process = processes.start([sys.executable, "-c", busy], stdout=subprocess.PIPE)
    output = process.communicate(timeout=60)[0].split()
    assert float(output[-1]) == 0.0
