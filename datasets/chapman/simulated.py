"""Writes a small simulated source folder of ecg-arrhythmia 1.0.0 with typical faults."""

import collections
import dataclasses
import itertools
import os
import pathlib
import struct
from collections.abc import Iterator

import numpy as np

from clef_jax.building.listing import DOWNSTREAM_SPLITS, patient_split
from clef_jax.leads import STANDARD_12
from clef_jax.simulation import fixture, simulated_ecg
from clef_jax.simulation.fixture import Fixture, Stored

_GAIN_PER_MV = 1000
_NUM_SAMPLES = 5000
_ACRONYMS = {
    "164889003": "AFIB",
    "59118001": "RBBB",
    "426177001": "SB",
    "426783006": "SR",
    "164934002": "TWC",
    "74390002": "WPW",
}
_FULL_NAMES = {"TWC": '"T wave, change"'}
# Codes of every four records in order; all of them become classes.
_CASES = ("164889003,59118001", "426177001", "426783006", "426177001,164934002")
_SPLITS = ("train", "validation", "test", "train", "train", "test", "validation", "train")
_MIN_CLASS_RECORDS = 10
# The classes of HeartLang's tables; SB is not one of them.
_CLASSES = (
    "1AVB 2AVB ABI AF AFIB ALS APB AQW ARS AT AVB CCR CR ERV FQRS IVB JEB JPT LBBB LVH LVHV "
    "LVQRSAL MI PRIE PWC QTIE RBBB RVH SA SR ST STDD STE STTC SVT TWC TWO VPB"
)
_COLUMNS = _CLASSES.split()
_FILES = {"train": "chapman_train.csv", "validation": "chapman_val.csv", "test": "chapman_test.csv"}


def write(source: pathlib.Path, num_patients: int = 40, *, heartlang: bool = False) -> Fixture:
    """Writes recordings of all classes for every split, then one of each fault.

    Args:
        source: the folder to write to.
        num_patients: number of recordings without a fault.
        heartlang: whether to write the tables of the HeartLang split; by default the split follows
            from a hash of the patient.
    """
    tree = _Tree(Fixture(source=source), heartlang)
    for number in range(num_patients):
        group, case = divmod(number, len(_CASES))
        tree.add(_CASES[case], split=_SPLITS[group % len(_SPLITS)])
    made = tree.made
    tree.add(age="Unknown", sex="Unknown")
    tree.add(age="NaN")
    made.plant(tree.add("426783006,999999999"), "unknown_class")
    made.plant(tree.add("Unknown"), "unlabelled")
    tree.add("74390002")  # too rare for a class
    _spoil_files(tree)
    path = tree.add()
    tree.flatten_leads(path)
    made.plant(path, "flat_lead", "lead_unusable")
    made.plant(path, "checksum_mismatch")
    if heartlang:
        _spoil_rows(tree)
    tree.write_tables()
    return made


def _spoil_files(tree: "_Tree") -> None:
    made = tree.made
    path = tree.add()
    os.truncate(tree.file(path, "mat"), 60_000)
    made.lose(path, "truncated")
    path = tree.add()
    mat = tree.file(path, "mat")
    mat.write_bytes(struct.pack("<5i", 30, _NUM_SAMPLES, 12, 0, 4) + mat.read_bytes()[20:])
    made.lose(path, "header_mismatch")
    path = tree.add()
    header = tree.file(path, "hea")
    # The published JS01052 lost the line break before its first signal.
    header.write_text(header.read_text().replace("5000\n", "5000", 1))
    made.lose(path, "unreadable")
    for kind in ("mat", "hea"):
        path = tree.add()
        tree.file(path, kind).unlink()
        made.lose(path, "missing_file")


def _spoil_rows(tree: "_Tree") -> None:
    made = tree.made
    path = tree.add("426177001")
    made.plant(path, "unlabelled")
    tree.rows["test"].append(tree.rows["train"][-1])
    made.plant(path, "duplicate_record", "quarantined")
    path = tree.add()
    tree.rows["train"][-1] = tree.rows["train"][-1].replace(",1", ",7")
    made.lose(path, "bad_row")
    del made.stored[tree.add()]
    tree.rows["train"].pop()


