"""Tests the windows of Icentia11k: their positions and sampling, and every fault of its folders."""

import numpy as np
import prepared
import pytest
from clef_datasets.icentia11k import icentia11k_dataset_builder, window
from culprits import assert_names, refuses

from clef_jax.building.listing import Entry
from clef_jax.finding import Defect, Finding
from clef_jax.simulation import fixture
from clef_jax.wfdb.annotation import Annotations


def annotations(*listed):
    """Returns annotations from tuples (sample, symbol, note)."""
    sample, symbol, note = zip(*listed, strict=True)
    return Annotations(sample=np.array(sample), symbol=symbol, note=note)


def starts(num_samples, *listed):
    sampled = window.find_starts(annotations(*listed), num_samples)
    return {kind: at.tolist() for kind, at in sampled.items() if len(at)}


@pytest.mark.parametrize(
    ("sample", "num_samples", "fits"),
    [(1250, 2500, True), (1249, 2500, False), (1251, 2500, False), (1251, 2501, True)],
)
def test_a_beat_needs_room_on_both_sides(sample, num_samples, fits):
    sampled = starts(num_samples, (sample, "V", ""))
    assert sampled == ({("beat", "ventricular"): [sample - 1250]} if fits else {})


def test_beats_of_three_classes_and_no_others():
    listed = [(5000 + i, symbol, "") for i, symbol in enumerate("NSVQa+")]
    assert starts(9000, *listed) == {
        ("beat", "normal"): [3750],
        ("beat", "supraventricular"): [3751],
        ("beat", "ventricular"): [3752],
    }


@pytest.mark.parametrize(
    ("listed", "expected"),
    [
        ([(100, "+", "(N"), (2600, "+", ")")], {"normal": [100]}),
        ([(100, "+", "(N"), (2599, "+", ")")], {}),
        ([(100, "+", "(AFIB"), (2599, "+", "(AFL")], {"flutter": [2599]}),
        ([(100, "+", "(AFIB"), (2700, "+", "(X"), (2800, "N", "")], {"afib": [100]}),
        ([(2500, "+", "(AFL")], {"flutter": [2500]}),
        ([(6501, "+", "(AFL")], {}),
        ([(100, "+", "(N)"), (5000, "N", "")], {}),
        ([(100, "+", "(N"), (200, "+", "(N)"), (5000, "+", ")")], {}),
        ([(100, "+", ")"), (200, "+", "(afl"), (3000, "+", ") ")], {"flutter": [200]}),
        ([(100, "+", "(N"), (200, "+", "noise"), (3000, "+", ")")], {"normal": [100]}),
        ([(100, "+", "(N"), (9999, "+", ")")], {"normal": [100]}),
        ([(9999, "+", "(N")], {}),
    ],
)
def test_a_rhythm_outlasts_its_window(listed, expected):
    of = {name: at for (label, name), at in starts(9000, *listed).items() if label == "rhythm"}
    assert of == expected


class Folder:
    """A source folder with patients of some segments, each of one minute."""

    def __init__(self, source):
        self.source = source

    def segment(self, number, listed, patient="p00000", num_samples=15_000, **header):
        stem = self.source / "p00" / patient / f"{patient}_s{number:02d}"
        adc = np.random.default_rng(number).integers(-300, 300, (1, num_samples)).astype(np.int16)
        usual = {"leads": ("ecg",), "sample_rate_hz": 250, "gain": "74.365(0)/mV"}
        fixture.write_wfdb(stem, adc, **(usual | header))
        if listed is not None:
            fixture.write_annotations(stem, listed)
        return stem

    def windows(self, max_windows=1, patient="p00000"):
        entry = Entry(record_id=f"p00/{patient}", patient_id=patient)
        sampled = list(window.windows(self.source, entry, max_windows))
        kept = [item for item in sampled if isinstance(item, Entry)]
        return kept, [item for item in sampled if isinstance(item, Finding)]


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path / "source")


def many_beats(symbol="N"):
    return [(sample, symbol, "") for sample in range(1300, 13_000, 200)]


def test_draws_are_random_and_the_same_in_every_build(folder):
    for patient in (f"p{n:05d}" for n in range(12)):
        for number in range(3):
            folder.segment(number, many_beats(), patient=patient)
    by_patient = {
        p: folder.windows(patient=p)[0] for p in sorted(p.name for p in folder.source.glob("p00/*"))
    }
    again = {p: folder.windows(patient=p)[0] for p in by_patient}
    ids = [[item.record_id for item in sampled] for sampled in by_patient.values()]
    assert ids == [[item.record_id for item in sampled] for sampled in again.values()]
    assert all(len(sampled) == 1 for sampled in ids)
    assert len({item.start_sample for sampled in by_patient.values() for item in sampled}) > 6
    assert {item.path[-1] for sampled in by_patient.values() for item in sampled} == {"0", "1", "2"}


