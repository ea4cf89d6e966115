"""Tests Observations of HL7 FHIR that are written here as the specification defines them."""

import datetime
import json

import benchmark_modules
import numpy as np
import pytest

from clef_jax import formats
from clef_jax.finding import Defect

fuzz_seeds = benchmark_modules.load("fuzz_seeds")
fhir = benchmark_modules.load("fuzz_seeds.fhir")
DATA = np.random.default_rng(0).integers(-500, 500, (3, 400))


def write(tmp_path, document, name="x.json", encoding="utf-8"):
    path = tmp_path / name
    path.write_text(json.dumps(document), encoding)
    return path


def read(path, hints=None):
    return list(formats.open(path, hints))


def one(path, hints=None):
    (opened,) = read(path, hints)
    return opened


def signal(opened):
    return opened.read(0, opened.num_samples)


def problems(opened):
    return {note.problem for note in opened.notes}


def refusal(path, hints=None):
    with pytest.raises(Defect) as caught:
        read(path, hints)
    assert caught.value.detail.endswith(".")
    return caught.value


def test_origin_factor_and_gaps(tmp_path):
    values = [*DATA[0, :5], "E", "U", "L", *DATA[0, 8:]]
    leads = (
        fhir.component("I", values, origin=10, factor=2.5),
        fhir.component("aVR", DATA[1], unit="mV", origin=-0.5, factor=0.001),
    )
    opened = one(write(tmp_path, fhir.observation(*leads)))
    assert opened.lead_names == ("I", "aVR")
    assert (opened.sample_rate_hz, opened.num_samples, opened.unit_known) == (500, 400, True)
    expected = np.stack([(10 + 2.5 * DATA[0]) / 1000, -0.5 + DATA[1] / 1000])
    expected[0, 5:8] = np.nan
    np.testing.assert_allclose(signal(opened), expected, rtol=1e-6, atol=1e-7)
    assert not opened.notes


@pytest.mark.parametrize(
    ("fields", "rate"),
    [
        ({"period": 10}, 100),
        ({"period": 1.953125}, 512),
        ({"period": 1.9507740}, 512.617043),
        ({"period": 3.33}, 300),
        ({"period": 2.0}, 500),
        ({"period": None, "interval": 4, "intervalUnit": "ms"}, 250),
        ({"period": None, "interval": 0.004, "intervalUnit": "s"}, 250),
        ({"period": None, "interval": 2000, "intervalUnit": "us"}, 500),
    ],
)
def test_rates(tmp_path, fields, rate):
    document = fhir.observation(fhir.component("II", DATA[0], **fields))
    assert one(write(tmp_path, document)).sample_rate_hz == pytest.approx(rate, abs=1e-6)


def test_dimensions_are_interleaved(tmp_path):
    document = fhir.observation()
    document["valueSampledData"] = fhir.sampled(DATA.T.reshape(-1), dimensions=3)
    opened = one(write(tmp_path, document), formats.Hints(lead_names=("I", "II", "V5")))
    assert opened.lead_names == ("I", "II", "V5")
    np.testing.assert_allclose(signal(opened), DATA / 1000, rtol=1e-6)
    document["code"]["text"] = "I, II, III"
    assert one(write(tmp_path, document)).lead_names == ("I", "II", "III")
    document["valueSampledData"]["dimensions"] = 7
    assert refusal(write(tmp_path, document)).problem == "wrong_length"


@pytest.mark.parametrize(
    ("code", "name"),
    [
        (fhir.concept((131389, "")), "III"),
        (fhir.concept((131336, "x")), "V6"),
        (fhir.concept(("MDC_ECG_LEAD_AVF", "")), "aVF"),
        (fhir.concept(("MDC_ECG_ELEC_POTL_V2", "")), "V2"),
        (fhir.concept(("a", "MDC ECG LEAD II")), "II"),
        (fhir.concept(text="Lead aVL"), "aVL"),
        (fhir.concept(text="EKG, Ableitung III"), "III"),
        (fhir.concept(("HKElectrocardiogram", "Electrocardiogram")), "I"),
        (fhir.concept((131328, "MDC ECG ELECTRICAL POTENTIAL")), ""),
    ],
)
def test_names_of_leads(tmp_path, code, name):
    component = {"code": code, "valueSampledData": fhir.sampled(DATA[0])}
    assert one(write(tmp_path, fhir.observation(component))).lead_names == (name,)


