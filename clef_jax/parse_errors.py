"""Turns arguments that tyro rejects into sentences.

tyro draws boxes, which name our classes. Its hook for errors may change in any release: where it,
or what a sentence needs of it, is missing, tyro prints its own box.
"""

import contextlib
import io
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import tyro

from clef_jax import plugin
from clef_jax.errors import WrongArgument, counted

try:
    from tyro import _errors as tyro_errors
except ImportError:  # a version of tyro without the hook
    tyro_errors: Any = None

_FLAG = re.compile(r"--?[A-Za-z][\w.-]*")
_LINE_OF_FLAGS = re.compile(r"^[│|\s]*(--[A-Za-z].*)$", re.MULTILINE)
_SUBCOMMANDS = re.compile(r"\{([\w-]+(?:,[\w-]+)+)\}")
_KINDS = {"INT": "a whole number", "FLOAT": "a number", "None": "None", "{None}": "None"}
"""Words for users in place of tyro's names of types."""


@contextlib.contextmanager
def sentences(settings: Any, argv: Sequence[str], prog: str) -> Iterator[None]:
    """Makes a call of `tyro.cli` in the block raise a sentence about arguments that are wrong.

    Args:
        settings: the type that the arguments are parsed to.
        argv: the arguments.
        prog: how the user calls the command.

    Raises:
        WrongArgument: an argument is unknown, or has a value that the command does not take.
    """

    def reject(event: Any) -> None:
        try:
            sentence = _sentence(event, settings, argv, prog)
        except AttributeError:  # this version of tyro describes its errors otherwise
            return
        if sentence is not None:
            raise WrongArgument(sentence)

    if not hasattr(tyro_errors, "on_parse_error"):
        yield
        return
    with tyro_errors.on_parse_error(reject):
        yield


def _sentence(event: Any, settings: Any, argv: Sequence[str], prog: str) -> str | None:
    """Returns what is wrong, or None for what tyro's box says well."""
    kind = type(event).__name__
    if kind == "UnrecognizedArgs":
        return _unknown(event.tokens, settings, argv, prog)
    if kind == "MissingArgs" and any(_FLAG.match(token) for token in event.unrecognized_tokens):
        return _unknown(event.unrecognized_tokens, settings, argv, prog)
    if kind == "InvalidChoice":
        label = f"value of {_flag(event.argument)}"
        return plugin.unknown(label, event.value, event.choices)
    if kind == "BadValue" and event.offending_value is None:
        number = event.argument.lowered.nargs
        values = counted(number, "value") if isinstance(number, int) else "a value"
        return f"{_flag(event.argument)} needs {values}. {prog} --help describes it."
    if kind == "MissingSubcommand":
        names = ", ".join(event.subcommand_spec.parser_from_name)
        return f"{prog} needs a command: {names}. {prog} --help describes them."
    if kind == "InstantiationFailure":
        if event.argument is None:
            return str(event.message)  # of a check of ours
        return _wrong_value(event.argument, argv, prog)
    return None


def _flag(argument: Any) -> str:
    """Returns the name of an argument that the help shows last: `--model`, not an alias of it."""
    return str(argument.lowered.name_or_flags[-1])


def _wrong_value(argument: Any, argv: Sequence[str], prog: str) -> str:
    flags = set(argument.lowered.name_or_flags)
    given = [
        value or following
        for token, following in itertools.zip_longest(argv, argv[1:], fillvalue="")
        for name, _, value in [token.partition("=")]
        if name.replace("_", "-") in flags
    ]
    flag, metavar = _flag(argument), str(argument.lowered.metavar)
    kinds = dict.fromkeys(_KINDS.get(part, part) for part in reversed(metavar.split("|")))
    value = f"={given[-1]}" if given else ""
    return f"{flag}{value} must be {' or '.join(kinds)}. {prog} --help describes it."


def _unknown(tokens: Sequence[str], settings: Any, argv: Sequence[str], prog: str) -> str:
    """Returns the sentences about tokens that no command knows, with the nearest known ones."""
    before = list(itertools.takewhile(lambda token: not token.startswith("-"), argv))
    own = _help(settings, [])
    names = [name for match in _SUBCOMMANDS.findall(_usage(own)) for name in match.split(",")]
    chosen = [name for name in before if name in names]
    described = " ".join([prog, *chosen])
    flags = [name for token in tokens if _FLAG.match(name := token.partition("=")[0])]
    if not flags:
        if names and not chosen:
            return f"{prog}: {plugin.unknown('command', tokens[0], names)}"
        return f"{described} takes no argument {tokens[0]!r}; {_all(described)}"
    known = _flags(_help(settings, chosen) if chosen else own)
    known |= {"--help", "--version"}
    parts = [
        f"{described} has no option {flag!r}.{plugin.did_you_mean(flag, sorted(known))}"
        for flag in dict.fromkeys(flags)
    ]
    return " ".join([*parts, _all(described)])


def _all(command: str) -> str:
    return f"{command} --help lists all options."


def _usage(text: str) -> str:
    return text.partition("\n\n")[0]


def _flags(text: str) -> set[str]:
    """Returns the flags that a help text describes, each at the start of a line."""
    return {flag for line in _LINE_OF_FLAGS.findall(text) for flag in re.findall(_FLAG, line)}


def _help(settings: Any, subcommands: Iterable[str]) -> str:
    shown = io.StringIO()
    with (
        contextlib.redirect_stdout(shown),
        contextlib.redirect_stderr(io.StringIO()),
        contextlib.suppress(SystemExit),
    ):
        tyro.cli(settings, args=[*subcommands, "--help"])
    return shown.getvalue()
