"""Tests what SCP-ECG records state about patient, time, device and leads."""

import datetime
import struct

import numpy as np
import pytest
from culprits import refuses
from scp_records import (
    ROWS,
    millivolts,
    problems,
    read,
    scp,
    write,
)

from clef_jax import formats
from clef_jax.finding import Defect
from clef_jax.formats import Hints, scp_ecg

FIELDS = {
    4: struct.pack("<HB", 63, 1),
    0: b"Doe\0",
    5: struct.pack("<HBB", 1962, 3, 1),
    8: b"\2",
    25: struct.pack("<HBB", 2026, 3, 1),
    26: bytes((10, 20, 30)),
}


def opened(tmp_path, **changes):
    fields = FIELDS | {int(tag[1:]): content for tag, content in changes.items()}
    kept = tuple((tag, content) for tag, content in fields.items() if content is not None)
    return read(write(tmp_path, fields=kept))[0]


def test_leads_of_all_codes_have_names(tmp_path):
    codes = (1, 2, 61, 62, 63, 64, 3, 8, 9, 12, 16, 20, 66, 0, 200, 87, 131)
    rows = np.arange(len(codes) * 50).reshape(len(codes), 50)
    recording, window = read(write(tmp_path, rows, codes=codes))
    names = ["I", "II", "III", "aVR", "aVL", "aVF", "V1", "V6", "V7", "V4R", "X", "CM5", "V8"]
    assert list(recording.lead_names) == [*names, "", "", "V", "E-S"]
    assert problems(recording) == ["unnamed_lead"]
    np.testing.assert_array_equal(window, millivolts(rows))


def test_leads_of_the_file_win_over_computed_ones(tmp_path):
    recording, window = read(write(tmp_path, np.stack([*ROWS, ROWS[0]]), codes=(1, 2, 61)))
    assert recording.lead_names == ("I", "II", "III", "aVR", "aVL", "aVF")
    one, two = (ROWS * 0.005).astype(np.float64)
    expected = [one, two, one, -(one + two) / 2, one - two / 2, two - one / 2]
    np.testing.assert_allclose(window, np.stack(expected), rtol=0, atol=1e-6)
    assert problems(recording) == ["computed_lead"]


def test_leads_that_the_device_calculated_are_noted(tmp_path):
    rows = np.stack([*ROWS, ROWS[0]])
    recording, _ = read(write(tmp_path, rows, codes=(33, 5, 34)))
    assert recording.lead_names == ("V1", "V3", "V2")
    assert problems(recording) == ["computed_lead"]
    recording, window = read(write(tmp_path, rows, codes=(33, 3, 34)))  # V1 calculated and recorded
    assert recording.lead_names == ("V1", "V2")
    np.testing.assert_array_equal(window, millivolts(rows[1:]))


def test_leads_of_other_times_are_missing_before_and_after(tmp_path):
    rows = [ROWS[0][:400], ROWS[1][:500]]
    recording, window = read(write(tmp_path, rows, codes=(3, 4), starts=(101, 501), lead_flags=0))
    assert recording.num_samples == 900
    expected = np.full((2, 900), np.nan, np.float32)
    expected[0, :400] = millivolts(rows[0])
    expected[1, 400:] = millivolts(rows[1])
    np.testing.assert_array_equal(window, expected)


def test_leads_that_were_not_recorded_together_give_no_others(tmp_path):
    recording, _ = read(write(tmp_path, lead_flags=1 << 3))
    assert recording.lead_names == ("I", "II")
    assert problems(recording) == ["not_simultaneous"]
    recording, _ = read(write(tmp_path, lead_flags=0))  # not stated
    assert problems(recording) == ["computed_lead"]


@pytest.mark.parametrize(
    ("interval_us", "rate_hz"), [(1000, 1000), (3906, 256), (5556, 180), (4001, 1e6 / 4001)]
)
def test_the_interval_is_a_rate(tmp_path, interval_us, rate_hz):
    recording, _ = read(write(tmp_path, interval_us=interval_us))
    assert recording.sample_rate_hz == pytest.approx(rate_hz, rel=1e-12)


def test_what_the_file_does_not_state_is_given(tmp_path):
    path = write(tmp_path, interval_us=0, step_nv=0, codes=(0, 0))
    with refuses(error=Defect, problem="no_rate"):
        read(path)
    recording, window = read(path, Hints(sample_rate_hz=250))
    assert recording.sample_rate_hz == 250
    assert not recording.unit_known
    np.testing.assert_array_equal(window, ROWS.astype(np.float32))
    hints = Hints(sample_rate_hz=250, gain_per_mv=200, lead_names=("V1", "V2"))
    recording, window = read(path, hints)
    assert recording.unit_known
    assert recording.lead_names == ("V1", "V2")
    np.testing.assert_allclose(window, ROWS / 200, rtol=1e-6)
    assert problems(read(write(tmp_path, step_nv=20_000))[0])[-1] == "low_precision"


