"""Names of the ECG leads. Every lead is found by name, never by position."""

import re

from clef_jax import plugin
from clef_jax.errors import UserError

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
"""Other names of the very same electrodes."""
_STAND_INS = {
    # Limb electrodes moved to the torso, for exercise and for days (Mason and Likar, 1966).
    **{f"ML{lead}": lead for lead in ("I", "II", "III")},
    # Two electrodes instead of a chest electrode against three limbs, in monitors of one channel.
    **{f"M{middle}{number}": f"V{number}" for middle in ("CL", "V") for number in range(1, 7)},
    "CM5": "V5",
}
"""Leads that look much like another one without being it."""
_PREFIX = re.compile(r"(?:lead|ecg|ekg)(?:[\s_:.-]+|(?=\S))", re.IGNORECASE)
_SUFFIX = re.compile(r"\s*(?:\(.*\)|[-_ ]*ref)\s*$", re.IGNORECASE)
_ECG = re.compile(r"ecg|ekg|\blead\b|^v[1-9]r?$", re.IGNORECASE)
_OTHER = re.compile(
    r"resp|pleth|ppg|spo2|\b(?:abp|art|cvp|pap|icp|bp|imp)\d?\b|press|emg|eeg|eog|acc|temp|flow",
    re.IGNORECASE,
)


def canonical(name: str) -> str:
    """The usual spelling of a lead's name: `AVR`, `avr` and `aVR` are all `aVR`.

    Raises:
        UserError: the name is no lead that we know.
    """
    try:
        return _CANONICAL[name.strip().upper()]
    except KeyError:
        raise UserError(plugin.unknown("lead", name, _CANONICAL.values())) from None


def usual(name: str) -> str:
    """The same for whatever a file may call its leads; what is no lead we know stays as it is.

    `ECG avr`, `Lead aVR (Goldberger)` and `AVR-Ref` are `aVR`, and `DII` is `II`. A modified lead
    such as `MLII` keeps its own name: it is another pair of electrodes.
    """
    own = name.strip()
    bare = _SUFFIX.sub("", own)
    for candidate in (own, bare, _PREFIX.sub("", bare, count=1)):
        upper = candidate.upper()
        if upper in _STAND_INS:
            return upper
        if found := _CANONICAL.get(upper) or _ALIASES.get(upper):
            return found
    return own


def stands_for(name: str) -> str | None:
    """The standard lead that a modified one may stand in for: `II` for `MLII`; None for others."""
    return _STAND_INS.get(usual(name).upper())


def same_lead(wanted: str, found: str) -> bool:
    """Whether a recording's lead may be used where another is asked for.

    That is so for other spellings, and for a modified lead in place of the lead that it imitates:
    its waves are alike, its amplitudes and axis differ. Whoever uses it should say so, and prefer
    the lead itself where both are there.
    """
    return usual(wanted) == usual(found) or stands_for(found) == usual(wanted)


def is_standard(name: str) -> bool:
    """Whether a name, in whatever spelling, is that of a lead with a canonical name."""
    return usual(name) in _CANONICAL.values()


def is_ecg(name: str) -> bool:
    """Whether a name says that the signal is an ECG lead, also one without a standard name."""
    lead = usual(name)
    known = is_standard(lead) or lead in _STAND_INS
    return known or (bool(_ECG.search(lead)) and not is_other_signal(lead))


def is_other_signal(name: str) -> bool:
    """Whether a name says that the signal is none of the heart's: breath, pressure, pulse, EEG."""
    return bool(_OTHER.search(name))
