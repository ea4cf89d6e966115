"""MUSIC 1.0.1 (doi:10.13026/z3m7-rf58): Holter ECGs of heart failure patients, with outcomes.

Stored are the first clean ten seconds of each Holter.
"""

import contextlib
import dataclasses
import pathlib
from collections.abc import Iterator

import tensorflow_datasets as tfds

from clef_jax import files
from clef_jax.building import builder, clinical
from clef_jax.building.listing import DOWNSTREAM_SPLITS, Entry, Listing
from clef_jax.data.record import Label, Recording
from clef_jax.errors import UserError
from clef_jax.finding import Findings
from clef_jax.wfdb import record as wfdb_record

from . import column, subject, window
from .subject import OLDEST_AGE_YEARS, OUTCOMES, Subject

FOLDER = "Holter_ECG"


def read(source: pathlib.Path, entry: Entry) -> Recording:
    """Reads one window of a Holter."""
    path = files.locate(source, entry.path)
    return wfdb_record.read(path, entry.start_sample, entry.num_samples)


class Builder(builder.RecordingBuilder):
    """Reads the folder of MUSIC that holds subject-info.csv and Holter_ECG."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Download MUSIC from https://physionet.org/content/music-sudden-cardiac-death/."
    )
    LAYOUT = dataclasses.replace(
        window.LAYOUT,
        num_samples=window.NUM_SAMPLES,
        labels=(
            Label(
                name="outcome",
                kind="class",
                classes=tuple(dict.fromkeys(OUTCOMES.values())),
                description="Survival of the follow-up, or the cause of death",
            ),
            *(number.label for number in column.NUMBERS),
        ),
    )
    READ = staticmethod(read)
    SOURCE_RECORDINGS = 936
    WINDOWS = staticmethod(window.windows)
    SOURCES = frozenset({"label_source"})

    @contextlib.contextmanager
    def _listing(self, source: pathlib.Path) -> Iterator[Listing]:
        findings = Findings()
        subjects, absent = subject.load(self._table(source), findings)
        if not (source / FOLDER).is_dir():
            raise UserError(
                f"Folder {FOLDER} not found in {source}. Download it.", problem="missing_folder"
            )
        files = (source / FOLDER).iterdir()
        # By headers and signals, so that a Holter without one of them is reported.
        holters = {
            path.stem.upper(): path.stem for path in files if path.suffix in (".hea", ".dat")
        }
        entries = list(_entries(subjects, holters, findings))
        for name in sorted(set(holters) - {person.subject_id for person in subjects}):
            detail = f"No subject in {subject.FILE} has the ID of this Holter."
            findings.quarantine(f"{FOLDER}/{holters[name]}", "unknown_patient", detail)
        yield Listing(
            entries=sorted(entries, key=lambda entry: entry.patient_id),
            num_records=len(entries),
            num_patients=len(entries),
            splits=DOWNSTREAM_SPLITS,
            findings=tuple(findings),
            coverage=_coverage(subjects, len(entries), absent),
        )

    def _table(self, source: pathlib.Path) -> pathlib.Path:
        """Returns the path of the table of subjects, in the source or as given by the user.

        Raises:
            UserError: the table does not exist.
        """
        given = self.options.label_source
        path = pathlib.Path(given) if given else source
        path = path / subject.FILE if path.is_dir() else path
        if path.is_file():
            return path
        if given:
            raise UserError(
                f"The table {path}, given by --label-source, does not exist.",
                problem="missing_file",
            )
        raise UserError(
            f"{subject.FILE} not found in {source}; give the top folder of MUSIC.",
            problem="not_the_source",
        )


def _coverage(subjects: list[Subject], num_holters: int, absent: tuple[str, ...]) -> dict[str, str]:
    num_without = len(subjects) - num_holters
    lines = {"subjects without a Holter": f"{num_without:,} of {len(subjects):,}"}
    if absent:
        lines[f"columns that {subject.FILE} lacks"] = ", ".join(absent)
    return lines


def _entries(
    subjects: list[Subject], holters: dict[str, str], findings: Findings
) -> Iterator[Entry]:
    """Yields the Holters of the subjects, and adds findings about missing and unknown values."""
    for person in subjects:
        record_id = f"{FOLDER}/{holters.get(person.subject_id, person.subject_id)}"
        if person.subject_id not in holters:
            if person.has_holter == 1:
                detail = f"The subject has a Holter by {subject.FILE}, but {FOLDER} has none."
                findings.quarantine(record_id, "missing_file", detail)
            else:
                findings.keep(record_id, "no_holter", "This subject has no Holter.")
            continue
        if person.cause and not person.outcome:
            known = ", ".join(map(str, OUTCOMES))
            detail = f"The subject's code in {column.CAUSE!r} is none of {known}."
            findings.keep(record_id, "unknown_class", detail)
        elif person.cause == "":
            findings.keep(record_id, "no_outcome", f"The subject has no code in {column.CAUSE!r}.")
        if person.has_masked_age:
            detail = f"Age {subject.MASKED_AGE} is stored as {OLDEST_AGE_YEARS}."
            findings.keep(record_id, "masked_age", detail)
        findings += clinical.implausible_findings(record_id, person.implausible)
        yield Entry(
            record_id=record_id,
            patient_id=person.subject_id,
            observed=person.observed,
            labels=person.labels,
        )
