"""Parses units of voltage and time as files write them."""

import re
import unicodedata

UNITS = ("mV", "uV", "V", "adc")
"""Units that a user may state; `adc` means that the unit is unknown."""

_MILLIVOLTS = {"nv": 1e-6, "uv": 1e-3, "mv": 1.0, "v": 1e3}
_WORDS = {
    f"{prefix}{word}": f"{letter}v"
    for letter, prefixes in {
        "n": ("n", "nano"),
        "u": ("u", "mc", "micro"),
        "m": ("m", "milli"),
        "": ("",),
    }.items()
    for prefix in prefixes
    for word in ("v", "volt", "volts")
}
_WORDS |= {"\u043d\u0432": "nv", "\u043c\u043a\u0432": "uv", "\u043c\u0432": "mv", "\u0432": "v"}
"""Units by their spellings in lower case, the last four in Cyrillic letters."""
_ENCODINGS = ("utf-8", "cp437", "iso8859_7", "shift_jis", "gbk", "euc_kr", "big5")
_MICRO = {
    sign.encode(encoding, "ignore").decode("latin-1")
    for encoding in _ENCODINGS
    for sign in ("\u00b5", "\u03bc")
} - {""}
"""The micro sign and the Greek letter in other encodings, decoded as Latin-1."""
_MAX_LETTERS = 200
"""Largest length of a name that is split; the search takes the square of the length."""
_IN_NAME = re.compile(
    r"^(?P<name>.*?)\s*[\(\[](?P<unit>[^\)\]]*)[\)\]]$|^(?P<stem>.+)_(?P<end>\w+)$"
)


def millivolts(unit: str) -> float | None:
    """Returns the millivolts per unit, for example 0.001 for `uV`, `µV` or `microvolts`.

    Returns None if the text is not a unit of voltage.
    """
    return _MILLIVOLTS.get(_WORDS.get(_key(unit), ""))


def _key(unit: str) -> str:
    """Returns a unit in lower case, with `u` for the micro sign and the Greek letter, also where
    either was stored in another encoding and decoded as Latin-1.
    """
    text = unit.strip(" \t\r\n\0'\"()[]")
    for sign in _MICRO:
        if text.startswith(sign):
            text = f"u{text.removeprefix(sign)}"
            break
    return unicodedata.normalize("NFKC", text).replace("\u03bc", "u").lower().replace(" ", "")


def in_name(text: str) -> tuple[str, str]:
    """Splits texts like `II (mV)`, `II [mV]` and `ecg_mv` into name and unit.

    An ending after `_` counts only if it is a unit of voltage or time. Without a unit, the second
    result is empty.
    """
    match = _IN_NAME.match(text.strip()) if len(text) <= _MAX_LETTERS else None
    if match is None:
        return text.strip(), ""
    if match["name"] is not None:
        return match["name"], match["unit"].strip()
    if millivolts(match["end"]) is not None or seconds(match["end"]) is not None:
        return match["stem"], match["end"]
    return text.strip(), ""


def seconds(unit: str) -> float | None:
    """Returns the seconds per unit; None if the text is not a unit of time."""
    key = _key(unit)
    for names, value in (
        (("s", "sec", "secs", "second", "seconds"), 1.0),
        (("ms", "msec", "millisecond", "milliseconds"), 1e-3),
        (("us", "usec", "microsecond", "microseconds"), 1e-6),
        (("ns", "nsec", "nanosecond", "nanoseconds"), 1e-9),
    ):
        if key in names:
            return value
    return None
