"""Errors that the user can correct. Commands print them as a sentence, without a traceback."""

import contextlib
import errno
import io
import os
import pathlib
import sys
from collections.abc import Iterator, Sequence
from typing import NoReturn

import rich.console
import rich.markup


class UserError(ValueError):
    """An error that the user can correct; the message says what is wrong, where, and what to do.

    `problem` is a short stable code of the error, for example `half_built`. Messages that quote
    the wrong name or number need no code.
    """

    def __init__(self, message: object, *, problem: str | None = None):
        super().__init__(message)
        self.problem = problem


class WrongArgument(UserError):
    """An error of an argument itself, whatever the files hold: a name or a number that no command
    takes. Commands end with the exit code of a wrong command line."""


WRONG_ARGUMENTS = 2
"""Exit code of a command whose arguments are wrong, as of argparse and tyro."""


def counted(number: int, noun: str) -> str:
    """Returns a number with its noun, for example `1 recording`, `2,000 entries` or `0 patients`.

    Args:
        number: the number.
        noun: the noun in the singular; words may precede it, as in `unusable window`.
    """
    if number == 1:
        return f"1 {noun}"
    if noun.endswith("axis"):
        return f"{number:,} {noun[:-2]}es"
    if noun.endswith(("s", "x", "ch", "sh")) and not noun.endswith("epoch"):
        return f"{number:,} {noun}es"
    if noun.endswith("y") and noun[-2] not in "aeou":
        return f"{number:,} {noun[:-1]}ies"
    return f"{number:,} {noun}s"


def listed(names: Sequence[str], most: int) -> str:
    """Returns the first `most` names for a sentence, for example `a, b and 3 more`."""
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")


PROGRAM = "clef-jax"
_PACKAGE = pathlib.Path(__file__).parent


def invocation(line: str) -> str:
    """Returns how the user calls a command here: `clef-jax NAME` or `python -m clef_jax.NAME`.

    Both where the process runs another program, such as a notebook.

    Args:
        line: name of the command, which arguments may follow: `prepare --check`.
    """
    return known_invocation(line) or f"{PROGRAM} {line} (or python -m {_PACKAGE.name}.{line})"


def known_invocation(line: str) -> str | None:
    """Returns how the user calls a command here, or None where that cannot be known."""
    called = pathlib.Path(sys.argv[0])
    if called.stem == PROGRAM or called == _PACKAGE / "__main__.py":
        return f"{PROGRAM} {line}"
    # `-m` stands there while Python imports the command that it will run.
    if _PACKAGE.name in (called.parent.name, called.parent.parent.name) or sys.argv[0] == "-m":
        return f"python -m {_PACKAGE.name}.{line}"
    return None


def printable(text: str) -> str:
    """Returns a text for a terminal, with escapes instead of control characters and new lines.

    File names may hold them, and bytes that are no UTF-8, and could otherwise change what a
    terminal shows.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


@contextlib.contextmanager
def exit_on_user_error() -> Iterator[None]:
    """Turns an error that the user can correct into a message on standard error and exit code 1,
    or 2 if an argument is wrong.

    These are `UserError` and what the system refuses, such as a file that must not be written. If
    Ctrl-C ends the block, the exit code is that of programs which it ends.
    """
    print_any_text()
    try:
        yield
    except UserError as error:
        print_error(error)
        sys.exit(WRONG_ARGUMENTS if isinstance(error, WrongArgument) else 1)
    except BrokenPipeError:
        raise
    except OSError as error:
        if error.errno not in _ENVIRONMENT:
            raise
        print_error(UserError(_sentence(error)))
        sys.exit(1)
    except KeyboardInterrupt:
        print_error(UserError("Stopped by Ctrl-C."))
        sys.exit(INTERRUPTED)


INTERRUPTED = 130
"""Exit code of a program that Ctrl-C ended."""

_ENVIRONMENT = {
    *(errno.EACCES, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EISDIR, errno.ELOOP, errno.EMFILE),
    *(errno.ENAMETOOLONG, errno.ENFILE, errno.ENOENT, errno.ENOSPC, errno.ENOTDIR, errno.EPERM),
    *(errno.EROFS, errno.ESTALE),
}
"""Errors of the system that stem from its disks and permissions rather than from a program."""


def _sentence(error: OSError) -> str:
    """Returns what the system refused, where, and what to do."""
    where = "" if error.filename is None else f"{error.filename}: "
    return (
        f"{where}{error.strerror}. Check that the path exists, that you may use it, and that the "
        "disk has space; then run the command again."
    )


def print_any_text() -> None:
    """Makes this process print escapes for characters that its output cannot represent.

    Output may be forced to ASCII, and file names may hold bytes that are no text.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def print_note(text: str) -> None:
    """Prints a sentence on standard error that is no error."""
    console = rich.console.Console(stderr=True, highlight=False)
    console.print(printable(text), soft_wrap=True, markup=False)


def print_error(error: UserError) -> None:
    """Prints the message of an error on standard error."""
    console = rich.console.Console(stderr=True, highlight=False)
    message = "\n".join(printable(line) for line in str(error).split("\n"))
    console.print("[bold red]Error:[/]", rich.markup.escape(message), soft_wrap=True)


def exit_at_once(code: int = 1) -> NoReturn:
    """Ends the process without waiting for its threads.

    The interpreter's normal exit waits for all threads, also for one that hangs.
    """
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)
