"""Tests GE MUSE XML files, which the encoder of the fuzz seeds writes."""

import base64

import benchmark_modules
import encoded_files
import numpy as np
import pytest
from encoded_files import problems

from clef_jax import formats

benchmark_modules.load("fuzz_seeds")
muse = benchmark_modules.load("fuzz_seeds.ge_muse")
files = encoded_files.Files(muse.encode)
read, write, refusal = files.read, files.write, files.refusal
LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
ADC = np.random.default_rng(0).integers(-2000, 2000, (8, 1500))
MV = ADC * 4.88e-3


def rhythm(**changed):
    """The eight usual leads; keywords replace what every lead states."""
    return [muse.lead(name, row, **changed) for name, row in zip(muse.EIGHT, ADC, strict=True)]


def test_eight_leads_become_twelve(tmp_path):
    recording = read(tmp_path, muse.document(muse.waveform(*rhythm())))
    assert recording.lead_names == LEADS
    assert recording.sample_rate_hz == 500
    assert recording.num_samples == 1500
    assert recording.unit_known
    i, ii = MV[:2]
    limb = [i, ii, ii - i, -(i + ii) / 2, i - ii / 2, ii - i / 2]
    expected = np.stack([*limb, *MV[2:]])[:, 100:400]
    np.testing.assert_allclose(recording.read(100, 300), expected, rtol=0, atol=1e-6)
    assert "computed_lead" in problems(recording)


def test_leads_of_the_file_win_over_computed_ones(tmp_path):
    rows = dict(zip(("V1", "aVF", "II", "I", "V4R", "V7"), ADC, strict=False))
    leads = [muse.lead(name.upper(), row) for name, row in rows.items()]
    recording = read(tmp_path, muse.document(muse.waveform(*leads)))
    assert recording.lead_names == (*LEADS[:6], "V1", "V4R", "V7")
    signal = dict(zip(recording.lead_names, recording.read(0, 1500), strict=True))
    for name, row in rows.items():
        np.testing.assert_allclose(signal[name], row * 4.88e-3, atol=1e-6)
    np.testing.assert_allclose(signal["III"], (rows["II"] - rows["I"]) * 4.88e-3, atol=1e-6)


def test_a_single_computed_lead_is_noted_in_the_singular(tmp_path):
    leads = [muse.lead(name, ADC[n]) for n, name in enumerate(LEADS[:5])]
    recording = read(tmp_path, muse.document(muse.waveform(*leads)))
    (note,) = (note for note in recording.notes if note.problem == "computed_lead")
    assert note.detail == "The lead aVF was computed from I and II."


@pytest.mark.parametrize(("own", "given"), [(("II", "III"), "I"), (("I", "III"), "II")])
def test_two_bipolar_leads_give_the_third(tmp_path, own, given):
    signal = {"I": ADC[0], "II": ADC[1], "III": ADC[1] - ADC[0]}
    leads = [muse.lead(name, signal[name]) for name in own]
    recording = read(tmp_path, muse.document(muse.waveform(*leads)))
    assert recording.lead_names == LEADS[:6]
    row = recording.read(0, 1500)[LEADS.index(given)]
    np.testing.assert_allclose(row, signal[given] * 4.88e-3, atol=1e-5)


@pytest.mark.parametrize(
    "names", [("I", "V1"), ("I", "II", "III", "AVR", "AVL", "AVF"), ("I", "I")]
)
def test_nothing_is_computed_without_need_or_two_limb_leads(tmp_path, names):
    leads = [muse.lead(name, row) for name, row in zip(names, ADC, strict=False)]
    recording = read(tmp_path, muse.document(muse.waveform(*leads)))
    assert [name.upper() for name in recording.lead_names] == list(names)
    assert "computed_lead" not in problems(recording)


def test_median_beats_are_kept_apart_whatever_their_place(tmp_path):
    median = muse.waveform(muse.lead("I", ADC[7, :600]), kind="Median")
    whole = muse.waveform(*rhythm())
    for waveforms in ([median, whole], [whole, median]):
        recording = read(tmp_path, muse.document(*waveforms))
        np.testing.assert_allclose(recording.read(0, 1500)[0], MV[0], atol=1e-6)
        assert "derived_series" in problems(recording)
    assert refusal(tmp_path, muse.document(median)) == "derived_series"
    untyped = muse.waveform(muse.lead("I", ADC[0, :600]), kind=None)
    assert refusal(tmp_path, muse.document(untyped)) == "derived_series"
    recording = read(tmp_path, muse.document(muse.waveform(*rhythm(), kind=None)))
    assert recording.num_samples == 1500


