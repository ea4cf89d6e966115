"""The program `clef-jax`: `clef-jax COMMAND ...` equals `python -m clef_jax.COMMAND ...`."""

import sys
from collections.abc import Sequence
from typing import Annotated, Any

import rich.console
import rich.table
import tyro

from clef_jax import command_line, plugin
from clef_jax.errors import WRONG_ARGUMENTS, UserError, print_any_text, print_error

_HELP = "--help"


def main(argv: Sequence[str] | None = None) -> None:
    """Runs one command, lists all, or prints the versions or a script for the shell."""
    print_any_text()
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["help"]:  # `help train` is `train --help`
        arguments = [*arguments[1:], _HELP]
    command, rest = (arguments[0], arguments[1:]) if arguments else (_HELP, [])
    if command in ("-h", _HELP):
        with command_line.exit_on_closed_pipe():
            _list_commands()
    elif command == command_line.VERSION:
        command_line.print_versions()
    elif command.startswith("--tyro-"):
        _complete(arguments)
    elif command in command_line.sources():
        command_line.load(command).main(rest)
    else:
        label = "option" if command.startswith("-") else "command"
        known = [_HELP, command_line.VERSION] if label == "option" else command_line.sources()
        print_error(UserError(plugin.unknown(label, command, known)))
        sys.exit(WRONG_ARGUMENTS)


def _list_commands() -> None:
    table = rich.table.Table(box=None, show_header=False, pad_edge=False)
    for name, sentence in command_line.summaries().items():
        table.add_row(f"  [bold]{name}[/]", sentence)
    console = rich.console.Console(highlight=False)
    console.print(
        f"Usage: {command_line.PROGRAM} COMMAND [SETTINGS]\n\n"
        "Pre-trains, evaluates and applies encoders of single-lead ECGs.\n"
    )
    console.print(table)
    console.print(
        f"\n{command_line.PROGRAM} COMMAND --help, or help COMMAND, lists the settings of a "
        "command; --version prints the versions and the devices,\n"
        "and --tyro-write-completion bash FILE (or zsh) writes a script that completes commands "
        "and settings in the shell.",
        soft_wrap=True,
    )


def _complete(argv: Sequence[str]) -> None:
    """Prints or writes the shell's completion script, which knows all commands and settings."""
    commands = {}
    for name, sentence in command_line.summaries().items():
        commands[name] = _settings_function(command_line.load(name).SETTINGS, sentence)
    with command_line.unbroken_sentences():
        tyro.extras.subcommand_cli_from_dict(commands, args=argv, prog=command_line.PROGRAM)


def _settings_function(settings: Any, sentence: str) -> Any:
    """Returns a function whose only argument has the type `settings`, so that unions nest."""

    def command(settings: Any) -> None:
        del settings

    command.__annotations__["settings"] = Annotated[settings, tyro.conf.arg(name="")]
    command.__doc__ = sentence
    return command


if __name__ == "__main__":
    main()
