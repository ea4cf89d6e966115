"""Tests the samples of SCP-ECG records as an encoder made from the standard stores them."""

import dataclasses
import datetime
import itertools
import lzma
import pathlib
import shutil
import struct
import subprocess
import warnings
from typing import Any

import numpy as np
import pytest
from culprits import refuses
from scp_records import (
    BEAT,
    BEATS,
    LENGTH,
    REFERENCE,
    ROWS,
    ZONES,
    millivolts,
    own,
    problems,
    read,
    scp,
    write,
)

from clef_jax import formats
from clef_jax.finding import Defect
from clef_jax.formats import Hints
from clef_jax.formats.scp_ecg import FORMAT

HOSPITAL = pathlib.Path(__file__).parents[2] / "shared" / "data" / "original_files" / "hospital"


def with_beats(rows, beats=BEATS, samples: Any = BEAT, fiducial=50):
    """Returns rows [L, T] to which the reference beat is added sample by sample."""
    rows = rows.copy()
    for kind, first, at, last in beats:
        for number in range(max(first, 1), min(last, rows.shape[1]) + 1):
            index = number - at + fiducial - 1
            if kind == 0 and 0 <= index < samples.shape[1]:
                rows[:, number - 1] += samples[:, index]
    return rows


@pytest.mark.skipif(not HOSPITAL.is_dir(), reason="needs the foreign examples")
def test_one_recording_in_three_formats_is_the_same(tmp_path):
    packed = lzma.decompress((HOSPITAL / "example_aecg.xml.xz").read_bytes())
    (tmp_path / "example.xml").write_bytes(packed)
    recording, window = read(HOSPITAL / "example.scp")
    assert (recording.sample_rate_hz, recording.num_samples) == (500, 5000)
    assert problems(recording) == ["derived_series"]
    assert recording.patient.male is True
    assert recording.patient.age_years == pytest.approx(49.54, abs=0.01)
    assert recording.patient.recorded_at == datetime.datetime(2002, 11, 22, 9, 10)
    for path in (HOSPITAL / "example.dcm", tmp_path / "example.xml"):
        other, theirs = read(path)
        assert other.sample_rate_hz == 500
        assert set(other.lead_names) == set(recording.lead_names)
        order = [other.lead_names.index(name) for name in recording.lead_names]
        assert np.ptp(window, axis=1).min() > 0.1
        assert np.abs(window - theirs[order]).max() < 0.0025  # one step of all three


@pytest.mark.parametrize("order", [0, 1, 2])
@pytest.mark.parametrize("tables", [None, (), scp.two_tables()[1:]])
@pytest.mark.parametrize("reference", [None, REFERENCE])
def test_samples_are_exact_however_they_are_stored(tmp_path, order, tables, reference):
    if tables:
        tables = ((*tables[0][1:], scp.Word("1", 1, 5)),)
    path = write(tmp_path, order=order, tables=tables, reference=reference)
    recording, _ = read(path)
    np.testing.assert_array_equal(own(recording), millivolts(ROWS))
    assert (recording.sample_rate_hz, recording.unit_known) == (500, True)
    expected = ["computed_lead"] if reference is None else ["derived_series", "computed_lead"]
    assert problems(recording) == expected


def test_tables_are_switched_where_the_data_say_so(tmp_path):
    for every in (1, 7, 333):
        path = write(tmp_path, tables=scp.two_tables(), switch_every=every, order=1)
        np.testing.assert_array_equal(own(read(path)[0]), millivolts(ROWS))


def test_codes_of_all_lengths_are_read(tmp_path):
    """The extra bits are added to the value; a prefix may have 32 bits."""
    table = (scp.Word("0", 100, 8), scp.Word("10", -300), scp.Word("11" + "1" * 30, 3, 16))
    rows = np.array([[100 - 128, 100 + 127, -300, -20000, 3, 32767, -300, -300]])
    path = write(tmp_path, rows, tables=(table,), order=0, codes=(3,))
    np.testing.assert_array_equal(own(read(path)[0], ("V1",)), millivolts(rows))


def test_differences_wrap_around_as_the_samples_do(tmp_path):
    rows = np.array([[32767, -32768, 32767, 0, -32768, 32767] * 3] * 2)
    for order in (1, 2):
        path = write(tmp_path, rows, order=order)
        np.testing.assert_array_equal(own(read(path)[0]), millivolts(rows))


