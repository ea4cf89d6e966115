"""Names of the ECG leads. Every lead is found by name, never by position."""

from clef_jax.errors import UserError

STANDARD_12 = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
"""The order in which prepared 12-lead data sets store their leads."""

FRANK = ("X", "Y", "Z")
"""The orthogonal leads of a vectorcardiogram."""

_CANONICAL = {name.upper(): name for name in (*STANDARD_12, *FRANK)}


def canonical(name: str) -> str:
    """The usual spelling of a lead's name: `AVR`, `avr` and `aVR` are all `aVR`.

    Raises:
        UserError: the name is no lead that we know.
    """
    try:
        return _CANONICAL[name.strip().upper()]
    except KeyError:
        known = ", ".join(_CANONICAL.values())
        raise UserError(f"Unknown lead {name!r}; the known leads are {known}.") from None
