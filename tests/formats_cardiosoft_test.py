"""Tests GE CardioSoft XML files, which the encoder of the fuzz seeds writes."""

import datetime

import benchmark_modules
import encoded_files
import numpy as np
import pytest
from encoded_files import problems

from clef_jax import formats
from clef_jax.finding import Defect
from clef_jax.formats import _cardiosoft_samples

benchmark_modules.load("fuzz_seeds")
cardiosoft = benchmark_modules.load("fuzz_seeds.cardiosoft")
files = encoded_files.Files(cardiosoft.encode)
read, write, refusal = files.read, files.write, files.refusal
LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
TIME_S = np.arange(3000) / 500
WAVES = [np.round(200 * np.sin(2 * np.pi * (1 + k / 7) * TIME_S + k)) + 40 * k for k in range(12)]
ADC = np.stack(WAVES).astype(int)
TWELVE = dict(zip(LEADS, ADC, strict=True))


def test_a_strip_is_read_in_millivolts(tmp_path):
    recording = read(tmp_path, cardiosoft.document(cardiosoft.strip(TWELVE)))
    assert recording.name == "x.xml"
    assert recording.lead_names == LEADS
    assert recording.sample_rate_hz == 500
    assert recording.unit_known
    np.testing.assert_allclose(recording.read(50, 900), ADC[:, 50:950] * 5e-3, atol=1e-6)


def test_medians_strip_and_full_disclosure_are_kept_apart(tmp_path):
    medians = cardiosoft.strip({"I": ADC[3, :600]}, tag="MedianSamples")
    loops = "<VectorLoops><Frontal Lead='X'>1,2,3</Frontal></VectorLoops>"
    beats = f"<MedianData><Median>{cardiosoft.waves({'I': ADC[4, :600]})}</Median></MedianData>"
    root = cardiosoft.document(
        f"<RestingECGMeasurements>{medians}</RestingECGMeasurements>{beats}{loops}",
        cardiosoft.disclosure(TWELVE, rate=100, resolution=10),
        cardiosoft.strip(TWELVE),
    )
    strip, disclosure = formats.open(write(tmp_path, root))
    assert (strip.name, disclosure.name) == ("x.xml#strip", "x.xml#full_disclosure")
    assert (strip.sample_rate_hz, disclosure.sample_rate_hz) == (500, 100)
    assert disclosure.lead_names == LEADS
    np.testing.assert_allclose(strip.read(0, 3000), ADC * 5e-3, atol=1e-6)
    np.testing.assert_allclose(disclosure.read(0, 3000), ADC * 10e-3, atol=1e-6)
    assert "derived_series" in problems(strip)
    for only in (beats, f"<RestingECGMeasurements>{medians}</RestingECGMeasurements>"):
        assert refusal(tmp_path, cardiosoft.document(only)) == "derived_series"


@pytest.mark.parametrize("by_sample", [False, True])
@pytest.mark.parametrize("num_leads", [1, 3, 12])
def test_the_order_of_mixed_leads_is_found(tmp_path, by_sample, num_leads):
    leads = dict(list(TWELVE.items())[:num_leads])
    root = cardiosoft.document(cardiosoft.disclosure(leads, by_sample=by_sample))
    recording = read(tmp_path, root)
    np.testing.assert_allclose(
        recording.read(0, 3000)[:num_leads], ADC[:num_leads] * 5e-3, atol=1e-6
    )


def test_flat_leads_and_noise_are_taken_in_seconds_of_a_lead():
    flat = np.zeros(6000)
    assert (_cardiosoft_samples.unmix(flat, 3, 500) == 0).all()
    noise = np.random.default_rng(0).normal(size=6000)
    rows = _cardiosoft_samples.unmix(noise, 3, 500)
    np.testing.assert_array_equal(rows[1, :500], noise[500:1000])


def test_names_of_exercise_leads_are_kept(tmp_path):
    leads = {"I": ADC[0], "2": ADC[1], "3": ADC[2]}
    root = cardiosoft.document(cardiosoft.disclosure(leads, order="I, 2,3,"))
    recording = read(tmp_path, root)
    assert recording.lead_names == ("I", "2", "3")
    assert "computed_lead" not in problems(recording)


