"""Mistakes that the user can mend. Commands print them as one sentence, without a traceback."""

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import NoReturn

import rich.console
import rich.markup


class UserError(ValueError):
    """What is wrong, where, and what to do about it, in the user's words.

    `problem` is a short stable code of the fault, for example `half_built`. Errors that their names
    and numbers identify need none.
    """

    def __init__(self, message: object, *, problem: str | None = None):
        super().__init__(message)
        self.problem = problem


@contextlib.contextmanager
def exit_on_user_error() -> Iterator[None]:
    """Ends the command with exit code 1 and the error's sentence on standard error."""
    try:
        yield
    except UserError as error:
        print_error(error)
        sys.exit(1)


def print_error(error: UserError) -> None:
    """Prints an error's sentence on standard error."""
    console = rich.console.Console(stderr=True, highlight=False)
    console.print("[bold red]Error:[/]", rich.markup.escape(str(error)), soft_wrap=True)


def exit_at_once() -> NoReturn:
    """Ends the process with exit code 1 whatever its threads are doing.

    The interpreter's own way out waits for all of them, and one of them is what hangs.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)