def test_the_reference_beat_has_steps_of_its_own(tmp_path):
    rows = with_beats(2 * ROWS, samples=2 * BEAT)
    path = write(tmp_path, rows, step_nv=2500, reference=REFERENCE)
    stored = millivolts(rows, 2500)
    np.testing.assert_array_equal(own(read(path)[0]), stored)


def test_zones_may_be_longer_than_the_reference_beat_or_the_lead(tmp_path):
    beats = tuple((0, first - 30, at, last + 30) for _, first, at, last in BEATS)
    reference = dataclasses.replace(REFERENCE, beats=beats)
    path = write(tmp_path, starts=(121, 121), reference=reference)
    np.testing.assert_array_equal(own(read(path)[0]), millivolts(ROWS))
    residual = ROWS - with_beats(np.zeros((2, LENGTH + 120), np.int64), beats)[:, 120:]
    plain = write(tmp_path, residual, starts=(121, 121), name="y.scp")
    difference = own(read(path)[0]) - own(read(plain)[0])
    added = with_beats(np.zeros((2, LENGTH + 120), np.int64), beats)[:, 120:]
    np.testing.assert_allclose(difference, added * 0.005, rtol=0, atol=1e-6)


def test_a_table_may_state_the_longer_length_first(tmp_path):
    data = write(tmp_path, tables=((scp.Word("0", 0), scp.Word("1", 0, 16)),), order=0).read_bytes()
    lengths = struct.pack("<BBBhI", 1, 17, 1, 0, 1)
    assert data.count(lengths) == 1
    swapped = data.replace(lengths, struct.pack("<BBBhI", 17, 1, 1, 0, 1))
    (tmp_path / "x.scp").write_bytes(swapped)
    np.testing.assert_array_equal(own(read(tmp_path / "x.scp")[0]), millivolts(ROWS))


def test_only_beats_of_type_0_had_the_reference_beat_subtracted(tmp_path):
    beats = (BEATS[0], (1, *BEATS[1][1:]), BEATS[2])
    reference = dataclasses.replace(REFERENCE, beats=beats)
    recording, _ = read(write(tmp_path, ROWS, reference=reference))
    np.testing.assert_array_equal(own(recording), millivolts(ROWS))
    raw = write(tmp_path, ROWS, reference=dataclasses.replace(reference, is_subtracted=False))
    data = bytearray(raw.read_bytes())
    place = data.index(b"\x02\x04" + struct.pack("<II", 1, LENGTH))
    data[place + 1] |= 1  # the file now states that the beats were subtracted
    (tmp_path / "y.scp").write_bytes(data)
    added = own(read(tmp_path / "y.scp")[0])
    np.testing.assert_array_equal(added, millivolts(with_beats(ROWS, beats)))


