"""Tests that each rule reports its fault, and no other lead or recording."""

import json

import numpy as np
import pytest
from culprits import refuses
from mimic_tree import LEADS, ecg

from clef_jax.data import quality, record
from clef_jax.finding import Defect
from clef_jax.leads import STANDARD_12
from clef_jax.signal import adc

LAYOUT = record.Layout(leads=STANDARD_12, sample_rate_hz=500.0, num_samples=5000)
MISSING = adc.MISSING_ADC


def recording(signal=None, **changes):
    values = {
        "signal": ecg(0) if signal is None else signal,
        "lead_names": STANDARD_12,
        "gain_per_mv": np.full(12, 200, np.float32),
        "baseline": np.zeros(12, np.int32),
        "sample_rate_hz": 500.0,
    }
    return record.Recording(**(values | changes))


def check(signal, **changes):
    usable, findings = quality.check(recording(signal, **changes), "r")
    return usable, {(f.problem, f.lead, f.action) for f in findings}


def test_a_good_recording_has_no_finding():
    usable, findings = check(ecg(0))
    assert usable.all()
    assert not findings


@pytest.mark.parametrize(
    ("samples", "action"), [(1, "kept"), (999, "kept"), (1001, "lead_unusable")]
)
def test_missing_samples(samples, action):
    signal = ecg(0)
    signal[3, 40 : 40 + samples] = MISSING
    usable, findings = check(signal)
    assert findings == {("nan_run", "aVR", action)}
    assert usable[3] == (action == "kept")
    assert usable.sum() == 11 + (action == "kept")


@pytest.mark.parametrize("value", [0, 123, -800])
def test_a_constant_lead_is_flat(value):
    signal = ecg(0)
    signal[7] = value
    usable, findings = check(signal)
    assert findings == {("flat_lead", "V2", "lead_unusable")}
    assert np.flatnonzero(~usable) == [7]


def test_a_constant_lead_with_gaps_is_flat():
    signal = ecg(0)
    signal[7] = 5
    signal[7, 100:700] = MISSING
    usable, findings = check(signal)
    assert ("flat_lead", "V2", "lead_unusable") in findings
    assert not usable[7]


def test_a_lead_that_flickers_by_a_few_units_is_flat():
    signal = ecg(0)
    signal[7] = np.random.default_rng(0).integers(0, 5, 5000)
    assert check(signal)[1] == {("flat_lead", "V2", "lead_unusable")}


def test_an_electrode_that_falls_off_leaves_a_flat_run():
    signal = ecg(0)
    signal[0, 2000:] = 12
    usable, findings = check(signal)
    assert findings == {("flat_run", "I", "lead_unusable")}
    assert not usable[0]


def test_flatness_follows_the_gain():
    small = (ecg(0) / 20).astype(np.int16)  # 0.05 mV at 200 per mV, ten times that at 20
    assert not check(small, gain_per_mv=np.full(12, 10, np.float32))[1]
    findings = check((ecg(0) / 100).astype(np.int16))[1]
    assert {("flat_lead", name, "lead_unusable") for name in STANDARD_12} < findings


def test_samples_at_the_rail_are_clipped():
    signal = ecg(0)
    signal[2, 100:120] = 32767
    signal[4, :3000:2] = -32767
    assert check(signal)[1] == {("clipped", "III", "kept"), ("clipped", "aVL", "lead_unusable")}


def test_amplitudes_beyond_any_heart():
    signal = ecg(0)
    signal[5, 100:110] = 2001
    signal[6, :1500] = -2600
    signal[6, :1500:2] = -2500
    assert check(signal)[1] == {
        ("implausible_amplitude", "aVF", "kept"),
        ("implausible_amplitude", "V1", "lead_unusable"),
    }
    # The same numbers are 2 mV at another gain, and 10 mV from another baseline.
    assert not check(signal, gain_per_mv=np.full(12, 1000, np.float32))[1]
    shifted = check(ecg(0) + np.int16(3000), baseline=np.full(12, 3000, np.int32))[1]
    assert not shifted


