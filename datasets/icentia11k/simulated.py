"""Writes a small simulated source folder of Icentia11k 1.0 with typical faults.

Segments last a minute.
"""

import dataclasses
import os
import pathlib

import numpy as np

from clef_jax.simulation import fixture, simulated_ecg
from clef_jax.simulation.fixture import Fixture, Stored

RATE_HZ = 250
SEGMENT_SAMPLES = 60 * RATE_HZ
WINDOW_SAMPLES = 10 * RATE_HZ
_GAIN = 74.365
_UNITS_PER_MV = 10.0
"""Units of this simulation per millivolt; the source's own unit is unknown."""
_BEATS = {"N": "normal", "S": "supraventricular", "V": "ventricular"}
_RHYTHMS = {"(N": "normal", "(AFIB": "afib", "(AFL": "flutter"}
_RHYTHMS_OF_CASE = (("(N", "(AFIB", "(AFL"), ("(N", "(AFIB"), ("(N", "(AFL"))
_INCOMPLETE = 1
"""A case without flutter: a build searches all of its segments for one."""
_BEAT_SAMPLE = {"N": 4000, "S": 7000, "V": 10_000}
_SPAN = {"(N": (500, 4000), "(AFIB": (4200, 8000), "(AFL": (9000, SEGMENT_SAMPLES)}
"""First and last sample of each rhythm; the last rhythm has no end annotation."""

Annotation = tuple[int, str, str]


def write(source: pathlib.Path, num_patients: int = 30) -> Fixture:
    """Writes patients with one window of each of their classes, then one of each fault."""
    tree = _Tree(Fixture(source=source))
    for number in range(num_patients):
        tree.add(number % len(_RHYTHMS_OF_CASE))
    made = tree.made
    made.plant(_annotated(tree, None), "missing_annotation")
    made.plant(_annotated(tree, b""), "missing_annotation")
    made.lose(f"{_annotated(tree, b'garbage')}_s02", "unreadable")
    stem = tree.segment(tree.add(_INCOMPLETE), 2, _beats())
    os.truncate(source / f"{stem}.dat", 1000)
    made.lose(stem, "truncated")
    stem = tree.segment(tree.add(_INCOMPLETE), 2, _beats())
    (source / f"{stem}.dat").unlink()
    made.lose(stem, "missing_file")
    stem = tree.segment(tree.add(_INCOMPLETE), 2, _beats(), rate_hz=128)
    made.lose(stem, "wrong_rate")
    path = tree.folder()
    tree.segment(path, 0, _short_spans())
    made.lose(path, "no_window")
    path = tree.folder()
    made.lose(path, "missing_file")
    tree.records += [f"{path}", "", f"{path}/"]
    made.plant(path, "duplicate_record", "quarantined")
    _flat(tree)
    _same_window(tree)
    (source / "RECORDS").write_text("\n".join(tree.records) + "\n")
    return made


def _annotated(tree: "_Tree", data: bytes | None) -> str:
    """Adds a patient whose third segment has an annotation file of these bytes, or none."""
    path = tree.add(_INCOMPLETE)
    file = tree.made.source / f"{tree.segment(path, 2, _beats())}.atr"
    file.unlink() if data is None else file.write_bytes(data)
    return f"{path}/{pathlib.PurePath(path).name}" if data == b"garbage" else path


