"""Reads the split of HeartLang: which recordings to use, where, and their classes.

Its tables call a column `age` that holds the number of leads, 12, in every row: it is not read.
"""

import dataclasses
import math
import pathlib
from collections.abc import Sequence

from clef_jax.building import value
from clef_jax.building.listing import Entry
from clef_jax.data.index import TEST, TRAIN, VALIDATION
from clef_jax.errors import UserError
from clef_jax.finding import Findings

from . import record_list, text_table

FILES = {TRAIN: "chapman_train.csv", VALIDATION: "chapman_val.csv", TEST: "chapman_test.csv"}
_PATH = "ecg_path"
_OTHER = {_PATH, "age", "diagnose", ""}


@dataclasses.dataclass(frozen=True)
class HeartLang:
    """The split and the classes of its recordings."""

    classes: tuple[str, ...]
    rows: dict[str, tuple[str, list[str]]]
    """The split and the classes of each recording, by its record id."""

    def apply(self, entry: Entry) -> Entry:
        """The entry with its split and classes."""
        split, names = self.rows[entry.record_id]
        labels = {**entry.labels, "diagnoses": names}
        return dataclasses.replace(entry, split=split, labels=labels)


def load(
    source: pathlib.Path,
    label_source: str | None,
    record_ids: Sequence[str],
    findings: Findings,
) -> HeartLang | None:
    """Reads the three tables; None if the user gave none and the source folder has none.

    What is wrong with a row is added to the findings.

    Raises:
        UserError: some of the tables are missing, or have other columns.
    """
    at = _folder(source, label_source)
    if at is None:
        return None
    known = {pathlib.PurePosixPath(path).name: path for path in record_ids}
    known |= {path: path for path in record_ids}
    classes: tuple[str, ...] = ()
    rows: dict[str, tuple[str, list[str]]] = {}
    for split, file in FILES.items():
        columns, table = text_table.read(at / file)
        classes = _classes(at / file, columns, classes)
        for number, row in table:
            place = f"Row {number} of {file}"
            record_id = _record_id(row.get(_PATH, ""), known)
            names = _chosen(row, classes)
            if not record_id or names is None:
                detail = f"{place} has no path, or a class that is neither 0 nor 1."
                findings.quarantine(record_id or place, "bad_row", detail)
            elif record_id in rows:
                detail = f"{place} lists it for {split}, but it is in {rows[record_id][0]} already."
                findings.quarantine(record_id, "duplicate_record", detail)
            else:
                rows[record_id] = (split, names)
                if not names:
                    findings.keep(record_id, "unlabelled", f"{place} gives it no class.")
    return HeartLang(classes, rows)


def _folder(source: pathlib.Path, label_source: str | None) -> pathlib.Path | None:
    """Where the three tables are; None if there is none in the source folder."""
    given = source if label_source is None else pathlib.Path(label_source)
    at = given.parent if given.is_file() else given
    absent = [file for file in FILES.values() if not (at / file).is_file()]
    if label_source is None and len(absent) == len(FILES):
        return None
    if absent:
        raise UserError(
            f"{at} holds no {', '.join(absent)}. The HeartLang split needs all of "
            f"{', '.join(FILES.values())}.",
            problem="missing_file",
        )
    return at


def _classes(
    path: pathlib.Path, columns: tuple[str, ...], expected: tuple[str, ...]
) -> tuple[str, ...]:
    """The classes of a table, in the expected order if there is one."""
    classes = tuple(c for c in columns if c not in _OTHER and not c.startswith("Unnamed"))
    if _PATH not in columns or not classes:
        raise UserError(
            f"The table {path} has no column {_PATH} or no classes; it has {', '.join(columns)}.",
            problem="missing_column",
        )
    if expected and set(classes) != set(expected):
        raise UserError(
            f"The table {path} has other classes than {FILES[TRAIN]}.", problem="other_classes"
        )
    return expected or classes


def _chosen(row: dict[str, str], classes: tuple[str, ...]) -> list[str] | None:
    """The classes of a row; None if any of them is neither 0 nor 1."""
    values = [value.yes(row.get(name)) for name in classes]
    if any(map(math.isnan, values)):
        return None
    return [name for name, one in zip(classes, values, strict=True) if one]


def _record_id(text: str, known: dict[str, str]) -> str:
    """The record id of a path such as `/chapman/WFDBRecords/01/010/JS00001.mat`."""
    path = pathlib.PurePosixPath(text.replace("\\", "/"))
    path = path.with_suffix("") if path.suffix in (".mat", ".hea") else path
    parts = path.parts
    inner = "/".join(parts[parts.index(record_list.TREE) :]) if record_list.TREE in parts else ""
    return known.get(inner) or known.get(path.name) or inner or path.name
