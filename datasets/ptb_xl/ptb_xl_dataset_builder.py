"""PTB-XL 1.0.3 (doi:10.13026/kfzx-aw45): standard 12-lead ECGs of ten seconds, at 100 and 500 Hz.

The classes of a recording are those of all its statements, whatever their likelihood: 0 means that
the likelihood was not graded.
"""

import ast
import contextlib
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import tensorflow_datasets as tfds

from clef_jax import files, leads
from clef_jax.building import builder, table, value
from clef_jax.building.listing import DOWNSTREAM_SPLITS, Entry, Listing
from clef_jax.data.index import TEST, TRAIN, VALIDATION
from clef_jax.data.record import Label, Layout, Observed, Recording
from clef_jax.errors import UserError
from clef_jax.finding import Findings
from clef_jax.wfdb import record as wfdb_record

from . import statement
from .statement import Statements

FILE = "ptbxl_database.csv"
MASKED_AGE_YEARS = 300
"""Value that replaces all ages above 89, as privacy law requires."""
OLDEST_AGE_YEARS = 90
"""Age stored for these, their lowest possible value."""
_SPLIT_OF_FOLD = {**dict.fromkeys(map(float, range(1, 9)), TRAIN), 9.0: VALIDATION, 10.0: TEST}
_COLUMNS = ("ecg_id", "patient_id", "scp_codes")
_OPTIONAL = ("age", "sex", "height", "weight", "recording_date", "strat_fold")
_LABELS = (
    Label(name="scp_codes", kind="classes", description="SCP-ECG codes of all statements"),
    Label(
        name="scp_likelihoods",
        kind="numbers",
        unit="%",
        description="Likelihood of each of scp_codes, 0 where it was not graded",
    ),
    Label(name="diagnostic", kind="classes", description="Diagnostic statements"),
    Label(name="subdiagnostic", kind="classes", description="Sub-classes of the diagnoses"),
    Label(name="superdiagnostic", kind="classes", description="Super-classes of the diagnoses"),
    Label(name="form", kind="classes", description="Statements about the form"),
    Label(name="rhythm", kind="classes", description="Statements about the rhythm"),
    Label(name="strat_fold", kind="number", description="Official fold, 1 to 10"),
    Label(name="height_cm", kind="number", unit="cm", description="Height"),
    Label(name="weight_kg", kind="number", unit="kg", description="Weight"),
)


def _layout(sample_rate_hz: int) -> Layout:
    return Layout(
        leads=leads.STANDARD_12,
        sample_rate_hz=float(sample_rate_hz),
        num_samples=10 * sample_rate_hz,
        labels=_LABELS,
    )


def read(source: pathlib.Path, entry: Entry) -> Recording:
    """Reads one recording; its record id is its path in ptbxl_database.csv."""
    return wfdb_record.read(files.locate(source, entry.path))


