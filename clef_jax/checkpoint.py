"""One checkpoint = state + data position + settings + what the data was; restoring it continues
bit for bit, and a run whose settings or data changed in a way that matters is refused."""

import pathlib
from typing import Any

import jax
import orbax.checkpoint as ocp
from flax import nnx
from jax.sharding import Mesh

from clef_jax import mesh as mesh_lib
from clef_jax.config import differences
from clef_jax.errors import UserError
from clef_jax.update import TrainState

FOLDER = "checkpoints"


class Checkpoints:
    """The checkpoints of one run, in its workdir."""

    def __init__(self, workdir: pathlib.Path, *, keep: int = 3):
        # A read-only visitor (report, embed) must not make folders in a mistyped place.
        self.folder = workdir / FOLDER
        options = ocp.CheckpointManagerOptions(max_to_keep=keep, create=True)
        self._manager = ocp.CheckpointManager(self.folder, options=options)

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_) -> None:
        """Waits for a save under way; an error in it is raised here."""
        self._manager.wait_until_finished()
        self._manager.close()

    @property
    def latest_step(self) -> int | None:
        """Updates behind the newest complete checkpoint; None if there is none."""
        return self._manager.latest_step()

    def save(self, state: TrainState, step: int, run: dict[str, Any]) -> None:
        """Starts saving in the background. `run` holds settings, data facts and position."""
        if step == self.latest_step:
            return
        self._manager.save(
            step,
            args=ocp.args.Composite(state=ocp.args.StandardSave(state), run=ocp.args.JsonSave(run)),
        )

    def run(self, step: int) -> dict[str, Any]:
        """Settings, data facts and position as saved with a step."""
        return self._manager.restore(step, args=ocp.args.Composite(run=ocp.args.JsonRestore()))[
            "run"
        ]

    def restore(self, step: int, state: TrainState) -> TrainState:
        """The state saved at a step, laid out like `state` (arrays or abstract ones)."""
        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, state)
        args = ocp.args.Composite(state=ocp.args.StandardRestore(abstract))
        return self._manager.restore(step, args=args)["state"]

    def preempted(self, step: int) -> bool:
        """Whether the scheduler asked several processes to stop; true for all at the same step."""
        return jax.process_count() > 1 and self._manager.reached_preemption(step)


def refuse_changes(saved: dict[str, Any], now: dict[str, Any], workdir: pathlib.Path) -> None:
    """Raises UserError if a run in `workdir` cannot go on with what is asked now."""
    found = differences(saved["config"], now["config"])
    for fact, value in now["data"].items():
        if saved["data"].get(fact) != value:
            found.append(f"the {fact} changed")
    if found:
        raise UserError(
            f"The run in {workdir} cannot resume: {'; '.join(found)}. Give the earlier settings "
            "and data, or start anew with another --workdir."
        )


def abstract_state(init, mesh: Mesh) -> TrainState:
    """Shapes, types and shardings of the state, without computing it."""
    everywhere = mesh_lib.everywhere(mesh)
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=everywhere), jax.eval_shape(init)
    )


def read_run(workdir: pathlib.Path) -> dict[str, Any]:
    """Settings, data facts and position of a run's newest checkpoint.

    Raises:
        UserError: there is no run, or no finished checkpoint yet.
    """
    if not (workdir / FOLDER).is_dir():
        raise UserError(f"{workdir} holds no training run: there is no folder {FOLDER}.")
    with Checkpoints(workdir) as checkpoints:
        if checkpoints.latest_step is None:
            raise UserError(f"There is no finished checkpoint in {checkpoints.folder} yet.")
        return checkpoints.run(checkpoints.latest_step)


def restore_params(workdir: pathlib.Path, init, mesh: Mesh) -> nnx.State:
    """The newest parameters of a run, for reading only."""
    with Checkpoints(workdir) as checkpoints:
        if checkpoints.latest_step is None:
            raise UserError(f"There is no checkpoint in {checkpoints.folder}; train first.")
        return checkpoints.restore(checkpoints.latest_step, abstract_state(init, mesh)).params
