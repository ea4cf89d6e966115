"""The coordinator of a run: its processes, and a store of texts that all of them can read.

JAX runs the coordinator in process 0 but has no public interface to its key-value store; Orbax uses
it in the same way. This is the only module that imports a private part of JAX.
"""

import dataclasses
from typing import Any

import jax
from jax._src import distributed

Unavailable = jax.errors.JaxRuntimeError
"""Raised when process 0 does not answer, or the other processes do not arrive in time."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Coordinator:
    """Connection of this process to the coordinator."""

    process: int
    """Number of this process, from 0."""
    num_processes: int
    """Number of processes of the run."""
    address: str | None
    """HOST:PORT of process 0; None until it is known."""
    client: Any
    """JAX's client; None before the process joins others, and in a run of one process."""

    @property
    def has_joined(self) -> bool:
        """Whether this process has begun to join others."""
        return self.client is not None

    @property
    def processes(self) -> range:
        """The numbers of all processes."""
        return range(self.num_processes)

    def write(self, prefix: str, value: str, *, overwrite: bool = False) -> None:
        """Stores a text of this process under a prefix.

        Raises:
            Unavailable: process 0 does not answer, or the text exists and may not be overwritten.
        """
        self.client.key_value_set(f"{prefix}{self.process}", value, allow_overwrite=overwrite)

    def wait_for(self, prefix: str, process: int, limit_seconds: float) -> str:
        """Waits until a process stores a text under a prefix, and returns the text.

        Raises:
            Unavailable: the limit passed, or process 0 does not answer.
        """
        return self.client.blocking_key_value_get(f"{prefix}{process}", _ms(limit_seconds))

    def read_all(self, prefix: str) -> dict[int, str]:
        """Returns the texts that processes have stored under a prefix so far, by process.

        Raises:
            Unavailable: process 0 does not answer.
        """
        entries = self.client.key_value_dir_get(prefix)
        return {int(key.rpartition("/")[2]): value for key, value in entries}

    def barrier(self, name: str, limit_seconds: float) -> None:
        """Waits until all processes have reached the barrier of that name.

        Raises:
            Unavailable: the limit passed, or process 0 does not answer.
        """
        self.client.wait_at_barrier(name, _ms(limit_seconds))


def current() -> Coordinator:
    """Returns this process's current connection, even if other processes have yet to join.

    JAX's public functions for the number of a process would wait for the devices of all processes.
    """
    state = distributed.global_state
    return Coordinator(
        process=state.process_id,
        num_processes=state.num_processes,
        address=state.coordinator_address,
        client=state.client,
    )


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1000))
