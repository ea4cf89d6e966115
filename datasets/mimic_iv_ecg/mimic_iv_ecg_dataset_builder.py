"""MIMIC-IV-ECG 1.0 (doi:10.13026/4nqg-sb35) with clinical values from MIMIC-IV.

Standard 12-lead recordings of ten seconds at 500 Hz. The files store aVF before aVL, unlike most
others; leads are selected by name.
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
from clef_jax.finding import Finding, Findings
from clef_jax.wfdb import record as wfdb_record

from . import hosp, lvef, pretraining, record_list, reference_csv

_FETCH_ROWS = 1000
_MEASURED = ("sbp_mmhg", "total_cholesterol_mmol_l", "hdl_mmol_l")
_UNKNOWN = """
CREATE TABLE clinical AS
SELECT line, path, subject, time, NULL AS male, NULL AS age_years, NULL AS smoker, NULL AS diabetes,
  NULL AS sbp_mmhg, NULL AS total_cholesterol_mmol_l, NULL AS hdl_mmol_l, false AS censored,
  false AS masked
FROM record
"""
# `earliest` and `best_known` are the positions of a recording among those of its patient.
_RANKED = """
CREATE TABLE ranked AS
WITH shifted AS (
  SELECT * REPLACE (
    CASE WHEN age_years > $oldest_years THEN $oldest_years + 1 ELSE age_years END AS age_years,
    masked OR coalesce(age_years > $oldest_years, false) AS masked
  ) FROM clinical
)
SELECT *, row_number() OVER (PARTITION BY subject ORDER BY time NULLS LAST, line) AS earliest,
  row_number() OVER (PARTITION BY subject ORDER BY {known} DESC, time NULLS LAST, line)
    AS best_known
