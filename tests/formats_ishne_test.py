"""Tests ISHNE Holter files that an encoder writes as the specification lays them out."""

import datetime
import shutil
import subprocess
import tracemalloc

import benchmark_modules
import numpy as np
import pytest

from clef_jax import formats
from clef_jax.finding import Defect

ishne = benchmark_modules.load("fuzz_seeds.ishne")
SAMPLES = np.random.default_rng(5).integers(-3000, 3000, (3, 700)).astype(np.int16)
NAMES = ("I", "II", "V5")
START = datetime.datetime(2011, 2, 28, 9, 30, 15)


def write(tmp_path, samples=SAMPLES, names=NAMES, cut=0, more=b"", **changes):
    path = tmp_path / "x.ecg"
    content = ishne.encode(samples, names, **changes)
    path.write_bytes(content[: len(content) - cut] + more)
    return path


def opened(path, hints=None):
    (recording,) = formats.open(path, hints)
    return recording


def whole(recording):
    return recording.read(0, recording.num_samples)


def problems(recording):
    return [note.problem for note in recording.notes]


def refusal(path, hints=None):
    with pytest.raises(Defect) as caught:
        list(formats.open(path, hints))
    assert caught.value.detail.endswith(".")
    assert "Jane" not in caught.value.detail
    return caught.value.problem


@pytest.mark.parametrize("block", [b"", b"remarks of the recorder"], ids=["none", "some"])
def test_samples_are_read_in_millivolts(tmp_path, block):
    resolutions = [2500, 1000, 10000]
    recording = opened(write(tmp_path, rate_hz=250, resolutions_nv=resolutions, block=block))
    assert recording.lead_names == NAMES
    assert recording.sample_rate_hz == 250
    assert recording.num_samples == 700
    assert recording.unit_known
    assert problems(recording) == []
    expected = SAMPLES * np.array(resolutions)[:, None] * 1e-6
    np.testing.assert_allclose(whole(recording), expected, rtol=1e-6)
    np.testing.assert_array_equal(recording.read(123, 45), whole(recording)[:, 123:168])


def test_every_code_of_a_lead_has_its_name(tmp_path):
    codes = {name: code for name, code in ishne.CODES.items() if name}
    for first in (0, 9):
        names = tuple(codes)[first : first + 9]
        samples = np.tile(SAMPLES, (3, 1))
        assert opened(write(tmp_path, samples, names)).lead_names == names
    recording = opened(write(tmp_path, names=("", "", ""), codes=[0, 1, 77]))
    assert recording.lead_names == ("", "", "")
    assert "unnamed_lead" in problems(recording)
    hints = formats.Hints(lead_names=NAMES)
    path = write(tmp_path, names=("", "", ""))
    assert opened(path, hints).lead_names == NAMES


def test_smallest_integer_is_missing(tmp_path):
    samples = SAMPLES.copy()
    samples[1, 10] = -32768
    signal = whole(opened(write(tmp_path, samples)))
    assert np.isnan(signal[1, 10])
    assert np.isnan(signal).sum() == 1


def test_absent_leads_in_between_are_skipped(tmp_path):
    codes = [5, -9, 6, -9, -9, 15]
    resolutions = [2500, -9, 5000, -9, -9, 1000]
    path = write(tmp_path, codes=codes, resolutions_nv=resolutions, qualities=[1, -9, 1, -9, -9, 3])
    recording = opened(path)
    assert recording.lead_names == NAMES
    expected = SAMPLES * np.array([[2500], [5000], [1000]]) * 1e-6
    np.testing.assert_allclose(whole(recording), expected, rtol=1e-6)
    assert [note.lead for note in recording.notes] == ["V5"]


def test_bad_leads_are_noted(tmp_path):
    recording = opened(write(tmp_path, qualities=[1, 5, 0]))
    (note,) = recording.notes
    assert (note.problem, note.lead) == ("lead_quality", "II")


