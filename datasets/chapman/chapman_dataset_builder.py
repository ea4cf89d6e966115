"""Chapman-Shaoxing-Ningbo, ecg-arrhythmia 1.0.0 (doi:10.13026/wgex-er52): 12-lead ECGs of 10 s.

Age, sex and diagnoses are in the header of each recording, which is read for the listing.
"""

import collections
import contextlib
import dataclasses
import pathlib
import re
from collections.abc import Iterator

import tensorflow_datasets as tfds

from clef_jax import files, leads
from clef_jax.building import builder, value
from clef_jax.building.listing import DOWNSTREAM_SPLITS, Entry, Listing
from clef_jax.data.record import Label, Layout, Observed, Recording
from clef_jax.errors import counted
from clef_jax.finding import Defect, Findings, catch_failures
from clef_jax.wfdb import header as wfdb_header, record as wfdb_record

from . import condition, heartlang, record_list
from .condition import Conditions

MIN_CLASS_RECORDS = 10
"""Smallest number of recordings with a diagnosis that is a class of `diagnoses`."""
_EXTENSIONS = (".hea", ".mat")
_UNKNOWN = {"", "unknown", "nan", "none"}
_LABELS = (
    Label(name="snomed", kind="classes", description="SNOMED CT codes of all diagnoses"),
    Label(
        name="acronyms",
        kind="classes",
        description=f"Diagnoses by their acronyms in {condition.FILE}, or else their codes",
    ),
    Label(
        name="diagnoses",
        kind="classes",
        description="Frequent diagnoses, or those of the HeartLang split",
    ),
)


def read(source: pathlib.Path, entry: Entry) -> Recording:
    """Reads one recording; its record id is its path in the source folder."""
    return wfdb_record.read(files.locate(source, entry.path, _EXTENSIONS))


class Builder(builder.RecordingBuilder):
    """Reads the folder of ecg-arrhythmia that holds WFDBRecords."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Download it from https://physionet.org/content/ecg-arrhythmia/1.0.0/."
    )
    LAYOUT = Layout(leads=leads.STANDARD_12, sample_rate_hz=500.0, num_samples=5000, labels=_LABELS)
    READ = staticmethod(read)
    SOURCE_RECORDINGS = 45_152
    SOURCES = frozenset({"label_source"})

    @contextlib.contextmanager
    def _listing(self, source: pathlib.Path) -> Iterator[Listing]:
        findings = Findings()
        record_ids = record_list.find(source)
        conditions = condition.load(source)
        split = heartlang.load(source, self.options.label_source, record_ids, findings)
        listed = record_ids if split is None else tuple(split.rows)
        entries = [_entry(source, record_id, conditions, findings) for record_id in listed]
        if split is None:
            entries, classes = _with_frequent(entries)
            words = f"{len(classes)} with at least {counted(MIN_CLASS_RECORDS, 'recording')}"
        else:
            entries = [split.apply(entry) for entry in entries]
            classes = split.classes
            words = f"{len(classes)} of the HeartLang split"
        coverage = {"names of diagnoses": conditions.summary, "classes of diagnoses": words}
        if split is not None:
            num_unused = len(set(record_ids) - set(listed))
            coverage["recordings that the HeartLang split does not use"] = f"{num_unused:,}"
        yield Listing(
            entries=sorted(entries, key=lambda entry: (entry.patient_id, entry.record_id)),
            num_records=len(entries),
            num_patients=len({entry.patient_id for entry in entries}),
            splits=DOWNSTREAM_SPLITS,
            classes={"diagnoses": classes},
            findings=tuple(findings),
            coverage=coverage,
        )


def _entry(
    source: pathlib.Path, record_id: str, conditions: Conditions, findings: Findings
) -> Entry:
    """Returns the entry of a recording with its header's metadata, if that can be read."""
    patient_id = pathlib.PurePosixPath(record_id).name
    try:
        with catch_failures(record_id):
            header = wfdb_header.read(files.locate(source, record_id, _EXTENSIONS))
    except Defect:  # reading the recording reports it
        return Entry(record_id=record_id, patient_id=patient_id)
    codes = _codes(header.comments.get("dx", ""))
    if not codes:
        findings.keep(record_id, "unlabelled", "The header states no diagnosis.")
    unknown = conditions.unknown(codes)
    if unknown:
        detail = f"The codes {', '.join(unknown)} are not in {condition.FILE}."
        findings.keep(record_id, "unknown_class", detail)
    return Entry(
        record_id=record_id,
        patient_id=patient_id,
        observed=Observed(
            age_years=value.between(header.comments.get("age"), 0, 120),
            male=value.male(header.comments.get("sex")),
        ),
        labels={"snomed": codes, "acronyms": conditions.acronyms(codes)},
    )


def _codes(text: str) -> list[str]:
    """Returns the unique codes of a comment such as `#Dx: 164889003,59118001`."""
    codes = map(value.integer_text, re.split(r"[,;\s]+", text))
    return [code for code in dict.fromkeys(codes) if code.lower() not in _UNKNOWN]


def _with_frequent(entries: list[Entry]) -> tuple[list[Entry], tuple[str, ...]]:
    """Returns the entries with the label `diagnoses`, and its classes, sorted."""
    acronyms = [entry.labels.get("acronyms", ()) for entry in entries]
    counts = collections.Counter(name for names in acronyms for name in names)
    classes = tuple(sorted(name for name, n in counts.items() if n >= MIN_CLASS_RECORDS))
    diagnoses = [[name for name in classes if name in names] for names in acronyms]
    return [
        dataclasses.replace(entry, labels={**entry.labels, "diagnoses": names})
        for entry, names in zip(entries, diagnoses, strict=True)
    ], classes
