"""MIMIC-IV-ECG 1.0 (doi:10.13026/4nqg-sb35) with clinical values from MIMIC-IV.

Standard 12-lead recordings of ten seconds at 500 Hz. Their files keep the leads in another order
than most, aVF before aVL; leads are found by name.
"""

import contextlib
import dataclasses
import datetime
import math
import pathlib
from collections.abc import Iterator
from typing import Any

import duckdb
import tensorflow_datasets as tfds

from clef_jax import files, leads
from clef_jax.building import builder, clinical, table
from clef_jax.building.listing import PRETRAINING_SPLITS, Entry, Listing
from clef_jax.data.record import OBSERVED_NAMES, Layout, Observed, Recording
from clef_jax.finding import Findings
from clef_jax.wfdb import record as wfdb_record

from . import hosp, lvef, pretraining, record_list, reference_csv

_FETCH_ROWS = 1000
_MEASURED = ("sbp_mmhg", "total_cholesterol_mmol_l", "hdl_mmol_l")
_UNKNOWN = """
CREATE TABLE clinical AS
SELECT line, path, subject, time, NULL AS male, NULL AS age_years, NULL AS smoker, NULL AS diabetes,
  NULL AS sbp_mmhg, NULL AS total_cholesterol_mmol_l, NULL AS hdl_mmol_l,
  row_number() OVER (PARTITION BY subject ORDER BY time NULLS LAST, line) AS nth
FROM record
"""


_LAYOUT = Layout(leads=leads.STANDARD_12, sample_rate_hz=500.0, num_samples=5000)


def read(source: pathlib.Path, entry: Entry) -> Recording:
    """One recording; its record id is its path in record_list.csv."""
    return wfdb_record.read(files.locate(source, entry.path))


class Builder(builder.RecordingBuilder):
    """Reads the folder of MIMIC-IV-ECG that holds record_list.csv and files/."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Download MIMIC-IV-ECG from https://physionet.org/content/mimic-iv-ecg/1.0/ and MIMIC-IV's "
        "folder hosp from https://physionet.org/content/mimiciv/; put hosp beside record_list.csv."
    )
    BUILDER_CONFIGS = [
        builder.Config(
            name="one_per_patient",
            description="Each patient's earliest usable recording.",
            one_per_patient=True,
        ),
        builder.Config(name="all_records", description="Every usable recording."),
        builder.Config(
            name="lvef",
            description="Recordings with an ejection fraction, for evaluation.",
            layout=dataclasses.replace(_LAYOUT, labels=lvef.LABELS),
        ),
    ]
    LAYOUT = _LAYOUT
    READ = staticmethod(read)
    SOURCE_RECORDINGS = 800_035
    SOURCES = frozenset({"clinical_source", "label_source", "leave_out"})

    @contextlib.contextmanager
    def _listing(self, source: pathlib.Path) -> Iterator[Listing]:
        scratch = pathlib.Path(self.data_path) / "scratch"
        with table.duckdb_errors(), table.connect(scratch) as database:
            findings = record_list.load(database, source)
            facts: dict[str, str] = {}
            if self.options.leave_out:
                facts |= pretraining.leave_out(database, pathlib.Path(self.options.leave_out))
            splits = self._load_labels(database, source, findings) if self._labelled else None
            facts |= {"pre-training data": splits.words} if splits else {}
            words, coverage, ready = self._load_clinical(database, source)
            ((records, patients),) = database.execute(
                "SELECT count(*), count(DISTINCT subject) FROM record"
            ).fetchall()
            yield Listing(
                entries=_entries(database, ready=ready, splits=splits),
                splits=lvef.SPLITS if self._labelled else PRETRAINING_SPLITS,
                num_records=records,
                num_patients=patients,
                scorer=None if words == "none" or ready else self._scorer(database),
                findings=tuple(findings),
                clinical_source=words,
                coverage={
                    **_coverage(database),
                    **facts,
                    **coverage,
                    **table.unreadable(database),
                },
            )

    @property
    def _labelled(self) -> bool:
        return bool(self.layout.labels)

    def _load_labels(
        self, database: duckdb.DuckDBPyConnection, source: pathlib.Path, findings: Findings
    ) -> pretraining.Splits:
        """Creates the table `lvef`, and keeps only its recordings."""
        findings += lvef.load(database, lvef.find(source, self.options.label_source))
        database.execute("DELETE FROM record WHERE path NOT IN (SELECT path FROM lvef)")
        return pretraining.Splits(pathlib.Path(self._data_dir_root))

    def _load_clinical(
        self, database: duckdb.DuckDBPyConnection, source: pathlib.Path
    ) -> tuple[str, dict[str, str], bool]:
        """Creates the table `clinical`; says from what, how well, and if it holds ready risks."""
        given = self.options.clinical_source
        if given == "none":
            database.execute(_UNKNOWN)
            return "none", {}, False
        if given and pathlib.Path(given).is_file():
            lines = reference_csv.load(database, pathlib.Path(given))
            return "a table with ready risks", lines, True
        hosp.load(database, hosp.find(source, given), self.options.clinical)
        return "MIMIC-IV hospital tables", hosp.implausible(database), False

    def _scorer(self, database: duckdb.DuckDBPyConnection) -> clinical.Scorer:
        """Medians are of the patients' first recordings, so that no patient counts twice."""
        medians = {}
        for male in (1, 0):
            columns = ", ".join(f"median({name})" for name in _MEASURED)
            query = f"SELECT {columns} FROM clinical WHERE nth = 1 AND male = {male}"
            (row,) = database.execute(query).fetchall()
            medians[male] = {
                n: math.nan if v is None else v for n, v in zip(_MEASURED, row, strict=True)
            }
        return clinical.Scorer(
            score=self.options.clinical.score,
            region=self.options.clinical.region,
            median_of_men=medians[1],
            median_of_women=medians[0],
        )


