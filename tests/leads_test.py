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
    assert leads.normalize(spelling) == want


def test_a_modified_lead_stands_in_for_the_lead_it_imitates_and_no_other():
    assert leads.same_lead("II", "MLII")
    assert leads.same_lead("V1", "MCL1")
    assert leads.same_lead("avr", "Lead aVR")
    assert not leads.same_lead("MLII", "II")
    assert not leads.same_lead("I", "MLII")
    assert leads.stands_for("MLIII") == "III"
    assert leads.stands_for("II") is None


def test_signals_are_distinguished_by_their_names():
    assert all(map(leads.is_ecg, ("I", "ECG 1", "ekg", "MLII", "V9", "V4R", "vz")))
    assert all(map(leads.is_ecg, ("V", "mod.V1", "V1-V2", "ML2", "CM5", "CC5", "A-S", "E-S")))
    assert not any(map(leads.is_ecg, ("C3-A1", "PCG", "foot GSR", "marker", "EDF Annotations")))
    assert not any(map(leads.is_ecg, ("ECG trigger", "ECG_marker", "ECG HR", "ECG impedance")))
    assert not any(map(leads.is_ecg, ("EEG C3", "RESP", "label", "V10", "ECG resp", "")))
    assert all(map(leads.is_other_signal, ("RESP", "PLETH", "ABP", "ART", "SpO2", "acc x")))
    assert not any(map(leads.is_other_signal, ("II", "V", "ECG1", "start", "aVR")))


def test_the_ecg_in_a_montage_is_told_from_its_electrodes_and_long_names_are_left_alone():
    assert all(map(leads.is_ecg, ("EEG EKG1-REF", "EEG ECG", "POL EKG")))
    assert not any(map(leads.is_ecg, ("EEG FP1-REF", "POL E", "EMG ECG resp")))
    assert leads.is_other_signal("EEG FP1-REF")
    assert not leads.is_other_signal("EEG EKG1-REF")
    assert leads.normalize("(" * 100_000) == "(" * 100_000
