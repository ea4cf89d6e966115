"""Estimates memory and time of a training step on hardware that need not be present.

`python -m clef_jax.plan --size=large --topology=v5e:16x16`

Compiles the step of `clef_jax.train` over shapes instead of data, and prints what it needs, how
long it takes by the compiler's own estimate, and whether it fits. The command takes the flags of
`clef_jax.train`; those count that change the step.
"""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import rich.console
import tyro

from clef_jax.config import TrainConfig
from clef_jax.errors import UserError, exit_on_user_error
from clef_jax.training import arguments

if TYPE_CHECKING:
    from clef_jax.planning.estimate import Plan

_NO_RUN = TrainConfig(data_dir="", workdir="")
"""Default settings of the run: a plan reads and writes none."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arguments:
    """Estimates memory and time of a training step on hardware that need not be present."""

    topology: str
    """Hardware: v4, v5e, v5p, v6e or tpu7x with the shape of the slice (v5e:16x16, v5p:4x4x4);
    several slices (2xv5e:16x16); a number of GPUs (h100:8, h200:8, a100:64) or of CPU devices
    (cpu:8)."""
    sample_rate_hz: float = 500.0
    """Sampling rate of the prepared data set in Hz."""
    search_batch: bool = False
    """Also search for the largest global batch that fits; compiles up to eight times."""
    autotune_results: pathlib.Path | None = None
    """File with the kernels that a GPU of the same kind chose by measurement, as make bench writes
    it on a GPU; by default the compiler's cost model chooses."""
    json: pathlib.Path | None = None
    """File to which the same figures are written as JSON; by default none."""
    overwrite: bool = False
    """Replace a --json file that is not a plan; otherwise it is an error."""

    def __post_init__(self):
        if not self.sample_rate_hz > 0:
            raise UserError("--sample-rate-hz must be above 0.")


def __getattr__(name: str) -> Any:
    """Returns `SETTINGS` when it is needed; `main` makes its own, for the objective at hand."""
    if name != "SETTINGS":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    own = ("options", Annotated[Arguments, tyro.conf.arg(name="")])
    return arguments.settings(own=[own], default=_NO_RUN, doc=Arguments.__doc__)


def main(argv: Sequence[str] | None = None) -> None:
    with exit_on_user_error():
        config, options = arguments.parse_beside(argv, Arguments, default=_NO_RUN, command="plan")
        run(config, options, rich.console.Console(highlight=False))


def run(config: TrainConfig, options: Arguments, console: rich.console.Console) -> "Plan":
    """Makes, prints and, if requested, writes one plan; returns it."""
    from clef_jax.planning import run as planning_run

    return planning_run.run(
        config,
        console,
        topology_name=options.topology,
        sample_rate_hz=options.sample_rate_hz,
        with_search=options.search_batch,
        json_path=options.json,
        overwrite=options.overwrite,
        autotune_results=options.autotune_results,
    )


if __name__ == "__main__":
    main()
