import pytest

from clef_jax.signal import unit as unit_lib


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("mV", 1),
        ("uV", 1e-3),
        ("µV", 1e-3),
        ("μV", 1e-3),
        ("µV".encode().decode("latin-1"), 1e-3),
        ("μV".encode().decode("latin-1"), 1e-3),
        *(("μV".encode(e).decode("latin-1"), 1e-3) for e in ("iso8859_7", "gbk", "euc_kr")),
        ("µV".encode("cp437").decode("latin-1"), 1e-3),
        ("㎶", 1e-3),
        ("mcV", 1e-3),
        ("V", 1e3),
        ("microvolts", 1e-3),
        ("mVolt", 1),
        ("nV\0", 1e-6),
        ("\u043c\u043a\u0412", 1e-3),  # Cyrillic, as phones in Russian write it
        ("\u043c\u0412", 1),
    ],
)
def test_units_of_voltage_are_known_in_any_spelling(text, want):
    assert unit_lib.millivolts(text) == want


@pytest.mark.parametrize(
    "text", ["mmHg", "NU", "", "g", "mm", "u", "ms", "Vs", "\ufffdV", "ΔV", "±V"]
)
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


@pytest.mark.parametrize(
    ("text", "want"),
    [("s", 1), ("ms", 1e-3), ("µs", 1e-6), ("us", 1e-6), ("ns", 1e-9), ("h", None)],
)
def test_units_of_time_are_known(text, want):
    assert unit_lib.seconds(text) == want
