"""Interprets the arrays that users give as signals: axes, masks, leads and units.

Shapes: L leads, T samples of a signal.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from clef_jax import lead_order, leads, plugin
from clef_jax.errors import UserError, WrongArgument, counted
from clef_jax.signal import unit as unit_lib
from clef_jax.signal.adc import MISSING_ADC

_MOST_LEADS = 16
"""An axis of at most this length is taken for leads, not for time."""


def rows(signal: Any, lead_names: Sequence[str] | None) -> np.ndarray:
    """Returns `signal` as an array [..., T] with time as the last axis."""
    rows = unmasked(signal)
    if rows.ndim == 0 or rows.size == 0:
        raise UserError(f"The signal is empty: it has the shape {list(rows.shape)}.")
    if not (np.issubdtype(rows.dtype, np.floating) or np.issubdtype(rows.dtype, np.integer)):
        raise UserError(f"The signal must be real numbers, not {rows.dtype}.")
    if rows.ndim > 1 and _time_is_before_leads(rows.shape, lead_names):
        rows = rows.swapaxes(-1, -2)
    if rows.shape[-1] <= _MOST_LEADS:
        raise UserError(
            f"A signal of shape {list(rows.shape)} has only {counted(rows.shape[-1], 'sample')} "
            "along its last axis, which is time."
        )
    if lead_names is not None and (rows.ndim < 2 or rows.shape[-2] != len(lead_names)):
        raise UserError(
            f"A signal of shape {list(rows.shape)} does not fit "
            f"{counted(len(lead_names), 'lead name')}."
        )
    return rows


def _time_is_before_leads(shape: tuple[int, ...], lead_names: Sequence[str] | None) -> bool:
    """Returns whether the last but one axis of a signal is time, and the last one its leads."""
    if lead_names is not None and len(lead_names) in shape[-2:]:
        return shape[-1] == len(lead_names) != shape[-2]
    return shape[-1] <= _MOST_LEADS < shape[-2]


def unmasked(signal: Any) -> np.ndarray:
    """Returns an array whose masked values are missing: NaN, or -32768 among integers."""
    parts = signal if isinstance(signal, (list, tuple)) else ()
    if not any(isinstance(item, np.ma.MaskedArray) for item in (signal, *parts)):
        try:
            return np.asarray(signal)
        except (ValueError, TypeError) as error:
            raise UserError(
                f"The signal cannot be read as an array of numbers: {error}. Give [..., samples], "
                "with leads of one length."
            ) from None
    masked: Any = np.ma.stack(parts) if parts else signal
    if np.issubdtype(masked.dtype, np.integer):
        return masked.astype(np.int64).filled(MISSING_ADC)
    return masked.filled(np.nan) if masked.dtype.kind == "f" else np.asarray(masked)


def one_lead(
    rows: np.ndarray, lead: str | int | None, lead_names: Sequence[str] | None
) -> np.ndarray:
    """Selects the requested lead of rows [..., L, T]; returns all rows if `lead` is None."""
    if lead is None:
        return rows
    if rows.ndim == 1:
        if isinstance(lead, str) or lead == 0:
            return rows  # the single signal is taken for the requested lead
        raise UserError(f"Lead {lead} not found: the signal has a single lead.")
    count = rows.shape[-2]
    if isinstance(lead, str):
        named = lead_names is not None
        row = lead_order.find(lead, lead_names) if named else lead_order.find_unnamed(lead, rows)
        return rows[..., row, :]
    if not isinstance(lead, int | np.integer):
        raise UserError(f"A lead is given by its name or its number from 0, not as {lead!r}.")
    if not 0 <= lead < count:
        raise UserError(
            f"Lead {lead} not found; the signal has {counted(count, 'lead')}, from 0 to "
            f"{count - 1}."
        )
    return rows[..., lead, :]


def in_standard_order(rows: np.ndarray, lead_names: Sequence[str] | None) -> np.ndarray:
    """Returns rows [..., L, T] as the 12 leads in the standard order, if they can be named.

    Rows without names stay as they are unless they are 12 in the other usual order.

    Raises:
        UserError: a lead is missing or duplicate among the names, or 12 rows without names are in
            neither of the usual orders.
    """
    if lead_names is not None:
        order = [lead_order.find(name, lead_names) for name in leads.STANDARD_12]
    elif rows.ndim < 2 or rows.shape[-2] != len(leads.STANDARD_12):
        return rows
    else:
        order = [lead_order.find_unnamed(name, rows) for name in leads.STANDARD_12]
    return rows[..., order, :]


def check_leads(signal_mv: np.ndarray, in_channels: int) -> int:
    """Returns the number of leads of an encoder; raises if a signal [..., C, T] has another one."""
    if in_channels > 1 and (signal_mv.ndim < 2 or signal_mv.shape[-2] != in_channels):
        raise UserError(
            f"This encoder takes {counted(in_channels, 'lead')} at once, [..., {in_channels}, "
            f"samples], but the signal has the shape {list(signal_mv.shape)}; give all leads.",
            problem="wrong_lead_count",
        )
    return in_channels


def to_mv(rows: np.ndarray, unit: str | None) -> tuple[np.ndarray, bool]:
    """Returns millivolts, NaN where samples are missing, and whether the unit is known."""
    whole = np.issubdtype(rows.dtype, np.integer)
    unit = unit or ("adc" if whole else "mV")
    known = unit != "adc"
    factor = unit_lib.millivolts(unit) if known else 1.0
    if factor is None:
        raise WrongArgument(plugin.unknown("unit", unit, unit_lib.UNITS))
    signal = rows.astype(np.float64)
    if whole:
        signal[rows == MISSING_ADC] = np.nan
    signal[~np.isfinite(signal)] = np.nan
    return signal * factor, known
