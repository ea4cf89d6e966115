"""Pre-trains an encoder on prepared ECG recordings, and resumes an interrupted run.

`python -m clef_jax.train --data-dir=DIR --workdir=DIR --size=small`
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from clef_jax.config import TrainConfig
from clef_jax.errors import exit_on_user_error
from clef_jax.training import arguments

if TYPE_CHECKING:
    from clef_jax.training.state import TrainState


def __getattr__(name: str) -> Any:
    """Returns `SETTINGS` when it is needed; `main` makes its own, for the objective at hand."""
    if name != "SETTINGS":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return arguments.settings()


def main(argv: Sequence[str] | None = None) -> None:
    with exit_on_user_error():
        run(arguments.parse(argv))


def run(config: TrainConfig) -> "TrainState":
    """Trains from the first step or the newest checkpoint to the last step; returns the state."""
    from clef_jax.training import run as training_run

    return training_run.run(config, _settle)


def _settle(config: TrainConfig, *devices: Any) -> TrainConfig:
    """Chooses the settings that are `auto`; see `planning.automatic.settle`."""
    from clef_jax.planning import automatic  # only runs with such a setting need it

    return automatic.settle(config, *devices)


if __name__ == "__main__":
    main()
