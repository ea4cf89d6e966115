"""One checkpoint = state + data position + settings + what the data was; restoring it continues
bit for bit, and a run whose settings or data changed in a way that matters is refused.

A checkpoint carries a digest of its arrays. One that cannot be read, or whose arrays are not those
that were saved, is set aside and the one before it is taken.
"""

import contextlib
import dataclasses
import pathlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import orbax.checkpoint as ocp
from flax import nnx
from jax.experimental import multihost_utils

from clef_jax.config import differences
from clef_jax.errors import UserError
from clef_jax.training import CHECKPOINTS_FOLDER, digest
from clef_jax.training.state import TrainState

DAMAGED_FOLDER = "damaged_checkpoints"
DIGEST = "digest"
"""What the digest is called among the facts that are saved with a state."""

_SETTLE_SECONDS = 2.0
"""Threads of a save that failed may go on writing for a moment, in a folder to be cleared."""

_NO_DAMAGE = (UserError, MemoryError, jax.errors.JaxRuntimeError)
"""What says nothing about the files. About those that are cut, changed or missing Orbax raises
errors of many kinds, plain `Exception` among them."""


@dataclasses.dataclass(frozen=True)
class Restored:
    """A state that came back, and what did not."""

    step: int
    state: TrainState
    run: dict[str, Any]
    damaged: dict[int, str]
    """Newer checkpoints that could not be used, by step, and why."""


class Checkpoints:
    """The checkpoints of one run, in its workdir."""

    def __init__(self, workdir: pathlib.Path, *, keep: int | None = None):
        """`keep`: for the training run itself, how many it keeps; visitors only read."""
        self.folder = workdir / CHECKPOINTS_FOLDER
        writes = keep is not None
        if not writes and not self.folder.is_dir():
            raise UserError(
                f"{workdir} is no training run: it has no folder {CHECKPOINTS_FOLDER}.",
                problem="no_run",
            )
        options = ocp.CheckpointManagerOptions(
            max_to_keep=keep,
            create=writes,
            # What a killed save left behind. A visitor must not touch it: it may be under way.
            cleanup_tmp_directories=writes,
        )
        self._manager = ocp.CheckpointManager(self.folder, options=options)
        self._options = options
        self._saving: int | None = None
        self._failed_before = False

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, kind, *_) -> None:
        """Waits for a save under way; an error in it is raised here."""
        try:
            self.wait()
        except UserError:
            if kind is None:
                raise
        finally:
            self._manager.close()

    @property
    def latest_step(self) -> int | None:
        """Updates behind the newest complete checkpoint; None if there is none."""
        return self._manager.latest_step()

    def save(self, state: TrainState, step: int, run: dict[str, Any]) -> str | None:
        """Starts saving in the background. `run` holds settings, data facts and position.

        Returns what went wrong with the save before this one, if anything did: a disk may be full
        for a moment, and Orbax gives up when the clock jumps.

        Raises:
            UserError: that was the second failure in a row, or there are other processes, which
                cannot know of it.
        """
        if step == self.latest_step:
            return None
        trouble = None
        try:
            self.wait()
            self._failed_before = False
        except UserError as error:
            self._reopen(error)
            trouble = str(error)
        self._start(state, step, run)
        return trouble

    def save_last(self, state: TrainState, step: int, run: dict[str, Any]) -> str | None:
        """As `save`, and waits until it is finished; tries once more if it fails."""
        trouble = self.save(state, step, run)
        try:
            self.wait()
        except UserError as error:
            self._reopen(error)
            trouble = str(error)
            self._start(state, step, run)
            self.wait()
        return trouble

    def _reopen(self, error: UserError) -> None:
        """Orbax's manager repeats an error for ever, so that after one there must be a new one."""
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
        """Until a save under way is finished; UserError if it fails."""
        try:
            self._manager.wait_until_finished()
        except (OSError, ValueError) as error:
            raise self._failed(error) from error

    def _failed(self, error: Exception) -> UserError:
        self._manager.reload()
        whole = sorted(self._manager.all_steps())
        after = f"the run goes on after step {whole[-1]}" if whole else "the run begins anew"
        return UserError(
            f"The checkpoint of step {self._saving} could not be written to {self.folder}: "
            f"{_first_line(error)} See whether the disk is full or the folder is writable; started "
            f"again, {after}.",
            problem="save_failed",
        )

    def run(self, step: int) -> dict[str, Any]:
        """Settings, data facts and position as saved with a step."""
        args = ocp.args.Composite(run=ocp.args.JsonRestore())
        return self._manager.restore(step, args=args)["run"]

    def restore(self, step: int, state: TrainState) -> TrainState:
        """The state saved at a step, laid out like `state` (arrays or abstract ones).

        Raises:
            ValueError: it is not what was saved.
        """
        return self._restore(step, state, self.run(step))

    def _restore(self, step: int, state: TrainState, run: dict[str, Any]) -> TrainState:
        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, _as_saved(state))
        args = ocp.args.Composite(state=ocp.args.StandardRestore(abstract))
        restored = dataclasses.replace(state, **self._manager.restore(step, args=args)["state"])
        saved = run.get(DIGEST)  # runs of earlier versions have none
        if saved is not None and saved != digest.compute(restored):
            raise ValueError("The arrays are not those that were saved.")
        return restored

    def restore_params(self, step: int, params: nnx.State) -> nnx.State:
        """Restores the encoder's parameters alone, laid out like `params`.

        Raises:
            ValueError: the arrays are not those that were saved.
        """
        abstract = {"params": params}
        args = ocp.args.PyTreeRestore(
            item=abstract,
            restore_args=ocp.checkpoint_utils.construct_restore_args(abstract),
            partial_restore=True,
        )
        restored = self._manager.restore(step, args=ocp.args.Composite(state=args))
        values = restored["state"]["params"]
        saved = self.run(step).get(DIGEST)
        # The digests follow the fields of the state: the parameters come behind the step.
        if saved is not None and saved[1 : 1 + len(jax.tree.leaves(values))] != digest.compute(
            values
        ):
            raise ValueError("The arrays are not those that were saved.")
        return values

    def restore_newest(
        self, state: TrainState, check: Callable[[dict[str, Any]], None]
    ) -> Restored | None:
        """The newest checkpoint that is whole; None where there is none at all.

        Damaged ones that are newer are left where they are; see `set_aside`. `check` looks at what
        was saved with the state, and raises UserError if it is not to be used.

        Raises:
            UserError: there are checkpoints, and none can be used.
        """
        damaged: dict[int, str] = {}
        for step in sorted(self._manager.all_steps(), reverse=True):
            try:
                run = self.run(step)
                check(run)
                return Restored(step, self._restore(step, state, run), run, damaged)
            except _NO_DAMAGE:
                raise
            except Exception as error:
                damaged[step] = _first_line(error)
        if not damaged:
            return None
        reasons = " ".join(f"Step {step}: {why}" for step, why in damaged.items())
        raise UserError(
            f"No checkpoint in {self.folder} can be used. {reasons} Restore the folder from a "
            "copy, or start anew with another --workdir.",
            problem="no_whole_checkpoint",
        )

    def set_aside(self, steps: list[int]) -> pathlib.Path:
        """Moves damaged checkpoints out of the way, so that their steps can be saved again."""
        aside = self.folder.parent / DAMAGED_FOLDER
        if jax.process_index() == 0:
            aside.mkdir(exist_ok=True)
            for step in steps:
                number = sum(path.name.startswith(f"{step}_") for path in aside.iterdir())
                (self.folder / str(step)).rename(aside / f"{step}_{number}")
        if jax.process_count() > 1:
            multihost_utils.sync_global_devices("damaged checkpoints set aside")
        self._manager.reload()
        return aside

    def preempted(self, step: int) -> bool:
        """Whether the scheduler asked several processes to stop; true for all at the same step."""
        return jax.process_count() > 1 and self._manager.reached_preemption(step)