@pytest.mark.parametrize("stated", [700, 2100, 0, -9], ids=["lead", "all leads", "none", "absent"])
def test_lengths_are_stated_in_several_ways(tmp_path, stated):
    recording = opened(write(tmp_path, num_stated=stated))
    assert recording.num_samples == 700
    assert problems(recording) == []


@pytest.mark.parametrize("stated", [700, 2100], ids=["lead", "all leads"])
def test_truncated_and_longer_files_are_noted(tmp_path, stated):
    short = opened(write(tmp_path, num_stated=stated, cut=6 * 100 + 1))
    assert short.num_samples == 599
    assert problems(short) == ["truncated"]
    np.testing.assert_allclose(whole(short), SAMPLES[:, :599] * 0.0025, rtol=1e-6)
    longer = opened(write(tmp_path, num_stated=stated, more=b"\0" * 12))
    assert longer.num_samples == 702
    assert problems(longer) == ["wrong_length"]
    odd = opened(write(tmp_path, num_stated=stated, more=b"\0"))
    assert odd.num_samples == 700
    assert problems(odd) == ["wrong_length"]


def test_checksum_covers_header_and_block(tmp_path):
    content = bytearray(ishne.encode(SAMPLES, NAMES, block=b"remarks" * 300_000))
    path = tmp_path / "x.ecg"
    for place in (300, 1_000_000):
        path.write_bytes(content)
        assert problems(opened(path)) == []
        content[place] ^= 1
        path.write_bytes(content)
        assert problems(opened(path)) == ["checksum_mismatch"]
        content[place] ^= 1
    assert problems(opened(write(tmp_path, checksum=0))) == []
    right = int.from_bytes(ishne.encode(SAMPLES, NAMES)[8:10], "little")
    swapped = (right & 0xFF) << 8 | right >> 8
    assert problems(opened(write(tmp_path, checksum=swapped))) == []
    assert problems(opened(write(tmp_path, checksum=right ^ 1))) == ["checksum_mismatch"]


def test_checksum_is_the_one_of_the_specification():
    assert ishne.crc_ccitt(b"123456789") == 0x29B1


def test_position_of_the_samples(tmp_path):
    assert problems(opened(write(tmp_path, offset=0))) == []
    assert problems(opened(write(tmp_path, offset=-9))) == []
    moved = write(tmp_path, offset=528)
    recording = opened(moved)
    assert problems(recording) == ["wrong_offset", "truncated"]
    np.testing.assert_allclose(whole(recording), SAMPLES[:, 1:] * 0.0025, rtol=1e-6)
    assert refusal(write(tmp_path, offset=40)) == "unreadable"
    assert refusal(write(tmp_path, offset=1_000_000)) == "truncated"


def test_leads_without_a_resolution(tmp_path):
    path = write(tmp_path, resolutions_nv=[2500, -9, 2500])
    recording = opened(path)
    assert recording.lead_names == ("I", "V5")
    assert problems(recording) == ["wrong_units"]
    np.testing.assert_allclose(whole(recording), SAMPLES[[0, 2]] * 0.0025, rtol=1e-6)
    recording = opened(path, formats.Hints(gain_per_mv=200))
    assert recording.lead_names == NAMES
    np.testing.assert_allclose(whole(recording)[1], SAMPLES[1] / 200, rtol=1e-6)
    unknown = opened(write(tmp_path, resolutions_nv=[-9, 0, -1]))
    assert not unknown.unit_known
    np.testing.assert_allclose(whole(unknown), SAMPLES)
    coarse = opened(write(tmp_path, resolutions_nv=[20000] * 3))
    assert problems(coarse) == ["low_precision"]


