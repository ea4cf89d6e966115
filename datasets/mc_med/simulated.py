"""Writes a small simulated source folder of MC-MED 1.0.1 with typical faults."""

import dataclasses
import functools
import pathlib
from typing import Any

import numpy as np

from clef_jax.signal.adc import MISSING_ADC, to_mv
from clef_jax.simulation import fixture, simulated_ecg
from clef_jax.simulation.fixture import Fixture, Stored

LEAD = ("II",)
RATE_HZ = 500
_GAIN_PER_MV = 400
_VISITS = (
    "MRN,CSN,Visit_no,Visits,Age,Gender,Race,Ethnicity,Means_of_arrival,Triage_Temp,Triage_HR,"
    "Triage_RR,Triage_SpO2,Triage_SBP,Triage_DBP,Triage_acuity,CC,ED_dispo,"
    "Hours_to_next_visit,Dispo_class_next_visit,ED_LOS,Hosp_LOS,DC_dispo,Payor_class,"
    "Admit_service,Dx_ICD9,Dx_ICD10,Dx_name,Arrival_time,Roomed_time,Dispo_time,Admit_time,"
    "Departure_time"
)
_ED = (
    ("Discharge", "discharge"),
    ("Inpatient", "inpatient"),
    ("Observation", "observation"),
    ("ICU", "icu"),
)
_DISCHARGE = (
    ("Home/Work (includes foster care)", "home"),
    ("Skilled Nursing Facility (SNF)", "care_facility"),
    ("Short Term Acute Care Hospital", "hospital_transfer"),
    ("Expired", "death_or_hospice"),
    ("Psychiatric Hospital or Unit", "psychiatric_or_rehabilitation"),
    ("Jail", "other"),
)
_ACUITY = ("1-Resuscitation", "2-Emergent", "3-Urgent", "4-Semi-Urgent", "5-Non-Urgent")
_FILES = {"train": "train", "validation": "val", "test": "test"}


def write(source: pathlib.Path, num_patients: int = 48) -> Fixture:
    """Writes patients in chronological order, half of them for training, then each fault."""
    tree = Tree(Fixture(source=source))
    for number in range(num_patients):
        quarter = 4 * number // num_patients
        tree.add(("train", "train", "validation", "test")[quarter])
    _add_odd_tables(tree)
    _add_odd_segments(tree)
    tree.write_tables()
    return tree.made


def _add_odd_tables(tree: "Tree") -> None:
    """Adds visits whose rows have faults."""
    made = tree.made
    unknown = tree.add(ed_dispo="Transfer to the moon")
    made.change(unknown, labels={**made.stored[unknown].labels, "ed_disposition": ""})
    made.plant(_visit(unknown), "unknown_class")
    empty = tree.add(dc_dispo="")
    made.change(empty, labels={**made.stored[empty].labels, "discharge_disposition": ""})
    other = tree.add(gender="U")
    made.change(other, labels={**made.stored[other].labels, "male": np.nan})
    wild = tree.add(sbp="900")
    nothing = {"sbp_mmhg": np.nan, "triage_sbp_mmhg": np.nan}
    made.change(wild, labels={**made.stored[wild].labels, **nothing})
    made.plant(_visit(wild), "implausible_value")
    nobody = tree.add(mrn="")
    made.plant(_visit(nobody), "unknown_patient")
    # Spellings of a visit's number that spreadsheets and tables with gaps produce.
    tree.add(written="{}.0")
    tree.add(written="00{}")
    twice = tree.add()
    tree.visits.append(tree.visits[-1])
    made.plant(_visit(twice), "duplicate_record", "quarantined")
    tree.add("validation", mrn="99990001")
    late = tree.add("test", mrn="99990001")
    made.change(late, split="validation")
    made.plant(_visit(late), "patient_in_several_splits")
    tree.splits["test"].append("91000001")
    made.plant("visit 91000001", "unknown_visit")
    unlisted = tree.add("")
    made.plant(_visit(unlisted), "unknown_split")
    without = tree.add(kinds=("Pleth",))
    del made.stored[without]
    tree.visits.append("1,not a number" + 31 * ",")
    made.lose(f"visits.csv row {len(tree.visits)}", "bad_row")


