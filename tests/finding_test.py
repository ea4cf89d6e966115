"""Findings are one line of JSON, and any failure of a reader becomes a finding."""

import json

import pytest
from culprits import refuses

from clef_jax.errors import UserError
from clef_jax.finding import Defect, Finding, catch_failures, encodable


def test_a_finding_is_a_line_of_json_whatever_its_name_holds():
    name = b"a\xff\n\x1b[31m.npy".decode("utf-8", "surrogateescape")
    line = Finding(name, "empty", None, f"The file {name} is empty.", "quarantined").to_json()
    assert "\n" not in line
    assert "\x1b" not in line
    read = json.loads(line.encode("utf-8"))
    assert read["record_id"] == "a\\udcff\n\x1b[31m.npy"
    assert (read["lead"], read["action"]) == (None, "quarantined")


def test_only_what_utf_8_cannot_encode_is_escaped():
    assert encodable("Müller\n心.npy") == "Müller\n心.npy"
    assert encodable("a\udcff") == "a\\udcff"


@pytest.mark.parametrize(
    ("error", "problem", "culprit"),
    [
        (OSError(5, "Input/output error"), "unreadable", "Input/output error"),
        (MemoryError(), "too_large", "memory"),
        (IndexError("list index\nout of range"), "unreadable", "IndexError: list index"),
        (AssertionError(), "unreadable", "AssertionError"),
        (RecursionError("too deep"), "unreadable", "RecursionError"),
        (Defect("no_rate", "x.npy has no rate."), "no_rate", "x.npy"),
    ],
)
def test_any_failure_is_a_defect(error, problem, culprit):
    with refuses(culprit, "x.npy", error=Defect, problem=problem), catch_failures("x.npy"):
        raise error


@pytest.mark.parametrize("error", [UserError("Install it."), KeyboardInterrupt()])
def test_what_concerns_the_run_ends_it(error):
    with pytest.raises(type(error)), catch_failures("x.npy"):
        raise error
