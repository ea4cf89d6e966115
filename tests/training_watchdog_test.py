import subprocess
import sys
import time

from culprits import assert_names

from clef_jax.training import watchdog

PROGRAM = """
import pathlib, sys, time
import jax; jax.config.update("jax_platforms", "cpu")
from clef_jax.training.watchdog import Watchdog
with Watchdog(float(sys.argv[2]), pathlib.Path(sys.argv[1])) as dog:
    for what, seconds in zip(sys.argv[3::2], sys.argv[4::2]):
        dog.doing(what or None)
        time.sleep(float(seconds))
print("came to its end")
"""


def run(folder, limit_seconds, *doings):
    command = [sys.executable, "-c", PROGRAM, str(folder), str(limit_seconds), *map(str, doings)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_what_takes_too_long_is_named_and_ended(tmp_path):
    start = time.monotonic()
    done = run(tmp_path, 2, "reading", 1, "waiting for a batch", 100)
    assert time.monotonic() - start < 40
    assert done.returncode == 1
    told = " ".join(done.stderr.split())
    assert_names(told, "2 s", "waiting for a batch", "--stall-timeout-seconds")
    assert "came to its end" not in done.stdout
    stacks = (tmp_path / watchdog.STACKS_FILE.format(0)).read_text()
    assert "in <module>" in stacks


def test_many_short_things_and_things_without_a_limit_may_go_on(tmp_path):
    done = run(tmp_path, 2, "one", 1.2, "two", 1.2, "", 3.5, "three", 0.5)
    assert (done.returncode, done.stderr) == (0, "")
    assert run(tmp_path, 0, "one", 2.5).returncode == 0