def test_more_windows_come_from_as_many_segments_as_there_are_and_do_not_overlap(folder):
    for number in range(3):
        folder.segment(number, many_beats())
    sampled, _ = folder.windows(max_windows=3)
    assert {item.path[-1] for item in sampled} == {"0", "1", "2"}
    sampled, _ = folder.windows(max_windows=5)
    assert len(sampled) == 5
    sampled, _ = folder.windows(max_windows=99)
    assert 9 <= len(sampled) <= 15
    assert [(item.path, item.start_sample) for item in sampled] == sorted(
        (item.path, item.start_sample) for item in sampled
    )
    for item in sampled:
        of_segment = [other.start_sample for other in sampled if other.path == item.path]
        assert (np.diff(of_segment) >= 2500).all()


ALL_KINDS = [
    (1000, "+", "(N"),
    (2000, "N", ""),
    (2100, "S", ""),
    (2200, "V", ""),
    (4000, "+", "(AFIB"),
    (7000, "+", "(AFL"),
]


def test_stops_as_soon_as_every_class_is_full(folder):
    for number in range(9):
        folder.segment(number, ALL_KINDS)
    opened = []
    usual = window.wfdb_annotation.read

    def read(path):
        opened.append(path)
        return usual(path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(window.wfdb_annotation, "read", read)
        sampled, _ = folder.windows()
        assert len(opened) == 1
        assert len(sampled) == 6
        folder.windows(max_windows=4)
        assert len(opened) == 5


def test_a_beat_and_a_rhythm_of_the_same_samples_are_one_window(folder):
    folder.segment(0, [(1000, "+", "(AFIB"), (2250, "V", ""), (9000, "+", ")")])
    (sampled,), _ = folder.windows()
    assert sampled.record_id == "p00/p00000/p00000_s00@1000"
    assert sampled.labels == {"beat": "ventricular", "rhythm": "afib"}


def test_two_beats_at_one_sample_make_one_window(folder):
    folder.segment(0, [(5000, "N", ""), (5000, "V", "")])
    (sampled,), _ = folder.windows()
    assert sampled.labels == {"beat": "normal"}


def test_segments_without_annotations_are_counted(folder):
    folder.segment(0, many_beats())
    folder.segment(1, None)
    folder.segment(2, [])
    stem = folder.segment(3, many_beats())
    stem.with_suffix(".atr").write_bytes(b"")
    sampled, findings = folder.windows()
    assert len(sampled) == 1
    assert [(item.record_id, item.problem, item.action) for item in findings] == [
        ("p00/p00000", "missing_annotation", "kept")
    ]
    assert_names(findings[0].detail, "3", "4 segments")


FAULTS = {
    "truncated signal": (lambda s: s.with_suffix(".dat").write_bytes(bytes(99)), "truncated"),
    "missing signal": (lambda s: s.with_suffix(".dat").unlink(), "missing_file"),
    "missing header": (lambda s: s.with_suffix(".hea").unlink(), "missing_file"),
    "broken header": (lambda s: s.with_suffix(".hea").write_text("what"), "unreadable"),
    "broken annotations": (lambda s: s.with_suffix(".atr").write_bytes(b"abc"), "unreadable"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_broken_segment_does_not_cost_the_patient(name, folder):
    spoil, problem = FAULTS[name]
    folder.segment(0, many_beats())
    spoil(folder.segment(1, many_beats("V")))
    (folder.source / "p00/p00000/RECORDS").write_text("p00000_s00\r\n\r\np00/p00000/p00000_s01.hea")
    sampled, findings = folder.windows()
    assert [item.labels for item in sampled] == [{"beat": "normal"}]
    assert [(item.record_id, item.problem) for item in findings] == [
        ("p00/p00000/p00000_s01", problem)
    ]


def test_another_rate_costs_the_segment(folder):
    folder.segment(0, many_beats())
    folder.segment(1, many_beats("V"), sample_rate_hz=500)
    sampled, findings = folder.windows()
    assert [item.labels for item in sampled] == [{"beat": "normal"}]
    assert findings[0].problem == "wrong_rate"
    assert_names(findings[0].detail, "500 Hz", "250 Hz")


def test_a_link_out_of_the_source_is_not_followed(folder, tmp_path):
    folder.segment(0, many_beats())
    outside = tmp_path / "elsewhere"
    (folder.source / "p00/p00000").rename(outside)
    (folder.source / "p00/p00000").symlink_to(outside)
    entry = Entry(record_id="p00/p00000", patient_id="p00000")
    sampled = window.windows(folder.source, entry, 1)
    assert next(sampled).problem == "path_outside_source"
    with refuses(error=Defect, problem="no_window"):
        next(sampled)


def test_a_patient_without_windows_or_segments(folder):
    folder.segment(0, [(5000, "Q", "")])
    with refuses("1 segment", error=Defect, problem="no_window"):
        folder.windows()
    folder.segment(0, many_beats(), patient="p00001", num_samples=2499)
    with refuses(error=Defect, problem="no_window"):
        folder.windows(patient="p00001")
    (folder.source / "p00/p00002").mkdir()
    (folder.source / "p00/p00002/RECORDS").write_text("\n")
    with refuses("p00/p00002", error=Defect, problem="missing_file"):
        folder.windows(patient="p00002")
    with refuses("p00/p00003", error=Defect, problem="missing_file"):
        folder.windows(patient="p00003")


def build(source, data_dir, **options):
    made = prepared.build("icentia11k", source, data_dir, **options)
    return made, list(prepared.examples(made).values()), prepared.findings(made)


@pytest.mark.parametrize(
    ("records", "problems"),
    [
        ("\ufeffp00/p00000/\r\n\r\n./p00/p00001\r\np00/p00000/\r\n", ["duplicate_record"]),
        ("p00/p00000/p00000_s00\np00/p00000/p00000_s01\np00/p00001/p00001_s00\n", []),
        ("p00/p00000\n../p00/p00001\nwhat\np00/p00001", ["bad_row", "bad_row"]),
        ("\n", []),
        (None, []),
    ],
)
def test_patients_are_listed_whatever_the_form(records, problems, folder, tmp_path):
    for patient in ("p00000", "p00001"):
        folder.segment(0, ALL_KINDS, patient=patient)
    if records is not None:
        (folder.source / "RECORDS").write_text(records, newline="")
    made, stored, findings = build(folder.source, tmp_path / "data")
    assert {e["patient_id"].decode() for e in stored} == {"p00000", "p00001"}
    assert len(stored) == 12
    assert [f["problem"] for f in findings] == problems
    assert made.summary is not None
    listed = made.summary.coverage["list of patients"]
    assert listed == ("RECORDS" if (records or "").strip() else "the folders, without RECORDS")
    assert made.summary.coverage["amplitudes"].startswith("in an unknown unit")


def test_records_of_another_data_set(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    (source / "RECORDS").write_text("100\n101\n")
    with refuses(source, "RECORDS", problem="not_the_source"):
        build(source, tmp_path / "data")


def test_signals_are_stored_as_lead_i_whatever_the_case(folder, tmp_path):
    folder.segment(0, ALL_KINDS, leads=("ECG",))
    folder.segment(0, ALL_KINDS, patient="p00001", leads=("",))
    folder.segment(0, ALL_KINDS, patient="p00002", leads=("pleth",))
    _, stored, findings = build(folder.source, tmp_path / "data", max_windows=3)
    assert {e["patient_id"] for e in stored} == {b"p00000", b"p00001"}
    assert {e["lead_names"][0] for e in stored} == {b"I"}
    assert {f["problem"] for f in findings} == {"unknown_lead"}


def test_all_files_of_a_patient_can_be_fetched(folder):
    folder.segment(0, many_beats())
    (folder.source / "p00/p00000/RECORDS").write_text("p00000_s00")
    entry = Entry(record_id="p00/p00000", patient_id="p00000")
    (pattern,) = icentia11k_dataset_builder.Builder.FILES(entry)
    names = sorted(path.name for path in folder.source.glob(pattern))
    assert names == ["RECORDS", "p00000_s00.atr", "p00000_s00.dat", "p00000_s00.hea"]


def test_windows_without_a_signal_are_passed_over(folder):
    """Three of four beats are where the electrode was disconnected: the fourth is stored."""
    beats = [(sample, "V", "") for sample in (4000, 8000, 12_000, 20_000)]
    stem = folder.segment(0, beats, num_samples=25_000)
    samples = np.fromfile(stem.with_suffix(".dat"), "<i2")
    samples[:14_000] = 0
    samples.tofile(stem.with_suffix(".dat"))
    sampled, findings = folder.windows()
    assert [window.start_sample for window in sampled] == [20_000 - 1250]
    passed = [item.detail for item in findings if item.problem == "windows_passed_over"]
    assert len(passed) <= 1
    assert [item.problem for item in findings if item.problem != "windows_passed_over"] == []
