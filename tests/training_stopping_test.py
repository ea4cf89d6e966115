"""Tests that a run hears requests to stop."""

import signal
import subprocess
import sys
import time

import processes
import pytest

from clef_jax import errors

PROGRAM = """
import hashlib, signal, sys, time
import jax; jax.config.update("jax_platforms", "cpu")
from clef_jax.training.stopping import StopSignal
with StopSignal() as stop:
    print("ready", flush=True)
    if sys.argv[1] == "busy":
        time.sleep(0.5)
        hashlib.pbkdf2_hmac("sha256", b"", b"", 100_000_000)  # no handler runs meanwhile
    end = time.monotonic() + 60
    while not stop.received and time.monotonic() < end:
        time.sleep(0.05)
    if sys.argv[1] == "saves":
        print("saves", flush=True)
        time.sleep(60)
print("ends", stop.received, signal.getsignal(signal.SIGINT) is signal.default_int_handler)
"""


def start(how="waits", **settings):
    process = processes.start(
        [sys.executable, "-c", PROGRAM, how],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **settings,
    )
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_request_is_recorded_and_the_handlers_come_back(number):
    process = start()
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (0, "ends True True\n")
    assert ("Ctrl-C" in err) == (number == signal.SIGINT)


def test_a_second_ctrl_c_ends_the_process_at_once():
    process = start("saves")
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "saves\n"
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=10)
    assert process.returncode == errors.INTERRUPTED


def test_a_second_ctrl_c_is_heard_while_the_main_thread_cannot_be_interrupted():
    process = start("busy")
    time.sleep(1.5)
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=10)
    assert process.returncode == errors.INTERRUPTED


def test_a_second_sigterm_does_not_end_a_save():
    process = start("saves")
    process.send_signal(signal.SIGTERM)
    assert process.stdout.readline() == "saves\n"
    process.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    assert process.poll() is None


def test_a_process_in_the_background_of_a_shell_goes_on_to_ignore_ctrl_c():
    command = f"trap '' INT; exec {sys.executable} -c \"$0\" waits"
    process = processes.start(
        ["bash", "-c", command, PROGRAM], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (0, "ends True False\n", "")
