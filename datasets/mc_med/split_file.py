"""Reads the official splits of visits from split_chrono_{train,val,test}.csv."""

import csv
import dataclasses
import gzip
import pathlib
from collections.abc import Mapping

from clef_jax.data.index import TEST, TRAIN, VALIDATION

from . import visit

FILES = {
    TRAIN: "split_chrono_train",
    VALIDATION: "split_chrono_val",
    TEST: "split_chrono_test",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Splits:
    """The official splits."""

    by_visit: Mapping[str, tuple[str, ...]]
    """The splits of each visit by its key; several are an error of the files."""
    written: Mapping[str, str]
    """The number of each visit as written, by its key."""
    coverage: dict[str, str]
    """Lines of the build's summary."""

    def first(self, name: str) -> str | None:
        """Returns the first split of a visit; None if no file lists it."""
        return self.by_visit.get(name, (None,))[0]


def load(source: pathlib.Path) -> Splits:
    """Reads the files that exist; they have no header."""
    by_visit: dict[str, dict[str, None]] = {}
    written: dict[str, str] = {}
    coverage, absent = {}, []
    for split, name in FILES.items():
        path = visit.find_table(source, name)
        if path is None:
            absent.append(f"{name}.csv")
            continue
        unreadable = 0
        for number, text in enumerate(_first_column(path)):
            key = visit.key(text)
            if key:
                by_visit.setdefault(key, {})[split] = None
                written.setdefault(key, visit.identifier(text))
            elif text and number:  # the first line may be a header nevertheless
                unreadable += 1
        if unreadable:
            coverage[f"unreadable rows of {path.name}"] = f"{unreadable:,}"
    if absent:
        rest = "all visits" if len(absent) == len(FILES) else "visits that the others do not list"
        coverage["split files that are absent"] = (
            f"{', '.join(absent)}: a hash of the patient determines the split of {rest}"
        )
    tuples = {key: tuple(splits) for key, splits in by_visit.items()}
    return Splits(by_visit=tuples, written=written, coverage=coverage)


def _first_column(path: pathlib.Path) -> list[str]:
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8-sig", errors="replace", newline="") as stream:
        lines = (line.replace("\0", "") for line in stream)
        return [row[0].strip() if row else "" for row in csv.reader(lines)]
