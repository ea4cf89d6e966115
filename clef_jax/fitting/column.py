"""Interprets a column of a table of labels: yes or no, classes, or numbers.

Shapes: N rows.
"""

import collections
import dataclasses
import math
import re
from collections.abc import Sequence

import numpy as np

from clef_jax.csv_file import Note
from clef_jax.errors import UserError, counted, printable

BINARY, CLASSES, NUMBERS = "yes or no", "classes", "numbers"

MISSING = {"", "nan", "na", "n/a", "#n/a", "<na>", "null", "nil", "?", "-", "--", ".", "missing"}
"""Texts, in lower case, of cells without a value."""
_MISSING_UNLESS_CLASSES = {"none", "unknown"}
"""Texts that are a class among classes, and missing among numbers and yes and no."""
_YES = {"1", "1.0", "true", "yes", "y", "t", "positive", "pos", "present", "ja", "oui"}
_NO = {"0", "0.0", "false", "no", "n", "f", "negative", "neg", "absent", "nein", "non"}
_ERRORS = {"#ref!", "#div/0!", "#value!", "#name?", "#num!", "#null!", "err:508", "#spill!"}
"""Texts, in lower case, that spreadsheets write for a failed formula."""
_DATE = re.compile(r"(\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4})([ T].*)?")
_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+")
_THOUSANDS = re.compile(r"[+-]?\d{1,3}(,\d{3})+")
_WITH_UNIT = re.compile(r"[<>=~]*\s*[+-]?\d+(?:[.,]\d+)?\s*([^\d\s.,:/-][^\d]*)")
"""A number with what follows it, such as 120 mmHg or 35%."""
MOST_CLASSES = 100
"""Most classes of a column; more are names or texts rather than labels."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Column:
    """A column of labels with its meaning."""

    name: str
    kind: str
    """`BINARY`, `CLASSES` or `NUMBERS`."""
    outputs: tuple[str, ...]
    """Names of the outputs: the classes, or the column's own name."""
    target: np.ndarray
    """Targets, float64 [N, outputs]: 0 or 1, one-hot, or numbers; NaN where missing."""
    notes: tuple[Note, ...] = ()


def interpret(
    name: str,
    cells: Sequence[str],
    lines: Sequence[int],
    *,
    positive: Sequence[str] | None = None,
    as_classes: bool = False,
) -> Column:
    """Returns the targets of a column.

    Args:
        name: name of the column.
        cells: texts of the rows, stripped.
        lines: line of each row in the file, for messages.
        positive: classes that count as yes while all others count as no; by default the column
            keeps its classes.
        as_classes: whether numbers are names of classes.

    Raises:
        UserError: the column is no label; the message says why.
    """
    _check_formulas(name, cells, lines)
    known = [cell for cell in cells if cell.lower() not in MISSING]
    if {cell.lower() for cell in known} <= _MISSING_UNLESS_CLASSES:
        raise UserError(
            f"The column {name!r} has no values; fill it, or omit it from --targets.",
            problem="blank_column",
        )
    if positive is not None:
        return _one_against_rest(name, cells, positive)
    as_yes_or_no = {cell.lower() for cell in known} - _MISSING_UNLESS_CLASSES
    if as_yes_or_no <= _YES | _NO and not as_classes:
        return _binary(name, cells, as_yes_or_no)
    if as_classes:
        return _classes(name, cells)
    numeric = [cell for cell in known if _number_like(cell)]
    rest = [c for c in known if not _number_like(c) and c.lower() not in _MISSING_UNLESS_CLASSES]
    if not rest:
        return _numbers(name, cells, numeric, lines)
    if all(_DATE.fullmatch(cell) for cell in known):
        raise UserError(
            f"The column {name!r} holds dates, which are no label; omit it from --targets, or "
            "replace it by a number such as an age.",
            problem="dates",
        )
    _check_units(name, known, lines[cells.index(known[0])])
    if numeric and not all(cell.lower() in _YES | _NO for cell in numeric):
        place = next(n for c, n in zip(cells, lines, strict=True) if c == rest[0])
        raise UserError(
            f"The column {name!r} mixes {counted(len(numeric), 'number')} with "
            f"{counted(len(rest), 'text')}, such as {_shown(rest[0])} on line {place}. Write only "
            "numbers (without units), or only names of classes.",
            problem="mixed_values",
        )
    return _classes(name, cells)


