"""Tests that damaged SCP-ECG records are refused by name or noted, and read within bounds."""

import dataclasses
import struct

import numpy as np
import pytest
from culprits import refuses
from scp_records import (
    LENGTH,
    REFERENCE,
    ROWS,
    millivolts,
    own,
    pointer,
    problems,
    read,
    scp,
    unsubtracted,
    write,
)

from clef_jax.finding import Defect
from clef_jax.formats import Hints
from clef_jax.formats.scp_ecg import FORMAT


def test_wrong_checksums_are_noted(tmp_path):
    data = bytearray(write(tmp_path).read_bytes())
    data[-1] ^= 1
    (tmp_path / "x.scp").write_bytes(data)
    (note,) = (n for n in read(tmp_path / "x.scp")[0].notes if n.problem == "checksum_mismatch")
    assert "the record, section 6" in note.detail
    (tmp_path / "x.scp").write_bytes(scp.seal(bytes(data)))
    (note,) = (n for n in read(tmp_path / "x.scp")[0].notes if n.problem == "checksum_mismatch")
    assert "the record" not in note.detail
    data[-1] ^= 1
    data[:2] = data[1::-1]  # swapped bytes, as some devices write them
    (tmp_path / "x.scp").write_bytes(data)
    assert "checksum_mismatch" not in problems(read(tmp_path / "x.scp")[0])


def test_bytes_after_the_record_are_noted(tmp_path):
    path = write(tmp_path)
    path.write_bytes(path.read_bytes() + b"xyz")
    recording, _ = read(path)
    assert problems(recording) == ["wrong_length", "computed_lead"]
    np.testing.assert_array_equal(own(recording), millivolts(ROWS))


def test_a_truncated_record_is_refused(tmp_path):
    data = write(tmp_path).read_bytes()
    for size in (16, 30, 100, 400, len(data) - 3):
        (tmp_path / "x.scp").write_bytes(data[:size])
        with refuses(error=Defect, problem="unknown_format" if size < 32 else "truncated"):
            read(tmp_path / "x.scp")


@pytest.mark.parametrize(
    ("number", "size", "index", "problem"),
    [
        (6, 0xFFFFFFFF, 200, "truncated"),
        (6, 400, 0xFFFFFFF0, "truncated"),
        (6, 400, 7, "unreadable"),
        (6, 40, 0, "unreadable"),
        (6, 8, 200, "unreadable"),
        (3, 60, 173, "unreadable"),
        (3, 0, 0, "no_ecg_lead"),
        (6, 0, 0, "no_ecg_lead"),
    ],
)
def test_pointers_out_of_place_are_refused(tmp_path, number, size, index, problem):
    data = bytearray(write(tmp_path).read_bytes())
    struct.pack_into("<HII", data, pointer(number), number, size, index)
    (tmp_path / "x.scp").write_bytes(data)
    with pytest.raises(Defect) as caught:  # by the reader itself
        list(FORMAT.open(tmp_path / "x.scp", Hints()))
    assert caught.value.problem == problem


def test_overlapping_sections_are_refused(tmp_path):
    data = bytearray(write(tmp_path).read_bytes())
    _, size, index = struct.unpack_from("<HII", data, pointer(3))
    struct.pack_into("<HII", data, pointer(3), 3, size + 40, index)
    (tmp_path / "x.scp").write_bytes(data)
    with refuses(3, 6, error=Defect, problem="unreadable"):
        read(tmp_path / "x.scp")
    struct.pack_into("<HII", data, pointer(3), 3, size, index)
    struct.pack_into("<HII", data, pointer(4), 3, size, index + 1)  # two pointers to a section 3
    (tmp_path / "x.scp").write_bytes(data)
    with refuses(3, error=Defect, problem="unreadable"):
        read(tmp_path / "x.scp")


def test_a_section_of_another_number_is_refused_only_if_it_is_needed(tmp_path):
    data = write(tmp_path, fields=((8, b"\1"),)).read_bytes()
    for number in (1, 3):
        changed = bytearray(data)
        _, _, index = struct.unpack_from("<HII", data, pointer(number))
        struct.pack_into("<H", changed, index - 1 + 2, 9)
        (tmp_path / "x.scp").write_bytes(changed)
        if number == 1:
            recording, _ = read(tmp_path / "x.scp")
            assert recording.patient.male is None
            np.testing.assert_array_equal(own(recording), millivolts(ROWS))
            continue
        with refuses(3, 9, error=Defect, problem="unreadable"):
            read(tmp_path / "x.scp")


