"""Tests what surrounds the samples in GE MUSE XML files: patients, times, encodings, wrappers."""

import datetime

import benchmark_modules
import encoded_files
import numpy as np
import pytest

from clef_jax import formats
from clef_jax.finding import Defect

benchmark_modules.load("fuzz_seeds")
muse = benchmark_modules.load("fuzz_seeds.ge_muse")
files = encoded_files.Files(muse.encode)
read, write = files.read, files.write
ADC = np.random.default_rng(0).integers(-2000, 2000, (8, 1500))
MV = ADC * 4.88e-3


def rhythm(**changed):
    """The eight usual leads; keywords replace what every lead states."""
    return [muse.lead(name, row, **changed) for name, row in zip(muse.EIGHT, ADC, strict=True)]


@pytest.mark.parametrize(
    ("patient", "age_years"),
    [
        ({}, 63),
        ({"PatientAge": 18, "AgeUnits": "MONTHS"}, 1.5),
        ({"PatientAge": 0}, 63.42),
        ({"PatientAge": None}, 63.42),
        ({"PatientAge": 5, "AgeUnits": "HOURS", "DateofBirth": None}, None),
        ({"PatientAge": 400, "DateofBirth": "01-01-1850"}, None),
        ({"PatientAge": "unknown", "DateofBirth": "15-MAR-1961"}, 63.42),
    ],
)
def test_age(tmp_path, patient, age_years):
    recording = read(tmp_path, muse.document(muse.waveform(*rhythm()), patient=patient))
    assert recording.patient.age_years == pytest.approx(age_years, abs=0.01)


@pytest.mark.parametrize(
    ("gender", "male"), [("MALE", True), ("Female", False), ("M", True), ("UNKNOWN", None)]
)
def test_sex(tmp_path, gender, male):
    root = muse.document(muse.waveform(*rhythm()), patient={"Gender": gender})
    assert read(tmp_path, root).patient.male is male


@pytest.mark.parametrize(
    ("date", "time", "expected"),
    [
        ("08-17-2024", "09:15:11", (2024, 8, 17, 9, 15, 11)),
        ("03/04/2024", "09:15", (2024, 3, 4, 9, 15)),
        ("17-08-2024", "2:15 PM", (2024, 8, 17, 14, 15)),
        ("2024-08-17", "091511", (2024, 8, 17, 9, 15, 11)),
        ("17-AUG-2024", "12:00:00 AM", (2024, 8, 17, 0, 0)),
        ("02-31-2024", "09:15:11", None),
        ("08-17-2024", "25:15:11", None),
        ("08-17-2024", None, None),
    ],
)
def test_times(tmp_path, date, time, expected):
    test = {"AcquisitionDate": date, "AcquisitionTime": time}
    recording = read(tmp_path, muse.document(muse.waveform(*rhythm()), test=test))
    assert recording.patient.recorded_at == (expected and datetime.datetime(*expected))


def test_nothing_of_the_patient_is_printed(tmp_path):
    recording = read(tmp_path, muse.document(muse.waveform(*rhythm()), patient={"PatientAge": 61}))
    assert recording.patient.age_years == 61
    assert "61" not in f"{recording.patient!r} {recording.notes!r} {recording.name}"


@pytest.mark.parametrize(
    "wrap",
    [
        "<Export><ECGs>{}</ECGs></Export>",
        "<soap:Envelope xmlns:soap='http://a'><soap:Body>{}</soap:Body></soap:Envelope>",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "ISO-8859-1"])
def test_wrapped_and_otherwise_encoded_documents(tmp_path, wrap, encoding):
    root = wrap.format(muse.document(muse.waveform(*rhythm())))
    recording = read(tmp_path, root, encoding=encoding, head=muse.HEAD.split("\n")[0])
    np.testing.assert_allclose(recording.read(0, 1500)[0], MV[0], atol=1e-6)


def test_a_namespace_a_prefix_and_other_cases_do_not_matter(tmp_path):
    root = muse.document(muse.waveform(*rhythm()))
    plain = root.replace("<RestingECG>", '<RestingECG xmlns="urn:muse">', 1)
    prefixed = root.replace("</", "</m:").replace("<", "<m:").replace("<m:/m:", "</m:")
    prefixed = prefixed.replace("<m:RestingECG>", '<m:RestingECG xmlns:m="urn:muse">', 1)
    for text in (plain, prefixed, root.replace("WaveFormData", "WaveformData")):
        recording = read(tmp_path, text)
        np.testing.assert_allclose(recording.read(0, 1500)[0], MV[0], atol=1e-6)
        assert recording.patient.male is False


def test_several_documents_in_one(tmp_path):
    one = muse.document(muse.waveform(*rhythm()), patient={"Gender": "MALE"})
    two = muse.document(muse.waveform(muse.lead("V1", ADC[5])))
    path = write(tmp_path, f"<Export>{one}{two}</Export>", head=muse.HEAD.split("\n")[0])
    recordings = list(formats.open(path))
    assert [recording.patient.male for recording in recordings] == [True, False]


def test_the_reader_is_found_by_content(tmp_path):
    write(tmp_path, muse.document(muse.waveform(*rhythm())))
    others = {
        "a.xml": "<html>RestingECG</html>",
        "c.xml": "notes on <RestingECG> and its elements",
        "b.xml": '<xs:schema xmlns:xs="x"><xs:element name="RestingECG"/></xs:schema>',
    }
    for name, text in others.items():
        (tmp_path / name).write_text(text)
    assert [path.name for path in formats.find(tmp_path)] == ["x.xml"]


def test_entities_are_refused(tmp_path):
    head = '<?xml version="1.0"?><!DOCTYPE RestingECG [<!ENTITY a SYSTEM "file:///etc/passwd">]>'
    path = write(tmp_path, muse.document(muse.waveform(*rhythm())), head=head)
    with pytest.raises(Defect) as caught:
        list(formats.open(path))
    assert caught.value.problem == "unreadable"


def test_an_independent_reader_agrees(tmp_path):
    parsers = pytest.importorskip("ecgdatakit.parsing.parsers.ge_muse_xml")
    median = muse.waveform(muse.lead("I", ADC[7, :600]), kind="Median")
    path = write(tmp_path, muse.document(median, muse.waveform(*rhythm())))
    theirs = parsers.GEMuseXMLParser().parse(path)
    (ours,) = formats.open(path)
    signal = dict(zip(ours.lead_names, ours.read(0, 1500), strict=True))
    assert len(theirs.leads) == 8
    for lead in theirs.leads:
        assert lead.resolution_unit == "uV"
        expected = lead.samples * lead.resolution / 1000
        np.testing.assert_allclose(signal[lead.label], expected, atol=1e-6)
        assert lead.sampling_rate == ours.sample_rate_hz
    assert theirs.patient.age == ours.patient.age_years
    assert theirs.recording.date == ours.patient.recorded_at
