"""Tests what recordings state about patients and times, and that no message repeats it."""

import contextlib
import datetime
import io
import lzma
import pathlib
import shutil

import benchmark_modules
import numpy as np
import pytest

from clef_jax import formats
from clef_jax.formats import Hints, Patient, _patient

seeds = benchmark_modules.load("fuzz_seeds")
REAL = pathlib.Path(__file__).parents[2] / "shared" / "data" / "original_files"
HINTS = Hints(sample_rate_hz=500, units="mV")
UTC = datetime.UTC


def at(*fields, **more):
    return datetime.datetime(*fields, **more)


def seed(name, number=0):
    chosen = seeds.write(name)[number]
    return chosen.opened, dict(chosen.files)


def opened(folder, name, files):
    for file, content in files.items():
        (folder / file).write_bytes(content)
    return list(formats.open(folder / name, HINTS))


def patient(folder, name, files):
    return opened(folder, name, files)[0].patient


@pytest.mark.parametrize(
    ("text", "years"),
    [
        ("63", 63),
        ("063Y", 63),
        ("018M", 1.5),
        ("26W", 0.498),
        ("10D", 0.027),
        ("63 years", 63),
        ("5,5 Jahre", 5.5),
        ("14 months", 1.167),
        (63.0, 63),
        (np.int64(63), 63),
        ("0", 0),
        ("300", None),
        ("-1", None),
        ("nan", None),
        ("63 male", None),
        ("unknown", None),
        ("", None),
        (None, None),
    ],
)
def test_ages_are_understood(text, years):
    assert _patient.age(text) == (None if years is None else pytest.approx(years, abs=1e-3))


@pytest.mark.parametrize(
    ("text", "is_male"),
    [
        *(("M", True), ("male", True), ("Männlich", True), ("F", False), (" Female ", False)),
        *(("O", None), ("U", None), ("unknown", None), ("", None), (0, None), (1, None)),
    ],
)
def test_sexes_are_understood_only_as_words(text, is_male):
    assert _patient.male(text) is is_male


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("20021122091000", at(2002, 11, 22, 9, 10)),
        ("200211220910", at(2002, 11, 22, 9, 10)),
        ("20021122091000.25", at(2002, 11, 22, 9, 10, 0, 250_000)),
        ("20021122091000.123456789Z", at(2002, 11, 22, 9, 10, 0, 123_456, tzinfo=UTC)),
        ("20021122091000+0100", at(2002, 11, 22, 8, 10, tzinfo=UTC)),
        *(("20021122", None), ("20021322091000", None), ("20021122096000", None), ("", None)),
        ("20021122091000+9900", None),
    ],
)
def test_times_are_understood(text, time):
    got = _patient.time(text)
    assert got == time
    assert got is None or (got.tzinfo is None) == (time.tzinfo is None)


def test_no_text_shows_a_patient():
    person = Patient(age_years=63.0, male=True, recorded_at=at(2002, 11, 22))
    for text in (str(person), repr(person)):
        assert not any(value in text for value in ("63", "True", "2002"))


@pytest.mark.parametrize(
    ("first", "comments", "want"),
    [
        ("10:01:02 23/07/2180", "# Age: 63\n# Sex: M", (63, True, at(2180, 7, 23, 10, 1, 2))),
        ("23-Jul-2020 10:01:02.5", "#Age:63\n#Gender: Female", (63, False, None)),
        ("2014-05-08 05:05:15 ", "#<age>: 63 <sex>: F <diagnoses>: x", (63, False, None)),
        ("10:01:02", "# 69 M 1085 1629 x1\n# Aldomet", (69, True, None)),
        ("", "# ? F 7", (None, False, None)),
        ("", "# Aldomet\n# 69 M", (69, True, None)),
        ("", "# 69 Menhirs\n# 70 M after lunch", (None, None, None)),
        ("25:01:02 23/07/2180", "# Age: NaN\n# Sex: Unknown", (None, None, None)),
        ("10:01:02 31/02/2180", "# Dosage: 50", (None, None, None)),
    ],
)
def test_wfdb_headers_state_age_sex_and_start(tmp_path, first, comments, want):
    name, files = seed("wfdb")
    head = files[name].decode().splitlines()
    files[name] = "\n".join([f"{head[0]} {first}", head[1], comments]).encode()
    got = patient(tmp_path, name, files)
    starts = {"23-Jul": at(2020, 7, 23, 10, 1, 2, 500_000), "2014": at(2014, 5, 8, 5, 5, 15)}
    start = next((time for key, time in starts.items() if first.startswith(key)), want[2])
    assert (got.age_years, got.male, got.recorded_at) == (*want[:2], start)


