"""Finds what could identify a patient, or the user's machine, in the texts of a model folder.

These are heuristics: they find common mistakes, such as the path of a recording in the metadata of
a model. A text that passes is not proved to be free of such.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from clef_jax.errors import counted

_FOLDERS = "home|Users|mnt|media|data|scratch|root|tmp|var|srv|opt|workspace|gpfs|lustre"
_PATTERNS = {
    "a path": re.compile(
        rf"(?:^/[^\s]+|(?<![\w.])(?:~/|/(?:{_FOLDERS})/|file:/|[A-Za-z]:\\)[^\s`|)\"']*)"
    ),
    "an e-mail address": re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+"),
    "a date": re.compile(r"(?<!\d)(?:19|20)\d\d-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])(?!\d)"),
    "a long number": re.compile(r"(?<![\w.,])[A-Za-z]?\d{6,}(?!\w|[.,]\d)"),
}
"""Patterns that texts of a configuration must not hold."""
_IN_CARDS = ("a path", "a long number")
"""Those that the model card must not hold either; it may state contact and dates."""
_WEB = re.compile(r"(?:https?://|[\w-]+(?:\.[\w-]+)*\.[a-z]{2,}/|doi:|10\.\d{4,}/|hf:)\S+")
"""Web addresses and identifiers of publications, whose numbers identify no patient."""
_SNOMED = re.compile(r"\d{3,15}[01]0\d")
"""Codes of SNOMED CT, which data sets use as names of diagnoses."""
_ID_NAME = re.compile(
    r"(?:^|_)(?:ids?|mrn|ssn|birth\w*|paths?|files?|folders?|dir|hadm|stay"
    r"|patient|subject|person|record|recording|study)$",
    re.IGNORECASE,
)
_COUNT_NAME = re.compile(
    r"(?:^|_)(?:patients|subjects|persons|people|records|recordings|studies)$", re.IGNORECASE
)
MOST_ITEMS = 32
"""Most entries of a list or an object in the metadata; longer ones could be of single patients."""


def in_text(text: str) -> str | None:
    """Returns what a text of a configuration holds that could identify somebody, or None."""
    if _SNOMED.fullmatch(text):
        return None
    return _first(text, tuple(_PATTERNS))


def in_card(text: str) -> str | None:
    """Returns what a model card holds that could identify somebody, or None."""
    return _first(text, _IN_CARDS)


def _first(text: str, kinds: tuple[str, ...]) -> str | None:
    plain = _WEB.sub(" ", text)
    for kind in kinds:
        found = _PATTERNS[kind].search(plain)
        if found:
            return f"{kind}, {found.group()!r}"
    return None


def in_metadata(value: Any, name: str) -> Iterator[str]:
    """Yields what the metadata of a model hold that could identify somebody, with its place.

    Args:
        value: JSON types.
        name: where the value is, such as `run.dataset`.
    """
    last = name.rpartition(".")[2]
    if isinstance(value, Mapping | list) and len(value) > MOST_ITEMS:
        yield f"{name} has {counted(len(value), 'entry')}"
    elif value is not None and _ID_NAME.search(last) and not isinstance(value, bool):
        yield f"{name} is an identifier or a path by its name"
    elif isinstance(value, str | list | Mapping) and _COUNT_NAME.search(last):
        yield f"{name} lists what only a number may count"
    elif isinstance(value, str):
        problem = in_text(value)
        if problem:
            yield f"{name} holds {problem}"
    elif isinstance(value, Mapping):
        for key, item in value.items():
            problem = in_text(str(key))
            if problem:
                yield f"{name} has an entry that is {problem}"
            yield from in_metadata(item, f"{name}.{key}")
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from in_metadata(item, f"{name}[{number}]")
