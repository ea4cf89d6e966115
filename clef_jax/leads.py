"""Names of the ECG leads. Every lead is found by name, never by position."""

import re

from clef_jax import plugin
from clef_jax.errors import WrongArgument

STANDARD_12 = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
"""The order in which prepared 12-lead data sets store their leads."""

FRANK = ("X", "Y", "Z")
"""The orthogonal leads of a vectorcardiogram."""

_CANONICAL = {name.upper(): name for name in (*STANDARD_12, *FRANK)}
_ALIASES = {
    # D is for "derivation", in the languages of Southern Europe and Latin America.
    **{f"D{number}": lead for lead in ("I", "II", "III") for number in (lead, len(lead))},
    **{f"V{name}": name for name in FRANK},
}
"""Other names of the same electrodes."""
_STAND_INS = {
    # Limb electrodes on the torso, for exercise and long recordings (Mason and Likar, 1966).
    **{f"ML{lead}": lead for lead in ("I", "II", "III")},
    # Bipolar chest leads of single-channel monitors, without a reference to the three limbs.
    **{f"M{middle}{number}": f"V{number}" for middle in ("CL", "V") for number in range(1, 7)},
    "CM5": "V5",
}
"""Modified leads, and the standard leads that they resemble."""
_PREFIX = re.compile(r"(?:lead|ecg|ekg)(?:[\s_:.-]+|(?=\S))", re.IGNORECASE)
_SUFFIX = re.compile(r"\s*(?:\(.*\)|[-_ ]*ref)\s*$", re.IGNORECASE)
_ECG = re.compile(
    r"ecg|ekg|\blead\b|^(?:mod\W*)?v(?:[1-9]r?)?$|^v[1-9]-v[1-9]$"
    # Bipolar leads of exercise tests and Holters, and of the EASI electrodes.
    r"|^(?:ml|mv|cb|cc|cm|cr|cs)\d$|^[ae]-[is]$",
    re.IGNORECASE,
)
_OTHER = re.compile(
    r"resp|pleth|ppg|spo2|\b(?:abp|art|cvp|pap|icp|bp|imp)\d?\b|press|emg|eeg|eog|acc|temp|flow"
    r"|imped|trigger|marker|annot|\bevents?\b|quality|\bhr\b|heart.?rate",
    re.IGNORECASE,
)

_MAX_LETTERS = 200
"""Largest length of a lead's name; the search for a suffix takes the square of the length."""
_MONTAGE = re.compile(r"^(?:eeg|pol)\s+(?=.*(?:ecg|ekg))", re.IGNORECASE)
"""Prefix of all labels of an EEG's montage, also of the ECG in it: `EEG EKG1-REF`."""


def canonical(name: str) -> str:
    """Returns the canonical spelling of a lead's name: `aVR` for `AVR`, `avr` and `aVR`.

    Raises:
        UserError: the lead is unknown.
    """
    try:
        return _CANONICAL[name.strip().upper()]
    except KeyError:
        raise WrongArgument(plugin.unknown("lead", name, _CANONICAL.values())) from None


def normalize(name: str) -> str:
    """Returns the canonical spelling of the name that a file gives a lead.

    `ECG avr`, `Lead aVR (Goldberger)` and `AVR-Ref` become `aVR`, and `DII` becomes `II`. A
    modified lead such as `MLII` keeps its own name, because it is another pair of electrodes.
    Unknown names are returned without surrounding spaces.
    """
    own = name.strip()
    if len(own) > _MAX_LETTERS:
        return own
    bare = _SUFFIX.sub("", own)
    for candidate in (own, bare, _PREFIX.sub("", bare, count=1)):
        upper = candidate.upper()
        if upper in _STAND_INS:
            return upper
        if known := _CANONICAL.get(upper) or _ALIASES.get(upper):
            return known
    return own


def stands_for(name: str) -> str | None:
    """Returns the standard lead that a modified lead may replace: `II` for `MLII`, else None."""
    return _STAND_INS.get(normalize(name).upper())


def same_lead(wanted: str, available: str) -> bool:
    """Returns whether a recording's lead may be used where `wanted` is requested.

    This holds for another spelling of the same lead, and for a modified lead that resembles it: its
    waves are alike, but its amplitudes and axis differ. Callers should report the replacement, and
    prefer the lead itself where both are available.
    """
    return normalize(wanted) == normalize(available) or stands_for(available) == normalize(wanted)


def is_standard(name: str) -> bool:
    """Returns whether a name, in any spelling, is that of a lead with a canonical name."""
    return normalize(name) in _CANONICAL.values()


def is_ecg(name: str) -> bool:
    """Returns whether a signal's name denotes an ECG lead, standard or not."""
    lead = normalize(name)
    known = is_standard(lead) or lead in _STAND_INS
    return known or (bool(_ECG.search(lead)) and not is_other_signal(lead))


def is_other_signal(name: str) -> bool:
    """Returns whether a name denotes another signal: breath, pressure, pulse, EEG or marks."""
    return bool(_OTHER.search(_MONTAGE.sub("", name)))
