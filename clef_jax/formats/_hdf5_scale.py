"""Scales the numbers of an HDF5 array to millivolts, by what the file states about them."""

import dataclasses
from typing import Any

import numpy as np

from clef_jax.errors import counted
from clef_jax.finding import Defect
from clef_jax.formats import _hdf5_metadata, _recording
from clef_jax.formats._hdf5_metadata import Scope
from clef_jax.formats._recording import Hints

_DIGITAL = ("adc", "adu", "count", "counts", "digital", "raw", "lsb", "none", "n/a", "nan")
"""Units in lower case that mean ADC units, or none."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Scale:
    """Millivolts as stored number x `factor` + `shift`, for N recordings of L leads.

    Both have the shape [N or 1, L or 1].
    """

    factor: np.ndarray
    shift: np.ndarray
    known: bool
    """Whether the results are millivolts."""
    missing: float | None = None
    """Number that the file states for missing samples; None if it states none."""

    def millivolts(self, stored: np.ndarray, row: int) -> np.ndarray:
        """Returns stored numbers [L, T] of a recording in millivolts, float32, NaN where missing.

        Infinite values are missing, and so is the smallest value of signed integers, as in WFDB.
        """
        factor, shift = (a[row if len(a) > 1 else 0][:, None] for a in (self.factor, self.shift))
        with np.errstate(over="ignore", invalid="ignore"):
            values = stored.astype(np.float64) * factor + shift
        if stored.dtype.kind == "i":
            values[stored == np.iinfo(stored.dtype).min] = np.nan
        if self.missing is not None:
            values[stored == self.missing] = np.nan
        return _recording.as_float32(values)


def find(scope: Scope, hints: Hints, shape: tuple[int, int], *, is_convention: bool) -> Scale:
    """Returns the scale of an array.

    Args:
        scope: where its metadata may stand.
        hints: values for what the file does not state.
        shape: numbers of recordings and of leads.
        is_convention: whether the array has millivolts if neither file nor hints state otherwise.

    Raises:
        Defect: a unit is not one of voltage, a gain is 0, or their number suits neither recordings
            nor leads.
    """
    units = _grid(scope.find(_hdf5_metadata.UNIT), shape, scope.where)
    texts = [""] if units is None else _hdf5_metadata.texts(units)
    texts = ["" if text.lower() in _DIGITAL else text for text in texts]
    gains, baselines, factors, offsets = (
        _numbers(scope.find(names), shape, scope.where)
        for names in (
            _hdf5_metadata.GAIN,
            _hdf5_metadata.BASELINE,
            _hdf5_metadata.SCALE,
            _hdf5_metadata.OFFSET,
        )
    )
    fill = scope.find(_hdf5_metadata.MISSING)
    missing = None if fill is None or fill.size != 1 else _hdf5_metadata.number(fill.item())
    no_shift = np.zeros((1, 1))
    is_digital = scope.node is None or scope.node.dtype.kind in "iu"
    if factors is None and gains is not None and (is_digital or not any(texts)):
        if not np.all(gains):
            raise Defect("wrong_units", f"{scope.where} states a gain of 0.")
        per_unit = np.array([_recording.scale(text or "mV", hints)[0] for text in texts])
        factor = per_unit.reshape((1, 1) if units is None else units.shape) / gains
        shift = -(no_shift if baselines is None else baselines) * factor
        return Scale(factor=factor, shift=shift, known=True, missing=missing)
    scales = [_recording.scale(text, hints) for text in texts]
    known = all(is_known for _, is_known in scales) or (is_convention and not any(texts))
    unit = np.array([factor for factor, _ in scales])
    unit = unit.reshape((1, 1) if units is None else units.shape)
    factor = unit if factors is None else unit * factors
    shift = no_shift if offsets is None else offsets * unit
    return Scale(factor=factor, shift=shift, known=known, missing=missing)


def _numbers(values: np.ndarray | None, shape: tuple[int, int], where: str) -> np.ndarray | None:
    grid = _grid(values, shape, where)
    if grid is None or grid.dtype.kind not in "iufSUO":
        return None
    numbers = [_hdf5_metadata.number(value) for value in np.ravel(grid).tolist()]
    if None in numbers:
        raise Defect("wrong_units", f"{where} states a gain or an offset that is not a number.")
    return np.array(numbers, np.float64).reshape(grid.shape)


def _grid(values: Any, shape: tuple[int, int], where: str) -> np.ndarray | None:
    """Returns metadata as [N or 1, L or 1] for N recordings of L leads; None if none is stated."""
    if values is None:
        return None
    count, num_leads = shape
    if values.size == 1:
        return values.reshape(1, 1)
    if values.shape in ((count, num_leads), (count, 1), (1, num_leads)):
        return values
    if values.shape == (num_leads,) and num_leads != count:
        return values[None, :]
    if values.shape == (count,) and num_leads != count:
        return values[:, None]
    detail = (
        f"{where} states {values.size} units or gains, which suit neither "
        f"{counted(count, 'recording')} nor {counted(num_leads, 'lead')} alone."
    )
    raise Defect("ambiguous_shape", detail)
