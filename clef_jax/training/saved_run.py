"""Reads what training runs saved in their workdirs: the newest checkpoint, or parts of it."""

import contextlib
import pathlib
from collections.abc import Iterator
from typing import Any

from flax import nnx

from clef_jax.config import differences
from clef_jax.errors import UserError
from clef_jax.training import CHECKPOINTS_FOLDER, TRAINED, Weights
from clef_jax.training.checkpoint import NO_DAMAGE, Checkpoints, first_line


def newest_step(workdir: pathlib.Path) -> int | None:
    """Returns the step of a workdir's newest checkpoint, from folder names alone; None if none."""
    folder = workdir / CHECKPOINTS_FOLDER
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    return max((int(name) for name in names if name.isdecimal()), default=None)


def refuse_changes(saved: dict[str, Any], now: dict[str, Any], workdir: pathlib.Path) -> None:
    """Raises UserError if the run in `workdir` cannot resume with the current settings and data."""
    changes = differences(saved["config"], now["config"])
    changes += [
        f"the {fact} changed"
        for fact in dict.fromkeys((*saved["data"], *now["data"]))
        if saved["data"].get(fact) != now["data"].get(fact)
    ]
    if changes:
        raise UserError(
            f"The run in {workdir} cannot resume: {'; '.join(changes)}. Use the earlier settings "
            "and data, or start from scratch with another --workdir.",
            problem="changed_run",
        )


def read_run(workdir: pathlib.Path) -> dict[str, Any]:
    """Returns the settings, data's identity and position of a run's newest checkpoint.

    Raises:
        UserError: the folder holds no training run, or no complete checkpoint yet.
    """
    with _newest(workdir) as (checkpoints, step):
        return checkpoints.run(step)


def restore_params(
    workdir: pathlib.Path, params: nnx.State, weights: Weights = TRAINED
) -> nnx.State:
    """Restores the encoder's parameters, and nothing else, from a run's newest checkpoint.

    Args:
        workdir: the folder of the run.
        params: shapes, types and shardings of the parameters.
        weights: `trained`, or `ema` for their moving average.

    Raises:
        UserError: as `read_run`, or the parameters are damaged, or the run keeps no average.
    """
    with _newest(workdir) as (checkpoints, step):
        return checkpoints.restore_params(step, params, weights)


@contextlib.contextmanager
def _newest(workdir: pathlib.Path) -> Iterator[tuple[Checkpoints, int]]:
    with Checkpoints(workdir) as checkpoints:
        folder, step = checkpoints.folder, checkpoints.latest_step
        if step is None:
            raise UserError(f"{folder} holds no complete checkpoint yet.", problem="no_checkpoint")
        try:
            yield checkpoints, step
        except NO_DAMAGE:
            raise
        except Exception as error:
            raise UserError(
                f"The checkpoint of step {step} in {folder} is damaged: {first_line(error)} Start "
                f"the training again, which resumes from the previous one, or move "
                f"{folder / str(step)} elsewhere."
            ) from error