def test_segmented_wfdb_records_have_the_patient_of_their_own_header(tmp_path):
    name, files = seed("wfdb", -1)
    files[name] += b"# Age: 40\n# Sex: F\n"
    got = patient(tmp_path, name, files)
    assert (got.age_years, got.male) == (40, False)


def edf(patient="", recording="", date="01.01.26", time="10.00.00", number=0):
    name, files = seed("edf", number)
    fields = ((8, patient, 80), (88, recording, 80), (168, date, 8), (176, time, 8))
    for start, text, width in fields:
        content = text.encode("latin-1").ljust(width)
        files[name] = files[name][:start] + content + files[name][start + width :]
    return name, files


@pytest.mark.parametrize(
    ("fields", "want"),
    [
        (
            {"patient": "MCH-1 F 02-MAY-1951 Secret_Name", "recording": "Startdate 02-MAY-2011 X"},
            (60, False, at(2011, 5, 2, 10)),
        ),
        ({"patient": "X M X X", "date": "02.03.85"}, (None, True, at(1985, 3, 2, 10))),
        ({"patient": "X X X X", "date": "02.03.84"}, (None, None, at(2084, 3, 2, 10))),
        (
            {"recording": "Startdate 02-MAR-2101 X X X", "date": "02.03.yy", "time": "23.59.58"},
            (None, None, at(2101, 3, 2, 23, 59, 58)),
        ),
        # An anonymised file has a date of its own, which means nothing.
        ({"recording": "Startdate X X X X", "date": "01.01.85"}, (None, None, None)),
        ({"patient": "Male, born 1951", "date": "00.00.00"}, (None, None, None)),
        ({"patient": "X F 02-FOO-1951 X", "time": "25.00.00"}, (None, False, None)),
    ],
)
def test_edf_headers_state_age_sex_and_start(tmp_path, fields, want):
    got = patient(tmp_path, *edf(**fields))
    assert got.age_years == (None if want[0] is None else pytest.approx(want[0], abs=0.01))
    assert (got.male, got.recorded_at) == want[1:]


def test_the_first_data_record_of_edf_plus_adds_a_fraction_of_a_second(tmp_path):
    name, files = edf(date="02.03.20")
    assert files[name].count(b"+0.0\x14\x14") == 1
    files[name] = files[name].replace(b"+0.0\x14\x14\0\0", b"+0.25\x14\x14\0")
    assert patient(tmp_path, name, files).recorded_at == at(2020, 3, 2, 10, 0, 0, 250_000)


@pytest.mark.parametrize("number", [0, 1])
def test_annotations_of_edf_plus_are_not_repeated(tmp_path, number):
    name, files = edf("MCH-1 F 02-MAY-1951 Secret_Name", number=number)
    files[name] = files[name].replace(
        b"+0.2\x14\x14" + bytes(11), b"+0.2\x14\x14+0\x14Secret\x14\0"
    )
    assert b"Secret\x14" in files[name]
    (recording,) = opened(tmp_path, name, files)
    assert "Secret" not in repr(recording)
    files[name] = files[name][:-200] + bytes(200)  # the last data record states no time
    (tmp_path / name).write_bytes(files[name])
    with pytest.raises(formats.Defect) if number else contextlib.nullcontext() as caught:
        list(formats.open(tmp_path / name))
    assert caught is None or "Secret" not in str(caught.value)


def dicom(folder, number=0, group=(), **elements):
    pydicom = pytest.importorskip("pydicom")
    name, files = seed("dicom", number)
    dataset = pydicom.dcmread(io.BytesIO(files[name]))
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    for keyword, value in group:
        setattr(dataset.WaveformSequence[0], keyword, value)
    stream = io.BytesIO()
    dataset.save_as(stream)
    return patient(folder, name, {name: stream.getvalue()})


@pytest.mark.parametrize("number", [0, 1, 2])
def test_dicom_states_age_sex_and_time(tmp_path, number):
    got = dicom(
        tmp_path,
        number,
        PatientAge="063Y",
        PatientSex="F",
        PatientBirthDate="19900101",
        AcquisitionDateTime="20021122091000.5",
        StudyDate="20010101",
        StudyTime="010101",
        group=[("MultiplexGroupTimeOffset", "1500")],
    )
    assert (got.age_years, got.male) == (63, False)
    assert got.recorded_at == at(2002, 11, 22, 9, 10, 2)