def test_every_rhythm_waveform_is_a_recording(tmp_path):
    first = muse.waveform(*rhythm())
    second = muse.waveform(muse.lead("V9", ADC[3, :700]), SampleBase=25, SampleExponent=1)
    recordings = list(formats.open(write(tmp_path, muse.document(first, second))))
    assert [recording.name for recording in recordings] == ["x.xml#0", "x.xml#1"]
    assert recordings[1].lead_names == ("V9",)
    assert recordings[1].sample_rate_hz == 250
    np.testing.assert_allclose(recordings[1].read(0, 700)[0], MV[3, :700], atol=1e-6)


@pytest.mark.parametrize(
    ("base", "exponent", "rate_hz"),
    [(500, 0, 500), (5, 2, 500), (500000, -3, 500), (2500, -1, 250), (1000, None, 1000)],
)
def test_rate_is_base_times_a_power_of_ten(tmp_path, base, exponent, rate_hz):
    waveform = muse.waveform(*rhythm(), SampleBase=base, SampleExponent=exponent)
    assert read(tmp_path, muse.document(waveform)).sample_rate_hz == rate_hz


@pytest.mark.parametrize(
    ("unit", "step", "step_mv"),
    [
        ("MICROVOLTS", "4.88", 4.88e-3),
        ("MILLIVOLTS", "0.00488", 4.88e-3),
        ("VOLTS", "0.0000025", 2.5e-3),
        (None, "5", 5e-3),
        ("microvolts", "4,88", 4.88e-3),
    ],
)
def test_units_per_bit(tmp_path, unit, step, step_mv):
    leads = rhythm(LeadAmplitudeUnits=unit, LeadAmplitudeUnitsPerBit=step)
    recording = read(tmp_path, muse.document(muse.waveform(*leads)))
    np.testing.assert_allclose(recording.read(0, 1500)[0], ADC[0] * step_mv, rtol=1e-6)
    assert recording.unit_known


def test_a_lead_has_its_own_step(tmp_path):
    leads = [
        muse.lead("V1", ADC[0], LeadAmplitudeUnitsPerBit=2),
        muse.lead("V2", ADC[1], LeadAmplitudeUnitsPerBit=20),
    ]
    recording = read(tmp_path, muse.document(muse.waveform(*leads)))
    expected = ADC[:2] * [[2e-3], [20e-3]]
    np.testing.assert_allclose(recording.read(0, 1500), expected, rtol=1e-6)
    assert "low_precision" in problems(recording)


def test_without_a_step_the_unit_is_unknown_unless_given(tmp_path):
    root = muse.document(muse.waveform(*rhythm(LeadAmplitudeUnitsPerBit=None)))
    assert not read(tmp_path, root).unit_known
    (recording,) = formats.open(write(tmp_path, root), formats.Hints(gain_per_mv=200))
    np.testing.assert_allclose(recording.read(0, 1500)[0], ADC[0] / 200, rtol=1e-6)
    mixed = [muse.lead("I", ADC[0]), muse.lead("II", ADC[1], LeadAmplitudeUnitsPerBit=None)]
    recording = read(tmp_path, muse.document(muse.waveform(*mixed)))
    assert recording.lead_names == ("I", "II")
    assert not recording.unit_known


@pytest.mark.parametrize("width", [1, 2, 4])
def test_samples_of_other_sizes(tmp_path, width):
    values = np.clip(ADC[0], -100, 100)
    payload = values.astype(f"<i{width}").tobytes()
    stated = {
        "LeadSampleSize": width,
        "LeadByteCountTotal": len(payload),
        "LeadDataCRC32": None,
        "WaveFormData": base64.b64encode(payload).decode(),
    }
    for changed in (stated, stated | {"LeadSampleSize": None}):
        lead = muse.lead("V1", values, **changed)
        recording = read(tmp_path, muse.document(muse.waveform(lead)))
        np.testing.assert_allclose(recording.read(0, 1500)[0], values * 4.88e-3, atol=1e-6)