def _as_saved(state: TrainState) -> dict[str, Any]:
    """Returns the fields of a state that hold arrays, by name.

    Orbax writes an absent field down, so that a run would lose its checkpoints whenever the state
    gets a field that only some objectives use.
    """
    fields = {field.name: getattr(state, field.name) for field in dataclasses.fields(state)}
    return {name: value for name, value in fields.items() if value is not None}


def _first_line(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return text[0].strip("'\" .") + "." if text else f"{type(error).__name__}."


def newest_step(workdir: pathlib.Path) -> int | None:
    """The newest checkpoint in a workdir, by the names of its folders alone."""
    folder = workdir / CHECKPOINTS_FOLDER
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    return max((int(name) for name in names if name.isdecimal()), default=None)


def refuse_changes(saved: dict[str, Any], now: dict[str, Any], workdir: pathlib.Path) -> None:
    """Raises UserError if a run in `workdir` cannot go on with what is asked now."""
    found = differences(saved["config"], now["config"])
    for fact, value in now["data"].items():
        if saved["data"].get(fact) != value:
            found.append(f"the {fact} changed")
    if found:
        raise UserError(
            f"The run in {workdir} cannot resume: {'; '.join(found)}. Give the earlier settings "
            "and data, or start anew with another --workdir.",
            problem="changed_run",
        )


def read_run(workdir: pathlib.Path) -> dict[str, Any]:
    """Settings, data facts and position of a run's newest checkpoint.

    Raises:
        UserError: there is no run, or no finished checkpoint yet.
    """
    with _newest(workdir) as (checkpoints, step):
        return checkpoints.run(step)


def restore_params(workdir: pathlib.Path, params: nnx.State) -> nnx.State:
    """Restores the encoder's newest parameters of a run, and no other array of it.

    Args:
        params: shapes, types and shardings of the parameters.

    Raises:
        UserError: as `read_run`, or the parameters are damaged.
    """
    with _newest(workdir) as (checkpoints, step):
        return checkpoints.restore_params(step, params)


@contextlib.contextmanager
def _newest(workdir: pathlib.Path) -> Iterator[tuple[Checkpoints, int]]:
    with Checkpoints(workdir) as checkpoints:
        folder, step = checkpoints.folder, checkpoints.latest_step
        if step is None:
            raise UserError(
                f"There is no finished checkpoint in {folder} yet.", problem="no_checkpoint"
            )
        try:
            yield checkpoints, step
        except _NO_DAMAGE:
            raise
        except Exception as error:
            raise UserError(
                f"The checkpoint of step {step} in {folder} is damaged: {_first_line(error)} Start "
                f"the training again, which goes on from the one before, or move "
                f"{folder / str(step)} away."
            ) from error