def test_strips_share_what_their_parent_states(tmp_path):
    parts = [cardiosoft.waves({"I": row, "II": row}) for row in ADC[:2, :1000]]
    inside = "".join(f"<Strip><Time><Minute>1</Minute></Time>{part}</Strip>" for part in parts)
    root = cardiosoft.document(cardiosoft.strip({}, num_samples=1000, inside=inside, rate=250))
    recordings = list(formats.open(write(tmp_path, root)))
    assert [recording.name for recording in recordings] == ["x.xml#strip_0", "x.xml#strip_1"]
    for recording, row in zip(recordings, ADC, strict=False):
        assert recording.sample_rate_hz == 250
        np.testing.assert_allclose(recording.read(0, 1000)[0], row[:1000] * 5e-3, atol=1e-6)
    other = f"<Strip>{cardiosoft.strip(TWELVE)}</Strip>"
    assert read(tmp_path, cardiosoft.document(other)).num_samples == 3000


def test_limb_leads_are_computed_and_own_ones_win(tmp_path):
    leads = {"I": ADC[0], "II": ADC[1], "avf": ADC[5], "V1": ADC[6]}
    recording = read(tmp_path, cardiosoft.document(cardiosoft.strip(leads)))
    assert recording.lead_names == LEADS[:7]
    signal = recording.read(0, 3000)
    np.testing.assert_allclose(signal[2], (ADC[1] - ADC[0]) * 5e-3, atol=1e-6)
    np.testing.assert_allclose(signal[5], ADC[5] * 5e-3, atol=1e-6)
    assert "computed_lead" in problems(recording)


@pytest.mark.parametrize(
    ("unit", "resolution", "step_mv"),
    [
        ("uVperLsb", "5", 5e-3),
        ("uVperLsb", "4,88", 4.88e-3),
        ("uV/LSB", 2.5, 2.5e-3),
        ("\xb5VperLsb", 5, 5e-3),
        ("nVperLsb", 2500, 2.5e-3),
        ("mVperLsb", 0.005, 5e-3),
        ("uV", 5, 5e-3),
        (None, 5, 5e-3),
    ],
)
def test_resolution(tmp_path, unit, resolution, step_mv):
    strip = cardiosoft.strip(TWELVE, unit=unit, resolution=resolution)
    recording = read(tmp_path, cardiosoft.document(strip))
    np.testing.assert_allclose(recording.read(0, 3000), ADC * step_mv, atol=1e-5)
    assert recording.unit_known


def test_without_a_resolution_the_unit_is_unknown_unless_given(tmp_path):
    root = cardiosoft.document(cardiosoft.strip(TWELVE, resolution=None))
    recording = read(tmp_path, root)
    assert not recording.unit_known
    assert "unknown_units" in problems(recording)
    (recording,) = formats.open(write(tmp_path, root), formats.Hints(gain_per_mv=100))
    np.testing.assert_allclose(recording.read(0, 3000), ADC / 100, atol=1e-5)


@pytest.mark.parametrize(
    ("strip", "problem"),
    [
        ({"rate": None}, "no_rate"),
        ({"rate": 0}, "wrong_rate"),
        ({"rate": 2, "rate_unit": "ms"}, "wrong_rate"),
        ({"rate": "fast"}, "unreadable"),
        ({"resolution": 0}, "wrong_units"),
        ({"unit": "mmHg"}, "wrong_units"),
        ({"num_samples": 3001}, "truncated"),
        ({"num_samples": 2999}, "header_mismatch"),
        ({"num_samples": -1}, "unreadable"),
        ({"inside": ""}, "no_ecg_lead"),
        ({"inside": '<WaveformData lead="I">\n\t</WaveformData>'}, "no_ecg_lead"),
        ({"inside": '<WaveformData lead="I">1,2,x</WaveformData>'}, "unreadable"),
        ({"inside": '<WaveformData lead="I">1,-,3</WaveformData>'}, "unreadable"),
        ({"inside": '<WaveformData lead="I">1,2;3</WaveformData>'}, "unreadable"),
        ({"inside": '<WaveformData lead="I">1.5.5,2</WaveformData>'}, "unreadable"),
    ],
)
def test_strips_that_are_not_understood_are_refused(tmp_path, strip, problem):
    assert refusal(tmp_path, cardiosoft.document(cardiosoft.strip(TWELVE, **strip))) == problem


