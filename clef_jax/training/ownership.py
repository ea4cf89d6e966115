"""Makes one run the only user of its workdir; process 0 owns it for all processes of the run."""

import contextlib
import pathlib
from collections.abc import Iterator

from clef_jax import errors, folder_lock
from clef_jax.errors import UserError
from clef_jax.training import coordinator as coordinator_lib

LOCK_FILE = "run.lock"
"""File in the workdir that names its owner while a run trains there."""

WAITS = "clef_jax/waits/"
"""Prefix under which process 0 tells the others that it waits for the workdir's earlier owner."""


@contextlib.contextmanager
def owned(workdir: pathlib.Path) -> Iterator[folder_lock.FolderLock | None]:
    """Owns a workdir; yields its lock in process 0, else None.

    Raises:
        UserError: another run uses the workdir, or its lock cannot be written.
    """
    coordinator = coordinator_lib.current()
    if coordinator.process != 0:
        yield None
        return

    def report(text: str) -> None:
        errors.print_note(text)
        if coordinator.has_joined:
            coordinator.write(WAITS, text, overwrite=True)

    with contextlib.ExitStack() as stack:
        try:
            lock = stack.enter_context(folder_lock.FolderLock(workdir / LOCK_FILE, report=report))
        except folder_lock.InUseError as error:
            raise UserError(
                f"Another run is training in {workdir}: {error.owner_text}. Wait for it to end, "
                "stop it, or set another --workdir.",
                problem="run_in_progress",
            ) from error
        yield lock


def check(lock: folder_lock.FolderLock | None, step: int) -> None:
    """Raises UserError if the workdir no longer belongs to this run.

    Args:
        lock: the lock of the workdir; None in processes that own nothing.
        step: the step that the run has reached, for the message.
    """
    if lock is None:
        return
    try:
        lock.check()
    except folder_lock.LostError as error:
        advice = (
            "If the folder was moved, start again with its new path as --workdir; the run resumes "
            "from the newest checkpoint in it."
            if error.problem == "moved"
            else "The run of that process goes on alone; its checkpoints are complete."
        )
        raise UserError(
            f"{error.cause} while this run used it. This run ends after step {step} and writes "
            f"nothing more there. {advice}",
            problem=error.problem,
        ) from error
