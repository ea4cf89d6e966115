"""Tests ATC files of AliveCor that are written here as their specification defines them."""

import datetime

import benchmark_modules
import numpy as np
import pytest

from clef_jax import formats
from clef_jax.finding import Defect

benchmark_modules.load("fuzz_seeds")
atc = benchmark_modules.load("fuzz_seeds.alivecor_atc")
DATA = np.random.default_rng(0).integers(-3000, 3000, (12, 900))


def one(tmp_path, data):
    path = tmp_path / "x.atc"
    path.write_bytes(data)
    (opened,) = formats.open(path)
    return opened


def problem(tmp_path, data):
    with pytest.raises(Defect) as caught:
        one(tmp_path, data)
    assert caught.value.detail.endswith(".")
    return caught.value.problem


@pytest.mark.parametrize("num_leads", [1, 6, 12])
def test_leads_are_read_in_millivolts(tmp_path, num_leads):
    opened = one(tmp_path, atc.encode(DATA[:num_leads], rate=250, nanovolts=400))
    names = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
    assert opened.lead_names == names[:num_leads]
    assert (opened.sample_rate_hz, opened.num_samples, opened.notes) == (250, 900, ())
    np.testing.assert_allclose(opened.read(0, 900), DATA[:num_leads] * 4e-4, rtol=1e-6)
    zone = datetime.timezone(datetime.timedelta(hours=10))
    at = datetime.datetime(2010, 12, 8, 15, 54, 23, 245000, tzinfo=zone)
    assert opened.patient.recorded_at == at


def test_filters_and_beats_are_noted(tmp_path):
    beat = atc.block("med2", bytes(900))
    opened = one(tmp_path, atc.encode(DATA[:1], beat, flags=2 + 4 + 64))
    assert [note.problem for note in opened.notes] == ["derived_series", "device_filter"]
    assert "60 Hz" in opened.notes[1].detail


def test_both_checksums_are_accepted_and_others_are_noted(tmp_path):
    crc = atc.encode([]) + atc.block("ecg ", DATA[0].astype("<i2").tobytes(), with_crc=True)
    assert one(tmp_path, crc).notes == ()
    wrong = bytearray(atc.encode(DATA[:1]))
    wrong[-100] ^= 1
    assert [note.problem for note in one(tmp_path, bytes(wrong)).notes] == ["checksum_mismatch"]


def test_refusals(tmp_path):
    whole = atc.encode(DATA[:2])
    assert problem(tmp_path, whole[:-300]) == "unreadable"
    assert problem(tmp_path, atc.encode([])) == "no_ecg_lead"
    assert problem(tmp_path, atc.encode([DATA[0], DATA[1][:800]])) == "wrong_length"
    assert problem(tmp_path, atc.encode(DATA[:1], rate=0)) == "wrong_rate"
    assert problem(tmp_path, atc.encode(DATA[:1], nanovolts=0)) == "unreadable"
    assert problem(tmp_path, b"x" + whole[1:]) == "unreadable"
    assert problem(tmp_path, b"text") == "unknown_format"
