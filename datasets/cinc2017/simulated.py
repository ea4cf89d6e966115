"""Writes a small simulated training set of the CinC Challenge 2017 with typical faults."""

import dataclasses
import itertools
import os
import pathlib
from collections.abc import Iterator

import numpy as np

from clef_jax.building.listing import DOWNSTREAM_SPLITS, patient_split
from clef_jax.simulation import fixture, simulated_ecg
from clef_jax.simulation.fixture import Fixture, Stored

_RATE_HZ = 300
_GAIN_PER_MV = 1000
_CLASSES = ("N", "A", "O", "~")
_SECONDS = (30, 9, 61)
# Splits of groups of four recordings, one of each class.
_SPLITS = ("train", "validation", "test", "train", "validation", "test", "train", "train")


def write(source: pathlib.Path, num_patients: int = 32) -> Fixture:
    """Writes recordings of all classes for every split, then one of each fault."""
    tree = _Tree(Fixture(source=source))
    for number in range(num_patients):
        group, kind = divmod(number, len(_CLASSES))
        seconds = _SECONDS[group % len(_SECONDS)]
        tree.add(split=_SPLITS[group % len(_SPLITS)], rhythm=_CLASSES[kind], seconds=seconds)
    made = tree.made
    name = tree.add()
    tree.file(name, "mat").unlink()
    made.lose(name, "missing_file")
    name = tree.add()
    tree.file(name, "hea").unlink()
    tree.file(name, "mat").unlink()
    made.lose(name, "missing_file")
    name = tree.add()
    os.truncate(tree.file(name, "mat"), 5000)
    made.lose(name, "truncated")
    made.lose(tree.add(seconds=1.9), "too_short")
    made.lose(tree.add(flat=True), "no_usable_lead")
    made.plant(tree.add(rhythm=""), "unlabelled")
    name = tree.add(rhythm="X")
    made.change(name, labels={"rhythm": ""})
    made.plant(name, "unknown_class")
    name = tree.add(rhythm="A")
    tree.rows[-1] = f" {name.lower()} , a "
    tree.rows.append(tree.rows[-1])
    made.plant(name, "duplicate_record", "quarantined")
    (tree.folder / "REFERENCE.csv").write_text("\n".join(tree.rows) + "\n")
    return made


@dataclasses.dataclass
class _Tree:
    made: Fixture
    rows: list[str] = dataclasses.field(default_factory=list)
    numbers: Iterator[int] = dataclasses.field(default_factory=lambda: itertools.count(1))

    @property
    def folder(self) -> pathlib.Path:
        return self.made.source / "training2017"

    def file(self, name: str, extension: str) -> pathlib.Path:
        return self.folder / f"{name}.{extension}"

    def add(
        self, *, split: str = "train", rhythm: str = "N", seconds: float = 30, flat: bool = False
    ) -> str:
        """Writes a recording, and adds its row unless `rhythm` is empty; returns its name."""
        name = self._next_name(split)
        num_samples = round(seconds * _RATE_HZ)
        signal_mv = simulated_ecg.make(
            int(name[1:]), ("I",), sample_rate_hz=_RATE_HZ, num_samples=num_samples
        )
        adc = fixture.quantise(np.zeros_like(signal_mv) if flat else signal_mv, _GAIN_PER_MV)
        fixture.write_wfdb(
            self.folder / name,
            adc,
            leads=("ECG",),
            sample_rate_hz=_RATE_HZ,
            gain=f"{_GAIN_PER_MV}/mV",
            storage_format="16+24",
            checksums=False,
            record_line_end="2014-05-08 05:05:15",
        )
        if rhythm:
            self.rows.append(f"{name},{rhythm}")
        self.made.stored[name] = Stored(
            signal_mv=adc / _GAIN_PER_MV,
            lead_names=("I",),
            sample_rate_hz=_RATE_HZ,
            patient_id=name,
            labels={"rhythm": rhythm},
            split=split,
        )
        return name

    def _next_name(self, split: str) -> str:
        """Returns the next name that the hash assigns to a split."""
        names = (f"A{number:05d}" for number in self.numbers)
        return next(name for name in names if patient_split(name, DOWNSTREAM_SPLITS) == split)