def test_the_patient_and_the_time_are_offered_and_not_shown(tmp_path):
    recording = opened(tmp_path)
    assert recording.patient.age_years == 63
    assert recording.patient.male is False
    assert recording.patient.recorded_at == datetime.datetime(2026, 3, 1, 10, 20, 30)
    shown = repr(recording.patient) + str(recording.notes) + recording.name
    assert not any(text in shown for text in ("63", "2026", "Doe"))


@pytest.mark.parametrize(
    ("field", "years"),
    [
        (struct.pack("<HB", 18, 2), 1.5),
        (struct.pack("<HB", 0, 0), pytest.approx(64, abs=0.01)),
        (struct.pack("<HB", 40, 9), pytest.approx(64, abs=0.01)),
        (None, pytest.approx(64, abs=0.01)),
        (struct.pack("<HB", 60000, 1), pytest.approx(64, abs=0.01)),
        (struct.pack("<HB", 14, 4), pytest.approx(14 / 365.25)),
    ],
)
def test_ages_have_units_or_follow_from_the_birth(tmp_path, field, years):
    assert opened(tmp_path, _4=field).patient.age_years == years


def test_what_cannot_be_understood_is_unknown(tmp_path):
    patient = opened(tmp_path, _4=None, _5=struct.pack("<HBB", 1962, 13, 1), _8=b"\x09").patient
    assert (patient.age_years, patient.male) == (None, None)
    assert opened(tmp_path, _26=b"\x19\0\0").patient.recorded_at is None
    assert opened(tmp_path, _25=None).patient.recorded_at is None
    assert opened(tmp_path, _8=b"\1").patient.male is True


def test_a_time_zone_is_that_of_the_time(tmp_path):
    at = datetime.datetime(2026, 3, 1, 10, 20, 30)
    zone = datetime.timezone(datetime.timedelta(minutes=-90))
    field = struct.pack("<hH", -90, 0) + b"\0"
    assert opened(tmp_path, _34=field).patient.recorded_at == at.replace(tzinfo=zone)
    # The largest number stands for an unknown zone.
    assert opened(tmp_path, _34=struct.pack("<hH", 0x7FFF, 0)).patient.recorded_at == at


def test_wrong_lengths_of_fields_are_mended(tmp_path):
    content = b"".join(struct.pack("<BH", tag, 999) + field for tag, field in FIELDS.items() if tag)
    signal = struct.pack("<HHBBH2h", 5000, 2000, 0, 0, 4, 1, 2)
    data = scp.assemble({1: content, 3: b"\1\4" + struct.pack("<IIB", 1, 2, 1), 6: signal})
    (tmp_path / "x.scp").write_bytes(data)
    recording, window = read(tmp_path / "x.scp")
    assert recording.patient.age_years == 63
    np.testing.assert_array_equal(window, millivolts(np.array([[1, 2]])))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"_27": b"\5\0", "_28": b"\x96\0", "_29": b"\2"}, ("0.05 to 150 Hz", "50 Hz notch")),
        ({"_27": b"\x32\0"}, ("above 0.5 Hz",)),
        ({"_28": b"\x28\0", "_29": b"\5"}, ("below 40 Hz", "60 Hz notch", "artefact")),
    ],
)
def test_the_filters_of_the_device_are_noted(tmp_path, changes, words):
    recording = opened(tmp_path, **changes)
    (note,) = (note for note in recording.notes if note.problem == "device_filter")
    assert all(word in note.detail for word in words)


def test_no_filter_is_noted_if_none_is_stated(tmp_path):
    for bits in (b"\0", b""):
        recording = opened(tmp_path, _27=b"\0\0", _28=b"\0\0", _29=bits)
        assert "device_filter" not in problems(recording)


@pytest.mark.parametrize("name", ["x.SCP", "x", "20260301", "a.ecg", "1.2.840.1"])
def test_records_are_known_by_their_beginning(tmp_path, name):
    path = write(tmp_path, name=name)
    assert list(formats.find(tmp_path)) == [path]
    assert read(path)[0].sample_rate_hz == 500
    (tmp_path / "other.scp").write_text("age,sex\n63,male\n" * 9)
    (tmp_path / "no").write_bytes(bytes(600))
    assert list(formats.find(tmp_path)) == [path]
    assert not scp_ecg.looks_like(tmp_path / "other.scp")