def _flat(tree: "_Tree") -> None:
    """Makes two seconds of one window flat, and another window completely."""
    path = tree.add(_INCOMPLETE)
    stem = f"{path}/{pathlib.PurePath(path).name}_s00"
    file = tree.made.source / f"{stem}.dat"
    adc = np.fromfile(file, "<i2")
    kept, lost = (_BEAT_SAMPLE[symbol] - WINDOW_SAMPLES // 2 for symbol in "NV")
    adc[kept + 500 : kept + 1000] = 7
    adc[lost : lost + WINDOW_SAMPLES] = 7
    adc.tofile(file)
    window = adc[None, kept : kept + WINDOW_SAMPLES] / _GAIN
    tree.made.change(f"{stem}@{kept}", signal_mv=window)
    tree.made.plant(f"{stem}@{kept}", "flat_run")
    tree.made.plant(f"{stem}@{lost}", "flat_lead", "lead_unusable")
    tree.made.lose(f"{stem}@{lost}", "no_usable_lead")


def _same_window(tree: "_Tree") -> None:
    """Adds a normal beat five seconds into a normal rhythm, which gives a window of both labels."""
    path = tree.folder()
    marks = [(1000, "+", "(N"), (1000 + WINDOW_SAMPLES // 2, "N", ""), (9000, "+", ")")]
    stem = tree.segment(path, 0, marks)
    tree.promise(path, stem, 1000, {"beat": "normal", "rhythm": "normal"})


def _beats() -> list[Annotation]:
    """Returns beats of each class, inside and at the edges, and unclassified beats."""
    at_edges = [(200, "N", ""), (1249, "S", ""), (SEGMENT_SAMPLES - 1249, "V", "")]
    others = [(sample, "Q", "") for sample in range(1300, 13_500, 187)]
    classed = [(sample, symbol, "") for symbol, sample in _BEAT_SAMPLE.items()]
    return sorted(at_edges + others + classed)


def _rhythms(notes: tuple[str, ...]) -> list[Annotation]:
    """Returns one span of each rhythm, and unclassified beats."""
    marks = [(sample, "Q", "") for sample in range(300, SEGMENT_SAMPLES, 187)]
    for note in notes:
        start, end = _SPAN[note]
        marks += [(start, "+", note)] + ([(end, "+", ")")] if end < SEGMENT_SAMPLES else [])
    return sorted(marks)


def _short_spans() -> list[Annotation]:
    """Returns rhythms that are too short for a window, each with another kind of end."""
    return [
        (1000, "+", "(N)"),
        (5000, "+", "(N"),
        (5000 + WINDOW_SAMPLES - 1, "+", ")"),
        (8000, "+", "(AFIB"),
        (9000, "+", "(AFL"),
        (9100, "+", "(SVTA"),
        (SEGMENT_SAMPLES - 2000, "+", "(N"),
    ]


@dataclasses.dataclass
class _Tree:
    made: Fixture
    records: list[str] = dataclasses.field(default_factory=list)
    num_folders: int = 0

    def folder(self) -> str:
        """Adds the next patient's folder to RECORDS, and returns it."""
        number = 991 + self.num_folders  # continues from p00 to p01
        self.num_folders += 1
        path = f"p{number // 1000:02d}/p{number:05d}"
        self.records.append(f"{path}/")
        return path

    def add(self, case: int) -> str:
        """Adds a patient with a segment of beats and one of rhythms; returns the folder's path."""
        path = self.folder()
        stem = self.segment(path, 0, _beats())
        for symbol, sample in _BEAT_SAMPLE.items():
            self.promise(path, stem, sample - WINDOW_SAMPLES // 2, {"beat": _BEATS[symbol]})
        stem = self.segment(path, 1, _rhythms(_RHYTHMS_OF_CASE[case]))
        for note in _RHYTHMS_OF_CASE[case]:
            self.promise(path, stem, _SPAN[note][0], {"rhythm": _RHYTHMS[note]})
        return path

    def segment(
        self, path: str, number: int, annotations: list[Annotation], rate_hz: int = RATE_HZ
    ) -> str:
        """Writes a segment and adds it to the patient's RECORDS; returns its path."""
        name = f"{pathlib.PurePath(path).name}_s{number:02d}"
        stem = self.made.source / path / name
        signal_mv = simulated_ecg.make(
            self.num_folders,
            ("I",),
            sample_rate_hz=RATE_HZ,
            num_samples=SEGMENT_SAMPLES,
            seed=number,
        )
        signal_mv[0] += _shapes(annotations)
        adc = fixture.quantise(_UNITS_PER_MV * signal_mv, _GAIN)
        gain = f"{_GAIN}(0)/mV"
        fixture.write_wfdb(stem, adc, leads=("ecg",), sample_rate_hz=rate_hz, gain=gain)
        fixture.write_annotations(stem, annotations)
        with (stem.parent / "RECORDS").open("a") as stream:
            stream.write(f"{name}\n")
        return f"{path}/{name}"

    def promise(self, path: str, stem: str, start: int, labels: dict[str, str]) -> None:
        adc = np.fromfile(self.made.source / f"{stem}.dat", "<i2")
        self.made.stored[f"{stem}@{start}"] = Stored(
            signal_mv=adc[None, start : start + WINDOW_SAMPLES] / _GAIN,
            lead_names=("I",),
            sample_rate_hz=RATE_HZ,
            patient_id=pathlib.PurePath(path).name,
            labels={"beat": "", "rhythm": "", **labels},
        )


def _shapes(annotations: list[Annotation]) -> np.ndarray:
    """Returns waves in millivolts, [T], that distinguish the classes of beats and rhythms."""
    sample = np.arange(SEGMENT_SAMPLES)
    shape = np.zeros(SEGMENT_SAMPLES)
    for position, symbol, note in annotations:
        width, height = {"V": (20, 2.0), "S": (5, -1.0)}.get(symbol, (1, 0.0))
        shape += height * np.exp(-(((sample - position) / width) ** 2))
        if note in ("(AFIB", "(AFL"):
            start, end = _SPAN[note]
            cycle_samples = {"(AFIB": 35, "(AFL": 50}[note]
            wave = 0.3 * np.sin(2 * np.pi * sample / cycle_samples)
            shape += np.where((start <= sample) & (sample < end), wave, 0)
    return shape
