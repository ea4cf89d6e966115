"""Evaluates encoders on clinical tasks, and compares them with baselines.

`python -m clef_jax.evaluate --model=MODEL --data-dir=DIR --out=DIR`

The baselines are randomly initialised encoders, rhythm and spectrum, and what age, sex and systolic
pressure alone predict.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from clef_jax import command_line
from clef_jax.errors import exit_on_user_error
from clef_jax.evaluation.settings import Config

if TYPE_CHECKING:
    from clef_jax.evaluation.result import Result

SETTINGS = Config


def main(argv: Sequence[str] | None = None) -> None:
    with exit_on_user_error():
        run(command_line.parse(SETTINGS, argv, "evaluate"), argv)


def run(config: Config, argv: Sequence[str] | None = None) -> "list[Result]":
    """Evaluates all models on all tasks, writes the results and the page, returns the results."""
    from clef_jax.evaluation import run as evaluation_run

    return evaluation_run.run(config, argv)


if __name__ == "__main__":
    main()
