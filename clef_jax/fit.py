"""Fits a head to the labels of your own recordings, so that a model answers.

`python -m clef_jax.fit --model=MODEL --input=FOLDER --labels=CSV --out=DIR`
"""

import sys
from collections.abc import Sequence

from clef_jax import command_line
from clef_jax.errors import exit_on_user_error
from clef_jax.fitting.settings import Config

SETTINGS = Config


def main(argv: Sequence[str] | None = None) -> None:
    with exit_on_user_error():
        code = run(command_line.parse(SETTINGS, argv, "fit"))
    sys.exit(code)


def run(config: Config) -> int:
    """Fits the head and writes model, report and table; returns 0, or 3 if a row was not used."""
    from clef_jax.fitting import run as fitting_run

    return fitting_run.run(config)


if __name__ == "__main__":
    main()