@pytest.mark.parametrize(
    ("disclosure", "problem"),
    [
        ({"num_values": 36001}, "truncated"),
        ({"num_values": 35999}, "header_mismatch"),
        ({"num_leads": 11}, "header_mismatch"),
        ({"num_leads": 65}, "lead_count"),
        ({"num_leads": "", "order": ""}, "lead_count"),
        ({"resolution": "x"}, "unreadable"),
    ],
)
def test_disclosures_that_are_not_understood_are_refused(tmp_path, disclosure, problem):
    root = cardiosoft.document(cardiosoft.disclosure(TWELVE, **disclosure))
    assert refusal(tmp_path, root) == problem


def test_leads_without_samples_are_reported(tmp_path):
    empty = '<WaveformData lead="V2"/>'
    inside = cardiosoft.waves({"V1": ADC[0]}) + empty
    strip = cardiosoft.strip(TWELVE, inside=inside)
    recording = read(tmp_path, cardiosoft.document(strip))
    assert recording.lead_names == ("V1",)
    missing = [note.lead for note in recording.notes if note.problem == "missing_lead"]
    assert missing == ["V2", None]  # ten more are stated, but not there


def test_leads_of_other_lengths_are_refused(tmp_path):
    leads = {"I": ADC[0], "II": ADC[1, :-1]}
    strip = cardiosoft.strip(leads).replace("ChannelSampleCountTotal", "Count")
    assert refusal(tmp_path, cardiosoft.document(strip)) == "wrong_length"
    many = cardiosoft.strip({str(number): ADC[0, :10] for number in range(65)})
    assert refusal(tmp_path, cardiosoft.document(many)) == "lead_count"


def test_a_file_yields_what_precedes_its_defect(tmp_path):
    root = cardiosoft.document(
        cardiosoft.strip(TWELVE), cardiosoft.disclosure(TWELVE, num_values=36001)
    )
    recordings = formats.open(write(tmp_path, root))
    assert next(recordings).part == "strip"
    with pytest.raises(Defect):
        next(recordings)


def test_an_empty_disclosure_is_none(tmp_path):
    empty = "<FullDisclosure><FullDisclosureData> </FullDisclosureData></FullDisclosure>"
    root = cardiosoft.document(cardiosoft.strip(TWELVE), empty, "<FullDisclosure/>")
    assert read(tmp_path, root).name == "x.xml"


def test_an_incomplete_last_second_is_skipped_and_reported(tmp_path):
    whole = cardiosoft.disclosure(TWELVE, num_values="")
    root = cardiosoft.document(whole.replace(",\n\t\t<Sample", ",7,8,9,\n\t\t<Sample"))
    recording = read(tmp_path, root)
    assert recording.num_samples == 3000
    assert "incomplete_block" in problems(recording)


def test_the_order_of_leads_of_less_than_a_second_is_not_guessed(tmp_path):
    leads = {"I": ADC[0], "II": ADC[1]}
    short = cardiosoft.disclosure(leads, by_sample=True).replace(">500<", ">5000<")
    assert refusal(tmp_path, cardiosoft.document(short)) == "empty"
    single = cardiosoft.disclosure({"I": ADC[0]}).replace(">500<", ">5000<")
    assert read(tmp_path, cardiosoft.document(single)).num_samples == 3000


def test_the_number_of_values_may_be_that_of_each_lead(tmp_path):
    root = cardiosoft.document(cardiosoft.disclosure(TWELVE, num_values=3000))
    assert read(tmp_path, root).num_samples == 3000


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1,2,\n\t\t3,-4", [1, 2, 3, -4]),
        ("1,2\n3,4\n", [1, 2, 3, 4]),
        (" 1 , 2 ,3,", [1, 2, 3]),
        ("1 2\t-3\r\n4", [1, 2, -3, 4]),
        ("1;2;3", [1, 2, 3]),
        ("1,,3, ,5", [1, np.nan, 3, np.nan, 5]),
        (",2", [np.nan, 2]),
        ("1.5,+2", [1.5, 2]),
        ("", []),
        (" \n", []),
    ],
)
def test_numbers_are_separated_in_several_ways(text, expected):
    np.testing.assert_array_equal(_cardiosoft_samples.parse(text, "x.xml"), np.float32(expected))