def test_the_shorter_length_of_a_section_holds(tmp_path):
    data = bytearray(write(tmp_path).read_bytes() + bytes(4))
    _, size, index = struct.unpack_from("<HII", data, pointer(6))
    struct.pack_into("<HII", data, pointer(6), 6, size + 4, index)
    struct.pack_into("<I", data, 2, len(data))
    (tmp_path / "x.scp").write_bytes(scp.seal(bytes(data)))
    recording, _ = read(tmp_path / "x.scp")
    assert problems(recording) == ["wrong_length", "computed_lead"]
    np.testing.assert_array_equal(own(recording), millivolts(ROWS))


def test_more_samples_than_stated_are_noted(tmp_path):
    for tables in (None, ()):
        data = write(tmp_path, tables=tables).read_bytes()
        claim = struct.pack("<II", 1, LENGTH - 40)
        (tmp_path / "x.scp").write_bytes(data.replace(struct.pack("<II", 1, LENGTH), claim))
        recording, _ = read(tmp_path / "x.scp")
        assert problems(recording).count("wrong_length") == 2
        np.testing.assert_array_equal(own(recording), millivolts(ROWS[:, : LENGTH - 40]))


@pytest.mark.parametrize(
    ("sizes", "problem"), [((2 * LENGTH, 2 * LENGTH + 2), "truncated"), ((0, 0), "empty")]
)
def test_sizes_of_leads_are_compared_with_the_section(tmp_path, sizes, problem):
    data = write(tmp_path, tables=None).read_bytes()
    stored = struct.pack("<HH", 2 * LENGTH, 2 * LENGTH)
    assert data.count(stored) == 1
    (tmp_path / "x.scp").write_bytes(data.replace(stored, struct.pack("<HH", *sizes)))
    with refuses(error=Defect, problem=problem):
        read(tmp_path / "x.scp")


@pytest.mark.parametrize(
    ("section", "at", "value", "problem"),
    [
        (4, 0, 0, "unreadable"),  # length of the reference beat
        (4, 0, 9000, "truncated"),
        (5, 0, 0, "unreadable"),  # step of the reference beat
        (6, 0, 0, "unreadable"),
    ],
)
def test_a_reference_beat_must_be_complete(tmp_path, section, at, value, problem):
    data = bytearray(write(tmp_path, reference=REFERENCE).read_bytes())
    _, _, index = struct.unpack_from("<HII", data, pointer(section))
    struct.pack_into("<H", data, index - 1 + 16 + at, value)
    (tmp_path / "x.scp").write_bytes(data)
    with refuses(error=Defect, problem=problem):
        read(tmp_path / "x.scp")


def test_claims_of_lengths_are_bounded(tmp_path):
    data = write(tmp_path, tables=None).read_bytes()
    for start, end in ((1, 0xFFFFFFFF), (0xFFFFFFFF, 1)):
        claim = struct.pack("<II", start, end)
        (tmp_path / "x.scp").write_bytes(data.replace(struct.pack("<II", 1, LENGTH), claim))
        with pytest.raises(Defect) as caught:
            read(tmp_path / "x.scp")
        assert caught.value.problem in ("too_large", "wrong_length")
    claim = struct.pack("<II", 1, LENGTH + 1)
    (tmp_path / "x.scp").write_bytes(data.replace(struct.pack("<II", 1, LENGTH), claim))
    with refuses(error=Defect, problem="truncated"):
        read(tmp_path / "x.scp")


@pytest.mark.parametrize(
    "table",
    [
        struct.pack("<HH", 1, 0),
        struct.pack("<HHBBBhI", 1, 1, 0, 0, 1, 0, 0),
        struct.pack("<HHBBBhI", 1, 1, 0, 8, 1, 0, 0),
        struct.pack("<HHBBBhI", 1, 1, 40, 40, 1, 0, 0),
        struct.pack("<HHBBBhI", 1, 1, 1, 200, 1, 0, 0),
        struct.pack("<HHBBBhI", 1, 1, 1, 1, 7, 0, 0),
        struct.pack("<HHBBBhIBBBhI", 1, 2, 1, 1, 1, 0, 1, 2, 2, 1, 0, 1),
        struct.pack("<HHBBBhIBBBhI", 1, 2, 1, 1, 1, 0, 1, 1, 1, 0, 2, 0),
        struct.pack("<HHBBBhIBBBhI", 1, 2, 1, 1, 1, 0, 1, 1, 1, 0, 0, 0),
        struct.pack("<H", 19998),
    ],
)
def test_tables_without_one_meaning_are_refused(tmp_path, table):
    sections = {2: table, 3: b"\1\4" + struct.pack("<IIB", 1, 4, 1)}
    sections[6] = struct.pack("<HHBBH", 5000, 2000, 0, 0, 4) + b"\xff\0\xff\0"
    (tmp_path / "x.scp").write_bytes(scp.assemble(sections))
    with refuses("Huffman", error=Defect, problem="unreadable"):
        read(tmp_path / "x.scp")


