"""Checks of the settings of objectives, which raise errors that name the setting."""

import math
import typing
from typing import Any, Literal


def numbers(config: Any, *names: str, above: float | None = None, least: float | None = None):
    """Raises ValueError unless some settings are finite numbers above, or at least, a limit."""
    for name in names:
        value = getattr(config, name)
        if not math.isfinite(value):
            raise ValueError(f"{name}={value} is not a finite number.")
        if above is not None and not value > above:
            raise ValueError(f"{name}={value} must be a number above {above:g}.")
        if least is not None and value < least:
            raise ValueError(f"{name}={value} must be at least {least:g}.")


def fractions(config: Any, *names: str) -> None:
    """Raises ValueError unless some settings are from 0 to 1."""
    for name in names:
        if not 0 <= getattr(config, name) <= 1:
            raise ValueError(f"{name}={getattr(config, name)} must be in [0, 1].")


def options(config: Any) -> None:
    """Raises ValueError unless each setting of type Literal has one of its values."""
    for name, hint in typing.get_type_hints(type(config)).items():
        known = typing.get_args(hint)
        if typing.get_origin(hint) is Literal and getattr(config, name) not in known:
            raise ValueError(f"{name}={getattr(config, name)!r} must be one of {', '.join(known)}.")