class Builder(builder.RecordingBuilder):
    """Reads the folder of PTB-XL that holds ptbxl_database.csv and the recordings."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = "Download PTB-XL from https://physionet.org/content/ptb-xl/."
    BUILDER_CONFIGS = [
        builder.Config(name="500hz", description="As recorded.", layout=_layout(500)),
        builder.Config(name="100hz", description="The publisher's copy.", layout=_layout(100)),
    ]
    LAYOUT = _layout(500)
    READ = staticmethod(read)
    SOURCE_RECORDINGS = 21_799

    @contextlib.contextmanager
    def _listing(self, source: pathlib.Path) -> Iterator[Listing]:
        low_rate = self.layout.sample_rate_hz == 100
        column, tree = ("filename_lr", "records100") if low_rate else ("filename_hr", "records500")
        with table.duckdb_errors(), table.connect(pathlib.Path(self.data_path)) as database:
            if not (source / FILE).is_file():
                raise UserError(
                    f"{FILE} not found in {source}; give the top folder of PTB-XL.",
                    problem="not_the_source",
                )
            absent = table.create_view(
                database, "recording", source / FILE, (*_COLUMNS, column), optional=_OPTIONAL
            )
            if not (source / tree).is_dir():
                raise UserError(
                    f"Folder {tree} not found in {source}. Download it, or prepare the other "
                    "rate: --dataset=ptb_xl/100hz or --dataset=ptb_xl/500hz.",
                    problem="missing_folder",
                )
            statements = statement.load(database, source)
            rows = table.read_rows(database, "recording")
            unreadable = table.count_unreadable(database)
        findings = Findings()
        entries = list(_entries(rows, column, statements, findings))
        yield Listing(
            entries=sorted(entries, key=lambda e: (e.patient_id, e.recorded_at, e.record_id)),
            num_records=len(entries),
            num_patients=len({entry.patient_id for entry in entries}),
            splits=DOWNSTREAM_SPLITS,
            classes=statements.classes,
            findings=tuple(findings),
            coverage={**_absent(absent), **unreadable},
        )


def _absent(columns: tuple[str, ...]) -> dict[str, str]:
    return {f"columns that {FILE} lacks": ", ".join(columns)} if columns else {}


def _entries(
    rows: Sequence[Mapping[str, Any]], column: str, statements: Statements, findings: Findings
) -> Iterator[Entry]:
    """Yields the recordings of the table, and adds findings about rows that cannot be used."""
    seen = set()
    for number, row in enumerate(rows, start=2):
        record_id = (row[column] or "").strip()
        codes = _codes(row["scp_codes"])
        if not record_id or codes is None:
            detail = f"Row {number} of {FILE} has no path in {column} or no scp_codes."
            findings.quarantine(record_id or f"{FILE} row {number}", "bad_row", detail)
            continue
        if record_id in seen:
            detail = f"Row {number} of {FILE} lists a path that an earlier row lists."
            findings.quarantine(record_id, "duplicate_record", detail)
            continue
        seen.add(record_id)
        unknown = statements.unknown(list(codes))
        if unknown:
            detail = f"The statements {', '.join(unknown)} are not in {statement.FILE}."
            findings.keep(record_id, "unknown_class", detail)
        patient_id = value.integer_text(row["patient_id"])
        if not patient_id:
            detail = "The recording has no patient_id; it is treated as a separate patient."
            findings.keep(record_id, "unknown_patient", detail)
            patient_id = f"unknown of {value.integer_text(row['ecg_id'])}"
        yield Entry(
            record_id=record_id,
            patient_id=patient_id,
            recorded_at=(row["recording_date"] or "").strip().replace(" ", "T"),
            observed=Observed(
                age_years=_age_years(row["age"], record_id, findings),
                male=1 - value.between(row["sex"], 0, 1),
            ),
            split=_split(row["strat_fold"], record_id, findings),
            labels={
                "scp_codes": list(codes),
                "scp_likelihoods": list(codes.values()),
                **statements.labels(list(codes)),
                "strat_fold": value.between(row["strat_fold"], 1, 10),
                "height_cm": value.between(row["height"], 30, 250),
                "weight_kg": value.between(row["weight"], 1, 400),
            },
        )


def _age_years(text: str | None, record_id: str, findings: Findings) -> float:
    if value.number(text) == MASKED_AGE_YEARS:
        detail = f"Age {MASKED_AGE_YEARS} means over 89; {OLDEST_AGE_YEARS} is stored."
        findings.keep(record_id, "masked_age", detail)
        return OLDEST_AGE_YEARS
    return value.between(text, 0, 120)


def _split(fold: str | None, record_id: str, findings: Findings) -> str | None:
    split = _SPLIT_OF_FOLD.get(value.number(fold))
    if split is None and fold is not None:
        detail = "The strat_fold is not 1 to 10; a hash of the patient determines the split."
        findings.keep(record_id, "unknown_fold", detail)
    return split


def _codes(text: str | None) -> dict[str, float] | None:
    """Returns the codes with their likelihoods in percent; None if the text is malformed."""
    try:
        likelihoods = ast.literal_eval((text or "").strip())
        return {str(code): float(likelihood) for code, likelihood in likelihoods.items()}
    except (ValueError, SyntaxError, AttributeError, TypeError, MemoryError, RecursionError):
        return None