def test_pieces_of_an_apple_watch_are_joined(tmp_path):
    parts = [fhir.component("I", piece, period=1.953125) for piece in np.split(DATA[0], 4)]
    parts.insert(0, {"code": fhir.concept(text="Average heart rate"), "valueQuantity": {}})
    opened = one(write(tmp_path, fhir.observation(*parts)))
    assert opened.lead_names == ("I",)
    np.testing.assert_allclose(signal(opened), DATA[:1] / 1000, rtol=1e-6)
    assert problems(opened) == {"joined_segments"}


def test_other_signals_are_excluded(tmp_path):
    pulse = fhir.concept((150452, "MDC_PULS_OXIM_PLETH"))
    other = {"code": pulse, "valueSampledData": fhir.sampled(DATA[1, :9], period=8)}
    opened = one(write(tmp_path, fhir.observation(fhir.component("I", DATA[0]), other)))
    assert opened.lead_names == ("I",)
    assert "other_signal" in problems(opened)
    alone = fhir.observation(other, code=pulse)
    assert refusal(write(tmp_path, alone)).problem == "no_ecg_lead"


def test_offsets_give_the_rate_and_the_gaps(tmp_path):
    offsets = np.delete(np.arange(403) * 2.0, [7, 8, 9])
    fields = {"period": None, "offsets": " ".join(map(str, offsets))}
    opened = one(write(tmp_path, fhir.observation(fhir.component("I", DATA[0], **fields))))
    assert (opened.sample_rate_hz, opened.num_samples) == (500, 403)
    expected = np.insert(DATA[0] / 1000, [7, 7, 7], np.nan)
    np.testing.assert_allclose(signal(opened)[0], expected, rtol=1e-6)
    offsets[50] += 0.7
    fields["offsets"] = " ".join(map(str, offsets))
    uneven = fhir.observation(fhir.component("I", DATA[0], **fields))
    assert refusal(write(tmp_path, uneven)).problem == "uneven_time"


def test_codes_of_the_file_are_missing_samples(tmp_path):
    values = ["artifact", *DATA[0, 1:]]
    mapped = fhir.observation(fhir.component("I", values, codeMap="http://example.org/map"))
    opened = one(write(tmp_path, mapped))
    assert np.isnan(signal(opened)[0, 0])
    np.testing.assert_allclose(signal(opened)[0, 1:], DATA[0, 1:] / 1000, rtol=1e-6)
    assert problems(opened) == {"coded_samples"}
    plain = fhir.observation(fhir.component("I", values))
    assert refusal(write(tmp_path, plain)).problem == "unreadable"


def test_bundles_have_a_recording_for_each_observation_and_patients(tmp_path):
    patient = {"resourceType": "Patient", "id": "p", "gender": "female", "birthDate": "1950-02-19"}
    pressure = {"resourceType": "Observation", "valueQuantity": {"value": 120}}
    by_id = fhir.observation(
        fhir.component("I", DATA[0]), subject={"reference": "http://example.org/r4/Patient/p"}
    )
    by_url = fhir.observation(
        fhir.component("II", DATA[1]),
        subject={"reference": "urn:uuid:0"},
        effectiveDateTime=None,
        effectivePeriod={"start": "2020-02-20T00:00:00Z", "end": "2020-02-20T00:00:30Z"},
    )
    path = write(tmp_path, fhir.bundle(patient, pressure, by_id, by_url))
    first, second = read(path)
    assert [first.name, second.name] == ["x.json#0", "x.json#1"]
    assert first.patient.male is second.patient.male is False
    assert first.patient.age_years == pytest.approx(65, abs=0.01)
    assert second.patient.age_years == pytest.approx(70, abs=0.01)
    zone = datetime.timezone(datetime.timedelta(hours=1))
    assert first.patient.recorded_at == datetime.datetime(2015, 2, 19, 9, 30, 35, tzinfo=zone)
    assert second.patient.recorded_at == datetime.datetime(2020, 2, 20, tzinfo=datetime.UTC)


def test_patients_of_others_are_not_used(tmp_path):
    patient = {"resourceType": "Patient", "id": "p", "gender": "male", "birthDate": "1950-02-19"}
    document = fhir.observation(fhir.component("I", DATA[0]), subject={"reference": "Patient/q"})
    opened = one(write(tmp_path, fhir.bundle(patient, document)))
    assert opened.patient.age_years is opened.patient.male is None
    document |= {"contained": [{**patient, "id": "c"}], "subject": {"reference": "#c"}}
    assert one(write(tmp_path, document)).patient.male is True


def test_lines_are_documents(tmp_path):
    patient = {"resourceType": "Patient", "id": "p", "gender": "male"}
    ecg = fhir.observation(fhir.component("I", DATA[0]), subject={"reference": "Patient/p"})
    lines = [json.dumps(item) for item in (ecg, ecg, patient)]
    for name in ("x.ndjson", "x.json"):
        path = tmp_path / name
        path.write_text("\r\n".join(lines))
        assert [opened.patient.male for opened in read(path)] == [True, True]


