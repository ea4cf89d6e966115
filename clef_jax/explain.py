"""Shows which parts of a recording moved the answer of a model, and checks the picture.

`python -m clef_jax.explain RECORDING --model=DIR --out=PAGE.html`
"""

import sys
from collections.abc import Sequence

from clef_jax import command_line
from clef_jax.errors import exit_on_user_error
from clef_jax.explaining.settings import Config

SETTINGS = Config


def main(argv: Sequence[str] | None = None) -> None:
    with exit_on_user_error():
        code = run(command_line.parse(SETTINGS, argv, "explain"))
    sys.exit(code)


def run(config: Config) -> int:
    """Explains the answer and writes the page; returns 0."""
    from clef_jax.explaining import run as explaining_run

    return explaining_run.run(config)


if __name__ == "__main__":
    main()
