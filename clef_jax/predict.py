"""Answers the questions of a model's head about recordings of any file format, rate and length.

`python -m clef_jax.predict --model=DIR --input=PATH --out=FILE.parquet`
"""

import sys
from collections.abc import Sequence

from clef_jax import command_line
from clef_jax.errors import exit_on_user_error
from clef_jax.predicting.settings import NOTHING_READ, SKIPPED, Config

__all__ = ["NOTHING_READ", "SETTINGS", "SKIPPED", "Config", "main", "run"]

SETTINGS = Config


def main(argv: Sequence[str] | None = None) -> None:
    with exit_on_user_error():
        code = run(command_line.parse(SETTINGS, argv, "predict"))
    sys.exit(code)


def run(config: Config) -> int:
    """Answers about all recordings; returns 0, or `SKIPPED` if a recording was skipped, or
    `NOTHING_READ` if none could be read."""
    from clef_jax.predicting import run as predicting_run

    return predicting_run.run(config)


if __name__ == "__main__":
    main()
