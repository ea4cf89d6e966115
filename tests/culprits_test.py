"""The helper that asserts faults is itself strict: it lets no other fault pass."""

import pytest
from culprits import assert_names, one_line, refuses

from clef_jax.errors import UserError
from clef_jax.finding import Defect


def refuse(*culprits, **expected):
    with refuses(*culprits, **expected):
        raise UserError("--leads=V9: lead 'V9' of x/a.csv,\nat 12.5 Hz.", problem="unknown_lead")


@pytest.mark.parametrize("culprit", ["--leads=V9", "'V9'", "a.csv", "a.csv, at", "12.5 Hz", 12.5])
def test_every_culprit_must_be_named(culprit):
    refuse(culprit)
    refuse(culprit, problem="unknown_lead")


@pytest.mark.parametrize("culprit", ["V8", "lea", "csv, a", "12", 2.5, "5", "LEAD"])
def test_parts_of_words_and_numbers_are_not_enough(culprit):
    with pytest.raises(AssertionError):
        refuse("V9", culprit)


def test_another_fault_does_not_pass():
    with pytest.raises(AssertionError):
        refuse("V9", problem="missing_lead")
    with pytest.raises(UserError):
        refuse("V9", error=KeyError)
    with pytest.raises(pytest.fail.Exception), refuses("V9"):
        pass
    with pytest.raises(AssertionError):
        refuse()


def test_the_detail_of_a_defect_is_what_names():
    with refuses("500 Hz", error=Defect, problem="wrong_rate") as caught:
        raise Defect("wrong_rate", "Sampled at 500 Hz.", "II")
    assert caught.value.lead == "II"
    with pytest.raises(AssertionError), refuses("II", error=Defect):
        raise Defect("wrong_rate", "Sampled at 500 Hz.", "II")


def test_printed_tables_are_one_line():
    assert one_line("┃ a ┃ b │\n│ 1  │ 2 ") == " a b 1 2 "
    assert_names("│ missing_file │ quarantined │\n│ 11 │", "missing_file quarantined 11")