def test_one_bad_observation_does_not_hide_the_others(tmp_path):
    good = fhir.observation(fhir.component("I", DATA[0]))
    bad = fhir.observation(fhir.component("I", DATA[0], period=0))
    path = tmp_path / "x.ndjson"
    path.write_text("\n".join([json.dumps(bad), "{", json.dumps(good)]))
    opened = formats.open(path)
    assert signal(next(opened)).shape == (1, 400)
    with pytest.raises(Defect) as caught:
        next(opened)
    assert caught.value.problem == "wrong_rate"
    assert "2 of 3" in caught.value.detail


def test_xml_is_read_as_json(tmp_path):
    patient = {"resourceType": "Patient", "id": "p", "gender": "female", "birthDate": "1950-02-19"}
    leads = fhir.component("I", DATA[0], period=3.33), fhir.component("II", DATA[1], period=3.33)
    ecg = fhir.observation(*leads, subject={"reference": "Patient/p"})
    contained = {**ecg, "contained": [{**patient, "id": "c"}], "subject": {"reference": "#c"}}
    document = fhir.bundle(patient, ecg, contained)
    (path := tmp_path / "x.xml").write_text(fhir.to_xml(document))
    for opened, same in zip(read(path), read(write(tmp_path, document)), strict=True):
        assert opened.lead_names == same.lead_names == ("I", "II")
        assert opened.sample_rate_hz == same.sample_rate_hz == 300
        np.testing.assert_array_equal(signal(opened), signal(same))
        assert opened.patient == same.patient
        assert opened.patient.male is False
    path.write_text(fhir.to_xml({"resourceType": "Observation", "valueQuantity": {"value": 1}}))
    assert formats.find_format(path) is None


def test_refusals(tmp_path):
    def problem(*components, **more):
        return refusal(write(tmp_path, fhir.observation(*components, **more))).problem

    good = fhir.component("I", DATA[0])
    assert problem(good, status="entered-in-error") == "entered_in_error"
    assert problem(fhir.component("I", DATA[0], unit="mm[Hg]")) == "wrong_units"
    assert problem(fhir.component("I", DATA[0], period=None)) == "no_rate"
    assert problem(fhir.component("I", DATA[0], period="x")) == "unreadable"
    assert problem(fhir.component("I", ["0,5", "0,6"])) == "unreadable"
    assert problem(fhir.component("I", ["nan", "1"])) == "unreadable"
    assert problem(fhir.component("I", [])) == "empty"
    assert problem(good, fhir.component("II", DATA[0], period=4)) == "wrong_rate"
    assert problem(good, fhir.component("II", DATA[0, :9])) == "wrong_length"


def test_units_that_are_not_stated(tmp_path):
    document = fhir.observation(fhir.component("I", DATA[0], unit=""))
    opened = one(write(tmp_path, document))
    assert not opened.unit_known
    assert problems(opened) == {"unknown_units"}
    opened = one(write(tmp_path, document), formats.Hints(units="uV"))
    np.testing.assert_allclose(signal(opened)[0], DATA[0] / 1000, rtol=1e-6)


def test_values_outside_the_stated_limits_are_reported(tmp_path):
    component = fhir.component("I", DATA[0], origin=2048, lowerLimit=-600, upperLimit=600)
    assert problems(one(write(tmp_path, fhir.observation(component)))) == {"outside_limits"}


def test_only_json_with_samples_is_a_recording(tmp_path):
    for document in (
        {"resourceType": "Observation", "valueQuantity": {"value": 1}},
        {"resourceType": "Patient", "id": "x"},
        {"signals": [1, 2, 3]},
        [1, 2, 3],
    ):
        assert formats.find_format(write(tmp_path, document)) is None


def test_types_may_follow_the_samples(tmp_path):
    document = fhir.observation(fhir.component("I", np.tile(DATA[0], 2000)))
    document = dict(sorted(document.items()))
    for encoding in ("utf-8-sig", "utf-16"):
        assert one(write(tmp_path, document, encoding=encoding)).num_samples == 800_000


def test_nesting_and_numbers_of_objects_are_bounded(tmp_path):
    path = tmp_path / "x.json"
    start = '{"resourceType": "Observation", "valueSampledData": {}, "x": '
    for bomb in ("[" * 500_000, f"[{'{},' * 1_000_001}{{}}]}}"):
        path.write_text(start + bomb)
        assert refusal(path).problem in ("too_large", "unreadable")