def _check_units(name: str, known: Sequence[str], line: int) -> None:
    """Raises UserError if all cells are numbers with the same unit behind them."""
    matches = [_WITH_UNIT.fullmatch(cell) for cell in known]
    units = {match.group(1).strip() if match else "" for match in matches}
    if len(units) == 1 and "" not in units and len(set(known)) > 2:
        raise UserError(
            f"The column {name!r} has numbers with a unit, such as {_shown(known[0])} on line "
            f"{line}. Write the numbers only; if the texts are names of classes, add "
            f"--classes {name}.",
            problem="numbers_with_unit",
        )


def _check_formulas(name: str, cells: Sequence[str], lines: Sequence[int]) -> None:
    for cell, line in zip(cells, lines, strict=True):
        if cell.startswith("=") or cell.lower() in _ERRORS:
            raise UserError(
                f"Line {line} of the column {name!r} holds a formula or its failure, "
                f"{_shown(cell)}, instead of a value; save the table with values.",
                problem="formula",
            )


def _binary(name: str, cells: Sequence[str], spellings: set[str]) -> Column:
    lower = [cell.lower() for cell in cells]
    target = np.array([1.0 if c in _YES else 0.0 if c in _NO else np.nan for c in lower])
    notes = list(_missing_note(name, np.isnan(target)))
    if len(spellings) > 2 and not spellings <= {"0", "1", "0.0", "1.0"}:
        detail = f"The column {name!r} spells yes and no in several ways: {_list(spellings)}."
        notes.append(Note(problem="mixed_spellings", detail=detail))
    return Column(
        name=name, kind=BINARY, outputs=(name,), target=target[:, None], notes=tuple(notes)
    )


def _one_against_rest(name: str, cells: Sequence[str], positive: Sequence[str]) -> Column:
    present = {cell for cell in cells if cell.lower() not in MISSING}
    unknown = [value for value in positive if value not in present]
    if unknown:
        raise UserError(
            f"--positive: the column {name!r} has no value {unknown[0]!r}; its values are "
            f"{_list(present)}.",
            problem="unknown_class",
        )
    target = np.array(
        [np.nan if cell.lower() in MISSING else float(cell in positive) for cell in cells]
    )
    output = f"{name}={'|'.join(positive)}"
    notes = tuple(_missing_note(name, np.isnan(target)))
    return Column(name=name, kind=BINARY, outputs=(output,), target=target[:, None], notes=notes)


def _numbers(
    name: str, cells: Sequence[str], numeric: Sequence[str], lines: Sequence[int]
) -> Column:
    has_comma = [cell for cell in numeric if "," in cell]
    notes = []
    if has_comma:
        thousands = all(_THOUSANDS.fullmatch(cell) for cell in has_comma)
        if thousands or any("." in cell for cell in numeric):
            raise UserError(
                f"The column {name!r} has commas, such as {_shown(has_comma[0])}, that may "
                "separate decimals or thousands; write numbers with a decimal point and nothing "
                "else.",
                problem="ambiguous_comma",
            )
        detail = f"The column {name!r} has decimal commas, such as {_shown(has_comma[0])}."
        public = f"The column {name!r} has decimal commas."
        notes.append(Note(problem="decimal_commas", detail=detail, public=public))
    target = np.array([_number(cell) for cell in cells])
    infinite = np.flatnonzero(np.isinf(target))
    if len(infinite):
        raise UserError(
            f"Line {lines[infinite[0]]} of the column {name!r} is infinite; write a number, or "
            "leave the cell blank.",
            problem="not_finite",
        )
    values = np.unique(target[~np.isnan(target)])
    if len(values) == 2:
        low, high = values
        raise UserError(
            f"The column {name!r} has only the numbers {low:g} and {high:g}. Write 1 for yes and 0 "
            f"for no, or say which one is yes: --positive={name}={high:g}.",
            problem="two_numbers",
        )
    if len(values) == 3 and {0, 1} < set(values):
        (other,) = set(values) - {0, 1}
        only = np.flatnonzero(target == other)
        if len(only) == 1:
            raise UserError(
                f"The column {name!r} has 0 and 1 in all rows but line {lines[only[0]]}, which has "
                f"{other:g}. Correct the line or remove it, if it is a total; if the numbers are "
                f"codes of classes, add --classes {name}.",
                problem="almost_binary",
            )
    if 2 < len(values) <= 10 and (values == np.round(values)).all():
        detail = (
            f"The column {name!r} has {len(values)} different whole numbers and is fitted as a "
            f"number; if they are codes of classes, add --classes {name}."
        )
        notes.append(Note(problem="few_numbers", detail=detail))
    notes += _missing_note(name, np.isnan(target))
    return Column(
        name=name, kind=NUMBERS, outputs=(name,), target=target[:, None], notes=tuple(notes)
    )


