"""Saves and restores checkpoints: state, data position, settings, and the data's identity.

A restored run continues bit for bit. A run whose settings or data changed in a way that affects the
result is rejected. A checkpoint stores a digest of its arrays; one that cannot be read, or whose
arrays differ from the digest, is quarantined and the previous one is restored.
"""

import contextlib
import dataclasses
import pathlib
import time
from collections.abc import Callable
from typing import Any

import jax
import orbax.checkpoint as ocp
from flax import nnx
from jax.experimental import multihost_utils

from clef_jax import files
from clef_jax.errors import UserError
from clef_jax.training import CHECKPOINTS_FOLDER, EMA, TRAINED, Weights, digest, orbax_messages
from clef_jax.training.state import TrainState

DAMAGED_FOLDER = "damaged_checkpoints"
"""Folder in the workdir for quarantined checkpoints."""
DIGEST = "digest"
"""Key of the digest in the metadata that is saved with a state."""

_SETTLE_SECONDS = 2.0
"""Pause after a failed save, whose threads may still write to the folder to be cleared."""

_CHANGED = "The restored arrays differ from those that were saved."

NO_DAMAGE = (UserError, MemoryError, jax.errors.JaxRuntimeError)
"""Errors that do not mean damaged files. For files that are truncated, changed or missing, Orbax
raises errors of many other types, plain `Exception` among them."""


orbax_messages.silence_tracebacks()


@dataclasses.dataclass(frozen=True)
class Restored:
    """A restored state, and the damaged checkpoints that were skipped."""

    step: int
    state: TrainState
    run: dict[str, Any]
    """Settings, data's identity and position that were saved with the state."""
    damaged: dict[int, str]
    """Reasons why newer checkpoints could not be restored, by step."""


