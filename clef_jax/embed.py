"""Embeds recordings of any file format, sampling rate and length.

`python -m clef_jax.embed --model=MODEL --input=PATH --out=FILE.parquet`
"""

import sys
from collections.abc import Sequence

from clef_jax import command_line
from clef_jax.embedding.settings import NOTHING_READ, SKIPPED, Config
from clef_jax.errors import exit_on_user_error

__all__ = ["NOTHING_READ", "SETTINGS", "SKIPPED", "Config", "main", "run"]

SETTINGS = Config


def main(argv: Sequence[str] | None = None) -> None:
    with exit_on_user_error():
        code = run(command_line.parse(SETTINGS, argv, "embed"))
    sys.exit(code)


def run(config: Config) -> int:
    """Embeds all recordings; returns 0, or `SKIPPED` if a recording was skipped, or `NOTHING_READ`
    if none could be read."""
    from clef_jax.embedding import run as embedding_run

    return embedding_run.run(config)


if __name__ == "__main__":
    main()