def _add_odd_segments(tree: "Tree") -> None:
    """Adds visits whose signals have faults."""
    made = tree.made
    short = tree.add(seconds=(4, 12))
    made.plant(_segment(short, 1), "too_short")
    tree.move(short, 2)
    absent = tree.add(seconds=(12, 12))
    tree.remove(absent, 1)
    made.plant(_segment(absent, 1), "missing_file")
    tree.move(absent, 2)
    flat = tree.add(seconds=(12, 12))
    tree.spoil(flat, slice(0, None), 0)
    made.plant(flat, "flat_lead", "lead_unusable")
    made.plant(flat, "no_usable_lead", "quarantined")
    tree.move(flat, 2)
    gap = tree.add()
    tree.spoil(gap, slice(1000, 1500), MISSING_ADC)
    made.plant(gap, "nan_run")
    tree.add(rate_hz=250)
    alone = tree.add(seconds=(4,))
    made.lose(_segment(alone, 1), "too_short")
    del made.stored[alone]
    gone = tree.add()
    tree.remove(gone, 1)
    made.lose(_segment(gone, 1), "missing_file")
    del made.stored[gone]


def _visit(record_id: str) -> str:
    """Returns the record id that findings about a visit's row have."""
    return record_id.partition("@")[0]


def _segment(record_id: str, number: int) -> str:
    return f"{record_id.rpartition('_')[0]}_{number}"


def _labels(number: int) -> dict[str, Any]:
    """Returns the labels that a visit's row states by default."""
    return {
        "age_years": 30.0 + number % 60,
        "male": float(number % 2),
        "triage_dbp_mmhg": 70.0 + number % 20,
        "ed_disposition": _ED[number % len(_ED)][1],
        "discharge_disposition": _DISCHARGE[number % len(_DISCHARGE)][1],
        "acuity": _ACUITY[number % len(_ACUITY)][0],
    }


@functools.cache
def _ecg_mv(number: int, rate_hz: int, seconds: int) -> np.ndarray:
    return simulated_ecg.make(number, LEAD, sample_rate_hz=rate_hz, num_samples=seconds * rate_hz)


