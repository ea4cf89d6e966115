import pytest

from clef_jax import leads


@pytest.mark.parametrize("spelling", ["AVR", "avr", "aVR", " aVR "])
def test_any_spelling_is_understood(spelling):
    assert leads.canonical(spelling) == "aVR"


def test_what_is_no_lead_is_refused_with_those_that_are():
    with pytest.raises(ValueError, match=r"Unknown lead 'V7'.*aVL"):
        leads.canonical("V7")
