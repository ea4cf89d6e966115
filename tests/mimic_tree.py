"""Writes small MIMIC-IV-ECG folders with the faults that real ones have."""

import dataclasses
import gzip
import pathlib

import numpy as np

LEADS = ("I", "II", "III", "aVR", "aVF", "aVL", "V1", "V2", "V3", "V4", "V5", "V6")
"""The order in which MIMIC-IV-ECG stores them."""
HOSP = {
    "patients": "subject_id,gender,anchor_age,anchor_year,anchor_year_group,dod",
    "omr": "subject_id,chartdate,seq_num,result_name,result_value",
    "labevents": "subject_id,hadm_id,itemid,charttime,storetime,value,valuenum,valueuom",
    "diagnoses_icd": "subject_id,hadm_id,seq_num,icd_code,icd_version",
    "admissions": "subject_id,hadm_id,admittime,dischtime",
}


def ecg(seed: int, num_samples: int = 5000, num_leads: int = 12) -> np.ndarray:
    """int16 [leads, time]: a spike each second on noise, as large as an ECG; no two leads alike."""
    rng = np.random.default_rng(seed)
    phase = np.arange(num_samples) % 500
    beat = 200 * np.exp(-(((phase - 250) / 8) ** 2))
    scale = np.linspace(0.5, 1.5, num_leads)[:, None]
    return (scale * beat + rng.normal(0, 5, (num_leads, num_samples))).astype(np.int16)


def write_record(
    path: pathlib.Path,
    signal: np.ndarray,
    *,
    leads: tuple[str, ...] = LEADS,
    rate: float = 500,
    gain: str = "200.0(0)/mV",
    checksums: bool = True,
) -> None:
    """One WFDB record; `signal` is in the order of `leads`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    signal = np.asarray(signal, np.int16)
    signal.T.astype("<i2").tofile(path.with_name(path.name + ".dat"))
    lines = [f"{path.name} {len(leads)} {rate:g} {signal.shape[1]}"]
    for name, x in zip(leads, signal, strict=True):
        total = int(x.astype(np.int64).sum()) & 0xFFFF if checksums else 7
        lines.append(f"{path.name}.dat 16 {gain} 16 0 {x[0]} {total} 0 {name}")
    path.with_name(path.name + ".hea").write_text("\n".join(lines) + "\n")


@dataclasses.dataclass
class Tree:
    """A source folder under construction; `write` makes its tables."""

    source: pathlib.Path
    rows: list[str] = dataclasses.field(default_factory=list)
    tables: dict[str, list[str]] = dataclasses.field(
        default_factory=lambda: {name: [] for name in HOSP}
    )

    def add(
        self,
        subject: int,
        study: int,
        time: str = "2150-06-01 12:00:00",
        signal: np.ndarray | None = None,
        **header,
    ) -> str:
        """A record and its row; returns the record id."""
        record_id = f"files/p{subject // 10000}/p{subject}/s{study}/{study}"
        write_record(self.source / record_id, ecg(study) if signal is None else signal, **header)
        self.rows.append(f"{subject},{study},{study},{time},{record_id}")
        return record_id

    def add_person(self, subject: int, gender: str = "M", age: int = 60, year: int = 2150) -> None:
        self.tables["patients"].append(f"{subject},{gender},{age},{year},2014 - 2016,")

    def write(self, *, hosp: bool = True) -> pathlib.Path:
        self.source.mkdir(parents=True, exist_ok=True)
        head = "subject_id,study_id,file_name,ecg_time,path"
        (self.source / "record_list.csv").write_text("\n".join([head, *self.rows]) + "\n")
        if hosp:
            self.write_tables(self.source / "hosp")
        return self.source

    def write_tables(self, folder: pathlib.Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for name, head in HOSP.items():
            text = "\n".join([head, *self.tables[name]]) + "\n"
            (folder / f"{name}.csv.gz").write_bytes(gzip.compress(text.encode()))