@dataclasses.dataclass
class _Tree:
    made: Fixture
    heartlang: bool
    numbers: Iterator[int] = dataclasses.field(default_factory=lambda: itertools.count(1))
    codes: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    rows: dict[str, list[str]] = dataclasses.field(
        default_factory=lambda: {split: [] for split in _FILES}
    )

    def file(self, path: str, extension: str) -> pathlib.Path:
        return self.made.source / f"{path}.{extension}"

    def add(
        self,
        codes: str = "426783006",
        *,
        split: str = "train",
        age: str = "57",
        sex: str = "Female",
    ) -> str:
        """Writes a recording with a header in one of two dialects; returns its path."""
        name = self._next_name(split)
        number = int(name[2:])
        path = f"WFDBRecords/{number // 1000 + 1:02d}/{number // 100 + 10:03d}/{name}"
        signal_mv = simulated_ecg.make(
            number, STANDARD_12, sample_rate_hz=500, num_samples=_NUM_SAMPLES
        )
        adc = fixture.quantise(signal_mv, _GAIN_PER_MV)
        challenge = number % 2 == 1
        lines = (f"Age: {age}", f"Sex: {sex}", f"Dx: {codes}", "Rx: Unknown", "Hx: Unknown")
        fixture.write_wfdb(
            self.made.source / path,
            adc,
            leads=STANDARD_12,
            sample_rate_hz=500,
            gain=f"{_GAIN_PER_MV}.0(0)/mV" if challenge else f"{_GAIN_PER_MV}/mV",
            storage_format="16x1+24" if challenge else "16+24",
            comments=[f"# {line}" if challenge else f"#{line}" for line in lines],
        )
        self.codes[path] = [] if codes == "Unknown" else codes.split(",")
        acronyms = [_ACRONYMS.get(code, code) for code in self.codes[path]]
        self.made.stored[path] = Stored(
            signal_mv=adc / _GAIN_PER_MV,
            lead_names=STANDARD_12,
            sample_rate_hz=500.0,
            patient_id=name,
            labels={
                "age_years": float("nan" if age == "Unknown" else age),
                "male": {"Female": 0.0}.get(sex, np.nan),
                "snomed": self.codes[path],
                "acronyms": acronyms,
            },
            split=split,
        )
        cells = ["1" if column in acronyms else "0" for column in _COLUMNS]
        dx = f'"{",".join(acronyms)}"'
        self.rows[split].append(f"/chapman/{path}.mat,12,{dx},{','.join(cells)}")
        return path

    def _next_name(self, split: str) -> str:
        """Returns the next name; without tables, the next that the hash assigns to the split."""
        names = (f"JS{number:05d}" for number in self.numbers)
        if self.heartlang:
            return next(names)
        return next(name for name in names if patient_split(name, DOWNSTREAM_SPLITS) == split)

    def flatten_leads(self, path: str) -> None:
        """Makes two leads of a recording flat."""
        file = self.file(path, "mat")
        adc = np.frombuffer(file.read_bytes(), "<i2", offset=24).reshape(-1, 12).copy()
        adc[:, [2, 8]] = 0
        file.write_bytes(file.read_bytes()[:24] + adc.tobytes())
        self.made.change(path, signal_mv=adc.T / _GAIN_PER_MV)

    def write_tables(self) -> None:
        """Writes all tables, and adds the classes that follow from them to the expected labels."""
        lines = [f"{a},{_FULL_NAMES.get(a, a)},{code}" for code, a in _ACRONYMS.items()]
        names = "\n".join(["Acronym Name,Full Name,Snomed_CT", *lines]) + "\n"
        (self.made.source / "ConditionNames_SNOMED-CT.csv").write_text(names)
        for split, file in _FILES.items() if self.heartlang else ():
            text = "\n".join([f"ecg_path,age,diagnose,{','.join(_COLUMNS)}", *self.rows[split]])
            (self.made.source / file).write_text(text + "\n")
        readable = [path for path in self.codes if self._readable(path)]
        counts = collections.Counter(code for path in readable for code in self.codes[path])
        frequent = {_ACRONYMS.get(c, c) for c, n in counts.items() if n >= _MIN_CLASS_RECORDS}
        classes = _COLUMNS if self.heartlang else sorted(frequent)
        for path, stored in self.made.stored.items():
            names = [name for name in classes if name in stored.labels["acronyms"]]
            self.made.change(path, labels={**stored.labels, "diagnoses": names})

    def _readable(self, path: str) -> bool:
        header = self.file(path, "hea")
        return header.is_file() and "5000\n" in header.read_text()
