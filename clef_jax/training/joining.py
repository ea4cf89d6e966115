"""Joins the processes of a run, and reports the failure of one to the others."""

import contextlib
import socket
import threading
import traceback
from collections.abc import Iterator

import jax

from clef_jax.config import TrainConfig
from clef_jax.errors import UserError, WrongArgument, counted
from clef_jax.training import coordinator as coordinator_lib, watch

_MARGIN_SECONDS = 60
"""Time by which JAX's own limits exceed ours, because they end a process without a message."""

_LOST = ("Gloo", "NCCL", "UNAVAILABLE", "DEADLINE_EXCEEDED", "coordination service")
"""Texts that occur in the error messages of a collective that lost a process."""


@contextlib.contextmanager
def joined(config: TrainConfig) -> Iterator[None]:
    """Joins the other processes, which must precede any use of a device; reports errors to them.

    If this process fails, it prints its error and ends at once: Python's usual exit would wait for
    the other processes, which wait for this one.

    Raises:
        UserError: the settings for joining are incomplete or invalid.
    """
    if config.coordinator_address is None:
        yield
        return
    _join(config)
    guard = watch.Watch()
    guard.start()
    try:
        yield
    except BaseException as error:  # after any error, the others must not wait for this process
        known = error if isinstance(error, UserError) else _lost_contact(error)
        if isinstance(error, KeyboardInterrupt):  # before the first step, which hears it
            known = UserError("Stopped by Ctrl-C before the first step; nothing was saved.")
        guard.report_failure(str(known) if known else f"{type(error).__name__}: {error}")
        if known is None:
            traceback.print_exc()
        watch.end_at_once(known)
    guard.finish()


def _join(config: TrainConfig) -> None:
    _check_address(config)
    limit_seconds = config.join_timeout_seconds
    alarm = threading.Timer(limit_seconds, lambda: watch.end_at_once(UserError(_absence(config))))
    alarm.daemon = True
    alarm.start()
    automatic = config.coordinator_address == "auto"
    try:
        jax.distributed.initialize(
            None if automatic else config.coordinator_address,
            None if automatic else config.num_processes,
            None if automatic else config.process_id,
            initialization_timeout=int(limit_seconds) + _MARGIN_SECONDS,
            heartbeat_timeout_seconds=int(watch.SILENCE_SECONDS) + _MARGIN_SECONDS,
            shutdown_timeout_seconds=_MARGIN_SECONDS,
        )
    except (RuntimeError, ValueError) as error:
        raise UserError(_cannot_join(config, error)) from error
    finally:
        alarm.cancel()


def _check_address(config: TrainConfig) -> None:
    address, count, process = config.coordinator_address, config.num_processes, config.process_id
    if address == "auto" or address is None:
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise WrongArgument(f"--coordinator-address={address} must be HOST:PORT, or auto.")
    if count is None or process is None or not 0 <= process < count:
        raise WrongArgument(
            f"--coordinator-address={address} needs --num-processes=N and, different for each "
            f"process, --process-id from 0 to N - 1; they are {count} and {process}."
        )
    try:
        socket.getaddrinfo(host.strip("[]"), int(port))
    except OSError as error:
        raise UserError(
            f"--coordinator-address={address}: this machine cannot resolve the host {host} "
            f"({error.strerror}). Check the name, or use its IP address."
        ) from error
    if process == 0:
        _check_port(address, int(port))


def _check_port(address: str, port: int) -> None:
    """Raises UserError if the port is in use, because JAX may then end without a message."""
    try:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("", port))
    except OSError as error:
        raise UserError(
            f"Process 0 cannot open --coordinator-address={address}: {error.strerror}. Choose a "
            "port that no other program uses."
        ) from error


def _cannot_join(config: TrainConfig, error: Exception) -> str:
    if config.coordinator_address == "auto":
        return (
            "--coordinator-address=auto detected no supported cluster (TPU pod, SLURM, Open MPI, "
            f"Kubernetes): {error} Set HOST:PORT, --num-processes and --process-id instead."
        )
    return (
        f"Process {config.process_id} cannot open --coordinator-address="
        f"{config.coordinator_address}: {error}. Check that no other program uses that port."
    )


def _absence(config: TrainConfig) -> str:
    """Returns the error message for processes that did not join in time."""
    coordinator = coordinator_lib.current()
    address = coordinator.address or config.coordinator_address or ""
    waited = f"within {config.join_timeout_seconds:g} s"
    advice = (
        "Check that all are started with the same number of processes and this address, and check "
        "their output; a larger --join-timeout-seconds gives slow hosts more time."
    )
    if coordinator.process == 0:
        count = coordinator.num_processes
        return f"Not all {counted(count, 'process')} connected to {address} {waited}. {advice}"
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=2):
            return (
                f"Process 0 at {address} answers, but not all processes joined {waited}. {advice}"
            )
    except (OSError, ValueError):
        return (
            f"Process 0 did not answer at {address} {waited}. Check that it is running, that this "
            "is its address, and that this machine can connect to the port."
        )


def _lost_contact(error: BaseException) -> UserError | None:
    """Returns a UserError if a collective failed because another process is lost, else None."""
    if not isinstance(error, (RuntimeError, ValueError)) or isinstance(error, UserError):
        return None
    text = str(error)
    if not any(part in text for part in _LOST):
        return None
    return UserError(
        f"Process {coordinator_lib.current().process} lost contact with the others: "
        f"{text.splitlines()[0]}. Check their output for the cause. {watch.RESTART}"
    )
