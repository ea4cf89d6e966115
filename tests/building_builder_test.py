"""Tests the base class of builders with a minimal data set, which serves as an example."""

import contextlib
import dataclasses
import json
import pathlib
import pickle

import numpy as np
import pytest
import tensorflow_datasets as tfds
from culprits import assert_names, refuses
from mimic_tree import ecg

from clef_jax.building import builder, shard
from clef_jax.building.listing import Entry, Listing
from clef_jax.data import index, raw
from clef_jax.data.record import Label, Layout, Observed, Recording
from clef_jax.finding import Defect, Finding

LEADS = ("I", "II", "V1")


def read(source, entry):
    path = source / f"{entry.record_id}.npy"
    if not path.exists():
        raise Defect("missing_file", f"{path.name} does not exist.")
    return Recording(
        signal=np.load(path),
        lead_names=("v1", "i", "ii"),
        gain_per_mv=np.full(3, 200, np.float32),
        baseline=np.zeros(3, np.int32),
        sample_rate_hz=250.0,
    )


class Toy(builder.RecordingBuilder):
    """A data set of arrays in files named patient_record.npy."""

    VERSION = tfds.core.Version("1.0.0")
    MANUAL_DOWNLOAD_INSTRUCTIONS = "There is nothing to download."
    BUILDER_CONFIGS = [
        builder.Config(name="every"),
        builder.Config(name="one", one_per_patient=True),
    ]
    LAYOUT = Layout(leads=LEADS, sample_rate_hz=250.0, num_samples=2500)
    READ = staticmethod(read)

    @contextlib.contextmanager
    def _listing(self, source: pathlib.Path):
        names = (source / "list.txt").read_text().split()
        entries = [
            Entry(
                record_id=name,
                patient_id=name.split("_")[0],
                observed=Observed(age_years=50.0),
                split="test" if name.startswith("t") else None,
            )
            for name in names
        ]
        patients = {entry.patient_id for entry in entries}
        yield Listing(entries=entries, num_records=len(entries), num_patients=len(patients))


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A source of 100 patients p with 1 or 3 records, and a patient t; some records are bad."""
    folder = tmp_path_factory.mktemp("source")
    names = [f"p{p:03}_{n}" for p in range(100) for n in range(3 if p % 10 == 0 else 1)] + ["t0_0"]
    (folder / "list.txt").write_text("\n".join(names))
    for number, name in enumerate(names):
        signal = ecg(number, num_samples=2500, num_leads=3)
        if name == "p010_0":
            signal[:] = 0
        if name == "p001_0":
            signal[0] = 0  # V1
        if name not in ("p020_0", "p002_0"):
            np.save(folder / f"{name}.npy", signal)
    return folder


def build(source, data_dir, config="every", **options):
    made = Toy(data_dir=data_dir, config=config, options=builder.Options(**options))
    made.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=str(source)))
    return made


@pytest.fixture(scope="module")
def every(source, tmp_path_factory):
    return build(source, tmp_path_factory.mktemp("every"))


def stored(made, split="train"):
    return list(made.as_data_source(split))


def test_signals_come_back_through_tfds(every):
    plain = tfds.builder_from_directory(every.data_path)
    examples = [e for split in plain.info.splits for e in plain.as_data_source(split)]
    assert len(examples) == 121 - 3
    by_id = {e["record_id"].decode(): e for e in examples}
    assert set(by_id) & {"p010_0", "p020_0", "p002_0"} == set()
    want = ecg(120, num_samples=2500, num_leads=3)
    np.testing.assert_array_equal(by_id["t0_0"]["signal"], want[[1, 2, 0]])
    assert [n.decode() for n in by_id["t0_0"]["lead_names"]] == list(LEADS)
    np.testing.assert_array_equal(by_id["p001_0"]["usable_leads"], [True, True, False])
    assert by_id["t0_0"]["age_years"] == 50
    assert np.isnan(by_id["t0_0"]["risk"])
    assert by_id["t0_0"]["completeness"] == 0


def test_index_and_shards_agree(every):
    folder = pathlib.Path(every.data_path)
    for split in every.info.splits:
        stored_index = index.load(folder, split)
        examples = stored(every, split)
        assert stored_index.num_records == len(examples)
        reader = raw.Reader(stored_index)
        got = reader.read(stored_index.row, np.arange(3))
        patients = [e["patient_id"].decode() for e in examples]
        for number, example in enumerate(examples):
            np.testing.assert_array_equal(got[number], example["signal"])
            np.testing.assert_array_equal(
                stored_index.usable_leads[number], example["usable_leads"]
            )
        assert reader.texts(stored_index.row, "patient_id") == patients
        groups = [patients[a] for a in stored_index.patient_offset[:-1]]
        assert [groups[p] for p in stored_index.patient] == patients
        assert len(set(groups)) == len(groups)  # a patient's records are together


def test_splits(every):
    assert set(every.info.splits) >= {"train", "test"}
    assert [e["record_id"] for e in stored(every, "test")] == [b"t0_0"]
    patients = [{e["patient_id"] for e in stored(every, s)} for s in every.info.splits]
    assert sum(map(len, patients)) == len(set.union(*patients)) == 100


def test_what_was_left_out_is_told(every):
    lines = (pathlib.Path(every.data_path) / "quality.jsonl").read_text().splitlines()
    reported = {(f["record_id"], f["problem"], f["action"]) for f in map(json.loads, lines)}
    assert reported == {
        ("p002_0", "missing_file", "quarantined"),
        ("p020_0", "missing_file", "quarantined"),
        ("p001_0", "flat_lead", "lead_unusable"),
        ("p010_0", "flat_lead", "lead_unusable"),
        ("p010_0", "no_usable_lead", "quarantined"),
    }
    assert every.summary.num_quarantined == 3
    assert every.summary.num_read == 121


def test_one_per_patient_takes_the_first_usable_record(source, tmp_path):
    made = build(source, tmp_path, config="one")
    ids = sorted(e["record_id"].decode() for s in made.info.splits for e in stored(made, s))
    patients = [f"p{p:03}" for p in range(100) if p != 2]
    fallen_through = {"p010": "p010_1", "p020": "p020_1"}
    assert ids == sorted([fallen_through.get(p, f"{p}_0") for p in patients] + ["t0_0"])


def content(folder):
    return {p.name: p.read_bytes() for p in pathlib.Path(folder).iterdir()}


def test_any_number_of_workers_gives_the_same_bytes(source, every, tmp_path):
    seen = []
    many = build(source, tmp_path, workers=3, watch=lambda report: seen.append(report.num_done))
    assert content(many.data_path) == content(every.data_path)
    assert seen == sorted(seen)
    assert seen[-1] == 121


def test_compression_changes_size_but_not_identity(source, every, tmp_path):
    small = build(source, tmp_path, compression="zstd")
    assert every.summary.num_bytes > 1.5 * small.summary.num_bytes
    folders = [pathlib.Path(b.data_path) for b in (small, every)]
    prints = [index.load(folder, "train").fingerprint for folder in folders]
    assert prints[0] == prints[1]


@pytest.mark.parametrize(
    ("options", "culprits"),
    [
        ({"label_source": "x"}, ("toy", "--label-source")),
        ({"leave_out": "x", "clinical_source": "y"}, ("--clinical-source", "--leave-out")),
        ({"max_windows": 2}, ("--max-windows",)),
    ],
)
def test_settings_that_mean_nothing_are_refused(options, culprits, tmp_path):
    with refuses(*culprits):
        Toy(data_dir=tmp_path, config="every", options=builder.Options(**options))
    Toy(data_dir=tmp_path, config="every", options=builder.Options(clinical_source="none"))


def test_other_content_has_another_fingerprint(source, every, tmp_path):
    copy = tmp_path / "source"
    copy.mkdir()
    for path in source.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    signal = np.load(copy / "p050_0.npy")
    signal[0, 0] += 1
    np.save(copy / "p050_0.npy", signal)
    changed = build(copy, tmp_path / "data")
    folders = [pathlib.Path(b.data_path) for b in (changed, every)]
    prints = [index.load(folder, "train").fingerprint for folder in folders]
    assert prints[0] != prints[1]


def test_strict_stops_and_leaves_nothing(source, tmp_path):
    with refuses("p002_0", "missing_file", "p002_0.npy", problem="strict"):
        build(source, tmp_path, strict=True)
    assert not list(tmp_path.glob("toy/every/*"))


def test_without_any_usable_recording_there_is_no_data_set(source, tmp_path):
    empty = tmp_path / "source"
    empty.mkdir()
    (empty / "list.txt").write_text("p0_0 p1_0")
    with refuses("2 recordings", "missing_file", problem="nothing_usable"):
        build(empty, tmp_path / "data")
    assert not list((tmp_path / "data").glob("toy/every/*"))


def test_an_empty_split_is_left_out_and_told(source, tmp_path):
    few = tmp_path / "source"
    few.mkdir()
    (few / "list.txt").write_text("p000_0")
    (few / "p000_0.npy").write_bytes((source / "p000_0.npy").read_bytes())
    made = build(few, tmp_path / "data")
    assert list(made.info.splits) == ["train"]
    (note,) = made.summary.notes
    assert_names(note, "'validation'")


def test_a_dead_worker_is_told(source, tmp_path, monkeypatch):
    class Fatal:
        """Ends the process that unpickles it, as the kernel does when memory runs out."""

        def __reduce__(self):
            return (exit_hard, ())

    monkeypatch.setattr(Toy, "READ", Fatal())
    with refuses("--workers", problem="worker_died"):
        build(source, tmp_path, workers=2)
    assert not list(tmp_path.glob("toy/every/*"))


def test_recordings_of_several_lengths_and_rates(source, tmp_path, monkeypatch):
    """Those of the list's even rows are half as long, at half the rate."""
    layout = dataclasses.replace(Toy.LAYOUT, num_samples=None, sample_rate_hz=None)
    monkeypatch.setattr(Toy, "LAYOUT", layout)
    monkeypatch.setattr(Toy, "READ", staticmethod(read_half))
    made = build(source, tmp_path)
    for split in made.info.splits:
        stored_index = index.load(made.data_path, split)
        examples = stored(made, split)
        halves = np.array([int(e["record_id"][-1:]) % 2 == 1 for e in examples])
        np.testing.assert_array_equal(stored_index.num_samples, np.where(halves, 1250, 2500))
        np.testing.assert_array_equal(stored_index.sample_rate_hz, np.where(halves, 125, 250))
        assert [e["signal"].shape[1] for e in examples] == stored_index.num_samples.tolist()
        got = raw.Reader(stored_index).read(stored_index.row, [0], 1000)
        np.testing.assert_array_equal(got[:, 0], [e["signal"][0, :1000] for e in examples])
    with refuses("toy", "125 to 250 Hz", problem="several_rates"):
        _ = index.load(made.data_path, "train").common_rate_hz


