"""Icentia11k 1.0 (doi:10.13026/kk0v-r952): single-lead ECGs of up to two weeks.

Stored are windows of ten seconds, each with a labelled beat at its centre or a labelled rhythm.
"""

import contextlib
import pathlib
import re
from collections.abc import Iterator

import tensorflow_datasets as tfds

from clef_jax.building import builder
from clef_jax.building.listing import Entry, Listing
from clef_jax.data.index import TEST, TRAIN, VALIDATION
from clef_jax.data.record import Label, Layout
from clef_jax.errors import UserError
from clef_jax.finding import Findings

from . import window

RECORDS = "RECORDS"
_SPLITS = {TRAIN: 700, VALIDATION: 150, TEST: 150}
_LINE = re.compile(r"(?:\./)?(?P<folder>p\d+/(?P<patient>p\d+))(?P<segment>/.+)?")


def files(entry: Entry) -> tuple[str, ...]:
    """Returns a pattern of the files of a patient."""
    return (f"{entry.path}/*",)


class Builder(builder.RecordingBuilder):
    """Reads the folder of Icentia11k that holds RECORDS and p00 to p10."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Download Icentia11k from https://physionet.org/content/icentia11k-continuous-ecg/."
    )
    LAYOUT = Layout(
        leads=(window.LEAD,),
        sample_rate_hz=window.SAMPLE_RATE_HZ,
        num_samples=window.NUM_SAMPLES,
        amplitude="arbitrary",
        labels=(
            Label(
                name="beat",
                kind="class",
                classes=tuple(window.BEATS.values()),
                description="The beat at the centre of the window",
            ),
            Label(
                name="rhythm",
                kind="class",
                classes=tuple(window.RHYTHMS.values()),
                description="The rhythm that begins with the window and lasts longer than it",
            ),
        ),
    )
    READ = staticmethod(window.read)
    STATES_AGE_AND_SEX = False
    SOURCE_RECORDINGS = 11_000
    WINDOWS = staticmethod(window.windows)
    FILES = staticmethod(files)

    @contextlib.contextmanager
    def _listing(self, source: pathlib.Path) -> Iterator[Listing]:
        findings = Findings()
        listed = _listed(source / RECORDS, findings) if (source / RECORDS).is_file() else {}
        patients = listed or _from_folders(source)
        if not patients:
            raise UserError(
                f"Neither {RECORDS} nor folders such as p00/p00000 found in {source}; give the top "
                "folder of Icentia11k.",
                problem="not_the_source",
            )
        entries = [Entry(record_id=path, patient_id=name) for path, name in patients.items()]
        yield Listing(
            entries=sorted(entries, key=lambda entry: (entry.patient_id, entry.record_id)),
            num_records=len(entries),
            num_patients=len(set(patients.values())),
            splits=_SPLITS,
            findings=tuple(findings),
            coverage={
                "list of patients": RECORDS if listed else f"the folders, without {RECORDS}",
                "amplitudes": "in an unknown unit, although the headers state mV",
            },
        )


def _listed(path: pathlib.Path, findings: Findings) -> dict[str, str]:
    """Returns the patient of each folder that RECORDS lists, with or without its segments."""
    patients: dict[str, str] = {}
    text = path.read_text(encoding="utf-8-sig", errors="replace")
    for number, line in enumerate(text.splitlines(), start=1):
        match = _LINE.fullmatch(line.strip().rstrip("/"))
        if match is None:
            if line.strip():
                detail = f"Line {number} of {RECORDS} is not the folder of a patient."
                findings.quarantine(f"{RECORDS} line {number}", "bad_row", detail)
        elif match["folder"] in patients and not match["segment"]:
            detail = f"Line {number} of {RECORDS} lists a folder that an earlier line lists."
            findings.quarantine(match["folder"], "duplicate_record", detail)
        else:
            patients[match["folder"]] = match["patient"]
    return patients


def _from_folders(source: pathlib.Path) -> dict[str, str]:
    """Returns the patient of each folder that exists."""
    paths = (path for path in source.glob("p*/p*") if path.is_dir())
    matches = (_LINE.fullmatch(path.relative_to(source).as_posix()) for path in paths)
    return {match["folder"]: match["patient"] for match in matches if match}
