"""Common parts of the XML files of GE devices: elements by local name, numbers, and the patient."""

import datetime
import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree.ElementTree import Element

from clef_jax.finding import Defect
from clef_jax.formats import _patient, _recording, _xml

_HEAD_BYTES = 1 << 16
"""Size of the beginning of a file in which a wrapped root is searched."""
_AGE_UNITS = {
    **dict.fromkeys("yja", "y"),  # years, Jahre, ans and años
    **dict.fromkeys("dt", "d"),  # days and Tage
    "m": "m",
    "w": "w",
}
"""Units of an age by their first letter, as `_patient.age` knows them."""


def has_element(path: Path, name: str) -> bool:
    """Returns whether a file is XML whose root is `name`, or wraps it near its beginning."""
    root = _xml.root_name(path)
    if root == name or not root:
        return root == name
    with path.open("rb") as stream:
        head = stream.read(_HEAD_BYTES).replace(b"\0", b"")
    return bool(re.search(rb"<(?:[\w.-]+:)?" + name.encode() + rb"[\s>]", head))


def local_name(element: Element) -> str:
    """Returns the name of an element without its namespace, in lower case."""
    tag = element.tag
    return tag.rpartition("}")[2].lower() if isinstance(tag, str) else ""


def children(parent: Element | None, name: str) -> list[Element]:
    """Returns the children of a name, in any namespace and case."""
    lower = name.lower()
    return [child for child in (() if parent is None else parent) if local_name(child) == lower]


def descendants(parent: Element, name: str) -> Iterator[Element]:
    """Yields the element itself and those below it that have a name, in any namespace and case."""
    lower = name.lower()
    return (element for element in parent.iter() if local_name(element) == lower)


def text(parent: Element | None, name: str) -> str:
    """Returns the text of the first child of a name that has any; else an empty text."""
    texts = ((child.text or "").strip() for child in children(parent, name))
    return next((found for found in texts if found), "")


def number(parent: Element | None, name: str, where: str) -> float | None:
    """Returns the number that a child states; None if there is no such child or it is empty.

    Raises:
        Defect: the child has another text.
    """
    stated = text(parent, name)
    if not stated:
        return None
    value = _recording.parse_number(stated)
    if value is None:
        detail = f"{where} has {stated[:40]!r} as {name} where a number should be."
        raise Defect("unreadable", detail)
    return value


def count(parent: Element | None, name: str, where: str) -> int | None:
    """Returns the whole number from 0 that a child states; None if it states none.

    Raises:
        Defect: the child has another text.
    """
    value = number(parent, name, where)
    if value is not None and not (value >= 0 and value == int(value)):
        detail = f"{where} states an invalid {name}: {value:g}."
        raise Defect("unreadable", detail)
    return None if value is None else int(value)


def age_years(
    age: str, unit: str, born: datetime.date | None, recorded: datetime.date | None
) -> float | None:
    """Returns the stated age in years, else the one at the recording; None if neither is plausible.

    An age of 0 is not taken from the text, because files without an age may state it.

    Args:
        age: stated age.
        unit: unit of the age; empty for years.
        born: date of birth.
        recorded: date of the recording.
    """
    letter = _AGE_UNITS.get(unit.strip().lower()[:1] or "y")
    stated = _patient.age(f"{age.strip()}{letter}") if letter else None
    return stated or _patient.age_between(born, recorded)
