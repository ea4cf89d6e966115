"""Finds what an HDF5 file states about its arrays: rates, units, gains, leads, ids and patients.

Metadata of an array may stand in its attributes (for leads that are arrays of their own, in those
of each), beside it in its group, in a group of that name beside it (`metadata`), in the group's
attributes, and in the same places of the groups above; the nearest counts.
"""

import dataclasses
import functools
import re
from typing import Any

import numpy as np

from clef_jax import leads
from clef_jax.errors import counted
from clef_jax.finding import Defect
from clef_jax.formats import _array, _hdf5_file, _patient, _recording
from clef_jax.formats._hdf5_file import Array, Group
from clef_jax.formats._recording import Patient

RATE = (*_array.RATE_NAMES, "rate", "sr", "sfreq", "frequency", "samp_freq", "rates", "fs_hz")
RATE += ("sample_rates", "sampling_rates", "sampling_rate_hz", "sample_rate_in_hz")
UNIT = (*_array.UNIT_NAMES, "signal_unit", "signal_units", "physical_unit")
GAIN = (*_array.GAIN_NAMES, "adc_gain", "adc_gains", "gains")
BASELINE = ("baseline", "baselines", "adc_zero")
SCALE, OFFSET = ("scale_factor",), ("add_offset",)
MISSING = ("_fillvalue", "missing_value")
"""Attributes of the conventions of NetCDF."""
LEADS = (*_array.LEAD_NAMES, "lead", "lead_name", "lead_order", "channels", "channel_names")
LEADS += ("channel", "sig_names", "signal_names", "ch_names", "block0_items")
IDS = ("exam_id", "record_id", "recording_id", "ecg_id", "study_id", "exam_ids", "record_ids")
IDS += ("recording_ids", "ecg_ids", "study_ids", "record_name", "record_names", "records")
IDS += ("record", "id", "ids", "uid", "uids", "file_name", "file_names", "filename", "filenames")
IDS += ("key", "keys")
AGE, SEX, MALE = ("age", "age_years", "ages"), ("sex", "gender"), ("is_male", "male")
_OTHER = ("label", "labels", "y", "target", "targets", "class", "classes", "split", "fold", "index")
_OTHER += ("time", "times", "t", "timestamp", "timestamps", "date", "dates", "patient_id", "hashes")
_OTHER += ("patient_ids", "subject_id", "subject_ids", "real_lengths", "length", "lengths", "mean")
_OTHER += ("std", "rpeaks", "r_peaks", "peaks", "beats", "features", "embedding", "embeddings")
_OTHER += ("mask", "height", "weight", "name", "names", "axis0", "axis1", "heart_rate", "hr")
NOT_SIGNALS = {*RATE, *UNIT, *GAIN, *BASELINE, *SCALE, *OFFSET, *LEADS, *IDS, *AGE, *SEX, *MALE}
NOT_SIGNALS |= {*_OTHER}
NOT_SIGNALS -= set(_array.SIGNAL_NAMES)
"""Names in lower case of data sets that hold no signal."""
_MAX_HZ_TEXT = 80


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Scope:
    """Places in which the metadata of an array may stand."""

    group: Group
    node: Any
    """The open array; None for leads that are arrays of their own, whose group is what counts."""
    where: str
    file_bytes: int
    lead_nodes: tuple[Any, ...] = ()
    """The open arrays of leads that are arrays of their own."""

    @functools.cached_property
    def _attributes(self) -> dict[str, str]:
        """Names of the array's attributes by names in lower case."""
        with _hdf5_file.catch(self.where):
            return _hdf5_file.attribute_names(self.node) if self.node is not None else {}

    def find(self, names: tuple[str, ...], *, own: bool = False) -> np.ndarray | None:
        """Returns the nearest metadata with one of some names, the preferred one first; else None.

        Args:
            names: names in lower case.
            own: whether only the array and its group count, as for ids.
        """
        if (name := _array.first(self._attributes, names)) is not None:
            return _hdf5_file.attribute(self.node, name, self.where)
        if (values := self._of_leads(names)) is not None:
            return values
        group: Group | None = self.group
        while group is not None:
            for place in (group, *group.tables):
                array = next((place.arrays[n] for n in names if n in place.arrays), None)
                if array is not None and _is_plain(array):
                    return _hdf5_file.column(place, array, self.where, self.file_bytes)
                with _hdf5_file.catch(self.where):
                    name = _array.first(place.attributes, names)
                if name is not None:
                    return _hdf5_file.attribute(place.node, name, self.where)
            group = None if own else group.parent
        return None

    def _of_leads(self, names: tuple[str, ...]) -> np.ndarray | None:
        """Returns an attribute that the arrays of all leads have: one value if it is the same in
        all, else one for each lead; None if one of them lacks it."""
        found = []
        for node in self.lead_nodes:
            with _hdf5_file.catch(self.where):
                name = _array.first(_hdf5_file.attribute_names(node), names)
            value = None if name is None else _hdf5_file.attribute(node, name, self.where)
            if value is None or value.size != 1:
                return None
            found.append(value.reshape(1))
        if not found:
            return None
        values = np.concatenate(found)
        return values[:1] if (values == values[0]).all() else values


