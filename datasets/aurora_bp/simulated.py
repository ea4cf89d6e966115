"""Writes a small simulated source folder of Aurora-BP with typical faults."""

import dataclasses
import functools
import pathlib
from typing import Any

import numpy as np

from clef_jax.simulation import simulated_ecg
from clef_jax.simulation.fixture import Fixture, Stored

RATE_HZ = 500
_TREE = "measurements_auscultatory"
_PARTICIPANTS = (
    "pid\tn_meas_inlab\tn_meas_ambulatory\taurora_size\tfitzpatrick_scale\tbp_cuff_arm\t"
    "in_feature_table\tage\theight\tweight\tgender\tself_report_htn\thigh_blood_pressure\t"
    "coronary_artery_disease\tdiabetes\tcvd_meds"
)
_FEATURES = (
    "pid\tphase\tmeasurement\tdate_time\tsbp\tdbp\tbaseline_sbp\tbaseline_dbp\tdelta_sbp\t"
    "delta_dbp\tarm_angle\tmotion_level"
)
_COLUMNS = "t\tekg\toptical\tpressure\taccel_x\taccel_y\taccel_z"
_VISITS = (("initial", "Calibration start 1", 1), ("return", "Temporal challenge start 1", 2))
_GENDERS = (("M", 1.0), ("F", 0.0), ("male", 1.0), ("Female", 0.0), ("", np.nan))
# A participant's entries in the two columns about high blood pressure, and the expected label.
_HYPERTENSION = (("norm", "0", 0.0), ("managed", "1", 1.0), ("unmanaged", "0", 1.0), ("", "1", 1.0))


def write(source: pathlib.Path, num_patients: int = 24) -> Fixture:
    """Writes participants with two measurements each, then one of each fault."""
    tree = Tree(Fixture(source=source))
    for _ in range(num_patients):
        pid = tree.participant()
        for phase, measurement, day in _VISITS:
            tree.measure(pid, phase, measurement, day=day)
        tree.feature(pid, "synthetic", "Calibration average values", "")
    _add_odd_files(tree)
    _add_odd_rows(tree)
    # A participant of the other protocol, which must not be reported.
    tree.feature("o000", "ambulatory", "measurement 23", "2018-01-01 12:17:45")
    tree.write_tables()
    return tree.made


def _add_odd_files(tree: "Tree") -> None:
    """Adds files with faults."""
    made, pid = tree.made, tree.participant()

    def add(measurement: str, **changes) -> str:
        return tree.measure(pid, "initial", measurement, **changes)

    gap = add("Static challenge start 1", lost_ecg=slice(800, 1100))
    made.plant(gap, "nan_run")
    holes = add("Static challenge start 2", lost_rows=slice(2000, 2250))
    made.plant(holes, "nan_run")
    add("Static challenge start 3", end="\r\n")
    add("Static seated challenge 1", offset_mv=-180.25)
    made.lose(add("Static seated challenge 2", text=""), "empty_file")
    made.lose(add("Static seated challenge 3", text=f"{_COLUMNS}\n"), "empty_file")
    no_ecg = "t\toptical\n" + "".join(f"{0.002 * n:.3f}\t1\n" for n in range(2000))
    made.lose(add("Seated calibration 1", text=no_ecg), "missing_column")
    made.lose(add("Seated calibration 2", step_s=0.004), "wrong_rate")
    made.lose(add("Seated calibration 3", backwards=True), "time_goes_back")
    flat = add("Exercise challenge start 1", amplitude=0.0)
    made.plant(flat, "flat_lead", "lead_unusable")
    made.lose(flat, "no_usable_lead")


def _add_odd_rows(tree: "Tree") -> None:
    """Adds rows and files that contradict each other."""
    made, pid = tree.made, tree.participant()
    tree.measure(pid, "initial", "Calibration start 1")
    unlabelled = tree.measure(pid, "initial", "Exercise challenge start 1", in_features=False)
    nothing = {"sbp_mmhg": np.nan, "dbp_mmhg": np.nan}
    made.change(unlabelled, labels={**made.stored[unlabelled].labels, **nothing})
    made.plant(unlabelled, "unlabelled")
    unknown = tree.measure(pid, "initial", "Calibration start 2", sbp="", dbp="0.0")
    made.change(unknown, labels={**made.stored[unknown].labels, **nothing})
    made.plant(unknown, "implausible_value")
    twice = tree.measure(pid, "initial", "Calibration start 3")
    tree.features.append(tree.features[-1])
    made.plant(twice.rpartition("/")[2].lower(), "duplicate_row")
    tree.feature(pid, "return", "Temporal challenge start 2", "2018-01-02 09:00:00")
    gone = f"{_TREE}/{pid}/{pid}.return.Temporal_challenge_start_2"
    made.lose(gone, "missing_file")
    stranger = tree.measure("a900", "initial", "Calibration start 1")
    personal = ("age_years", "male", "diabetes", "hypertension", "height_cm", "weight_kg")
    labels = {**made.stored[stranger].labels, **dict.fromkeys(personal, np.nan)}
    made.change(stranger, labels=labels)
    made.plant(stranger, "unknown_patient")