FROM shifted
"""


_LAYOUT = Layout(leads=leads.STANDARD_12, sample_rate_hz=500.0, num_samples=5000)


def read(source: pathlib.Path, entry: Entry) -> Recording:
    """Reads one recording; its record id is its path in record_list.csv."""
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
            description="One usable recording of each patient, by default the earliest.",
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
            lines: dict[str, str] = {}
            if self.options.leave_out:
                lines |= pretraining.exclude(database, pathlib.Path(self.options.leave_out))
            splits = self._load_labels(database, source, findings) if self._has_labels else None
            lines |= {"pre-training data": splits.description} if splits else {}
            clinical_source, coverage, has_risk = self._load_clinical(database, source)
            needs_scorer = clinical_source != "none" and not has_risk
            self._rank(database, has_risk=has_risk)
            ((records, patients),) = database.execute(
                "SELECT count(*), count(DISTINCT subject) FROM record"
            ).fetchall()
            yield Listing(
                entries=_entries(
                    database, order=self.options.prefer, has_risk=has_risk, splits=splits
                ),
                splits=lvef.SPLITS if self._has_labels else PRETRAINING_SPLITS,
                num_records=records,
                num_patients=patients,
                scorer=self._scorer(database) if needs_scorer else None,
                findings=tuple(findings),
                clinical_source=clinical_source,
                coverage={
                    **_coverage(database, both=self._one_per_patient),
                    **lines,
                    **coverage,
                    **table.count_unreadable(database),
                },
            )

    @property
    def _has_labels(self) -> bool:
        return bool(self.layout.labels)

    def _load_labels(
        self, database: duckdb.DuckDBPyConnection, source: pathlib.Path, findings: Findings
    ) -> pretraining.Splits:
        """Creates the table `lvef`, and removes other recordings from `record`."""
        findings += lvef.load(database, lvef.find(source, self.options.label_source))
        database.execute("DELETE FROM record WHERE path NOT IN (SELECT path FROM lvef)")
        return pretraining.Splits(pathlib.Path(self._data_dir_root))

    def _load_clinical(
        self, database: duckdb.DuckDBPyConnection, source: pathlib.Path
    ) -> tuple[str, dict[str, str], bool]:
        """Creates the table `clinical`.

        Returns:
            The source of the values, lines of the summary, and whether the table has risks.
        """
        given = self.options.clinical_source
        if given == "none":
            database.execute(_UNKNOWN)
            return "none", {}, False
        if given and pathlib.Path(given).is_file():
            lines = reference_csv.load(database, pathlib.Path(given))
            return "a table of precomputed risks", lines, True
        hosp.load(database, hosp.find(source, given), self.options.clinical)
        return "MIMIC-IV hospital tables", hosp.excluded(database), False

    def _rank(self, database: duckdb.DuckDBPyConnection, *, has_risk: bool) -> None:
        """Creates the table `ranked`: `clinical` with positions, and ages over 89 as 90."""
        inputs = clinical.find_score(self.options.clinical.score).inputs
        known = " + ".join(f"({name} IS NOT NULL)::INTEGER" for name in inputs)
        statement = _RANKED.format(known="completeness" if has_risk else known)
        database.execute(statement, {"oldest_years": hosp.OLDEST_KNOWN_YEARS})

    def _scorer(self, database: duckdb.DuckDBPyConnection) -> clinical.Scorer:
        """Returns the scorer with medians over the patients' preferred recordings.

        With one recording of each, every patient has the same weight.
        """
        medians = {}
        for male in (1, 0):
            columns = ", ".join(f"median({name})" for name in _MEASURED)
            query = (
                f"SELECT {columns} FROM ranked WHERE {self.options.prefer} = 1 AND male = {male}"
            )
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
    database: duckdb.DuckDBPyConnection,
    *,
    order: str,
    has_risk: bool,
    splits: pretraining.Splits | None,
) -> Iterator[Entry]:
    """Yields the recordings by patient and preference, with labels if `splits` is given."""
    risk = ("risk", "completeness") if has_risk else ()
    label = ("lvef", "below") if splits else ()
    names = (*OBSERVED_NAMES, *risk, *label)
    cursor = database.cursor().execute(
        f"SELECT path, subject, time, masked, censored, {', '.join(names)} FROM ranked "
        f"{'JOIN lvef USING (path)' if splits else ''} ORDER BY subject, {order}"
    )
    while block := cursor.fetchmany(_FETCH_ROWS):
        for path, subject, time, masked, censored, *values in block:
            known: dict[str, Any] = {
                name: math.nan if value is None else float(value)
                for name, value in zip(names, values, strict=True)
            }
            fields = {name: known.pop(name) for name in risk}
            labels = [known.pop(name) for name in label]
            if splits:
                fields["labels"] = dict(
                    zip((x.name for x in lvef.LABELS), (*labels, splits(str(subject))), strict=True)
                )
            yield Entry(
                record_id=path,
                patient_id=str(subject),
                recorded_at=time.isoformat() if isinstance(time, datetime.datetime) else "",
                observed=Observed(**known),
                findings=_findings(path, masked=masked, censored=censored),
                **fields,
            )


def _findings(record_id: str, *, masked: bool, censored: bool) -> tuple[Finding, ...]:
    findings = Findings()
    if masked:
        oldest = hosp.OLDEST_KNOWN_YEARS
        detail = f"The source masks ages over {oldest}; the lowest possible age is stored."
        findings.keep(record_id, "masked_age", detail)
    if censored:
        detail = "A cholesterol near this recording has no number; it is stored as unknown."
        findings.keep(record_id, "censored", detail)
    return tuple(findings)


def _coverage(database: duckdb.DuckDBPyConnection, *, both: bool) -> dict[str, str]:
    """Returns lines of the summary: the patients with each value at one of their recordings.

    Args:
        both: whether to count at each of the two recordings that can be preferred.
    """
    orders = ("earliest", "best_known") if both else ("earliest",)
    known = {order: _known(database, order) for order in orders}
    lines = {}
    for name in OBSERVED_NAMES:
        counts = [(numbers[name], total) for total, numbers in known.values()]
        texts = [f"{count:,} ({100 * count / max(total, 1):.1f} %)" for count, total in counts]
        named = [f"{text} {order}" for text, order in zip(texts, orders, strict=True)]
        lines[f"patients with {name}"] = ", ".join(named if both else texts)
    return lines


def _known(database: duckdb.DuckDBPyConnection, order: str) -> tuple[int, dict[str, int]]:
    """Returns the number of patients, and of those with each value at their first recording."""
    counts = ", ".join(f"count({name})" for name in OBSERVED_NAMES)
    ((total, *known),) = database.execute(
        f"SELECT count(*), {counts} FROM ranked WHERE {order} = 1"
    ).fetchall()
    return total, dict(zip(OBSERVED_NAMES, known, strict=True))
