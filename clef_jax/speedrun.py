"""Pre-trains on public data within some minutes, scores the encoder, and adds it to a table.

`python -m clef_jax.speedrun --minutes=10 --data-dir=DIR --out=DIR`

The score is the mean over a fixed panel of tasks, on patients that no training saw.
"""

from collections.abc import Sequence

from clef_jax import command_line
from clef_jax.errors import exit_on_user_error
from clef_jax.speedrunning.settings import Config

SETTINGS = Config


def main(argv: Sequence[str] | None = None) -> None:
    with exit_on_user_error():
        run(command_line.parse(SETTINGS, argv, "speedrun"))


def run(config: Config) -> None:
    """Makes one row of the table, checks a row, or renders the table."""
    from clef_jax.speedrunning import run as speedrunning_run

    speedrunning_run.run(config)


if __name__ == "__main__":
    main()
