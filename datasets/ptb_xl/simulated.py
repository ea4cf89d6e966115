"""Writes a small simulated source folder of PTB-XL 1.0.3 with typical faults."""

import dataclasses
import os
import pathlib

import numpy as np

from clef_jax.leads import STANDARD_12
from clef_jax.signal.adc import MISSING_ADC, to_mv
from clef_jax.simulation import fixture, simulated_ecg
from clef_jax.simulation.fixture import Fixture, Stored

_LEADS = tuple(name.upper() for name in STANDARD_12)
_GAIN_PER_MV = 1000
_HEADER = (
    "ecg_id,patient_id,age,sex,height,weight,nurse,site,device,recording_date,report,scp_codes,"
    "heart_axis,strat_fold,filename_lr,filename_hr"
)
_STATEMENTS = """\
,description,diagnostic,form,rhythm,diagnostic_class,diagnostic_subclass,Statement Category
NORM,normal ECG,1.0,,,NORM,NORM,Normal/abnormal
IMI,inferior myocardial infarction,1.0,,,MI,IMI,Myocardial Infarction
NDT,non-diagnostic T abnormalities,1.0,1.0,,STTC,STTC,other ST-T descriptive statements
LVH,left ventricular hypertrophy,1.0,,,HYP,LVH,Ventricular Hypertrophy
CLBBB,complete left bundle branch block,1.0,,,CD,CLBBB,Conduction disturbances
PVC,ventricular premature complex,,1.0,,,,Form
SR,sinus rhythm,,,1.0,,,Rhythm
AFIB,atrial fibrillation,,,1.0,,,Rhythm
"""
_SETS = ("diagnostic", "subdiagnostic", "superdiagnostic", "form", "rhythm")
# Codes with likelihoods, and their classes in each of the sets.
_CASES = (
    ({"NORM": 100.0, "SR": 0.0}, (["NORM"], ["NORM"], ["NORM"], [], ["SR"])),
    ({"IMI": 35.0, "NDT": 15.0}, (["IMI", "NDT"], ["IMI", "STTC"], ["MI", "STTC"], ["NDT"], [])),
    ({"LVH": 0.0, "AFIB": 0.0}, (["LVH"], ["LVH"], ["HYP"], [], ["AFIB"])),
    ({"PVC": 100.0}, ([], [], [], ["PVC"], [])),
    ({"CLBBB": 80.0, "SR": 0.0}, (["CLBBB"], ["CLBBB"], ["CD"], [], ["SR"])),
)
_SPLIT_OF_FOLD = {9: "validation", 10: "test"}


def write(source: pathlib.Path, num_patients: int = 20) -> Fixture:
    """Writes both rates: patients of folds 1 to 10 in order, then one of each fault."""
    tree = _Tree(Fixture(source=source))
    for number in range(num_patients):
        tree.add(fold=number % 10 + 1)
    made = tree.made
    made.plant(tree.add(age="300.0"), "masked_age")
    tree.add(age="")
    made.plant(tree.add(scp_codes="{'NORM': 100.0, 'XYZ': 0.0}"), "unknown_class")
    made.plant(tree.add(patient_id=""), "unknown_patient")
    made.lose(tree.add(scp_codes="not a dictionary"), "bad_row")
    path = tree.add()
    os.truncate(source / f"{path}.dat", 60_000)
    made.lose(path, "truncated")
    path = tree.add()
    (source / f"{path}.dat").unlink()
    made.lose(path, "missing_file")
    # Official folds never divide a patient; a build must not follow a table that does.
    tree.add(fold=2, patient_id="99.0")
    path = tree.add(fold=10, patient_id="99.0")
    made.change(path, split="train")
    made.plant(path, "patient_in_several_splits")
    path = tree.add()
    tree.spoil_leads(path)
    made.plant(path, "flat_lead", "lead_unusable")
    made.plant(path, "nan_run")
    made.plant(path, "checksum_mismatch")
    tree.write_tables()
    return made


@dataclasses.dataclass
class _Tree:
    made: Fixture
    rows: list[str] = dataclasses.field(default_factory=lambda: [_HEADER])

    def add(
        self,
        *,
        fold: int = 1,
        age: str | None = None,
        patient_id: str | None = None,
        scp_codes: str | None = None,
    ) -> str:
        """Writes a recording at both rates and adds its row; returns its path at 500 Hz."""
        ecg_id = len(self.rows)
        patient_id = f"{1000 + ecg_id}.0" if patient_id is None else patient_id
        age = f"{40 + 7 * ecg_id % 45}.0" if age is None else age
        codes, classes = _CASES[ecg_id % len(_CASES)]
        low, _ = self._record(f"records100/00000/{ecg_id:05d}_lr", ecg_id, 100)
        high, signal_mv = self._record(f"records500/00000/{ecg_id:05d}_hr", ecg_id, 500)
        self.rows.append(
            f"{ecg_id},{patient_id},{age},{ecg_id % 2},,63.0,2,0,CS-12   E,1984-11-09 09:17:34,"
            f'"sinusrhythmus, normales ekg","{scp_codes or codes}",LAD,{fold},{low},{high}'
        )
        labels = {
            "age_years": 90.0 if age == "300.0" else float(age or "nan"),
            "male": float(ecg_id % 2 == 0),
            "strat_fold": float(fold),
            "weight_kg": 63.0,
            "height_cm": np.nan,
        }
        if scp_codes is None:
            labels |= dict(zip(_SETS, classes, strict=True))
            labels |= {"scp_codes": list(codes), "scp_likelihoods": list(codes.values())}
        self.made.stored[high] = Stored(
            signal_mv=signal_mv,
            lead_names=_LEADS,
            sample_rate_hz=500.0,
            patient_id=patient_id.removesuffix(".0") or f"unknown of {ecg_id}",
            labels=labels,
            split=_SPLIT_OF_FOLD.get(fold, "train"),
        )
        return high

    def _record(self, path: str, ecg_id: int, rate: int) -> tuple[str, np.ndarray]:
        signal_mv = simulated_ecg.make(ecg_id, _LEADS, sample_rate_hz=rate, num_samples=10 * rate)
        adc = fixture.quantise(signal_mv, _GAIN_PER_MV)
        gain = f"{_GAIN_PER_MV}.0(0)/mV"
        fixture.write_wfdb(
            self.made.source / path, adc, leads=_LEADS, sample_rate_hz=rate, gain=gain
        )
        return path, adc / _GAIN_PER_MV

    def spoil_leads(self, path: str) -> None:
        """Makes one lead of a recording flat, and adds a gap to another."""
        file = self.made.source / f"{path}.dat"
        adc = np.fromfile(file, "<i2").reshape(-1, len(_LEADS))
        adc[:, 7] = 0
        adc[100:200, 0] = MISSING_ADC
        adc.tofile(file)
        signal_mv = to_mv(adc.T, _GAIN_PER_MV, 0, np.float64)
        self.made.change(path, signal_mv=signal_mv)

    def write_tables(self) -> None:
        (self.made.source / "ptbxl_database.csv").write_text("\n".join(self.rows) + "\n")
        (self.made.source / "scp_statements.csv").write_text(_STATEMENTS)