def naive(values, zones, length, factor, copies_rest=True):
    """Restores a lead as public decoders do: the first value for half a group, lines between the
    values, and the last value for the rest."""
    values = iter(values)
    out, number = [], 1
    while number <= length:
        zone = next((z for z in zones if z[0] <= number <= z[1]), None)
        if zone:
            out.append(next(values))
            number += 1
            continue
        end = min([z[0] - 1 for z in zones if z[0] > number] + [length])
        count, rest = divmod(end - number + 1, factor)
        kept = [next(values) for _ in range(count + (rest > 0 and not copies_rest))]
        part = [kept[0]] * (factor // 2) if kept else []
        for one, two in itertools.pairwise(kept):
            part += [one + (two - one) * step / factor for step in range(factor)]
        part += [kept[-1]] * (end - number + 1) if kept else []
        if copies_rest:
            part = part[: count * factor] + [next(values) for _ in range(rest)]
        out += part[: end - number + 1]
        number = end + 1
    return np.array(out)


@pytest.mark.parametrize("factor", [2, 3, 4])
@pytest.mark.parametrize("tables", [None, ()])
@pytest.mark.parametrize("is_subtracted", [True, False])
def test_decimated_samples_are_restored_between_beats(tmp_path, factor, tables, is_subtracted):
    zones = ZONES[::-1]  # in any order
    reference = dataclasses.replace(REFERENCE, is_subtracted=is_subtracted, protected=zones)
    smooth = np.round(300 * np.sin(np.arange(LENGTH) / 50) * np.array([[1], [-0.4]]))
    rows = with_beats(smooth.astype(np.int64))
    path = write(tmp_path, rows, reference=reference, factor=factor, tables=tables)
    recording, _ = read(path)
    assert (recording.sample_rate_hz, recording.num_samples) == (500, LENGTH)
    assert problems(recording) == ["lossy_compression", "derived_series", "computed_lead"]
    residual = smooth.astype(np.int64) if is_subtracted else rows
    stored = [scp.decimate(row, ZONES, factor) for row in residual]
    restored = np.stack([naive(row, ZONES, LENGTH, factor) for row in stored])
    expected = with_beats(restored, samples=BEAT) if is_subtracted else restored
    got = own(recording)
    np.testing.assert_allclose(got, expected * 0.005, rtol=0, atol=1e-6)
    for first, last in ZONES:
        part = slice(first - 1, min(last, LENGTH))
        np.testing.assert_allclose(got[:, part], rows[:, part] * 0.005, rtol=0, atol=1e-6)


def test_a_value_may_stand_for_fewer_samples_before_a_zone(tmp_path):
    """As some writers do, instead of storing the samples that make no group."""
    zones = ((100, 150), (402, 450))
    reference = scp.Reference(
        samples=BEAT, fiducial=50, beats=BEATS[:2], protected=zones, is_subtracted=False
    )
    values = np.random.default_rng(1).integers(-99, 100, (2, 25 + 51 + 63 + 49 + 138))
    path = write(tmp_path, values, reference=reference, order=1, tables=None)
    data = path.read_bytes().replace(struct.pack("<II", 1, 326), struct.pack("<II", 1, LENGTH))
    place = data.rindex(struct.pack("<HHBB", 5000, 2000, 1, 0))
    head = struct.pack("<HHBB", 5000, 8000, 1, 1)
    path.write_bytes(data[:place] + head + data[place + 6 :])
    recording, _ = read(path)
    expected = [naive(row, zones, LENGTH, 4, copies_rest=False) for row in values]
    np.testing.assert_allclose(own(recording), np.stack(expected) * 0.005, rtol=0, atol=1e-6)
    assert "checksum_mismatch" in problems(recording)


def test_a_decimation_without_zones_or_flag_is_restored(tmp_path):
    constant = np.full((2, LENGTH), 7)
    rows = with_beats(constant)
    for is_bimodal in (True, False):
        zones = () if is_bimodal else ZONES
        reference = dataclasses.replace(REFERENCE, protected=zones)
        options: dict[str, Any] = {"is_bimodal": is_bimodal, "keeps_zones": False}
        path = write(tmp_path, rows, reference=reference, factor=4, **options)
        recording, _ = read(path)
        np.testing.assert_allclose(own(recording), rows * 0.005, rtol=0, atol=1e-6)
        assert recording.sample_rate_hz == 500


def test_leads_may_be_counted_in_samples_of_the_reference_beat(tmp_path):
    reference = dataclasses.replace(REFERENCE, interval_us=1000, is_subtracted=False)
    path = write(tmp_path, reference=reference)
    data = path.read_bytes().replace(
        struct.pack("<II", 1, LENGTH), struct.pack("<II", 1, 2 * LENGTH)
    )
    path.write_bytes(data)
    recording, _ = read(path)
    assert (recording.sample_rate_hz, recording.num_samples) == (500, LENGTH)
    np.testing.assert_array_equal(own(recording), millivolts(ROWS))


def test_leads_longer_than_their_two_bytes_can_state_are_read(tmp_path):
    rows = np.arange(2 * 40000).reshape(2, -1) % 3001 - 1500
    recording, _ = read(write(tmp_path, rows, tables=None, order=0, protocol=30))
    assert recording.num_samples == 40000
    np.testing.assert_array_equal(own(recording), millivolts(rows))


def test_a_flag_is_no_compression_where_all_samples_are_stored(tmp_path):
    recording, _ = read(write(tmp_path, is_bimodal=True, protocol=30))
    np.testing.assert_array_equal(own(recording), millivolts(ROWS))
    recording, _ = read(write(tmp_path, is_bimodal=True, reference=REFERENCE))
    np.testing.assert_array_equal(own(recording), millivolts(ROWS))


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_long_term_data_are_read(tmp_path, width):
    limit = min(1 << (8 * width - 1), 1 << 23)
    rows = np.random.default_rng(width).integers(-limit, limit, (2, 300))
    rows[:, 0] = -limit
    content = scp.long_term(rows, (1, 2), (1000, 2000), 200, width)
    path = write(tmp_path, None, long_term=content, protocol=30)
    (recording,) = formats.open(path)
    assert (recording.sample_rate_hz, recording.num_samples) == (200, 300)
    assert recording.patient.recorded_at == datetime.datetime(2026, 3, 1, 10, 20, 30)
    expected = rows * np.array([[0.001], [0.002]])
    np.testing.assert_allclose(own(recording), expected, rtol=1e-6)
    three = recording.read(37, 100)[recording.lead_names.index("III")]
    np.testing.assert_allclose(three, (expected[1] - expected[0])[37:137], rtol=1e-5, atol=1e-6)
    with refuses(error=Defect, problem="window_outside_record"):
        recording.read(250, 51)


def test_both_signals_of_a_file_are_recordings(tmp_path):
    content = scp.long_term(ROWS, (3, 4), (1000, 1000), 200, 2)
    short, long = formats.open(write(tmp_path, long_term=content, protocol=30))
    assert (short.name, long.name) == ("x.scp", "x.scp#long_term")
    np.testing.assert_array_equal(own(short), millivolts(ROWS))
    np.testing.assert_array_equal(own(long, ("V1", "V2")), millivolts(ROWS, 1000))
    # Before version 3, the section is the manufacturer's.
    (short,) = formats.open(write(tmp_path, long_term=content, protocol=20))
    assert short.name == "x.scp"


def test_incomplete_long_term_data_are_refused(tmp_path):
    path = write(tmp_path, None, long_term=bytes(40), protocol=30)
    with pytest.raises(Defect) as caught:
        list(FORMAT.open(path, Hints()))
    assert caught.value.problem == "unreadable"
    content = scp.long_term(ROWS, (3, 4), (1000, 0), 200, 2)
    with refuses(error=Defect, problem="wrong_units"):
        read(write(tmp_path, None, long_term=content, protocol=30))


@pytest.mark.parametrize("change", [-2, 2, None])
def test_long_term_data_of_another_layout_are_refused(tmp_path, change):
    content = scp.long_term(ROWS, (3, 4), (1000, 1000), 200, 2)
    content = content[:change] if change and change < 0 else content + bytes(change or 0)
    if change is None:
        content = struct.pack("<I", 200_000) + content[4:]  # another unit of the rate
    path = write(tmp_path, None, long_term=content, protocol=30)
    with refuses(12, error=Defect, problem="unreadable"):
        read(path)


def test_the_independent_parser_agrees(tmp_path):
    parser = pytest.importorskip("ecgdatakit.parsing.parsers.scp_ecg").SCPECGParser()
    variants: tuple[dict[str, Any], ...] = (
        {"order": 1, "tables": None},
        {"order": 2},
        {"tables": scp.two_tables(), "switch_every": 9},
        {"reference": REFERENCE},
        {"reference": dataclasses.replace(REFERENCE, step_nv=2500), "step_nv": 1250},
    )
    for options in variants:
        path = write(tmp_path, ROWS, **options)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = parser.parse(path).leads
        expected = np.stack([lead.samples * lead.resolution for lead in theirs]) / 1000
        np.testing.assert_allclose(own(read(path)[0]), expected, rtol=0, atol=1e-6)


@pytest.mark.skipif(shutil.which("save2gdf") is None, reason="needs BioSig")
def test_biosig_agrees(tmp_path):
    """BioSig reads the standard's Huffman table and differences, but restores no reference beat."""
    for order, tables in ((0, ()), (1, ()), (2, ()), (2, None)):
        path = write(tmp_path, ROWS, order=order, tables=tables)
        command = ["save2gdf", "-f=ASCII", str(path), str(tmp_path / "out")]
        subprocess.run(command, capture_output=True, check=True, timeout=60)
        theirs = np.stack([np.loadtxt(tmp_path / f"out.a0{number}") for number in (1, 2)])
        np.testing.assert_allclose(own(read(path)[0]), theirs / 1000, rtol=0, atol=1e-6)