@dataclasses.dataclass
class Tree:
    """Collects visits and writes their segments; `write_tables` writes the tables."""

    made: Fixture
    folder: str = "data"
    """Folder of the tables in the source folder; empty for the source folder itself."""
    visits: list[str] = dataclasses.field(default_factory=lambda: [_VISITS])
    summary: list[str] = dataclasses.field(default_factory=lambda: ["CSN,Type,Segments,Duration"])
    splits: dict[str, list[str]] = dataclasses.field(
        default_factory=lambda: {split: [] for split in _FILES}
    )

    def add(
        self,
        split: str = "train",
        *,
        mrn: str | None = None,
        gender: str | None = None,
        sbp: str | None = None,
        ed_dispo: str | None = None,
        dc_dispo: str | None = None,
        written: str = "{}",
        kinds: tuple[str, ...] = ("II", "Pleth"),
        seconds: tuple[int, ...] = (12,),
        rate_hz: int = RATE_HZ,
    ) -> str:
        """Adds a visit and returns the record id of its first window."""
        number = len(self.visits)
        csn = f"{98_000_000 + 7 * number}"
        mrn = f"{99_000_000 + number}" if mrn is None else mrn
        gender = "FM"[number % 2] if gender is None else gender
        pressure = f"{100 + number % 60}.0" if sbp is None else sbp
        ed_text = _ED[number % len(_ED)][0] if ed_dispo is None else ed_dispo
        dc_text = _DISCHARGE[number % len(_DISCHARGE)][0] if dc_dispo is None else dc_dispo
        self.visits.append(
            f"{mrn},{written.format(csn)},1,1,{30 + number % 60},{gender},White,Unknown,Self,36.8,"
            f"88.0,18.0,97.0,{pressure},{70 + number % 20}.0,{_ACUITY[number % len(_ACUITY)]},"
            f'"PAIN, ""CHEST""",{ed_text},,,3.4,,"{dc_text}",Private,,,R07.9,"Pain, chest",'
            f"2150-01-01T{number % 24:02d}:00:00Z,,,,"
        )
        pressures = dict.fromkeys(("sbp_mmhg", "triage_sbp_mmhg"), float(pressure))
        self.summary += [f"{csn},{kind},{len(seconds)},{sum(seconds)}.0" for kind in kinds]
        self.splits.get(split, []).append(csn)
        path = f"waveforms/{csn[-3:]}/{csn}/II/{csn}_1"
        self.made.stored[f"{path}@0"] = Stored(
            signal_mv=self._write(path, number, seconds if "II" in kinds else (), rate_hz),
            lead_names=LEAD,
            sample_rate_hz=float(rate_hz),
            patient_id=mrn or f"unknown of {csn}",
            labels=_labels(number) | pressures | {"num_segments": float(len(seconds))},
            split=split or None,
        )
        return f"{path}@0"

    def _write(self, path: str, number: int, seconds: tuple[int, ...], rate_hz: int) -> np.ndarray:
        """Writes the segments; returns the first ten seconds in millivolts, [1, T]."""
        first = np.zeros((1, 0))
        for segment, length in enumerate(seconds, start=1):
            ecg_mv = _ecg_mv((number + segment) % 8, rate_hz, length)
            adc = fixture.quantise(ecg_mv, _GAIN_PER_MV)
            fixture.write_wfdb(
                self.made.source / _segment(path, segment),
                adc,
                leads=LEAD,
                sample_rate_hz=rate_hz,
                gain=f"{_GAIN_PER_MV}.0(0)/mV",
                record_line_end="08:12:30.250 03/05/2150",
            )
            first = adc[:, : 10 * rate_hz] / _GAIN_PER_MV if segment == 1 else first
        return first

    def _samples(self, record_id: str, number: int) -> pathlib.Path:
        return self.made.source / f"{_segment(record_id, number)}.dat"

    def move(self, record_id: str, number: int) -> None:
        """Expects the visit's window from another segment."""
        moved = f"{_segment(record_id, number)}@0"
        stored = self.made.stored.pop(record_id)
        adc = np.fromfile(self._samples(record_id, number), "<i2", 10 * RATE_HZ)
        self.made.stored[moved] = dataclasses.replace(stored, signal_mv=adc[None] / _GAIN_PER_MV)

    def remove(self, record_id: str, number: int) -> None:
        """Deletes the two files of a segment."""
        path = self._samples(record_id, number)
        path.unlink()
        path.with_suffix(".hea").unlink()

    def spoil(self, record_id: str, where: slice, adc: int) -> None:
        """Overwrites samples of the first segment with a constant."""
        file = self._samples(record_id, 1)
        samples = np.fromfile(file, "<i2")
        samples[where] = adc
        samples.tofile(file)
        signal_mv = to_mv(samples[None, : 10 * RATE_HZ], _GAIN_PER_MV, 0, np.float64)
        self.made.change(record_id, signal_mv=signal_mv)

    def write_tables(self) -> None:
        """Writes all tables that a build reads."""
        folder = self.made.source / self.folder
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "visits.csv").write_text("\n".join(self.visits) + "\n")
        (folder / "waveform_summary.csv").write_text("\n".join(self.summary) + "\n")
        for split, csns in self.splits.items():
            name = f"split_chrono_{_FILES[split]}.csv"
            (folder / name).write_text("".join(f"{csn}\n" for csn in csns))