def read_half(source, entry):
    whole = read(source, entry)
    if int(entry.record_id[-1]) % 2 == 0:
        return whole
    return dataclasses.replace(whole, signal=whole.signal[:, ::2], sample_rate_hz=125.0)


def windows(source, entry, max_windows):
    if entry.record_id == "p003_0":
        raise Defect("no_clean_window", "No window of it is clean.")
    yield Finding(entry.record_id, "windows_passed_over", None, "1 window was passed over.", "kept")
    for number in range(max_windows):
        yield entry.window(
            500 * number, 1000, labels={"number": number, "name": ["a", "b"][:number]}
        )


def read_window(source, entry):
    whole = read(source, dataclasses.replace(entry, record_id=entry.path))
    end = entry.start_sample + entry.num_samples
    return dataclasses.replace(whole, signal=whole.signal[:, entry.start_sample : end])


LABELS = (
    Label(name="number", kind="number", description="Of the window"),
    Label(name="name", kind="classes", description="Names"),
    Label(name="other", kind="class", description="Is never known"),
)


def test_long_recordings_become_windows_with_labels(source, tmp_path, monkeypatch):
    monkeypatch.setattr(
        Toy, "LAYOUT", dataclasses.replace(Toy.LAYOUT, num_samples=1000, labels=LABELS)
    )
    monkeypatch.setattr(Toy, "READ", staticmethod(read_window))
    monkeypatch.setattr(Toy, "WINDOWS", staticmethod(windows))
    made = build(source, tmp_path, max_windows=2)
    by_id = {e["record_id"].decode(): e for e in stored(made) + stored(made, "test")}
    assert "p003_0@0" not in by_id
    assert {"p004_0@0", "p004_0@500", "t0_0@0"} <= set(by_id)
    window_example = by_id["p004_0@500"]
    assert window_example["source_record"] == b"p004_0"
    assert window_example["start_sample"] == 500
    whole = np.load(source / "p004_0.npy")[[1, 2, 0]]
    np.testing.assert_array_equal(window_example["signal"], whole[:, 500:1500])
    assert window_example["number"] == 1
    assert list(window_example["name"]) == [b"a"]
    assert window_example["other"] == b""
    stored_facts = json.loads((pathlib.Path(made.data_path) / "clef_index.json").read_text())
    assert [label["classes"] for label in stored_facts["labels"]] == [[], ["a"], []]
    counts = stored_facts["splits"]["test"]["label_counts"]
    assert counts == {"number": {"": 2}, "name": {"a": 1}, "other": {}}
    lines = (pathlib.Path(made.data_path) / "quality.jsonl").read_text().splitlines()
    assert {json.loads(line)["problem"] for line in lines} >= {
        "no_clean_window",
        "windows_passed_over",
    }


def exit_hard():
    import os

    os._exit(9)


def test_shards_can_be_handed_to_another_runner(source, tmp_path):
    made = Toy(data_dir=tmp_path, config="every")

    class Manager:
        manual_dir = source

    iterators = made._shard_iterators_per_split(Manager())
    again = pickle.loads(pickle.dumps(iterators))
    keys = [
        key for shards in again.values() for shard_examples in shards for key, _ in shard_examples()
    ]
    assert len(keys) == len(set(keys)) == 121 - 3
    assert isinstance(again["test"][0], shard.Examples)
    key, example = next(again["test"][0]())
    assert key == "t0_0"
    assert made.info.features.encode_example(example)["record_id"] == "t0_0"
