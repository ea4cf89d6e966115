"""Finds the commands, and parses their settings.

A command is a module of this package, or a room with a `__main__`, that defines `main(argv)` and
has `SETTINGS`, the type that its arguments are parsed to. Nothing lists the commands.
"""

import ast
import collections
import contextlib
import importlib
import math
import os
import pathlib
import platform
import sys
import types
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import docstring_parser
import rich.console
import tyro

from clef_jax import parse_errors
from clef_jax.errors import (
    PROGRAM,
    WRONG_ARGUMENTS,
    WrongArgument,
    known_invocation,
    print_error,
)

VERSION = "--version"

Model = Annotated[str, tyro.conf.arg(aliases=("--checkpoint",))]
"""Type of a setting that names a model; `--checkpoint` is the older name of `--model`."""

Models = Annotated[tuple[str, ...], tyro.conf.arg(aliases=("--checkpoint",))]
"""Type of a setting that names several models."""

_PACKAGE = pathlib.Path(__file__).parent


def parse(settings: Any, argv: Sequence[str] | None, command: str, **options: Any) -> Any:
    """Returns an instance of `settings` made from arguments; exits with code 2 if they are wrong.

    Prints the versions, and exits, if --version is the only argument.

    Args:
        settings: a dataclass, or a union of dataclasses for a command with commands of its own.
        argv: the arguments; by default those of this process.
        command: name of the command, for example "train".
        options: passed on to `tyro.cli`.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments == [VERSION]:
        print_versions()
        sys.exit(0)
    prog = known_invocation(command) or f"{PROGRAM} {command}"
    try:
        with (
            exit_on_closed_pipe(),
            unbroken_sentences(),
            parse_errors.sentences(settings, arguments, prog),
        ):
            return tyro.cli(settings, args=arguments, prog=prog, **options)
    except WrongArgument as error:
        print_error(error)
        sys.exit(WRONG_ARGUMENTS)


@contextlib.contextmanager
def unbroken_sentences() -> Iterator[None]:
    """Lets tyro wrap the help of a setting, whose docstring has line breaks of its own.

    docstring_parser, from which tyro takes the docstrings of fields, keeps their lines, and tyro
    keeps a break before one that is indented or does not begin with a letter. Scripts for the shell
    would offer such a line as a word.
    """
    original = docstring_parser.parse_from_object

    def parse(obj: Any, *args: Any, **options: Any) -> docstring_parser.Docstring:
        parsed = original(obj, *args, **options)
        for field in parsed.params:
            if field.description is not None:
                field.description = " ".join(field.description.split())
        return parsed

    docstring_parser.parse_from_object = parse
    try:
        yield
    finally:
        docstring_parser.parse_from_object = original


_MAX_SEED = 2**63 - 1
"""Largest seed that JAX accepts."""


def check_positive(settings: object, *fields: str) -> None:
    """Raises WrongArgument if a setting is given, and is no finite number above 0.

    Args:
        settings: settings of a command.
        fields: names of those settings.
    """
    for field in fields:
        value = getattr(settings, field)
        if value is not None and not (value > 0 and math.isfinite(value)):
            raise WrongArgument(f"--{field.replace('_', '-')}={value:g} must be above 0.")


def check_seed(seed: int, flag: str = "--seed", *, num_seeds: int = 1) -> None:
    """Raises WrongArgument unless random numbers can be generated from a seed.

    Args:
        seed: the seed.
        flag: the setting that holds it, for the message.
        num_seeds: number of successive seeds that are used, the first of which is `seed`.
    """
    largest = _MAX_SEED + 1 - num_seeds
    if not 0 <= seed <= largest:
        raise WrongArgument(f"{flag}={seed} must be from 0 to {largest:,}.", problem="invalid_seed")


@contextlib.contextmanager
def exit_on_closed_pipe() -> Iterator[None]:
    """Ends the process quietly if the reader of its output ends first, as `head` does."""
    try:
        yield
    except BrokenPipeError:
        # Python flushes standard output at exit, which would raise the error again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


_PACKAGES = ("clef_jax", "jax", "jaxlib", "flax")
"""Packages whose versions `--version` prints."""


def print_versions() -> None:
    """Prints the versions of this package and of those that it needs, and the devices."""
    import jax

    from clef_jax import machine

    try:
        kinds = collections.Counter(device.device_kind for device in jax.devices())
        devices = ", ".join(f"{count} x {kind}" for kind, count in kinds.items())
    except RuntimeError as error:  # an accelerator that another process holds, for example
        devices = f"none can be used: {error}"
    lines = [f"{name} {number}" for name, number in machine.installed_versions(_PACKAGES).items()]
    lines += [f"Python {platform.python_version()} on {platform.platform()}", f"Devices: {devices}"]
    rich.console.Console(highlight=False).print("\n".join(lines), soft_wrap=True, markup=False)


def sources() -> dict[str, str]:
    """Returns the source of each command by the command's name, sorted.

    Reads files and imports no command, because some take a second to import.
    """
    files = {path.stem: path for path in _PACKAGE.glob("[!_]*.py")}
    files |= {path.parent.name: path for path in _PACKAGE.glob("*/__main__.py")}
    texts = {name: files[name].read_text(encoding="utf-8") for name in sorted(files)}
    return {name: text for name, text in texts.items() if "\ndef main(" in text}


def summaries() -> dict[str, str]:
    """Returns the first sentence of each command's docstring by the command's name, sorted."""
    docstrings = {name: ast.get_docstring(ast.parse(text)) for name, text in sources().items()}
    return {
        name: " ".join((docstring or "").partition("\n\n")[0].split())
        for name, docstring in docstrings.items()
    }


def load(command: str) -> types.ModuleType:
    """Returns the imported module of a command."""
    suffix = ".__main__" if (_PACKAGE / command).is_dir() else ""
    return importlib.import_module(f"clef_jax.{command}{suffix}")