class Checkpoints:
    """The checkpoints of one run, in its workdir."""

    def __init__(self, workdir: pathlib.Path, *, keep: int | None = None):
        """Opens the checkpoints in `workdir`.

        Args:
            workdir: the folder of the run.
            keep: number of checkpoints that the training run keeps; by default read-only.

        Raises:
            UserError: the folder holds no training run and is only read, or cannot be created.
        """
        self.folder = workdir / CHECKPOINTS_FOLDER
        writes = keep is not None
        orbax_messages.silence_abandoned_work()
        if not writes and not self.folder.is_dir():
            raise UserError(
                f"{workdir} is not a training run: it has no folder {CHECKPOINTS_FOLDER}.",
                problem="no_run",
            )
        options = ocp.CheckpointManagerOptions(
            max_to_keep=keep,
            create=writes,
            # Removes what a killed save left. A reader must not: the save may still be running.
            cleanup_tmp_directories=writes,
        )
        with files.writing(self.folder):
            self._manager = ocp.CheckpointManager(self.folder, options=options)
        self._options = options
        self._saving: int | None = None
        self._failed_before = False

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, kind, *_) -> None:
        """Waits for a running save, and raises its error unless another error is being raised."""
        try:
            self.wait()
        except UserError:
            if kind is None:
                raise
        finally:
            # After an error, such as of a folder that vanished, that error is what matters.
            with contextlib.suppress(Exception) if kind else contextlib.nullcontext():
                self._manager.close()

    @property
    def latest_step(self) -> int | None:
        """Step of the newest complete checkpoint; None if no checkpoint is complete."""
        return self._manager.latest_step()

    def save(self, state: TrainState, step: int, run: dict[str, Any]) -> str | None:
        """Starts saving a state in the background.

        A failure of the previous save is tolerated once: a disk may be full for a moment, and Orbax
        raises an error when the clock jumps.

        Args:
            state: the state after `step` updates.
            step: number of updates.
            run: settings, data's identity and position.

        Returns:
            The message of the previous save's failure; None if it succeeded.

        Raises:
            UserError: two saves in a row failed, or the run has several processes, which cannot
                recover together.
        """
        if step == self.latest_step:
            return None
        failure = None
        try:
            self.wait()
            self._failed_before = False
        except UserError as error:
            self._reopen(error)
            failure = str(error)
        self._start(state, step, run)
        return failure

    def save_last(self, state: TrainState, step: int, run: dict[str, Any]) -> str | None:
        """Saves a state as `save` does, waits until it is finished, and retries a failure once."""
        failure = self.save(state, step, run)
        try:
            self.wait()
        except UserError as error:
            self._reopen(error)
            failure = str(error)
            self._start(state, step, run)
            self.wait()
        return failure

    def _reopen(self, error: UserError) -> None:
        """Replaces Orbax's manager, which raises an error again at every later call."""
        if self._failed_before or jax.process_count() > 1:
            raise error
        self._failed_before = True
        time.sleep(_SETTLE_SECONDS)
        self._manager = ocp.CheckpointManager(self.folder, options=self._options)

    def _start(self, state: TrainState, step: int, run: dict[str, Any]) -> None:
        run = run | {DIGEST: digest.compute(state)}
        saved = ocp.args.StandardSave(_as_saved(state))
        args = ocp.args.Composite(state=saved, run=ocp.args.JsonSave(run))
        self._saving = step
        try:
            self._manager.save(step, args=args)
        except (OSError, ValueError) as error:
            raise self._failed(error) from error

    def wait(self) -> None:
        """Waits until a running save is finished.

        Raises:
            UserError: the save fails.
        """
        try:
            self._manager.wait_until_finished()
        except (OSError, ValueError) as error:
            raise self._failed(error) from error

    def _failed(self, error: Exception) -> UserError:
        complete = []
        with contextlib.suppress(OSError, ValueError):  # the folder may have vanished
            self._manager.reload()
            complete = sorted(self._manager.all_steps())
        resumes = f"resumes after step {complete[-1]}" if complete else "starts from scratch"
        return UserError(
            f"The checkpoint of step {self._saving} could not be written to {self.folder}: "
            f"{first_line(error)} Check that the disk has space and the folder is writable. If "
            f"started again, the run {resumes}.",
            problem="save_failed",
        )

    def run(self, step: int) -> dict[str, Any]:
        """Returns the settings, data's identity and position that were saved with a step."""
        args = ocp.args.Composite(run=ocp.args.JsonRestore())
        return self._manager.restore(step, args=args)["run"]

    def restore(self, step: int, state: TrainState) -> TrainState:
        """Restores the state of a step, with the shapes, types and shardings of `state`.

        `state` holds arrays or abstract arrays.

        Raises:
            ValueError: the restored arrays differ from those that were saved.
        """
        return self._restore(step, state, self.run(step))

    def _restore(self, step: int, state: TrainState, run: dict[str, Any]) -> TrainState:
        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, _as_saved(state))
        args = ocp.args.Composite(state=ocp.args.StandardRestore(abstract))
        restored = dataclasses.replace(state, **self._manager.restore(step, args=args)["state"])
        saved = run.get(DIGEST)  # None in runs of earlier versions
        if saved is not None and saved != digest.compute(restored):
            raise ValueError(_CHANGED)
        return restored

    def restore_params(self, step: int, params: nnx.State, weights: Weights = TRAINED) -> nnx.State:
        """Restores only the encoder's parameters, with the shapes, types and shardings of `params`.

        Args:
            step: step of the checkpoint.
            params: arrays or abstract arrays.
            weights: `trained`, or `ema` for their moving average.

        Raises:
            ValueError: the restored arrays differ from those that were saved.
            UserError: the run keeps no moving average.
        """
        run = self.run(step)
        if weights == EMA and run["config"].get("ema_decay") is None:
            raise UserError(
                f"The run in {self.folder.parent} keeps no moving average of its weights; omit "
                "--weights=ema, or train with --ema-decay.",
                problem="no_average",
            )
        name = "ema_params" if weights == EMA else "params"
        abstract = {name: params}
        args = ocp.args.PyTreeRestore(
            item=abstract,
            restore_args=ocp.checkpoint_utils.construct_restore_args(abstract),
            partial_restore=True,
        )
        restored = self._manager.restore(step, args=ocp.args.Composite(state=args))
        values, saved = restored["state"][name], run.get(DIGEST)
        # The digests are in the order of the state's fields: the step first, then the parameters;
        # their average is last.
        size = len(jax.tree.leaves(values))
        part = slice(-size, None) if weights == EMA else slice(1, 1 + size)
        if saved is not None and saved[part] != digest.compute(values):
            raise ValueError(_CHANGED)
        return values

    def restore_newest(
        self, state: TrainState, check: Callable[[dict[str, Any]], None]
    ) -> Restored | None:
        """Restores the newest undamaged checkpoint.

        Newer checkpoints that are damaged stay where they are; `quarantine` moves them.

        Args:
            state: shapes, types and shardings of the state.
            check: receives the settings, data's identity and position that were saved with the
                state, and raises UserError if the run must not resume from them.

        Returns:
            The restored state; None if the run has no checkpoint.

        Raises:
            UserError: all checkpoints are damaged, or `check` raises it.
        """
        damaged: dict[int, str] = {}
        for step in sorted(self._manager.all_steps(), reverse=True):
            try:
                run = self.run(step)
                check(run)
                return Restored(step, self._restore(step, state, run), run, damaged)
            except NO_DAMAGE:
                raise
            except Exception as error:
                damaged[step] = first_line(error)
        if not damaged:
            return None
        reasons = " ".join(f"Step {step}: {reason}" for step, reason in damaged.items())
        raise UserError(
            f"No checkpoint in {self.folder} can be restored. {reasons} Copy the folder from a "
            "backup, or start from scratch with another --workdir.",
            problem="no_whole_checkpoint",
        )

    def quarantine(self, steps: list[int]) -> pathlib.Path:
        """Moves damaged checkpoints to a quarantine folder and returns that folder.

        Their steps can then be saved again.
        """
        folder = self.folder.parent / DAMAGED_FOLDER
        if jax.process_index() == 0:
            with files.writing(folder):
                folder.mkdir(exist_ok=True)
                for step in steps:
                    number = sum(path.name.startswith(f"{step}_") for path in folder.iterdir())
                    (self.folder / str(step)).rename(folder / f"{step}_{number}")
        if jax.process_count() > 1:
            multihost_utils.sync_global_devices("damaged checkpoints moved")
        self._manager.reload()
        return folder

    def preempted(self, step: int) -> bool:
        """Returns whether the scheduler asked a run of several processes to stop.

        All processes return True at the same step.
        """
        return jax.process_count() > 1 and self._manager.reached_preemption(step)


def _as_saved(state: TrainState) -> dict[str, Any]:
    """Returns the fields of a state that hold arrays, by name.

    Orbax would also store the names of absent fields. Existing checkpoints could then no longer be
    restored once the state gets a new field that only some objectives use.
    """
    fields = {field.name: getattr(state, field.name) for field in dataclasses.fields(state)}
    return {name: value for name, value in fields.items() if value is not None}


def first_line(error: Exception) -> str:
    """Returns the first line of an error's message as a sentence."""
    text = str(error).strip().splitlines()
    return text[0].strip("'\" .") + "." if text else f"{type(error).__name__}."
