"""Units of voltage as files write them."""

import re

UNITS = ("mV", "uV", "V", "adc")
"""Units that a user may state; adc is no known unit."""

_MILLIVOLTS = {"nv": 1e-6, "uv": 1e-3, "mv": 1.0, "v": 1e3}
_WORDS = {"nanovolt": "nv", "microvolt": "uv", "millivolt": "mv", "volt": "v"}
_MICRO = str.maketrans({"µ": "u", "μ": "u"})  # the micro sign and the Greek letter
_IN_NAME = re.compile(
    r"^(?P<name>.*?)\s*[\(\[](?P<unit>[^\)\]]*)[\)\]]$|^(?P<stem>.+)_(?P<end>\w+)$"
)


def millivolts(unit: str) -> float | None:
    """How many millivolts one of the unit is: 0.001 for `uV`, `µV` or `microvolts`.

    None if it is no unit of voltage.
    """
    key = unit.strip().strip("'\"").lower().translate(_MICRO)
    key = _WORDS.get(key.removesuffix("s"), key)
    return _MILLIVOLTS.get(key)


def in_name(text: str) -> tuple[str, str]:
    """Splits `II (mV)`, `II [mV]` and `ecg_mv` into name and unit; the unit is empty if there is
    none. An ending after `_` counts only if it is a voltage or a time.
    """
    found = _IN_NAME.match(text.strip())
    if found is None:
        return text.strip(), ""
    if found["name"] is not None:
        return found["name"], found["unit"].strip()
    if millivolts(found["end"]) is not None or seconds(found["end"]) is not None:
        return found["stem"], found["end"]
    return text.strip(), ""


def seconds(unit: str) -> float | None:
    """How many seconds one of the unit is; None if it is no unit of time."""
    key = unit.strip().lower().translate(_MICRO)
    for names, value in (
        (("s", "sec", "secs", "second", "seconds"), 1.0),
        (("ms", "msec", "millisecond", "milliseconds"), 1e-3),
        (("us", "usec", "microsecond", "microseconds"), 1e-6),
    ):
        if key in names:
            return value
    return None