def _entries(
    database: duckdb.DuckDBPyConnection, *, ready: bool, splits: pretraining.Splits | None
) -> Iterator[Entry]:
    """The recordings by patient and time, fetched in blocks; with labels if `splits` is given."""
    risk = ("risk", "completeness") if ready else ()
    label = ("lvef", "below") if splits else ()
    names = (*OBSERVED_NAMES, *risk, *label)
    cursor = database.cursor().execute(
        f"SELECT path, subject, time, {', '.join(names)} FROM clinical "
        f"{'JOIN lvef USING (path)' if splits else ''} ORDER BY subject, nth"
    )
    while block := cursor.fetchmany(_FETCH_ROWS):
        for path, subject, time, *values in block:
            known: dict[str, Any] = {
                name: math.nan if value is None else float(value)
                for name, value in zip(names, values, strict=True)
            }
            given = {name: known.pop(name) for name in risk}
            labels = [known.pop(name) for name in label]
            if splits:
                given["labels"] = dict(
                    zip((x.name for x in lvef.LABELS), (*labels, splits(str(subject))), strict=True)
                )
            yield Entry(
                record_id=path,
                patient_id=str(subject),
                recorded_at=time.isoformat() if isinstance(time, datetime.datetime) else "",
                observed=Observed(**known),
                **given,
            )


def _coverage(database: duckdb.DuckDBPyConnection) -> dict[str, str]:
    """How many patients have each value at their first recording."""
    counts = ", ".join(f"count({name})" for name in OBSERVED_NAMES)
    ((total, *known),) = database.execute(
        f"SELECT count(*), {counts} FROM clinical WHERE nth = 1"
    ).fetchall()
    return {
        f"patients with {name}": f"{count:,} ({100 * count / max(total, 1):.1f} %)"
        for name, count in zip(OBSERVED_NAMES, known, strict=True)
    }
