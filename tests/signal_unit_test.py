import pytest

from clef_jax.signal import unit as unit_lib


@pytest.mark.parametrize(
    ("text", "want"),
    [("mV", 1), ("uV", 1e-3), ("µV", 1e-3), ("μV", 1e-3), ("V", 1e3), ("microvolts", 1e-3)],
)
def test_units_of_voltage_are_known_in_any_spelling(text, want):
    assert unit_lib.millivolts(text) == want


@pytest.mark.parametrize("text", ["mmHg", "NU", "", "g", "mm"])
def test_other_units_are_none(text):
    assert unit_lib.millivolts(text) is None


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("II (mV)", ("II", "mV")),
        ("ekg(uV)", ("ekg", "uV")),
        ("V1 [µV]", ("V1", "µV")),
        ("ecg_mv", ("ecg", "mv")),
        ("time_ms", ("time", "ms")),
        ("my_lead", ("my_lead", "")),
        (" aVR ", ("aVR", "")),
    ],
)
def test_a_name_is_split_from_its_unit(text, want):
    assert unit_lib.in_name(text) == want