def test_truncated_tables_and_wrong_codes_are_refused(tmp_path):
    sections = {3: b"\1\4" + struct.pack("<IIB", 1, 4, 1)}
    sections[6] = struct.pack("<HHBBH", 5000, 2000, 0, 0, 2) + b"\x00\xff"
    for table in (struct.pack("<HH", 1, 9), struct.pack("<HHBBBhI", 2, 1, 1, 1, 1, 5, 0)):
        (tmp_path / "x.scp").write_bytes(scp.assemble({2: table} | sections))
        with refuses("Huffman", error=Defect, problem="truncated"):
            read(tmp_path / "x.scp")
    table = struct.pack("<HHBBBhI", 1, 1, 2, 2, 1, 5, 0)  # only `00` is a code
    (tmp_path / "x.scp").write_bytes(scp.assemble({2: table} | sections))
    np.testing.assert_array_equal(read(tmp_path / "x.scp")[1], millivolts(np.full((1, 4), 5)))
    sections[6] = struct.pack("<HHBBH", 5000, 2000, 0, 0, 2) + b"\x02\x00"
    (tmp_path / "x.scp").write_bytes(scp.assemble({2: table} | sections))
    with refuses(3, 4, error=Defect, problem="truncated"):
        read(tmp_path / "x.scp")


@pytest.mark.parametrize("removed", [4, 5])
def test_samples_without_their_reference_beat_are_refused(tmp_path, removed):
    for factor in (1, 4):
        data = bytearray(write(tmp_path, reference=REFERENCE, factor=factor).read_bytes())
        struct.pack_into("<HII", data, pointer(removed), removed, 0, 0)
        (tmp_path / "x.scp").write_bytes(data)
        with refuses(error=Defect, problem="truncated" if removed == 4 else "unreadable"):
            read(tmp_path / "x.scp")


def test_damaged_beats_that_are_not_needed_are_ignored(tmp_path):
    data = bytearray(write(tmp_path, reference=unsubtracted()).read_bytes())
    _, _, index = struct.unpack_from("<HII", data, pointer(4))
    struct.pack_into("<H", data, index - 1 + 16 + 4, 9999)
    (tmp_path / "x.scp").write_bytes(data)
    np.testing.assert_array_equal(own(read(tmp_path / "x.scp")[0]), millivolts(ROWS))


@pytest.mark.parametrize(
    ("interval_us", "problem"),
    [(3000, "unreadable"), (1500, "unreadable"), (0, "unreadable"), (1000, "wrong_length")],
)
def test_rates_that_do_not_fit_are_refused(tmp_path, interval_us, problem):
    reference = dataclasses.replace(REFERENCE, interval_us=interval_us)
    with refuses(error=Defect, problem=problem):
        read(write(tmp_path, reference=reference))


def test_unknown_orders_of_differences_are_refused(tmp_path):
    data = write(tmp_path, tables=None, order=1).read_bytes()
    head = struct.pack("<HHB", 5000, 2000, 1)
    (tmp_path / "x.scp").write_bytes(data.replace(head, struct.pack("<HHB", 5000, 2000, 3)))
    with refuses(3, error=Defect, problem="unreadable"):
        read(tmp_path / "x.scp")


def test_records_without_rhythm_data_are_refused(tmp_path):
    (tmp_path / "x.scp").write_bytes(scp.record(None))
    with refuses(error=Defect, problem="no_ecg_lead"):
        read(tmp_path / "x.scp")
    data = bytearray(write(tmp_path, reference=REFERENCE).read_bytes())
    struct.pack_into("<HII", data, pointer(6), 6, 0, 0)
    (tmp_path / "x.scp").write_bytes(data)
    with refuses(error=Defect, problem="derived_series"):
        read(tmp_path / "x.scp")
    rows = np.zeros((65, 4), int)
    with refuses(65, error=Defect, problem="lead_count"):
        read(write(tmp_path, rows, codes=(1,) * 65))


def test_a_lead_without_data_is_missing(tmp_path):
    data = write(tmp_path, codes=(3, 4), tables=None).read_bytes()
    sizes = struct.pack("<HH", 2 * LENGTH, 2 * LENGTH)
    assert data.count(sizes) == 1
    (tmp_path / "x.scp").write_bytes(data.replace(sizes, struct.pack("<HH", 2 * LENGTH, 0)))
    recording, window = read(tmp_path / "x.scp")
    assert "missing_lead" in problems(recording)
    assert np.isnan(window[1]).all()
    assert not np.isnan(window[0]).any()
