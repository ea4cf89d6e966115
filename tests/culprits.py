"""Asserts which fault is reported by what identifies it rather than by its sentence.

A fault is identified by its type, by its problem code, and by its culprits: the option, the file,
the key, the lead or the number that is wrong, or the name that is proposed instead. A sentence may
then be rewritten without changing a test.
"""

import contextlib
import re
from collections.abc import Iterator

import pytest

from clef_jax.errors import UserError


@contextlib.contextmanager
def refuses(
    *culprits: object,
    error: type[Exception] = UserError,
    problem: str | None = None,
) -> Iterator[pytest.ExceptionInfo]:
    """Asserts that the block raises an error of this type whose message names every culprit.

    `problem` is the code that the error must have. It is for faults that the type and the names
    in the message do not distinguish from others.
    """
    assert culprits or problem, "Without a culprit and a code, any fault would do."
    with pytest.raises(error) as caught:
        yield caught
    if problem:
        code = getattr(caught.value, "problem", None)
        assert code == problem, f"{code!r} rather than {problem!r}: {caught.value}"
    assert_names(getattr(caught.value, "detail", str(caught.value)), *culprits)


def assert_names(text: str, *culprits: object) -> None:
    """Asserts that a text, such as the output of a command, names every culprit.

    Numbers may be written with separators: 5000 is named by 5,000.
    """
    line = one_line(text)
    plain = re.sub(r"(?<=\d),(?=\d{3})", "", line)
    for culprit in culprits:
        pattern = _pattern(str(culprit))
        named = re.search(pattern, line) or re.search(pattern, plain)
        assert named, f"{culprit!r} is not named in: {line}"


def one_line(text: str) -> str:
    """Returns printed text without the breaks and frames of a terminal."""
    return re.sub(r"[\s│┃]+", " ", text)


def _pattern(culprit: str) -> str:
    """Returns an expression that finds whole words and numbers only: 12 is not in 3.12 or 120."""
    before = {True: r"(?<!\w)(?<!\d[.,])"}.get(culprit[0].isalnum(), "")
    after = {True: r"(?!\w|[.,]\d)"}.get(culprit[-1].isalnum(), "")
    return before + re.escape(culprit) + after
