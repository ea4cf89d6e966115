"""Reads the split of HeartLang: the recordings of each split, and their classes.

Column `age` of its tables holds the number of leads, 12, in every row, and is not read.
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
    """The recordings of the HeartLang split with their classes."""

    classes: tuple[str, ...]
    rows: dict[str, tuple[str, list[str]]]
    """Split and classes of each recording by its record id."""

    def apply(self, entry: Entry) -> Entry:
        """Returns an entry with its split and classes."""
        split, names = self.rows[entry.record_id]
        labels = {**entry.labels, "diagnoses": names}
        return dataclasses.replace(entry, split=split, labels=labels)


def load(
    source: pathlib.Path,
    label_source: str | None,
    record_ids: Sequence[str],
    findings: Findings,
) -> HeartLang | None:
    """Reads the three tables, and adds findings about rows that cannot be used.

    Returns None if the user gave no tables and the source folder has none.

    Raises:
        UserError: some of the tables are missing, or have other columns.
    """
    folder = _folder(source, label_source)
    if folder is None:
        return None
    known = {pathlib.PurePosixPath(path).name: path for path in record_ids}
    known |= {path: path for path in record_ids}
    classes: tuple[str, ...] = ()
    rows: dict[str, tuple[str, list[str]]] = {}
    for split, file in FILES.items():
        columns, table = text_table.read(folder / file)
        classes = _classes(folder / file, columns, classes)
        for number, row in table:
            where = f"Row {number} of {file}"
            record_id = _record_id(row.get(_PATH, ""), known)
            names = _row_classes(row, classes)
            if not record_id or names is None:
                detail = f"{where} has no path, or a class that is neither 0 nor 1."
                findings.quarantine(record_id or where, "bad_row", detail)
            elif record_id in rows:
                first = rows[record_id][0]
                detail = f"{where} lists the recording in {split}, but it is in {first} already."
                findings.quarantine(record_id, "duplicate_record", detail)
            else:
                rows[record_id] = (split, names)
                if not names:
                    findings.keep(record_id, "unlabelled", f"{where} states no class.")
    return HeartLang(classes, rows)


def _folder(source: pathlib.Path, label_source: str | None) -> pathlib.Path | None:
    """Returns the folder of the three tables; None if the source folder has none.

    Raises:
        UserError: some of the tables are missing.
    """
    given = source if label_source is None else pathlib.Path(label_source)
    folder = given.parent if given.is_file() else given
    absent = [file for file in FILES.values() if not (folder / file).is_file()]
    if label_source is None and len(absent) == len(FILES):
        return None
    if absent:
        raise UserError(
            f"{', '.join(absent)} not found in {folder}. The HeartLang split needs all of "
            f"{', '.join(FILES.values())}.",
            problem="missing_file",
        )
    return folder


def _classes(
    path: pathlib.Path, columns: tuple[str, ...], expected: tuple[str, ...]
) -> tuple[str, ...]:
    """Returns the classes of a table, in the order of `expected` if that is not empty.

    Raises:
        UserError: the table lacks the column of paths, or has no or unexpected classes.
    """
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


def _row_classes(row: dict[str, str], classes: tuple[str, ...]) -> list[str] | None:
    """Returns the classes of a row; None if the value of any class is neither 0 nor 1."""
    values = [value.yes(row.get(name)) for name in classes]
    if any(map(math.isnan, values)):
        return None
    return [name for name, is_present in zip(classes, values, strict=True) if is_present]


def _record_id(text: str, known: dict[str, str]) -> str:
    """Returns the record id of a path such as `/chapman/WFDBRecords/01/010/JS00001.mat`."""
    path = pathlib.PurePosixPath(text.replace("\\", "/"))
    path = path.with_suffix("") if path.suffix in (".mat", ".hea") else path
    parts = path.parts
    inner = "/".join(parts[parts.index(record_list.TREE) :]) if record_list.TREE in parts else ""
    return known.get(inner) or known.get(path.name) or inner or path.name
