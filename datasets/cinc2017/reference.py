"""Reads REFERENCE.csv: the rhythm of each recording, as experts saw it."""

import pathlib

from clef_jax.errors import UserError
from clef_jax.finding import Findings

CLASSES = ("N", "A", "O", "~")
_FILES = ("REFERENCE-v3.csv", "REFERENCE.csv")
"""The newest revision first."""


def find(source: pathlib.Path, label_source: str | None) -> pathlib.Path:
    """The table to read: what the user gave, or the newest one in the source folder.

    Raises:
        UserError: there is none.
    """
    given = source if label_source is None else pathlib.Path(label_source)
    if given.is_file():
        return given
    for name in _FILES:
        files = (file for file in given.rglob(name) if file.is_file())
        found = sorted(files, key=lambda file: (len(file.parts), file))
        if found:
            return found[0]
    raise UserError(
        f"{given} holds no {_FILES[-1]}, so it is not the top of a CinC 2017 download. If the "
        "table is elsewhere, name it with --label-source.",
        problem="not_the_source",
    )


def read(path: pathlib.Path, findings: Findings) -> dict[str, str]:
    """The class of each recording by its name in upper case, "" where there is none.

    What is wrong with a line is added to the findings.
    """
    rhythms: dict[str, str] = {}
    text = path.read_text(encoding="utf-8-sig", errors="replace")
    for number, line in enumerate(text.splitlines(), start=1):
        first, _, rest = line.partition(",")
        name = pathlib.PurePath(first.strip(' \t"')).stem.upper()
        rhythm = rest.strip(' \t",').upper()
        if not any(map(str.isdigit, name)):
            if line.strip(' \t",') and number > 1:  # the first line may be a heading
                detail = f"Line {number} of {path.name} names no recording."
                findings.quarantine(f"{path.name} line {number}", "bad_row", detail)
        elif name in rhythms:
            detail = f"Line {number} of {path.name} lists a recording that an earlier line lists."
            findings.quarantine(name, "duplicate_record", detail)
        elif rhythm in CLASSES:
            rhythms[name] = rhythm
        else:
            rhythms[name] = ""
            problem = "unknown_class" if rhythm else "unlabelled"
            detail = f"Line {number} of {path.name} gives it none of {', '.join(CLASSES)}."
            findings.keep(name, problem, detail)
    return rhythms