def test_the_filters_of_the_device_stand_in_the_notes(tmp_path):
    recording = read(tmp_path, cardiosoft.document(cardiosoft.strip(TWELVE, resolution=20)))
    notes = {note.problem: note.detail for note in recording.notes}
    for part in ("0.01 Hz", "100 Hz", "50 Hz notch"):
        assert part in notes["device_filter"]
    assert "spline" not in notes["device_filter"]
    assert "20 uV" in notes["low_precision"]
    german = "<CubicSpline>Ja</CubicSpline><Filter50Hz>Nein</Filter50Hz><LowPass>Aus</LowPass>"
    recording = read(tmp_path, cardiosoft.document(cardiosoft.strip(TWELVE), filters=german))
    (note,) = recording.notes
    assert "spline" in note.detail
    assert "Hz" not in note.detail
    off = cardiosoft.document(cardiosoft.strip(TWELVE), filters="<LowPass>0</LowPass>")
    assert problems(read(tmp_path, off)) == []


@pytest.mark.parametrize(
    ("patient", "age_years"),
    [
        ({}, 53),
        ({"age": (18, "MONTHS")}, 1.5),
        ({"age": (70, "JAHRE")}, 70),
        ({"age": (70, "TAGE")}, 70 / 365.25),
        ({"age": ("", "YEARS"), "born": (1965, 1, 1)}, 53.55),
        ({"age": None, "born": (0, 0, 0)}, None),
    ],
)
def test_age(tmp_path, patient, age_years):
    recording = read(tmp_path, cardiosoft.document(cardiosoft.strip(TWELVE), **patient))
    assert recording.patient.age_years == pytest.approx(age_years, abs=0.01)


@pytest.mark.parametrize(
    ("gender", "male"),
    [("MALE", True), ("FEMALE", False), ("M\xc4NNLICH", True), ("weiblich", False), ("", None)],
)
@pytest.mark.parametrize("stated", ["ISO-8859-1", "ISO8859-1", "utf-8"])
def test_sex_in_other_languages_and_encodings(tmp_path, gender, male, stated):
    root = cardiosoft.document(cardiosoft.strip(TWELVE), gender=gender)
    path = tmp_path / "x.xml"
    path.write_bytes((cardiosoft.HEAD.format(encoding=stated) + root).encode("iso-8859-1"))
    (recording,) = formats.open(path)
    assert recording.patient.male is male
    assert recording.patient.recorded_at == datetime.datetime(2018, 7, 19, 14, 19, 39)


@pytest.mark.parametrize(
    "observed",
    [
        "",
        "<Year>2018</Year><Month>7</Month><Day>19</Day>",
        "<Year>2018</Year><Month>2</Month><Day>30</Day><Hour>1</Hour><Minute>1</Minute>",
        "<Year>18</Year><Month>2</Month><Day>3</Day><Hour>1</Hour><Minute>1</Minute>",
        "<Year>2018</Year><Month>2</Month><Day>3</Day><Hour>25</Hour><Minute>1</Minute>",
    ],
)
def test_times_that_are_not_stated_or_impossible(tmp_path, observed):
    root = cardiosoft.document(cardiosoft.strip(TWELVE), observed=observed)
    assert read(tmp_path, root).patient.recorded_at is None


def test_nothing_of_the_patient_is_printed(tmp_path):
    root = cardiosoft.document(cardiosoft.strip(TWELVE), age=(61, "YEARS"))
    recording = read(tmp_path, root)
    assert recording.patient.age_years == 61
    assert "61" not in f"{recording.patient!r} {recording.notes!r} {recording.name}"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "ISO-8859-1", "windows-1252"])
@pytest.mark.parametrize("wrap", ["{}", "<a:Export xmlns:a='b' xmlns='c'>{}</a:Export>"])
def test_encodings_wrapped_roots_and_namespaces(tmp_path, encoding, wrap):
    root = wrap.format(cardiosoft.document(cardiosoft.strip(TWELVE)))
    recording = read(tmp_path, root, encoding=encoding)
    np.testing.assert_allclose(recording.read(0, 3000), ADC * 5e-3, atol=1e-6)
    assert recording.patient.age_years == 53


def test_the_reader_is_found_by_content(tmp_path):
    write(tmp_path, cardiosoft.document(cardiosoft.strip(TWELVE)))
    (tmp_path / "a.xml").write_text("<report>CardiologyXML</report>")
    assert [path.name for path in formats.find(tmp_path)] == ["x.xml"]


def test_entities_are_refused(tmp_path):
    root = cardiosoft.document(cardiosoft.strip(TWELVE))
    head = '<?xml version="1.0"?><!DOCTYPE CardiologyXML [<!ENTITY a "aa">]>'
    path = write(tmp_path, root, head=head)
    with pytest.raises(Defect) as caught:
        list(formats.open(path))
    assert caught.value.problem == "unreadable"