def _is_plain(array: Array) -> bool:
    return array.dtype.kind in "iufbSO" and len(array.shape) <= 2


def number(value: object) -> float | None:
    """Returns the number that a value states, in Hz if it is a text; else None."""
    if isinstance(value, bytes | str):
        text = texts(np.asarray(value))[0][:_MAX_HZ_TEXT]
        return _recording.parse_number(re.sub(r"\s*hz\s*$", "", text, flags=re.IGNORECASE))
    if isinstance(value, int | float | np.number) and np.isfinite(value):
        return float(value)
    return None


def texts(values: np.ndarray) -> list[str]:
    """Returns the texts of an array; texts are bytes or `str`, and numbers are written out."""
    return [
        value.decode("utf-8", "replace").strip("\0 ")
        if isinstance(value, bytes)
        else str(value).strip("\0 ")
        for value in np.ravel(values).tolist()
    ]


def lead_names(values: np.ndarray | None, lengths: tuple[int, ...]) -> tuple[str, ...] | None:
    """Returns the names of the leads; None if none are stated.

    Args:
        values: texts; or a single text in which they are separated by commas, spaces or the like.
        lengths: lengths of the array's axes, one of which the leads must have.

    Raises:
        Defect: the names are more or fewer than the array has leads.
    """
    if values is None or values.dtype.kind not in "SUO":
        return None
    names = texts(values)
    if len(names) == 1:
        parts = [part.strip("'\" ") for part in re.split(r"[,;|]", names[0].strip("[]() "))]
        if len(parts) == 1 and all(map(leads.is_standard, names[0].split())):
            parts = names[0].split()
        names = parts
    if len(names) not in lengths:
        detail = f"The file names {counted(len(names), 'lead')} for an array of the axes {lengths}."
        raise Defect("lead_count", detail)
    return tuple(names)


def patient(scope: Scope, count: int) -> list[Patient] | Patient:
    """Returns what the file states about the patient, or about each of `count` recordings."""
    ages, sexes = scope.find(AGE), scope.find(SEX)
    males = scope.find(MALE) if sexes is None else None
    years = None if ages is None else [_patient.age(v) for v in texts(ages)]
    is_male = None if sexes is None else [_patient.male(v) for v in texts(sexes)]
    if males is not None and males.dtype.kind in "biuf":
        stated = {1.0: True, 0.0: False}
        is_male = [stated.get(float(value)) for value in np.ravel(males).tolist()]

    def at(values: list | None, row: int) -> Any:
        if values is None or len(values) not in (1, count):
            return None
        return values[row if len(values) == count else 0]

    patients = [Patient(age_years=at(years, n), male=at(is_male, n)) for n in range(count)]
    return patients if count != 1 else patients[0]
