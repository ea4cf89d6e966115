"""Writes a page about a training run, or one that compares several.

`python -m clef_jax.report --workdir DIR [DIR ...] [--out=FILE.html]`
"""

import dataclasses
import pathlib
from collections.abc import Sequence

import rich.console

from clef_jax import command_line, files
from clef_jax.errors import WrongArgument, exit_on_user_error


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arguments:
    """Writes a page about a training run: losses, example views, a map of the embeddings.

    With several folders, the page compares the runs: their settings, losses and representation
    checks."""

    workdir: tuple[str, ...]
    """Folder of the run; several to compare runs."""
    out: str | None = None
    """Page to write; by default report.html, or comparison.html for several runs, in the folder of
    the first run."""
    data_dir: str | None = None
    """Folder of the prepared data set; by default the one that the run read. A comparison reads
    none."""
    overwrite: bool = False
    """Replace a file that is not a page of this command; otherwise it is an error."""

    def __post_init__(self):
        if not self.workdir:
            raise WrongArgument("--workdir needs the folder of a run.", problem="no_run")


SETTINGS = Arguments


def main(argv: Sequence[str] | None = None) -> None:
    arguments = command_line.parse(SETTINGS, argv, "report")
    with exit_on_user_error():
        path = write(arguments)
    rich.console.Console(highlight=False).print(f"The report is in {path}.", soft_wrap=True)


def write(arguments: Arguments) -> pathlib.Path:
    """Writes the page and returns its path."""
    workdirs = [pathlib.Path(name).expanduser().resolve() for name in arguments.workdir]
    name = "report.html" if len(workdirs) == 1 else "comparison.html"
    out = pathlib.Path(arguments.out).expanduser() if arguments.out else workdirs[0] / name
    if len(workdirs) > 1:
        from clef_jax.training import comparison_page

        files.check_output(out, comparison_page.is_page, overwrite=arguments.overwrite)
        comparison_page.write(workdirs, out)
    else:
        from clef_jax.training import page

        files.check_output(out, page.is_page, overwrite=arguments.overwrite)
        page.write(workdirs[0], out, data_dir=arguments.data_dir)
    return out


if __name__ == "__main__":
    main()
