"""Keeps patients out of training, selected by a stored field of their recordings.

Shapes: N records, P patients.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from clef_jax import plugin
from clef_jax.data import index as index_lib, metadata
from clef_jax.errors import UserError, WrongArgument

_PER_RECORD = (
    *("sample_rate_hz", "num_samples", "row", "risk", "completeness", "usable_leads"),
    *("gain_per_mv", "baseline"),
)
"""Arrays of an index with one row per record, except for the patient's number."""

_NOTHING_SELECTED = ("unknown_field", "excludes_nothing", "unknown_class")
"""Problems of a condition that selects no recording of a data set; the last is most likely a
mistake."""


class Condition(NamedTuple):
    """A field and the values that select a recording."""

    field: str
    values: tuple[str, ...]


def parse(text: str) -> Condition:
    """Returns the condition of a text such as `strat_fold=7,8`.

    Raises:
        WrongArgument: the text has another form.
    """
    field, equals, values = text.partition("=")
    condition = Condition(field.strip(), tuple(v.strip() for v in values.split(",") if v.strip()))
    if not equals or not condition.field or not condition.values:
        raise WrongArgument(
            f"--exclude={text} must be FIELD=VALUE or FIELD=VALUE,VALUE, such as strat_fold=7,8."
        )
    return condition


def exclude(index: index_lib.Index, text: str | None) -> index_lib.Index:
    """Returns the index without the patients of selected recordings; None excludes nobody.

    All recordings of a patient are excluded if one of them is selected. Reading the field takes a
    pass over all records of the split. The risk quantiles remain those of the data set.

    Args:
        index: index of the split.
        text: the condition, such as `strat_fold=7,8`.

    Raises:
        UserError: the field is unknown, its values select no recording, or all patients.
    """
    if text is None:
        return index
    condition = parse(text)
    selected = _selected(index, condition)
    if not selected.any():
        raise UserError(
            f"--exclude={text} selects no recording of the split {index.split!r} of "
            f"{index.dataset}; correct the values, or omit it.",
            problem="excludes_nothing",
        )
    kept = ~np.isin(index.patient, index.patient[selected])
    if not kept.any():
        raise UserError(
            f"--exclude={text} selects all patients of the split {index.split!r} of "
            f"{index.dataset}; keep some to train on.",
            problem="excludes_everything",
        )
    return _subset(index, kept)


def exclude_each(indexes: Sequence[index_lib.Index], text: str | None) -> list[index_lib.Index]:
    """Returns the indexes of several data sets without the patients of selected recordings.

    The condition applies to the data sets that have its field.

    Raises:
        UserError: as `exclude`, but only if the condition selects no recording of any data set, or
            all patients of one.
    """
    results, errors = [], []
    for index in indexes:
        try:
            results.append(exclude(index, text))
        except UserError as error:
            if error.problem not in _NOTHING_SELECTED:
                raise
            errors.append(error)
            results.append(index)
    if len(errors) == len(indexes):
        raise max(errors, key=lambda error: _NOTHING_SELECTED.index(error.problem))
    return results


def _selected(index: index_lib.Index, condition: Condition) -> np.ndarray:
    """Returns a mask of the recordings that a condition selects, bool [N]."""
    labels = {x["name"]: x for x in index_lib.read_metadata(index.version_dir)["labels"]}
    if condition.field not in (*metadata.FIELDS, *labels):
        known = sorted((*metadata.FIELDS, *labels))
        words = plugin.unknown(f"stored field of {index.dataset}", condition.field, known)
        raise UserError(f"--exclude: {words}", problem="unknown_field")
    _check_classes(labels.get(condition.field), condition)
    records = metadata.read_records(index, np.arange(index.num_records))
    return np.array([_matches(record[condition.field], condition) for record in records], bool)


def _check_classes(label: Mapping[str, Any] | None, condition: Condition) -> None:
    """Raises UserError for a value that is no class of a label with classes."""
    if label is None or label["kind"] not in ("class", "classes"):
        return
    for value in condition.values:
        if value not in label["classes"]:
            words = plugin.unknown(f"class of {condition.field}", value, label["classes"])
            raise UserError(f"--exclude: {words}", problem="unknown_class")


def _matches(stored: Any, condition: Condition) -> bool:
    if isinstance(stored, list):
        return any(_matches(item, condition) for item in stored)
    if isinstance(stored, bytes):
        return stored.decode() in condition.values
    return any(float(stored) == number for number in _numbers(condition))


def _numbers(condition: Condition) -> Sequence[float]:
    try:
        return [float(np.float32(value)) for value in condition.values]
    except ValueError as error:
        raise WrongArgument(
            f"--exclude: the field {condition.field} holds numbers; "
            f"{', '.join(condition.values)} must be numbers."
        ) from error


def _subset(index: index_lib.Index, kept: np.ndarray) -> index_lib.Index:
    """Returns an index of some records, bool [N]; its patients are numbered from 0 again."""
    _, patient, counts = np.unique(index.patient[kept], return_inverse=True, return_counts=True)
    return dataclasses.replace(
        index,
        patient=patient,
        patient_offset=np.concatenate([[0], np.cumsum(counts)]),
        **{name: getattr(index, name)[kept] for name in _PER_RECORD},
    )
