"""The processes of one run: they find each other, check that they agree, and end together.

JAX ends a process without a word when its peers do not come, and leaves it in an exchange that
never finishes when one of them stops. Here each says what is wrong, within a minute.
"""

import contextlib
import importlib.metadata
import json
import pathlib
import platform
import secrets
import socket
import threading
import time
import traceback
from collections.abc import Iterator
from typing import Any, NoReturn

import jax

# The key-value store of the coordinator has no public name; Orbax uses it the same way.
from jax._src import distributed

from clef_jax import errors
from clef_jax.config import TrainConfig, flag
from clef_jax.errors import UserError

BEAT_SECONDS = 2.0
"""How often each process says that it lives, and listens for the others."""
SILENCE_SECONDS = 40.0
"""A process that was not heard of for so long is taken for lost."""
SHARED_FOLDER_SECONDS = 15.0
"""How long another host may need to see a new file in the workdir (network file systems)."""

SIGN_FILE = ".process_0"
"""By it the others know the workdir of process 0."""

_MARGIN_SECONDS = 60
"""JAX's own limits lie behind ours by so much: they end a process without a sentence."""

_FAILED, _BEATS, _FACTS = "clef_jax/failed/", "clef_jax/beats/", "clef_jax/facts/"
_FINISHED = "finished"

_OWN = frozenset(
    {"coordinator_address", "process_id", "data_dir", "noise_path", "workdir"}
    | {"compilation_cache_dir", "read_threads", "read_processes", "read_ahead_batches"}
)
"""Settings in which the processes of a run may differ; the data is compared by fingerprint."""

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "clef_jax")

_LOST = ("Gloo", "NCCL", "UNAVAILABLE", "DEADLINE_EXCEEDED", "coordination service")
"""What the message of an exchange that lost a peer contains."""

_AGAIN = "Started again with the same command, all go on from the newest checkpoint."


@contextlib.contextmanager
def joined(config: TrainConfig) -> Iterator[None]:
    """Joins the other processes before anything touches a device, and tells them of an error.

    A process that fails beside others tells its error and ends at once: the usual way out waits
    for the others, who wait for it.

    Raises:
        UserError: the settings do not say how to join.
    """
    if config.coordinator_address is None:
        yield
        return
    _join(config)
    watch = _Watch()
    watch.start()
    try:
        yield
    except BaseException as error:  # whatever it is, the others must not wait for this process
        known = error if isinstance(error, UserError) else _lost_contact(error)
        watch.tell_failure(str(known) if known else f"{type(error).__name__}: {error}")
        if known is None:
            traceback.print_exc()
        _end_at_once(known)
    watch.finish()


def agree(facts: dict[str, Any], config: TrainConfig) -> None:
    """Refuses to go on if this process has other software, settings or data than process 0, or
    another folder behind its workdir.

    `facts` are those of a checkpoint, and whatever else must be equal.

    Raises:
        UserError: something differs, or some processes do not come this far in time.
    """
    client = distributed.global_state.client
    if client is None:
        return
    process, limit_seconds = distributed.global_state.process_id, config.join_timeout_seconds
    mine = facts | {"software": software()}
    sign = config.folder / SIGN_FILE
    if process == 0:
        mine["sign"] = secrets.token_hex(8)
        config.folder.mkdir(parents=True, exist_ok=True)
        sign.write_text(mine["sign"])
    client.key_value_set(f"{_FACTS}{process}", json.dumps(mine))
    try:
        if process != 0:
            theirs = json.loads(client.blocking_key_value_get(f"{_FACTS}0", _ms(limit_seconds)))
            _refuse_differences(process, mine, theirs)
            _refuse_other_folder(process, sign, theirs["sign"])
        client.wait_at_barrier("clef_jax/agreed", _ms(limit_seconds))
    except jax.errors.JaxRuntimeError as error:
        everybody = range(distributed.global_state.num_processes)
        missing = sorted(set(everybody) - set(_numbers(client, _FACTS)))
        who = ", ".join(map(str, missing)) or "another one"
        raise UserError(
            f"Process {who} did not come as far as reading its data within {limit_seconds:g} s. "
            "Look at its output; --join-timeout-seconds gives slow hosts more time."
        ) from error
    if process == 0:
        sign.unlink()


