"""Tests that patients are assigned undivided, in order, and always to the same split."""

import itertools

import pytest

from clef_jax.building import listing as listing_lib
from clef_jax.building.listing import Entry, Listing


def make(counts, split=None):
    entries = (
        Entry(record_id=f"r{p}.{n}", patient_id=f"p{p}", split=split)
        for p, count in enumerate(counts)
        for n in range(count)
    )
    return Listing(entries=entries, num_records=sum(counts), num_patients=len(counts))


@pytest.mark.parametrize("one_per_patient", [True, False])
def test_shares_hold_every_patient_once_and_whole(one_per_patient):
    counts = [1, 5, 2] * 400
    shards = list(listing_lib.assign_shards(make(counts), one_per_patient=one_per_patient))
    assert [shard.number for shard in shards] == list(range(len(shards)))
    patients = [patient for shard in shards for patient in shard.patients]
    assert sorted(len(p) for p in patients) == sorted(counts)
    for shard in shards:
        numbers = [int(p[0].patient_id[1:]) for p in shard.patients]
        assert numbers == sorted(numbers)
        assert {listing_lib.patient_split(p[0].patient_id) for p in shard.patients} == {shard.split}
        assert all(len({e.patient_id for e in p}) == 1 for p in shard.patients)
    size = listing_lib.records_per_shard(len(counts) if one_per_patient else sum(counts))
    train = [s for s in shards if s.split == "train"][:-1]
    held = [len(s.patients) if one_per_patient else s.num_records for s in train]
    assert all(size <= n < size + 5 for n in held)


def test_shares_are_a_stream():
    taken = []

    def entries():
        for number in range(10_000):
            taken.append(number)
            yield Entry(record_id=f"r{number}", patient_id=f"p{number}")

    many = Listing(entries=entries(), num_records=10_000, num_patients=10_000)
    next(listing_lib.assign_shards(many, one_per_patient=False))
    assert len(taken) < 500


@pytest.mark.parametrize("num_records", [1, 100, 1_822, 161_352, 800_035, 5_000_000])
def test_shards_are_neither_many_nor_large(num_records):
    size = listing_lib.records_per_shard(num_records)
    assert -(-num_records // size) <= listing_lib.MAX_SHARDS
    assert size >= listing_lib.MIN_SHARD_RECORDS
    assert size <= listing_lib.MAX_SHARD_RECORDS or num_records > 512 * 512


def test_two_in_a_hundred_patients_validate():
    splits = [listing_lib.patient_split(str(10_000_032 + 37 * n)) for n in range(20_000)]
    assert 0.018 < splits.count("validation") / len(splits) < 0.022


def test_the_split_never_changes():
    # Whoever prepares again, or prepares more recordings, must get the same validation patients.
    found = [
        p
        for p in map(str, range(10_000_000, 10_000_200))
        if listing_lib.patient_split(p) != "train"
    ]
    assert found == VALIDATION


VALIDATION = ["10000057"]


def test_a_source_may_prescribe_the_split():
    shards = list(listing_lib.assign_shards(make([1] * 100, split="test"), one_per_patient=False))
    assert {shard.split for shard in shards} == {"test"}
    ids = itertools.chain.from_iterable(p for shard in shards for p in shard.patients)
    assert [e.record_id for e in ids] == [f"r{n}.0" for n in range(100)]
