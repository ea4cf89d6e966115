"""PhysioNet/CinC Challenge 2017 (doi:10.22489/CinC.2017.065-469): ECGs of a hand-held recorder.

This is the smallest builder; use it as a template for a new data set.
"""

import contextlib
import dataclasses
import pathlib
from collections.abc import Iterator

import tensorflow_datasets as tfds

from clef_jax import files
from clef_jax.building import builder
from clef_jax.building.listing import DOWNSTREAM_SPLITS, Entry, Listing
from clef_jax.data.record import Label, Layout, Recording
from clef_jax.finding import Findings
from clef_jax.wfdb import record as wfdb_record

from . import reference


def read(source: pathlib.Path, entry: Entry) -> Recording:
    """Reads one recording. Its only lead, between the hands, is stored as lead I."""
    recording = wfdb_record.read(files.locate(source, entry.path, (".hea", ".mat")))
    names = tuple("I" if name.upper() == "ECG" else name for name in recording.lead_names)
    # The headers state 0 for every checksum.
    return dataclasses.replace(recording, lead_names=names, bad_checksums=())


class Builder(builder.RecordingBuilder):
    """Reads the folder of the training set that holds REFERENCE.csv and the recordings."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Download the training set from https://physionet.org/content/challenge-2017/."
    )
    LAYOUT = Layout(
        leads=("I",),
        sample_rate_hz=300.0,
        num_samples=None,
        labels=(
            Label(
                name="rhythm",
                kind="class",
                classes=reference.CLASSES,
                description="N normal, A atrial fibrillation, O another rhythm, ~ too noisy",
            ),
        ),
    )
    READ = staticmethod(read)
    STATES_AGE_AND_SEX = False
    SOURCE_RECORDINGS = 8_528
    SOURCES = frozenset({"label_source"})

    @contextlib.contextmanager
    def _listing(self, source: pathlib.Path) -> Iterator[Listing]:
        findings = Findings()
        labels = reference.find(source, self.options.label_source)
        rhythms = reference.read(labels, findings)
        paths = _paths(source, findings)
        for name in sorted(set(paths) - set(rhythms)):
            findings.keep(name, "unlabelled", f"{labels.name} does not list the recording.")
        entries = [
            Entry(
                record_id=name,
                patient_id=name,
                source_record=paths.get(name, name),
                labels={"rhythm": rhythms.get(name, "")},
            )
            for name in sorted({*paths, *rhythms})
        ]
        yield Listing(
            entries=entries,
            num_records=len(entries),
            num_patients=len(entries),
            splits=DOWNSTREAM_SPLITS,
            findings=tuple(findings),
            coverage={"table of rhythms": labels.name},
        )


def _paths(source: pathlib.Path, findings: Findings) -> dict[str, str]:
    """Returns the path of each recording in the source folder, without extension, by its name."""
    files = [file for kind in ("hea", "mat") for file in source.rglob(f"[!.]*.{kind}")]
    paths: dict[str, str] = {}
    for path in sorted({file.relative_to(source).with_suffix("") for file in files}):
        first = paths.setdefault(path.name.upper(), path.as_posix())
        if first != path.as_posix():
            detail = f"A recording of the same name is used instead: {first}."
            findings.quarantine(path.as_posix(), "duplicate_record", detail)
    return paths