def software() -> dict[str, str]:
    """Versions that decide what a step computes."""
    versions = {"Python": platform.python_version()}
    for name in _PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions


def _join(config: TrainConfig) -> None:
    _check_address(config)
    limit_seconds = config.join_timeout_seconds
    alarm = threading.Timer(limit_seconds, lambda: _end_at_once(UserError(_who_is_absent(config))))
    alarm.daemon = True
    alarm.start()
    automatic = config.coordinator_address == "auto"
    try:
        jax.distributed.initialize(
            None if automatic else config.coordinator_address,
            None if automatic else config.num_processes,
            None if automatic else config.process_id,
            initialization_timeout=int(limit_seconds) + _MARGIN_SECONDS,
            heartbeat_timeout_seconds=int(SILENCE_SECONDS) + _MARGIN_SECONDS,
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
        raise UserError(f"--coordinator-address={address} must be HOST:PORT, or auto.")
    if count is None or process is None or not 0 <= process < count:
        raise UserError(
            f"--coordinator-address={address} needs --num-processes=N and, different for each "
            f"process, --process-id from 0 to N - 1; they are {count} and {process}."
        )
    try:
        socket.getaddrinfo(host.strip("[]"), int(port))
    except OSError as error:
        raise UserError(
            f"--coordinator-address={address}: this machine does not know the host {host} "
            f"({error.strerror})."
        ) from error


def _cannot_join(config: TrainConfig, error: Exception) -> str:
    if config.coordinator_address == "auto":
        return (
            "--coordinator-address=auto found no cluster here that it knows (TPU pod, SLURM, Open "
            f"MPI, Kubernetes): {error} Give HOST:PORT, --num-processes and --process-id instead."
        )
    return (
        f"Process {config.process_id} cannot open --coordinator-address="
        f"{config.coordinator_address}: {error}. Is another program using that port?"
    )


def _who_is_absent(config: TrainConfig) -> str:
    state = distributed.global_state
    address = state.coordinator_address or config.coordinator_address or ""
    waited = f"within {config.join_timeout_seconds:g} s"
    others = (
        "See that all are started, with the same number of processes and this address, and what "
        "they print; --join-timeout-seconds gives slow hosts more time."
    )
    if state.process_id == 0:
        return f"Not all {state.num_processes} processes came to {address} {waited}. {others}"
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=2):
            return f"Process 0 at {address} answers, but not all processes came {waited}. {others}"
    except (OSError, ValueError):
        return (
            f"Process 0 did not answer at {address} {waited}. Is it running, is that its address, "
            "and may this machine connect to that port?"
        )


def _refuse_differences(process: int, mine: dict, theirs: dict) -> None:
    found = []
    for kind in ("software", "config", "data"):
        here, there = mine.get(kind, {}), theirs.get(kind, {})
        for name in sorted({*here, *there} - _OWN):
            if here.get(name) != there.get(name):
                told = f"the {name}" if kind == "data" else flag(name)
                told = name if kind == "software" else told
                values = f" ({here.get(name)!r}, there {there.get(name)!r})"
                found.append(told + ("" if kind == "data" else values))
    if mine.get("saved_step") != theirs.get("saved_step"):
        found.append(
            f"the newest checkpoint in its workdir (step {mine.get('saved_step')}, there "
            f"{theirs.get('saved_step')})"
        )
    if found:
        raise UserError(
            f"Process {process} differs from process 0 in {'; '.join(found)}. Start all processes "
            "with the same software, settings and data, and one workdir that all of them see."
        )


def _refuse_other_folder(process: int, sign: pathlib.Path, wanted: str) -> None:
    deadline = time.monotonic() + SHARED_FOLDER_SECONDS
    while not (sign.exists() and sign.read_text() == wanted):
        if time.monotonic() > deadline:
            raise UserError(
                f"Process {process} finds another folder at {sign.parent} than process 0 does. The "
                "workdir must be one that all hosts see, such as a network disk."
            )
        time.sleep(0.2)


