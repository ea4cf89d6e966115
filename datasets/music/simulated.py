"""Writes a small simulated source folder of MUSIC 1.0.1 with typical faults.

Holters last half a minute.
"""

import dataclasses
import functools
import os
import pathlib

import numpy as np

from clef_jax.leads import FRANK
from clef_jax.signal.adc import MISSING_ADC, to_mv
from clef_jax.simulation import fixture, simulated_ecg
from clef_jax.simulation.fixture import Fixture, Stored

RATE_HZ = 200
WINDOW_SAMPLES = 10 * RATE_HZ
NUM_SAMPLES = 3 * WINDOW_SAMPLES
_GAIN_PER_MV = 400
_HEADER = (
    "Patient ID;Follow-up period from enrollment (days);Exit of the study;Cause of death;Age;"
    "Gender (male=1);Weight (kg);Height (cm);NYHA class;Diastolic blood  pressure (mmHg);"
    "Systolic blood pressure (mmHg);HF etiology - Diagnosis;Diabetes (yes=1);"
    "Prior Myocardial Infarction (yes=1);Total Cholesterol (mmol/L);Creatinine (\xb5mol/L);"
    "HDL (mmol/L);LVEF (%);Holter available;Holter onset (hh:mm:ss);Holter  rhythm "
)
_OUTCOMES = {
    "0": "survivor",
    "1": "non_cardiac_death",
    "3": "sudden_cardiac_death",
    "6": "pump_failure_death",
    "7": "pump_failure_death",
}
_NUM_HEARTS = 3
"""Number of hearts of each outcome: few, because simulating them is slow, and different ones, so
that outcomes can be distinguished."""


