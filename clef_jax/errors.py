"""Mistakes that the user can mend. Commands print them as one sentence, without a traceback."""

import contextlib
import sys
from collections.abc import Iterator

import rich.console
import rich.markup


class UserError(ValueError):
    """What is wrong, where, and what to do about it, in the user's words."""


@contextlib.contextmanager
def told_to_user() -> Iterator[None]:
    """Ends the command with exit code 1 and the error's sentence on standard error."""
    try:
        yield
    except UserError as error:
        console = rich.console.Console(stderr=True, highlight=False)
        console.print("[bold red]Error:[/]", rich.markup.escape(str(error)), soft_wrap=True)
        sys.exit(1)