def _classes(name: str, cells: Sequence[str]) -> Column:
    """Returns a column of named classes; spellings that differ in case only are one class."""
    counts = collections.Counter(cell for cell in cells if cell.lower() not in MISSING)
    by_lower: dict[str, list[str]] = {}
    for text, _ in counts.most_common():
        by_lower.setdefault(" ".join(text.lower().split()), []).append(text)
    if len(by_lower) > MOST_CLASSES:
        raise UserError(
            f"The column {name!r} has {len(by_lower):,} different texts, too many for classes "
            f"(at most {MOST_CLASSES}); it looks like names or free text. Omit it from --targets.",
            problem="too_many_classes",
        )
    notes = []
    merged = [texts for texts in by_lower.values() if len(texts) > 1]
    if merged:
        detail = (
            f"In the column {name!r}, texts that differ in case or spaces only are one class: "
            f"{'; '.join(_list(texts) for texts in merged[:3])}."
        )
        notes.append(Note(problem="merged_classes", detail=detail))
    outputs = sorted(texts[0] for texts in by_lower.values())
    number = {text: outputs.index(texts[0]) for texts in by_lower.values() for text in texts}
    target = np.full((len(cells), len(outputs)), np.nan)
    for row, cell in enumerate(cells):
        if cell in number:
            target[row] = np.eye(len(outputs))[number[cell]]
    if len(outputs) == 2:
        detail = (
            f"The column {name!r} has the classes {_list(outputs)}; for a yes-or-no answer with a "
            f"threshold, say which one is yes: --positive={name}={outputs[0]}."
        )
        notes.append(Note(problem="two_classes", detail=detail))
    notes += _missing_note(name, np.isnan(target[:, 0]))
    return Column(
        name=name, kind=CLASSES, outputs=tuple(outputs), target=target, notes=tuple(notes)
    )


def _missing_note(name: str, missing: np.ndarray) -> list[Note]:
    count = int(missing.sum())
    if not count:
        return []
    rows = counted(count, "row")
    detail = f"The column {name!r} has no value in {rows}; rows without a value are not used."
    return [Note(problem="missing_labels", detail=detail)]


def _number_like(cell: str) -> bool:
    """Returns whether a cell is a number, possibly with commas."""
    return not math.isnan(_number(cell)) or bool(_THOUSANDS.fullmatch(cell))


def _number(cell: str) -> float:
    """Returns the number of a cell; NaN if it is missing or no number."""
    if cell.lower() in MISSING or "_" in cell:
        return math.nan
    text = cell.replace(",", ".") if _DECIMAL_COMMA.fullmatch(cell) else cell
    try:
        return float(text)
    except ValueError:
        return math.nan


def _shown(cell: str) -> str:
    return repr(printable(cell[:40]))


def _list(texts: Sequence[str] | set[str]) -> str:
    ordered = sorted(texts)[:12]
    return ", ".join(printable(text[:40]) for text in ordered) + (
        ", ..." if len(texts) > len(ordered) else ""
    )