@pytest.mark.parametrize("signal", [np.full((12, 5000), MISSING), np.full((12, 5000), 7)])
def test_a_recording_without_usable_lead_is_quarantined(signal):
    usable, findings = check(signal.astype(np.int16))
    assert not usable.any()
    assert ("no_usable_lead", None, "quarantined") in findings


def test_a_wrong_checksum_is_reported_and_kept():
    usable, findings = check(ecg(0), bad_checksums=("V6",))
    assert usable.all()
    assert findings == {("checksum_mismatch", "V6", "kept")}


def test_leads_are_arranged_by_name():
    names = tuple(name.upper() for name in LEADS)
    signal = ecg(0)
    gain = np.arange(1, 13, dtype=np.float32)
    out = quality.arrange(
        recording(signal, lead_names=names, gain_per_mv=gain, bad_checksums=("AVF",)), LAYOUT
    )
    assert out.lead_names == STANDARD_12
    assert out.bad_checksums == ("aVF",)
    for number, name in enumerate(STANDARD_12):
        np.testing.assert_array_equal(out.signal[number], signal[LEADS.index(name)])
        assert out.gain_per_mv[number] == gain[LEADS.index(name)]


def test_leads_that_are_not_asked_for_are_left_out():
    names = (*STANDARD_12, "X")
    more = recording(
        ecg(0, num_leads=13),
        lead_names=names,
        gain_per_mv=np.ones(13, np.float32),
        baseline=np.zeros(13, np.int32),
    )
    assert quality.arrange(more, LAYOUT).signal.shape == (12, 5000)


@pytest.mark.parametrize(
    ("changes", "problem", "culprits"),
    [
        ({"sample_rate_hz": 250.0}, "wrong_rate", ("250 Hz", "500 Hz")),
        ({"signal": ecg(0, num_samples=4999)}, "wrong_length", ("4999", "5000")),
        ({"lead_names": ("V9", *STANDARD_12[1:])}, "unknown_lead", ("'V9'",)),
        ({"lead_names": ("II", *STANDARD_12[1:])}, "duplicate_lead", ("II", "2")),
        ({"lead_names": ("X", *STANDARD_12[1:])}, "missing_lead", ("I",)),
    ],
)
def test_another_form_is_refused(changes, problem, culprits):
    with refuses(*culprits, error=Defect, problem=problem):
        quality.arrange(recording(**changes), LAYOUT)


def test_a_finding_is_one_json_line():
    finding = Defect("wrong_rate", "Sampled at 1 Hz.").finding("files/r")
    assert json.loads(finding.to_json()) == {
        "record_id": "files/r",
        "problem": "wrong_rate",
        "lead": None,
        "detail": "Sampled at 1 Hz.",
        "action": "quarantined",
    }


@pytest.mark.parametrize("gap", [0, 99, 100, 101])
def test_stored_samples_and_millivolts_have_the_same_flat_intervals(gap):
    stored = ecg(0, num_samples=1050, num_leads=3)
    stored[1, 200:400] = 7
    stored[2, :gap] = MISSING
    stored[2, gap:200] = 7
    missing = stored == MISSING
    millivolts = np.where(missing, np.nan, stored / 200)
    of_stored = quality.find_flat(stored, missing, 100, np.full((3, 1), 200 * quality.FLAT_MV))
    of_millivolts = quality.find_flat(millivolts, missing, 100, quality.FLAT_MV)
    want = np.zeros((3, 5), bool)
    want[1, 1], want[2, 0] = True, gap <= 100  # with more gaps, nothing is said of an interval
    for flat in (of_stored, of_millivolts):
        assert flat.num_samples == 200
        np.testing.assert_array_equal(flat.is_flat, want)
        np.testing.assert_array_equal(flat.fraction, [0, 0.2, 0.2 if gap <= 100 else 0])


def test_the_full_range_of_stored_samples_does_not_overflow():
    stored = np.array([[-32767, 32767] * 100], np.int16)
    assert not quality.find_flat(stored, stored == MISSING, 100, 1e3).is_flat.any()


def test_bad_samples_and_flat_intervals_make_a_signal_unusable():
    bad, flat = np.array([0, 0.2, 0.21, 0.2]), np.array([0.8, 0, 0, 0.9])
    assert quality.is_usable(bad, flat).tolist() == [True, True, False, False]