def write(source: pathlib.Path, num_patients: int = 120) -> Fixture:
    """Writes subjects of every outcome, each twice in every split, then one of each fault."""
    tree = _Tree(Fixture(source=source))
    causes = list(_OUTCOMES)
    for number in range(num_patients):
        tree.add(cause=causes[(number + number // 7) % len(causes)])
    made = tree.made
    made.plant(tree.add(age=">89"), "masked_age")
    made.plant(tree.add(cause="9"), "unknown_class")
    made.plant(tree.add(cause=""), "no_outcome")
    tree.row(has_holter=False)
    made.plant(f"Holter_ECG/{tree.name}", "no_holter")
    tree.row()
    made.lose(f"Holter_ECG/{tree.name}", "missing_file")
    made.plant(tree.add(leads=FRANK[:2]), "missing_lead", "lead_unusable")
    tree.lose(tree.add(rate_hz=1000), "wrong_rate")
    tree.lose(tree.add(num_samples=WINDOW_SAMPLES - 1), "too_short")
    path = tree.add()
    os.truncate(source / f"{path}.dat", 5000)
    tree.lose(path, "truncated")
    path = tree.add()
    (source / f"{path}.dat").unlink()
    tree.lose(path, "missing_file")
    tree.add()
    tree.rows += ["", tree.rows[-1]]
    made.plant(tree.name, "duplicate_record", "quarantined")
    _spoil(tree)
    text = "\r\n".join([_HEADER, *tree.rows]) + "\r\n"
    (source / "subject-info.csv").write_text(text, encoding="cp1252", newline="")
    return made


def _spoil(tree: "_Tree") -> None:
    """Adds Holters with flat windows at the start, with a flat lead, and without any signal."""
    made = tree.made
    path = tree.add()
    tree.spoil(path, slice(0, WINDOW_SAMPLES), [0], 100)
    tree.spoil(path, slice(WINDOW_SAMPLES + 50, WINDOW_SAMPLES + 150), [1], MISSING_ADC)
    tree.promise(path, 2 * WINDOW_SAMPLES)
    made.plant(path, "windows_passed_over")
    path = tree.add()
    tree.spoil(path, slice(0, WINDOW_SAMPLES), [0], 100)
    tree.spoil(path, slice(None), [2], 100)
    tree.promise(path, WINDOW_SAMPLES)
    made.plant(path, "no_clean_window")
    made.plant(f"{path}@{WINDOW_SAMPLES}", "flat_lead", "lead_unusable")
    path = tree.add()
    tree.spoil(path, slice(None), [0], 100)
    tree.lose(path, "no_clean_window")


@dataclasses.dataclass
class _Tree:
    made: Fixture
    rows: list[str] = dataclasses.field(default_factory=list)
    number: int = 0

    @property
    def name(self) -> str:
        return f"P{self.number:04d}"

    def row(self, *, cause: str = "0", age: str = "64", has_holter: bool = True) -> None:
        """Adds a subject's row to the table."""
        self.number += 1
        exit_code = "" if cause == "0" else "3"
        height = "" if self.number % 4 == 0 else "168"
        self.rows.append(
            f"{self.name};{1000 + self.number};{exit_code};{cause};{age};{self.number % 2};72,5;"
            f'{height};2;70;118;"2; ischemic";{self.number % 3 == 0:d};1;4,75;NA;1,2;35,5;'
            f"{has_holter:d};'09:30:00';{self.number % 2}"
        )

    def add(
        self,
        *,
        cause: str = "0",
        age: str = "64",
        leads: tuple[str, ...] = FRANK,
        rate_hz: int = RATE_HZ,
        num_samples: int = NUM_SAMPLES,
    ) -> str:
        """Adds a subject with a Holter, expects its first window, and returns its path."""
        self.row(cause=cause, age=age)
        path = f"Holter_ECG/{self.name}"
        heart = list(_OUTCOMES).index(cause) if cause in _OUTCOMES else 0
        signal_mv = _heart(_NUM_HEARTS * heart + self.number % _NUM_HEARTS)
        adc = fixture.quantise(signal_mv[: len(leads), :num_samples], _GAIN_PER_MV)
        stem = self.made.source / path
        gain = f"{_GAIN_PER_MV}(0)/mV"
        fixture.write_wfdb(stem, adc, leads=leads, sample_rate_hz=rate_hz, gain=gain)
        self.made.stored[path] = Stored(
            signal_mv=adc[:, :WINDOW_SAMPLES] / _GAIN_PER_MV,
            lead_names=leads,
            sample_rate_hz=RATE_HZ,
            patient_id=self.name,
            labels=self.labels(cause, age),
        )
        self.promise(path, 0)
        return path

    def labels(self, cause: str, age: str) -> dict[str, float | str]:
        """Returns the labels that the row states."""
        return {
            "outcome": _OUTCOMES.get(cause, ""),
            "follow_up_days": 1000.0 + self.number,
            "exit_of_study": np.nan if cause == "0" else 3.0,
            "lvef_percent": 35.5,
            "nyha_class": 2.0,
            "dbp_mmhg": 70.0,
            "weight_kg": 72.5,
            "height_cm": np.nan if self.number % 4 == 0 else 168.0,
            "prior_infarction": 1.0,
            "holter_rhythm": float(self.number % 2),
            "age_years": 90.0 if age == ">89" else float(age),
            "male": float(self.number % 2),
            "diabetes": float(self.number % 3 == 0),
            "sbp_mmhg": 118.0,
            "total_cholesterol_mmol_l": 4.75,
            "hdl_mmol_l": 1.2,
            "smoker": np.nan,
        }

    def promise(self, path: str, start: int) -> None:
        """Expects the window at `start` to be stored."""
        old = next(name for name in self.made.stored if name.partition("@")[0] == path)
        stored = self.made.stored.pop(old)
        adc = np.fromfile(self.made.source / f"{path}.dat", "<i2")
        adc = adc.reshape(-1, len(stored.lead_names)).T[:, start : start + WINDOW_SAMPLES]
        signal_mv = to_mv(adc, _GAIN_PER_MV, 0, np.float64)
        self.made.stored[f"{path}@{start}"] = dataclasses.replace(stored, signal_mv=signal_mv)

    def lose(self, path: str, problem: str) -> None:
        """Expects no window of the Holter to be stored."""
        self.made.stored.pop(f"{path}@0")
        self.made.lose(path, problem)

    def spoil(self, path: str, samples: slice, leads: list[int], adc: int) -> None:
        """Overwrites some samples of some leads with a constant."""
        file = self.made.source / f"{path}.dat"
        signal = np.fromfile(file, "<i2").reshape(-1, len(FRANK))
        signal[samples, leads] = adc
        signal.tofile(file)


@functools.cache
def _heart(number: int) -> np.ndarray:
    return simulated_ecg.make(number, FRANK, sample_rate_hz=RATE_HZ, num_samples=NUM_SAMPLES)