class _Watch(threading.Thread):
    """Says that this process lives, and ends it when another one failed or fell silent."""

    def __init__(self):
        super().__init__(name="clef_jax processes", daemon=True)
        # Not by JAX's own functions, which wait for the devices of all processes.
        self._client: Any = distributed.global_state.client
        self._process = distributed.global_state.process_id
        self._finished = threading.Event()
        # Silence is counted in our own turns, so that a machine that slept blames nobody.
        self._turn = self._answered = 0

    def run(self) -> None:
        """Counts the turns; a coordinator that does not answer hangs the talk with it."""
        threading.Thread(target=self._talk, name="clef_jax talk", daemon=True).start()
        while not self._finished.wait(BEAT_SECONDS):
            self._turn += 1
            if self._silent(self._answered):
                _end_at_once(UserError(f"Process 0 does not answer any more. {_AGAIN}"))

    def _talk(self) -> None:
        """Beats, and looks at the failures and beats of the others."""
        everybody = range(distributed.global_state.num_processes)
        heard: dict[int, tuple[str | None, int]] = dict.fromkeys(everybody, (None, 0))
        while not self._finished.wait(BEAT_SECONDS):
            turn = self._turn
            try:
                self._say(str(turn))
                failures = _numbers(self._client, _FAILED)
                beats = _numbers(self._client, _BEATS)
            except jax.errors.JaxRuntimeError:
                if not self._finished.is_set():
                    _end_at_once(UserError(f"Process 0 does not answer any more. {_AGAIN}"))
                return
            self._answered = turn
            for process, reason in failures.items():
                if process != self._process:
                    _end_at_once(UserError(f"Process {process} failed: {reason}"))
            for process in everybody:
                beat = beats.get(process)
                if beat != heard[process][0]:
                    heard[process] = beat, turn
                if beat != _FINISHED and self._silent(heard[process][1]):
                    _end_at_once(UserError(_lost(process)))

    def _silent(self, since_turn: int) -> bool:
        return (self._turn - since_turn) * BEAT_SECONDS > SILENCE_SECONDS

    def tell_failure(self, reason: str) -> None:
        with contextlib.suppress(jax.errors.JaxRuntimeError):
            self._client.key_value_set(f"{_FAILED}{self._process}", reason, allow_overwrite=True)
            if self._process == 0:  # which keeps what the others are about to read
                time.sleep(2 * BEAT_SECONDS)

    def finish(self) -> None:
        self._finished.set()
        with contextlib.suppress(jax.errors.JaxRuntimeError):
            self._say(_FINISHED)

    def _say(self, beat: str) -> None:
        self._client.key_value_set(f"{_BEATS}{self._process}", beat, allow_overwrite=True)


def _lost(process: int) -> str:
    return (
        f"Process {process} was not heard of for {SILENCE_SECONDS:g} s: it was killed, or its host "
        f"is gone or cut off. {_AGAIN}"
    )


def _numbers(client: Any, prefix: str) -> dict[int, str]:
    """What the processes wrote under a prefix, by process."""
    entries = client.key_value_dir_get(prefix)
    return {int(key.rpartition("/")[2]): value for key, value in entries}


def _lost_contact(error: BaseException) -> UserError | None:
    """A sentence for an exchange that another process did not take part in."""
    if not isinstance(error, (RuntimeError, ValueError)) or isinstance(error, UserError):
        return None
    text = str(error)
    if not any(sign in text for sign in _LOST):
        return None
    return UserError(
        f"Process {distributed.global_state.process_id} lost contact with the others: "
        f"{text.splitlines()[0]}. See their output for the cause. {_AGAIN}"
    )


def _end_at_once(error: UserError | None) -> NoReturn:
    if error is not None:
        errors.tell(error)
    errors.exit_at_once()


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1000))
