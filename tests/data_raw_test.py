"""Tests that the fast reader returns what a parser returns, in the requested order."""

import dataclasses
import pathlib
import pickle

import numpy as np
import pytest
from array_record.python import array_record_module
from culprits import refuses
from data_record_test import LAYOUT, example
from tensorflow_datasets.proto import tf_example_pb2, tf_feature_pb2

from clef_jax.data import index, raw, record

LENGTHS = (3, 1, 4)


def signal(number):
    return np.random.default_rng(number).integers(-9999, 9999, (2, 40)).astype(np.int16)


@pytest.fixture(scope="module")
def split(tmp_path_factory):
    """Eight records in three shards, and their index."""
    folder = tmp_path_factory.mktemp("shards")
    paths, number = [], 0
    for shard, length in enumerate(LENGTHS):
        paths.append(str(folder / f"s{shard}"))
        writer = array_record_module.ArrayRecordWriter(paths[-1], "group_size:1,zstd:1")
        for _ in range(length):
            values = example() | {"signal": signal(number), "record_id": f"r{number}"}
            writer.write(record.serialize(values, LAYOUT))
            number += 1
        writer.close()
    return index.Index(
        version_dir=folder,
        dataset="d/1.0.0",
        split="train",
        lead_names=LAYOUT.leads,
        sample_rate_hz=np.full(number, 250, np.float32),
        num_samples=np.full(number, 40),
        patient=np.arange(number),
        row=np.arange(number),
        risk=np.zeros(number, np.float32),
        completeness=np.zeros(number, np.float32),
        usable_leads=np.ones((number, 2), bool),
        gain_per_mv=np.ones((number, 2), np.float32),
        baseline=np.zeros((number, 2), np.int32),
        patient_offset=np.arange(number + 1),
        cohort_quantiles=np.zeros(101, np.float32),
        fingerprint="",
        shard_paths=tuple(paths),
        shard_lengths=np.array(LENGTHS),
        settings={},
    )


ROWS = [7, 0, 3, 3, 4, 2, 7, 1]


def test_reads_rows_of_all_shards_in_order(split):
    got = raw.Reader(split).read(ROWS, [1, 0])
    assert got.dtype == np.int16
    np.testing.assert_array_equal(got, np.stack([signal(row)[[1, 0]] for row in ROWS]))


def test_every_row_may_want_other_leads(split):
    leads = np.random.default_rng(0).integers(0, 2, (len(ROWS), 3))
    want = np.stack([signal(row)[lead] for row, lead in zip(ROWS, leads, strict=True)])
    np.testing.assert_array_equal(raw.read_leads(split, ROWS, leads), want)


def test_uncompressed_shards_read_alike(split, tmp_path):
    reader = raw.Reader(split)
    writer = array_record_module.ArrayRecordWriter(str(tmp_path / "s"), "group_size:1,uncompressed")
    for serialized in reader.records(np.arange(8)):
        writer.write(serialized)
    writer.close()
    other_index = dataclasses.replace(
        split, shard_paths=(str(tmp_path / "s"),), shard_lengths=np.array([8])
    )
    np.testing.assert_array_equal(raw.Reader(other_index).read(ROWS, [0]), reader.read(ROWS, [0]))


def test_a_reader_can_be_sent_to_another_process(split):
    reader = raw.Reader(split)
    reader.read([0], [0])
    again = pickle.loads(pickle.dumps(reader))
    np.testing.assert_array_equal(again.read(ROWS, [0]), reader.read(ROWS, [0]))


def test_texts_and_nothing(split):
    reader = raw.Reader(split)
    assert reader.texts([5, 0]) == ["r5", "r0"]
    assert reader.texts([5], "patient_id") == ["10000032"]
    assert reader.read([], np.zeros((0, 2), int)).shape == (0, 2, 40)
    assert split.position(np.array([4, 2])).tolist() == [4, 2]


@pytest.mark.parametrize("row", [-1, 8])
def test_rows_out_of_range_are_refused(split, row):
    with refuses("8 records", error=IndexError):
        raw.Reader(split).records([row])


def test_leads_out_of_range_are_refused(split):
    with pytest.raises(IndexError):
        raw.Reader(split).read([0], [2])


def test_features_without_a_parser():
    serialized = record.serialize(example(), LAYOUT)
    parsed = tf_example_pb2.Example.FromString(serialized).features.feature
    for name in ("signal", "record_id", "patient_id", "recorded_at"):
        assert raw._walk(serialized, name.encode()) == parsed[name].bytes_list.value[0]
        assert raw.feature(serialized, name) == parsed[name].bytes_list.value[0]


def test_other_encodings_of_the_same_message_go_to_a_parser():
    value = tf_feature_pb2.Feature(bytes_list=tf_feature_pb2.BytesList(value=[b"abc"]))
    body = value.SerializeToString()
    # The value before its key, which protocol buffers allow.
    entry = b"\x12" + bytes([len(body)]) + body + b"\x0a\x06signal"
    features = b"\x0a" + bytes([len(entry)]) + entry
    serialized = b"\x0a" + bytes([len(features)]) + features
    assert raw._walk(serialized, b"signal") is None
    assert raw.feature(serialized, "signal") == b"abc"


@pytest.mark.parametrize("name", ["absent", "risk"])
def test_what_is_no_bytes_feature_is_refused(name):
    with refuses(name, error=KeyError):
        raw.feature(record.serialize(example(), LAYOUT), name)


def test_a_shard_that_cannot_be_read_is_named(split, tmp_path):
    whole = pathlib.Path(split.shard_paths[1]).read_bytes()
    path = tmp_path / "shard"
    paths = (split.shard_paths[0], str(path), split.shard_paths[2])
    damaged = dataclasses.replace(split, shard_paths=paths)
    flipped = bytearray(whole)
    flipped[150] ^= 1  # in the record; the shard's own headers are short
    for content in (None, b"", whole[:1000], bytes(flipped)):
        if content is not None:
            path.write_bytes(content)
        reader = raw.Reader(damaged)
        assert len(reader.records([0])) == 1
        with refuses(path, "--check", problem="unreadable_shard"):
            reader.records([0, 3])
    path.write_bytes(whole)
    assert raw.Reader(damaged).records([3]) == raw.Reader(split).records([3])