@functools.cache
def _ecg_mv(number: int) -> np.ndarray:
    return simulated_ecg.make(number, ("I",), sample_rate_hz=RATE_HZ, num_samples=11 * RATE_HZ)[0]


@dataclasses.dataclass
class Tree:
    """Collects participants and writes their waveforms; `write_tables` writes the tables."""

    made: Fixture
    participants: list[str] = dataclasses.field(default_factory=lambda: [_PARTICIPANTS])
    features: list[str] = dataclasses.field(default_factory=lambda: [_FEATURES])
    num_files: int = 0

    def participant(self) -> str:
        """Adds a participant and returns the id."""
        number = len(self.participants) - 1
        pid = f"a{number:03d}"
        reported, high, _ = _HYPERTENSION[number % len(_HYPERTENSION)]
        self.participants.append(
            f"{pid}\t14\t\tM\t2\tL\t1\t{30 + number}.0\t66.0\t{120 + number}.0\t"
            f"{_GENDERS[number % len(_GENDERS)][0]}\t{reported}\t{high}\t0\t{number % 3 == 0:d}\t0"
        )
        return pid

    def feature(
        self, pid: str, phase: str, measurement: str, time: str, sbp: str = "", dbp: str = ""
    ) -> None:
        """Adds a row of features.tsv."""
        number = int(pid[1:])
        baseline = f"{100 + number % 60}.5\t{60 + number % 30}.0"
        row = f"{pid}\t{phase}\t{measurement}\t{time}\t{sbp}\t{dbp}\t{baseline}\t\t\t10.5\t"
        self.features.append(row)

    def measure(
        self,
        pid: str,
        phase: str,
        measurement: str,
        *,
        day: int = 1,
        sbp: str | None = None,
        dbp: str | None = None,
        in_features: bool = True,
        **shape: Any,
    ) -> str:
        """Writes a waveform and adds its row; returns its record id.

        Args:
            shape: further arguments of `_waveform`.
        """
        self.num_files += 1
        sbp_mmhg, dbp_mmhg = 105 + self.num_files, 65 + self.num_files % 20
        if in_features:
            time = f"2018-01-0{day} 09:{self.num_files % 60:02d}:05"
            sbp = f"{sbp_mmhg}.0" if sbp is None else sbp
            dbp = f"{dbp_mmhg}.0" if dbp is None else dbp
            self.feature(pid, phase, measurement, time, sbp, dbp)
        path = f"{_TREE}/{pid}/{pid}.{phase}.{measurement.replace(' ', '_')}"
        file = self.made.source / f"{path}.tsv"
        file.parent.mkdir(parents=True, exist_ok=True)
        text, signal_mv = _waveform(self.num_files % 8, **shape)
        file.write_text(text, newline="")
        about = {"phase": phase, "measurement": measurement, "sbp_mmhg": float(sbp_mmhg)}
        self.made.stored[path] = Stored(
            signal_mv=signal_mv[None],
            lead_names=("I",),
            sample_rate_hz=float(RATE_HZ),
            patient_id=pid,
            labels=_personal(int(pid[1:])) | about | {"dbp_mmhg": float(dbp_mmhg)},
        )
        return path

    def write_tables(self) -> None:
        """Writes the two tables that are read."""
        (self.made.source / "participants.tsv").write_text("\n".join(self.participants) + "\n")
        (self.made.source / "features.tsv").write_text("\n".join(self.features) + "\n")


def _personal(number: int) -> dict[str, Any]:
    """Returns the labels that the tables state about a participant."""
    return {
        "age_years": 30.0 + number,
        "male": _GENDERS[number % len(_GENDERS)][1],
        "diabetes": float(number % 3 == 0),
        "baseline_sbp_mmhg": 100.5 + number % 60,
        "baseline_dbp_mmhg": 60.0 + number % 30,
        "hypertension": _HYPERTENSION[number % len(_HYPERTENSION)][2],
        "height_cm": 66 * 2.54,
        "weight_kg": (120 + number) * 0.45359237,
    }


def _waveform(
    number: int,
    *,
    text: str | None = None,
    offset_mv: float = 6.51,
    amplitude: float = 1.0,
    step_s: float = 1 / RATE_HZ,
    lost_ecg: slice = slice(0, 0),
    lost_rows: slice = slice(0, 0),
    backwards: bool = False,
    end: str = "\n",
) -> tuple[str, np.ndarray]:
    """Returns the text of a file, and its ECG as a build must store it, float64 [T]."""
    cells = [f"{voltage:.5g}" for voltage in offset_mv + amplitude * _ecg_mv(number)]
    cells[lost_ecg] = ["NaN"] * len(cells[lost_ecg])
    signal_mv = np.array(cells, float)
    signal_mv[lost_rows] = np.nan
    times = [f"{1.1e-13 + step_s * sample:.5g}" for sample in range(len(cells))]
    rows = list(zip(times[::-1] if backwards else times, cells, strict=True))
    del rows[lost_rows]
    rest = f"\t-5.8138e+05\t2901.6\t-0.88962\t0.047824\t0.427{end}"
    made = "".join([_COLUMNS + end, *(f"{time}\t{cell}{rest}" for time, cell in rows)])
    return made if text is None else text, signal_mv
