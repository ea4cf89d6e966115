"""Lists the waveform files of Aurora-BP, and reports the missing ones."""

import dataclasses
import pathlib
from collections.abc import Iterator

from clef_jax.building import value
from clef_jax.finding import Findings

from . import study, waveform
from .study import SYNTHETIC, Key, Study


@dataclasses.dataclass(frozen=True)
class File:
    """One waveform file."""

    record_id: str
    patient_id: str
    phase: str
    measurement: str

    @property
    def key(self) -> Key:
        """Key of the file in the tables."""
        return study.make_key(self.patient_id, self.phase, self.measurement)


def find(source: pathlib.Path, tree: str, findings: Findings) -> Iterator[File]:
    """Yields the waveform files, and adds findings about files with invalid or duplicate names."""
    seen = set()
    for path in sorted((source / tree).rglob(f"*{waveform.EXTENSION}")):
        if path.name.startswith("."):
            continue  # some operating systems write such files beside the actual ones
        record_id = path.relative_to(source).as_posix().removesuffix(waveform.EXTENSION)
        patient_id, _, rest = path.stem.partition(".")
        phase, _, measurement = rest.partition(".")
        file = File(record_id, patient_id, phase, measurement.replace("_", " "))
        if not (patient_id and phase and measurement):
            detail = "The file's name does not have the form PARTICIPANT.PHASE.MEASUREMENT.tsv."
            findings.quarantine(record_id, "bad_name", detail)
        elif path.parent.name.lower() not in (patient_id.lower(), tree):
            detail = "The file's name has another participant than its folder."
            findings.quarantine(record_id, "subject_mismatch", detail)
        elif file.key in seen:
            detail = "Another file has the same participant, phase and measurement."
            findings.quarantine(record_id, "duplicate_record", detail)
        else:
            seen.add(file.key)
            yield file


def missing(files: list[File], tree: str, tables: Study, findings: Findings) -> dict[str, str]:
    """Adds findings about rows of features.tsv whose file is missing.

    Returns lines of the summary: the number of rows that have no waveform by design.
    """
    present = {file.key for file in files}
    people = {file.key[0] for file in files}
    initial = tree.removeprefix("measurements_")[0]
    num_synthetic = 0
    for key in sorted(tables.features.keys() - present):
        pid, phase, _ = key
        if not pid.startswith(initial) and pid not in people:
            continue  # belongs to the other protocol
        generated = tables.measurements.get(key, {}).get("waveforms_generated")
        if phase == SYNTHETIC or value.yes(generated) == 0:
            num_synthetic += 1
            continue
        row = tables.features[key]
        name = "_".join((row["measurement"] or "").split())
        person = (row["pid"] or "").strip()
        record_id = f"{tree}/{person}/{person}.{(row['phase'] or '').strip()}.{name}"
        detail = f"The file does not exist, but has a row in {study.FEATURES}."
        findings.quarantine(record_id, "missing_file", detail)
    return {"rows of features.tsv about no waveform": f"{num_synthetic:,}"} if num_synthetic else {}
