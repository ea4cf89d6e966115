import pytest
from culprits import refuses

from clef_jax import leads


@pytest.mark.parametrize("spelling", ["AVR", "avr", "aVR", " aVR "])
def test_any_spelling_is_understood(spelling):
    assert leads.canonical(spelling) == "aVR"


def test_what_is_no_lead_is_refused_with_those_that_are():
    with refuses("'V7'", "aVL", error=ValueError):
        leads.canonical("V7")


@pytest.mark.parametrize(
    ("spelling", "want"),
    [
        ("ECG I", "I"),
        ("EKGII", "II"),
        ("Lead aVR (Goldberger)", "aVR"),
        ("AVF-Ref", "aVF"),
        ("DII", "II"),
        ("D3", "III"),
        ("vx", "X"),
        ("mlii", "MLII"),
        ("ECG", "ECG"),
        ("ECG1", "ECG1"),
        ("V", "V"),
        ("", ""),
    ],
)
def test_names_of_files_are_spelled_as_usual_or_stay(spelling, want):
    assert leads.usual(spelling) == want


def test_a_modified_lead_stands_in_for_the_lead_it_imitates_and_no_other():
    assert leads.same_lead("II", "MLII")
    assert leads.same_lead("V1", "MCL1")
    assert leads.same_lead("avr", "Lead aVR")
    assert not leads.same_lead("MLII", "II")
    assert not leads.same_lead("I", "MLII")
    assert leads.stands_for("MLIII") == "III"
    assert leads.stands_for("II") is None


def test_signals_are_told_apart_by_their_names():
    assert all(map(leads.is_ecg, ("I", "ECG 1", "ekg", "MLII", "V9", "V4R", "vz")))
    assert not any(map(leads.is_ecg, ("EEG C3", "RESP", "label", "V10", "ECG resp", "")))
    assert all(map(leads.is_other_signal, ("RESP", "PLETH", "ABP", "ART", "SpO2", "acc x")))
    assert not any(map(leads.is_other_signal, ("II", "V", "ECG1", "start", "aVR")))
