"""Reads the rhythm of each recording, as experts labelled it, from REFERENCE.csv."""

import pathlib

from clef_jax.errors import UserError
from clef_jax.finding import Findings

CLASSES = ("N", "A", "O", "~")
_FILES = ("REFERENCE-v3.csv", "REFERENCE.csv")
"""Accepted names of the table, the newest revision first."""


def find(source: pathlib.Path, label_source: str | None) -> pathlib.Path:
    """Returns the path of the table: as given, or the newest one in the source folder.

    Raises:
        UserError: the table is not found.
    """
    given = source if label_source is None else pathlib.Path(label_source)
    if given.is_file():
        return given
    for name in _FILES:
        files = (file for file in given.rglob(name) if file.is_file())
        tables = sorted(files, key=lambda file: (len(file.parts), file))
        if tables:
            return tables[0]
    raise UserError(
        f"{_FILES[-1]} not found in {given}; give the top folder of CinC 2017. If the table is "
        "elsewhere, give its path with --label-source.",
        problem="not_the_source",
    )


def read(path: pathlib.Path, findings: Findings) -> dict[str, str]:
    """Returns the class of each recording by its name in upper case; empty where unknown.

    Adds findings about lines that cannot be used.
    """
    rhythms: dict[str, str] = {}
    text = path.read_text(encoding="utf-8-sig", errors="replace")
    for number, line in enumerate(text.splitlines(), start=1):
        first, _, rest = line.partition(",")
        name = pathlib.PurePath(first.strip(' \t"')).stem.upper()
        rhythm = rest.strip(' \t",').upper()
        if not any(map(str.isdigit, name)):
            if line.strip(' \t",') and number > 1:  # the first line may be a heading
                detail = f"Line {number} of {path.name} does not name a recording."
                findings.quarantine(f"{path.name} line {number}", "bad_row", detail)
        elif name in rhythms:
            detail = f"Line {number} of {path.name} lists a recording that an earlier line lists."
            findings.quarantine(name, "duplicate_record", detail)
        elif rhythm in CLASSES:
            rhythms[name] = rhythm
        else:
            rhythms[name] = ""
            problem = "unknown_class" if rhythm else "unlabelled"
            detail = f"Line {number} of {path.name} states none of {', '.join(CLASSES)}."
            findings.keep(name, problem, detail)
    return rhythms
