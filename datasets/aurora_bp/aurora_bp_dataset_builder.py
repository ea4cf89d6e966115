"""Aurora-BP: lead I of a wearable device during blood pressure measurements of about 20 s.

One example is one file, whatever the number of table rows about it.
"""

import contextlib
import math
import pathlib
from collections.abc import Iterator

import tensorflow_datasets as tfds

from clef_jax import risk
from clef_jax.building import builder, table, value
from clef_jax.building.listing import Entry, Listing
from clef_jax.data.index import TEST, TRAIN, VALIDATION
from clef_jax.data.record import Label, Layout, Observed
from clef_jax.errors import UserError
from clef_jax.finding import Findings

from . import file_list, study, waveform
from .file_list import File
from .study import PARTICIPANTS, Study

SPLITS = {TRAIN: 700, VALIDATION: 150, TEST: 150}
PROTOCOLS = ("auscultatory", "oscillometric")
_SBP = risk.LIMITS["sbp_mmhg"]
_PLAUSIBLE_MMHG = {"sbp": (_SBP.low, _SBP.high), "dbp": (20, 200)}
_CM_PER_INCH, _KG_PER_POUND = 2.54, 0.45359237
_LABELS = (
    Label(
        name="dbp_mmhg",
        kind="number",
        unit="mmHg",
        description="Measured diastolic pressure",
    ),
    Label(
        name="baseline_sbp_mmhg",
        kind="number",
        unit="mmHg",
        description="Systolic pressure at rest",
    ),
    Label(
        name="baseline_dbp_mmhg",
        kind="number",
        unit="mmHg",
        description="Diastolic pressure at rest",
    ),
    Label(name="phase", kind="class", description="Visit, or the time between visits"),
    Label(name="measurement", kind="class", description="Name of the measurement in its phase"),
    Label(name="hypertension", kind="number", description="Reports high blood pressure, 1 is yes"),
    Label(name="height_cm", kind="number", unit="cm", description="Height"),
    Label(name="weight_kg", kind="number", unit="kg", description="Weight"),
)


class Builder(builder.RecordingBuilder):
    """Reads the folder of Aurora-BP that holds participants.tsv and the measurements."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Request Aurora-BP at https://github.com/microsoft/aurorabp-sample-data."
    )
    BUILDER_CONFIGS = [
        builder.Config(
            name="auscultatory",
            description="Pressure measured with a stethoscope.",
        ),
        builder.Config(name="oscillometric", description="Pressure measured by a cuff for a day."),
    ]
    LAYOUT = Layout(
        leads=(waveform.LEAD,),
        sample_rate_hz=waveform.RATE_HZ,
        num_samples=None,
        amplitude="mv_with_offset",
        labels=_LABELS,
    )
    READ = staticmethod(waveform.read)

    @contextlib.contextmanager
    def _listing(self, source: pathlib.Path) -> Iterator[Listing]:
        assert self.builder_config is not None  # there are only these two
        protocol = self.builder_config.name
        if not (source / PARTICIPANTS).is_file():
            raise UserError(
                f"{PARTICIPANTS} not found in {source}; give the top folder of Aurora-BP.",
                problem="not_the_source",
            )
        tree = f"measurements_{protocol}"
        if not (source / tree).is_dir():
            raise UserError(
                f"Folder {tree} not found in {source}. Download it, or prepare the other "
                f"protocol: --dataset=aurora_bp/{' or --dataset=aurora_bp/'.join(PROTOCOLS)}.",
                problem="missing_folder",
            )
        findings = Findings()
        with table.duckdb_errors(), table.connect(pathlib.Path(self.data_path)) as database:
            tables = study.load(database, source, protocol, findings)
        files = list(file_list.find(source, tree, findings))
        entries = list(_entries(files, tables, findings))
        coverage = file_list.missing(files, tree, tables, findings)
        yield Listing(
            entries=sorted(entries, key=lambda e: (e.patient_id, e.recorded_at, e.record_id)),
            num_records=len(entries),
            num_patients=len({entry.patient_id for entry in entries}),
            splits=SPLITS,
            classes={
                name: tuple(sorted({entry.labels[name] for entry in entries}))
                for name in ("phase", "measurement")
            },
            findings=tuple(findings),
            coverage={**coverage, **tables.coverage},
        )


def _entries(files: list[File], tables: Study, findings: Findings) -> Iterator[Entry]:
    """Yields an entry for each file, and adds findings about what is unknown."""
    baselines = {
        f"baseline_{name}": study.baselines(tables.features, f"baseline_{name}", *plausible)
        for name, plausible in _PLAUSIBLE_MMHG.items()
    }
    for file in files:
        pid = file.key[0]
        if file.key not in tables.features:
            detail = f"The file has no row in {study.FEATURES}."
            findings.keep(file.record_id, "unlabelled", detail)
        if pid not in tables.participants:
            detail = f"The file's participant has no row in {PARTICIPANTS}."
            findings.keep(file.record_id, "unknown_patient", detail)
        person = tables.participants.get(pid, {})
        known = {name: _pressure(file, name, tables, findings) for name in ("sbp", "dbp")}
        for name, by_participant in baselines.items():
            pressure = _pressure(file, name, tables, findings)
            known[name] = by_participant.get(pid, math.nan) if math.isnan(pressure) else pressure
        yield Entry(
            record_id=file.record_id,
            patient_id=file.patient_id,
            recorded_at=tables.text(file.key, "date_time").replace(" ", "T"),
            observed=Observed(
                age_years=value.between(person.get("age"), 0, 120),
                male=value.male(person.get("gender")),
                diabetes=value.yes(person.get("diabetes")),
                sbp_mmhg=known.pop("sbp"),
            ),
            labels={
                **{f"{name}_mmhg": number for name, number in known.items()},
                "phase": file.phase,
                "measurement": file.measurement,
                "hypertension": study.hypertension(person),
                "height_cm": _CM_PER_INCH * value.between(person.get("height"), 12, 100),
                "weight_kg": _KG_PER_POUND * value.between(person.get("weight"), 2, 900),
            },
        )


def _pressure(file: File, column: str, tables: Study, findings: Findings) -> float:
    """Returns a pressure of a measurement in mmHg; NaN, with a finding, if it is implausible."""
    low, high = _PLAUSIBLE_MMHG[column.removeprefix("baseline_")]
    pressure = tables.number(file.key, column, low, high)
    stated = tables.number(file.key, column, -math.inf, math.inf)
    if math.isnan(pressure) and not math.isnan(stated):
        detail = f"The value of {column} is outside {low}-{high} mmHg and is stored as unknown."
        findings.keep(file.record_id, "implausible_value", detail)
    return pressure
