"""Publishes a model folder on a model hub, after it has checked what the folder holds.

`python -m clef_jax.push FOLDER ORG/NAME --license=apache-2.0 --dry-run`
"""

import sys
from collections.abc import Sequence

from clef_jax import command_line
from clef_jax.errors import exit_on_user_error
from clef_jax.hub.settings import Config

SETTINGS = Config


def main(argv: Sequence[str] | None = None) -> None:
    with exit_on_user_error():
        run(command_line.parse(SETTINGS, argv, "push"))
    sys.exit(0)


def run(config: Config) -> None:
    """Checks the folder and uploads it, or prints what would be uploaded."""
    from clef_jax.hub import publishing

    publishing.run(config)


if __name__ == "__main__":
    main()