def test_rate_can_be_given(tmp_path):
    path = write(tmp_path, rate_hz=-9)
    assert refusal(path) == "no_rate"
    assert opened(path, formats.Hints(sample_rate_hz=128)).sample_rate_hz == 128


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, (60.9, True, START)),
        ({"sex": 2, "born": (-9, -9, -9)}, (None, False, START)),
        ({"sex": 0, "clock": (-9, -9, -9)}, (60.9, None, None)),
        ({"date": (-9, -9, -9)}, (None, True, None)),
        ({"date": (31, 2, 2011)}, (None, True, None)),
        ({"born": (3, 4, 50)}, (None, True, START)),
    ],
    ids=["all", "female", "no time", "no date", "no such day", "two digits"],
)  # fmt: skip
def test_patient_is_stated_or_unknown(tmp_path, changes, expected):
    patient = opened(write(tmp_path, **changes)).patient
    age, male, recorded_at = expected
    assert patient.age_years == (None if age is None else pytest.approx(age, abs=0.05))
    assert patient.male is male
    assert patient.recorded_at == recorded_at


def test_what_is_no_recording_is_refused(tmp_path):
    assert refusal(write(tmp_path, magic=b"ANN  1.0")) == "no_ecg_lead"
    assert refusal(write(tmp_path, magic=b"ISHNE2.0")) == "unreadable"
    assert refusal(write(tmp_path, magic=b"\x0b\x28\x0c\x04abcd")) == "unknown_format"
    assert refusal(write(tmp_path, num_leads=0)) == "lead_count"
    assert refusal(write(tmp_path, num_leads=13)) == "lead_count"
    assert refusal(write(tmp_path, cut=4400)) == "truncated"
    assert refusal(write(tmp_path, SAMPLES[:, :0])) == "truncated"


def test_windows_of_a_day_take_little_memory(tmp_path):
    path = tmp_path / "x.ecg"
    rate, seconds = 1000, 86_400
    head = ishne.encode(np.zeros((3, 0), np.int16), NAMES, rate_hz=rate, num_stated=rate * seconds)
    with path.open("wb") as stream:
        stream.write(head)
        stream.seek(len(head) + 6 * (rate * seconds - 10))
        stream.write(SAMPLES[:, :10].T.astype("<i2").tobytes())
    tracemalloc.start()
    recording = opened(path)
    last = recording.read(recording.num_samples - 10_000, 10_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert recording.num_samples == rate * seconds
    assert peak < 4e6
    np.testing.assert_allclose(last[:, -10:], SAMPLES[:, :10] * 0.0025, rtol=1e-6)
    path.write_bytes(head)
    with pytest.raises(Defect) as caught:
        recording.read(0, 100)
    assert caught.value.problem == "truncated"


def test_values_are_those_of_biosig(tmp_path):
    """Its version 2.5 finds the samples only if they do not begin before byte 4096."""
    if shutil.which("save2gdf") is None:
        pytest.skip("biosig-tools are not installed")
    resolutions = [2500, 5000, 1000]
    path = write(tmp_path, resolutions_nv=resolutions, block=b"x" * (4096 - 522))
    command = ["save2gdf", "-CSV", str(path), str(tmp_path / "x.csv")]
    subprocess.run(command, check=True, capture_output=True)
    table = (tmp_path / "x.csv").read_text().splitlines()
    assert table[0] == '"I [nV]","II [nV]","V5 [nV]"'
    theirs = np.loadtxt(table[1:], delimiter=",").T * 1e-6
    np.testing.assert_allclose(whole(opened(path)), theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("block", [b"", b"remarks"], ids=["none", "some"])
def test_values_are_those_of_ecgdatakit(tmp_path, block):
    parsing = pytest.importorskip("ecgdatakit.parsing")
    path = write(tmp_path, names=("I", "aVR", "V6"), resolutions_nv=[2500, 5000, 1000], block=block)
    theirs = parsing.FileParser().parse(str(path)).leads
    recording = opened(path)
    assert [lead.label for lead in theirs] == list(recording.lead_names)
    assert {lead.sampling_rate for lead in theirs} == {recording.sample_rate_hz}
    np.testing.assert_allclose(whole(recording), [lead.samples for lead in theirs], rtol=1e-6)
