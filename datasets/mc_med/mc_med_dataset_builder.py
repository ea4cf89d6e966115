"""MC-MED 1.0.1 (doi:10.13026/wvyw-g663): lead II of adults in an emergency department.

An example is a window of ten seconds at the rate in its header, with the labels of the visit.
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
            description="Official splits; a patient in several belongs to the first.",
        ),
        builder.Config(
            name="as_given",
            description="Official splits, in which a patient may be in several.",
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
        if labels is None and visit.find_table(source, visit.NAME) is None:
            raise UserError(
                f"{visit.NAME}.csv found neither in {source} nor in its folder data; give the top "
                "folder of MC-MED.",
                problem="not_the_source",
            )
        root = _root(source)
        with table.duckdb_errors(), table.connect(pathlib.Path(self.data_path)) as database:
            tables = visit.load(database, source, labels)
        splits = split_file.load(source)
        findings = Findings()
        patient_splits = _patient_splits(tables, splits)
        listed = _entries(source, root, tables, splits, findings)
        entries = [_with_patient_split(entry, patient_splits) for entry in listed]
        yield Listing(
            entries=sorted(entries, key=lambda e: (e.patient_id, e.recorded_at, e.record_id)),
            num_records=len(entries),
            num_patients=len({entry.patient_id for entry in entries}),
            splits=DOWNSTREAM_SPLITS,
            findings=tuple(findings),
            coverage=_coverage(tables, splits, entries, patient_splits),
        )


def _root(source: pathlib.Path) -> str:
    """Returns the folder of the waveform folders of three digits, relative to the source.

    Raises:
        UserError: the source has no waveforms.
    """
    for root in _ROOTS:
        if (source / root).is_dir():
            return f"{root}/"
    for root in ("", "data/"):
        if any(re.fullmatch(r"\d{3}", path.name) for path in (source / root).glob("[0-9]*")):
            return root
    raise UserError(
        f"Folder waveforms found neither in {source} nor in its folder data. Unpack the archives "
        "waveforms_0xx.zip to waveforms_9xx.zip, or some of them, into such a folder.",
        problem="missing_folder",
    )


def _entries(
    source: pathlib.Path, root: str, tables: Tables, splits: Splits, findings: Findings
) -> Iterator[Entry]:
    """Yields the visits with lead II, and adds findings about rows that cannot be used."""
    seen = set()
    for row in tables.rows:
        key = visit.key(row["CSN"])
        if not key:
            detail = f"The CSN in row {row['line']} of {tables.file} is not a number."
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
    for key in sorted(splits.by_visit.keys() - seen):
        name = splits.written[key]
        detail = f"A split file lists the visit {name}, but {tables.file} does not."
        findings.keep(f"visit {name}", "unknown_visit", detail)


def _record_id(source: pathlib.Path, root: str, spellings: tuple[str, ...]) -> str:
    """Returns the record id of a visit's first segment.

    If the tables differ in leading zeros, the spelling for which a folder exists is used.
    """
    paths = [f"{root}{name[-3:]}/{name}/{LEAD}/{name}_1" for name in spellings]
    if len(paths) == 1:
        return paths[0]
    return next((path for path in paths if (source / path).parent.is_dir()), paths[0])


def _has_lead(source: pathlib.Path, record_id: str, key: str, tables: Tables) -> bool:
    if tables.segments is None:
        return (source / record_id).parent.is_dir()
    return tables.segments.get(key, 0) != 0


def _entry(
    row: Row, record_id: str, key: str, tables: Tables, splits: Splits, findings: Findings
) -> Entry:
    patient_id = value.integer_text(row["MRN"])
    if not patient_id:
        detail = f"The visit has no MRN in {visit.NAME}.csv; it is treated as a separate patient."
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
    listed = splits.by_visit.get(key, ())
    if len(listed) > 1:
        detail = f"The split files list the visit in {' and '.join(listed)}; the first is used."
        findings.keep(record_id, "visit_in_several_splits", detail)
    if splits.by_visit and not listed:
        detail = (
            "No split file lists the visit; it is stored in the split of its patient's other "
            "visits, or in one by a hash of the patient."
        )
        findings.keep(record_id, "unknown_split", detail)
    return splits.first(key)


def _patient_splits(tables: Tables, splits: Splits) -> dict[str, set[str]]:
    """Returns the splits that the files assign to the visits of each patient."""
    by_patient: dict[str, set[str]] = {}
    for row in tables.rows:
        patient = value.integer_text(row["MRN"])
        if patient:
            visit_splits = splits.by_visit.get(visit.key(row["CSN"]), ())
            by_patient.setdefault(patient, set()).update(visit_splits)
    return by_patient


def _with_patient_split(entry: Entry, patient_splits: Mapping[str, set[str]]) -> Entry:
    """Returns an entry that no split file lists with the split of its patient's other visits."""
    others = patient_splits.get(entry.patient_id, set())
    if entry.split is not None or not others:
        return entry
    return dataclasses.replace(entry, split=min(others, key=list(DOWNSTREAM_SPLITS).index))


def _coverage(
    tables: Tables, splits: Splits, entries: list[Entry], patient_splits: Mapping[str, set[str]]
) -> Mapping[str, str]:
    """Returns lines of the build's summary."""
    num_patients = len(patient_splits)
    several = sum(len(names) > 1 for names in patient_splits.values())
    visits = len({visit.key(row["CSN"]) for row in tables.rows} - {""})
    return {
        "visits without lead II": f"{visits - len(entries):,} of {visits:,}",
        "patients that the split files list in several splits": f"{several:,} of {num_patients:,}",
        **tables.coverage,
        **splits.coverage,
    }