def test_dicom_without_age_or_acquisition_has_those_of_birth_and_study(tmp_path):
    elements = {"StudyDate": "20021122", "StudyTime": "0910", "TimezoneOffsetFromUTC": "-0500"}
    got = dicom(tmp_path, PatientBirthDate="19521122", PatientSex="O", **elements)
    assert got.recorded_at == at(2002, 11, 22, 14, 10, tzinfo=UTC)
    assert (got.age_years, got.male) == (pytest.approx(50, abs=0.01), None)
    assert dicom(tmp_path, StudyDate="20021122") == Patient()


AECG = (
    '<effectiveTime><center value="20021122091000"/></effectiveTime><componentOf><timepointEvent>'
    "<componentOf><subjectAssignment><subject><trialSubject><subjectDemographicPerson>"
    '<name>Secret</name><administrativeGenderCode code="M"/><birthTime value="19531122"/>'
    "</subjectDemographicPerson></trialSubject></subject></subjectAssignment></componentOf>"
    "</timepointEvent></componentOf>"
)


@pytest.mark.parametrize(
    ("head", "series", "want"),
    [
        ("20021122091000.250", "", at(2002, 11, 22, 9, 10, 0, 250_000)),
        ("20021122", "20021122091001-0500", at(2002, 11, 22, 14, 10, 1, tzinfo=UTC)),
        ("20021122", "2002", at(2002, 11, 22, 9, 10)),
    ],
)
def test_annotated_ecgs_state_age_sex_and_time(tmp_path, head, series, want):
    name, files = seed("hl7_aecg")
    text = files[name].decode().replace("<component><series>", f"{AECG}<component><series>", 1)
    low = f'<series><effectiveTime><low value="{series}"/></effectiveTime>'
    text = text.replace("<series>", low, 1).replace('head value="20260101"', f'head value="{head}"')
    (recording,) = opened(tmp_path, name, {name: text.encode()})
    assert recording.patient.recorded_at == want
    assert recording.patient.age_years == pytest.approx(49, abs=0.01)
    assert recording.patient.male is True
    assert "Secret" not in repr(recording)
    assert opened(tmp_path, *seed("hl7_aecg"))[0].patient == Patient()


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(
    ("stated", "want"),
    [
        ({"sex": "Male", "age": 63}, (63, True)),
        ({"Gender": "female", "Age": "63 years"}, (63, False)),
        ({"sex": 1, "age": -1}, (None, None)),
        ({"sex": "Männlich"}, (None, True)),
        ({}, (None, None)),
    ],
)
def test_matlab_files_state_age_and_sex(tmp_path, compressed, stated, want):
    import scipy.io

    signal = np.random.default_rng(0).normal(size=(2, 600))
    for content in ({"ECG": {"data": signal, "fs": "500", **stated}}, {"val": signal, **stated}):
        path = tmp_path / "x.mat"
        scipy.io.savemat(path, content, do_compression=compressed)
        (recording,) = formats.open(path, Hints(units="mV", sample_rate_hz=500))
        assert (recording.patient.age_years, recording.patient.male) == want
        assert (recording.part, recording.sample_rate_hz) == ("", 500)
        np.testing.assert_array_equal(recording.read(0, 600), signal.astype(np.float32))


@pytest.mark.skipif(not REAL.is_dir(), reason="the recordings are beside the repository")
def test_real_recordings_state_their_patients(tmp_path):
    def first(path):
        return next(formats.open(path)).patient

    pytest.importorskip("pydicom")
    start = at(2002, 11, 22, 9, 10)
    assert first(REAL / "hospital/example.dcm") == Patient(male=True, recorded_at=start)
    aecg = tmp_path / "example.xml"
    aecg.write_bytes(lzma.decompress((REAL / "hospital/example_aecg.xml.xz").read_bytes()))
    got = first(aecg)
    assert (got.male, got.recorded_at) == (True, start)
    assert got.age_years == pytest.approx(49.54, abs=0.01)
    assert first(REAL / "chapman_ningbo/JS20000.hea") == Patient(age_years=84, male=False)
    assert first(REAL / "mitbih/100.hea") == Patient(age_years=69, male=True)
    start = at(2020, 2, 5, 11, 39, 16)
    assert first(REAL / "cpsc2018/A0001.hea") == Patient(age_years=74, male=True, recorded_at=start)
    shutil.copy(REAL / "cinc2017/A00001.hea", tmp_path)
    shutil.copy(REAL / "cinc2017/A00001.mat", tmp_path)
    assert first(tmp_path / "A00001.hea") == Patient(recorded_at=at(2014, 5, 8, 5, 5, 15))
