"""MC-MED 1.0.1 (doi:10.13026/wvyw-g663): lead II of adults in an emergency department.

An example is a window of ten seconds at the rate of its own header; its labels are the visit's.
"""

import contextlib
import dataclasses
import pathlib
import re
from collections.abc import Iterator, Mapping

import tensorflow_datasets as tfds

from clef_jax.building import builder, table, value
from clef_jax.building.listing import DOWNSTREAM_SPLITS, Entry, Listing
from clef_jax.data.record import Layout, Observed
from clef_jax.errors import UserError
from clef_jax.finding import Findings

from . import label, segment, split_file, visit
from .split_file import Splits
from .visit import LEAD, Row, Tables

_ROOTS = ("waveforms", "data/waveforms")


class Builder(builder.RecordingBuilder):
    """Reads the folder of MC-MED that holds visits.csv, or `data` with it, and waveforms."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = "Download MC-MED from https://physionet.org/content/mc-med/."
    BUILDER_CONFIGS = [
        builder.Config(
            name="patient_disjoint",
            description="Official splits; a patient in several goes to the first.",
        ),
        builder.Config(
            name="as_given",
            description="Official splits, whoever is in them.",
            splits_as_given=True,
        ),
    ]
    LAYOUT = Layout(leads=(LEAD,), sample_rate_hz=None, num_samples=None, labels=label.LABELS)
    READ = staticmethod(segment.read)
    SOURCE_RECORDINGS = 83_623
    WINDOWS = staticmethod(segment.windows)
    FILES = staticmethod(segment.files)
    SOURCES = frozenset({"label_source"})

    @contextlib.contextmanager
    def _listing(self, source: pathlib.Path) -> Iterator[Listing]:
        labels = self.options.label_source
        if labels is None and visit.find(source, visit.NAME) is None:
            raise UserError(
                f"{source} holds no {visit.NAME}.csv, neither itself nor in its folder data, so it "
                "is not the top of an MC-MED download.",
                problem="not_the_source",
            )
        root = _root(source)
        with table.duckdb_errors(), table.connect(pathlib.Path(self.data_path)) as database:
            tables = visit.load(database, source, labels)
        splits = split_file.load(source)
        findings = Findings()
        given = _splits_of_patients(tables, splits)
        found = _entries(source, root, tables, splits, findings)
        entries = [_with_its_patient(entry, given) for entry in found]
        yield Listing(
            entries=sorted(entries, key=lambda e: (e.patient_id, e.recorded_at, e.record_id)),
            num_records=len(entries),
            num_patients=len({entry.patient_id for entry in entries}),
            splits=DOWNSTREAM_SPLITS,
            findings=tuple(findings),
            coverage=_coverage(tables, splits, entries, given),
        )


def _root(source: pathlib.Path) -> str:
    """The folder of the folders with three digits, relative to the source.

    Raises:
        UserError: there is none.
    """
    for root in _ROOTS:
        if (source / root).is_dir():
            return f"{root}/"
    for root in ("", "data/"):
        if any(re.fullmatch(r"\d{3}", path.name) for path in (source / root).glob("[0-9]*")):
            return root
    raise UserError(
        f"There is no folder waveforms in {source} or its folder data. Unpack the archives "
        "waveforms_0xx.zip to waveforms_9xx.zip, or some of them, into such a folder.",
        problem="missing_folder",
    )


def _entries(
    source: pathlib.Path, root: str, tables: Tables, splits: Splits, findings: Findings
) -> Iterator[Entry]:
    """The visits with lead II; what is wrong with a row is added to the findings."""
    seen = set()
    for row in tables.rows:
        key = visit.key(row["CSN"])
        if not key:
            detail = f"Row {row['line']} of {tables.file} has no CSN that is a number."
            findings.quarantine(f"{tables.file} row {row['line']}", "bad_row", detail)
            continue
        record_id = _record_id(source, root, tables.spellings[key])
        if not _has_lead(source, record_id, key, tables):
            seen.add(key)
            continue
        if key in seen:
            detail = f"Row {row['line']} of {tables.file} lists a visit that an earlier row lists."
            findings.quarantine(record_id, "duplicate_record", detail)
            continue
        seen.add(key)
        yield _entry(row, record_id, key, tables, splits, findings)
    for key in sorted(splits.of.keys() - seen):
        name = splits.written[key]
        detail = f"A split file lists the visit {name}, but {tables.file} does not."
        findings.keep(f"visit {name}", "unknown_visit", detail)


def _record_id(source: pathlib.Path, root: str, spellings: tuple[str, ...]) -> str:
    """Of the first segment; where tables differ in leading zeros, the folder decides."""
    found = [f"{root}{name[-3:]}/{name}/{LEAD}/{name}_1" for name in spellings]
    if len(found) == 1:
        return found[0]
    return next((path for path in found if (source / path).parent.is_dir()), found[0])


def _has_lead(source: pathlib.Path, record_id: str, key: str, tables: Tables) -> bool:
    if tables.segments is None:
        return (source / record_id).parent.is_dir()
    return tables.segments.get(key, 0) != 0


def _entry(
    row: Row, record_id: str, key: str, tables: Tables, splits: Splits, findings: Findings
) -> Entry:
    patient_id = value.integer_text(row["MRN"])
    if not patient_id:
        detail = f"It has no MRN in {visit.NAME}.csv; it counts as a patient of its own."
        findings.keep(record_id, "unknown_patient", detail)
        patient_id = f"unknown of {key}"
    labels = label.known(row, record_id, findings)
    return Entry(
        record_id=record_id,
        patient_id=patient_id,
        recorded_at=(row["Arrival_time"] or "").strip().replace(" ", "T"),
        observed=Observed(
            age_years=value.between(row["Age"], 0, 120),
            male=value.male(row["Gender"]),
            sbp_mmhg=label.sbp_mmhg(row),
        ),
        split=_split(record_id, key, splits, findings),
        labels={**labels, "num_segments": (tables.segments or {}).get(key, float("nan"))},
    )


def _split(record_id: str, key: str, splits: Splits, findings: Findings) -> str | None:
    several = splits.of.get(key, ())
    if len(several) > 1:
        detail = f"The split files list it in {' and '.join(several)}; the first counts."
        findings.keep(record_id, "visit_in_several_splits", detail)
    if splits.of and not several:
        detail = (
            "No split file lists it; it goes where other visits of its patient are, or by a hash."
        )
        findings.keep(record_id, "unknown_split", detail)
    return splits.first(key)


def _splits_of_patients(tables: Tables, splits: Splits) -> dict[str, set[str]]:
    """In which splits the files put each patient, with or without lead II."""
    given: dict[str, set[str]] = {}
    for row in tables.rows:
        patient = value.integer_text(row["MRN"])
        if patient:
            given.setdefault(patient, set()).update(splits.of.get(visit.key(row["CSN"]), ()))
    return given


def _with_its_patient(entry: Entry, given: Mapping[str, set[str]]) -> Entry:
    """A visit that no split file lists goes where other visits of its patient are."""
    others = given.get(entry.patient_id, set())
    if entry.split is not None or not others:
        return entry
    return dataclasses.replace(entry, split=min(others, key=list(DOWNSTREAM_SPLITS).index))


def _coverage(
    tables: Tables, splits: Splits, entries: list[Entry], given: Mapping[str, set[str]]
) -> Mapping[str, str]:
    several = sum(len(found) > 1 for found in given.values())
    visits = len({visit.key(row["CSN"]) for row in tables.rows} - {""})
    return {
        "visits without lead II": f"{visits - len(entries):,} of {visits:,}",
        "patients that the split files put in several splits": f"{several:,} of {len(given):,}",
        **tables.coverage,
        **splits.coverage,
    }