@pytest.mark.parametrize("mark", [",", " ", "\n", ", ", ",\n"])
@pytest.mark.parametrize("signed", [True, False])
def test_integers_in_words_of_digits(tmp_path, mark, signed):
    values = ADC[0] if signed else abs(ADC[0])
    stated = {"WaveFormData": mark.join(map(str, values)), "LeadDataCRC32": None}
    lead = muse.lead("V1", values, **stated)
    recording = read(tmp_path, muse.document(muse.waveform(lead)))
    np.testing.assert_allclose(recording.read(0, 1500)[0], values * 4.88e-3, atol=1e-6)
    lead = muse.lead("V1", values, **stated, LeadByteCountTotal=None, LeadSampleSize=None)
    assert read(tmp_path, muse.document(muse.waveform(lead))).num_samples == 1500


def test_optional_elements_may_be_absent_and_padding_too(tmp_path):
    payload = ADC[0, :1499].astype("<i2").tobytes()
    text = base64.b64encode(payload).decode().rstrip("=")
    assert len(text) % 4
    absent = dict.fromkeys(("LeadByteCountTotal", "LeadTimeOffset", "LeadSampleSize"))
    absent |= dict.fromkeys(("LeadSampleCountTotal", "LeadHighLimit", "LeadDataCRC32"))
    lead = muse.lead("V1", ADC[0], WaveFormData=text, **absent)
    root = f"<RestingECG><Waveform><SampleBase>500</SampleBase>{lead}</Waveform></RestingECG>"
    recording = read(tmp_path, root)
    np.testing.assert_allclose(recording.read(0, 1499)[0], MV[0, :1499], atol=1e-6)
    assert recording.patient == formats.Patient()


def test_long_leads_overflow_the_stated_number_of_bytes(tmp_path):
    row = np.resize(ADC, 40_000)
    lead = muse.lead("V1", row, LeadByteCountTotal=80_000 % 65536)
    assert read(tmp_path, muse.document(muse.waveform(lead))).num_samples == 40_000


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"LeadSampleCountTotal": 1501}, "truncated"),
        ({"LeadSampleCountTotal": 1499}, "header_mismatch"),
        ({"LeadByteCountTotal": 2999}, "header_mismatch"),
        ({"LeadSampleSize": 3}, "unsupported_layout"),
        ({"LeadSampleCountTotal": "many"}, "unreadable"),
        ({"LeadOffsetFirstSample": 8}, "unsupported_layout"),
        ({"LeadAmplitudeUnits": "METERS"}, "wrong_units"),
        ({"LeadAmplitudeUnitsPerBit": "0"}, "wrong_units"),
        ({"LeadAmplitudeUnitsPerBit": "-4.88"}, "wrong_units"),
        ({"WaveFormData": "AAA*"}, "unreadable"),
        ({"WaveFormData": "0 100 50 25 12 17", "LeadByteCountTotal": None}, "truncated"),
        ({"WaveFormData": "0 100 50 25 12 1.7", "LeadSampleCountTotal": None}, "unreadable"),
        ({"WaveFormData": "0,5 100,5 50,25", "LeadSampleCountTotal": None}, "unreadable"),
        ({"WaveFormData": "0,100,50,25,12,40000", "LeadSampleCountTotal": None}, "unreadable"),
    ],
)
def test_leads_that_contradict_themselves_are_refused(tmp_path, changed, problem):
    lead = muse.lead("V1", ADC[0], **changed)
    assert refusal(tmp_path, muse.document(muse.waveform(lead))) == problem


def test_a_truncated_lead_is_not_taken_for_one_of_bytes(tmp_path):
    half = base64.b64encode(ADC[0, :750].astype("<i2").tobytes()).decode()
    stated = {"WaveFormData": half, "LeadSampleSize": None, "LeadByteCountTotal": None}
    lead = muse.lead("V1", ADC[0], **stated)
    assert refusal(tmp_path, muse.document(muse.waveform(lead))) == "truncated"


@pytest.mark.parametrize(
    ("waveform", "problem"),
    [
        ({"SampleType": "MULTIPLEX_SAMPLES"}, "unsupported_layout"),
        ({"SampleBase": None}, "no_rate"),
        ({"SampleBase": 0}, "wrong_rate"),
        ({"SampleBase": "fast"}, "unreadable"),
        ({"SampleExponent": 300}, "wrong_rate"),
        ({"SampleExponent": 0.5}, "wrong_rate"),
    ],
)
def test_waveforms_that_are_not_understood_are_refused(tmp_path, waveform, problem):
    assert refusal(tmp_path, muse.document(muse.waveform(*rhythm(), **waveform))) == problem


def test_leads_that_do_not_belong_together_are_refused(tmp_path):
    first = muse.lead("I", ADC[0])
    for other, problem in (
        (muse.lead("II", ADC[1, :-1]), "wrong_length"),
        (muse.lead("II", ADC[1], LeadTimeOffset=2500), "unsupported_layout"),
    ):
        assert refusal(tmp_path, muse.document(muse.waveform(first, other))) == problem
    many = [muse.lead(f"E{number}", ADC[0]) for number in range(65)]
    assert refusal(tmp_path, muse.document(muse.waveform(*many))) == "lead_count"
    assert refusal(tmp_path, muse.document()) == "no_ecg_lead"
    assert refusal(tmp_path, muse.document(muse.waveform())) == "no_ecg_lead"


def test_an_empty_lead_is_left_out_and_reported(tmp_path):
    leads = [muse.lead("V1", ADC[0]), muse.lead("V2", ADC[1], WaveFormData="")]
    recording = read(tmp_path, muse.document(muse.waveform(*leads)))
    assert recording.lead_names == ("V1",)
    assert ("missing_lead", "V2") in [(note.problem, note.lead) for note in recording.notes]


def test_checksums_find_changed_samples(tmp_path):
    leads = rhythm()
    leads[3] = muse.lead("V2", ADC[3], LeadDataCRC32=12345)
    leads[4] = muse.lead("V3", ADC[4], LeadDataCRC32=0)
    recording = read(tmp_path, muse.document(muse.waveform(*leads)))
    found = [note.lead for note in recording.notes if note.problem == "checksum_mismatch"]
    assert found == ["V2"]


def test_values_outside_the_limits_are_missing(tmp_path):
    row = ADC[0].copy()
    row[[5, 6, 7]] = -32768, 3001, 3000
    lead = muse.lead("V1", row, LeadHighLimit=3000, LeadLowLimit=-3000)
    recording = read(tmp_path, muse.document(muse.waveform(lead)))
    assert np.flatnonzero(np.isnan(recording.read(0, 1500)[0])).tolist() == [5, 6]
    recording = read(tmp_path, muse.document(muse.waveform(muse.lead("V1", row))))
    assert np.flatnonzero(np.isnan(recording.read(0, 1500)[0])).tolist() == [5]
    # Limits that exclude 0 are a mistake of the writer.
    lead = muse.lead("V1", ADC[0], LeadHighLimit=2147483647, LeadLowLimit=268435456)
    recording = read(tmp_path, muse.document(muse.waveform(lead)))
    assert np.isfinite(recording.read(0, 1500)).all()


def test_what_the_device_did_stands_in_the_notes(tmp_path):
    measured = muse.elements({"ECGSampleBase": 250, "ECGSampleExponent": 0})
    more = f"<RestingECGMeasurements>{measured}</RestingECGMeasurements>"
    leads = [muse.lead("I", ADC[0], LeadOff="TRUE", FirstSampleBaseline=4), *rhythm()[1:]]
    recording = read(tmp_path, muse.document(muse.waveform(*leads), more=more))
    notes = {note.problem: note for note in recording.notes}
    for part in ("0.16 Hz", "150 Hz", "60 Hz notch"):
        assert part in notes["device_filter"].detail
    assert "250 Hz" in notes["upsampled"].detail
    assert notes["lead_off"].lead == notes["baseline_offset"].lead == "I"
    quiet = muse.waveform(*rhythm(), HighPassFilter="", LowPassFilter=None, ACFilter="NONE")
    assert problems(read(tmp_path, muse.document(quiet))) == ["computed_lead"]
    fewer = muse.waveform(*rhythm(), NumberofLeads=9)
    assert "missing_lead" in problems(read(tmp_path, muse.document(fewer)))


def test_the_rate_of_acquisition_comes_first(tmp_path):
    more = "<RestingECGMeasurements><ECGSampleBase>500</ECGSampleBase></RestingECGMeasurements>"
    root = muse.document(muse.waveform(*rhythm()), test={"AcquisitionSampleRate": 125}, more=more)
    notes = {note.problem: note.detail for note in read(tmp_path, root).notes}
    assert "125 Hz" in notes["upsampled"]
