"""Tests ECGs of KardiaMobile, Fitbit and Withings as their interfaces and exports describe them."""

import datetime
import json

import benchmark_modules
import numpy as np
import pytest

from clef_jax import formats
from clef_jax.finding import Defect

benchmark_modules.load("fuzz_seeds")
kardia, fitbit, withings = (
    benchmark_modules.load(f"fuzz_seeds.{name}") for name in ("kardia", "fitbit", "withings")
)
DATA = np.random.default_rng(0).integers(-3000, 3000, (6, 900))


def write(tmp_path, document, name="x.json"):
    path = tmp_path / name
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return path


def read(path, hints=None):
    return list(formats.open(path, hints))


def signal(opened):
    return opened.read(0, opened.num_samples)


def problem(path, hints=None):
    with pytest.raises(Defect) as caught:
        read(path, hints)
    assert caught.value.detail.endswith(".")
    assert "Jane" not in caught.value.detail
    return caught.value.problem


def block(num_leads=6, offset=0, **more):
    rows = zip(kardia.LEADS[:num_leads], DATA + offset, strict=False)
    more = {"amplitudeResolution": 500, **more}
    return kardia.block({lead: row.tolist() for lead, row in rows}, **more)


def test_kardia_raw_samples_are_preferred(tmp_path):
    (opened,) = read(write(tmp_path, kardia.document(raw=block(), enhanced=block(offset=9))))
    assert opened.lead_names == ("I", "II", "III", "aVR", "aVL", "aVF")
    assert (opened.sample_rate_hz, opened.unit_known, opened.notes) == (300, True, ())
    np.testing.assert_allclose(signal(opened), DATA / 2000, rtol=1e-6)
    zone = datetime.timezone(datetime.timedelta(hours=5, minutes=30))
    assert opened.patient.recorded_at == datetime.datetime(2021, 4, 16, 15, 19, 9, tzinfo=zone)


def test_kardia_filtered_samples_are_noted(tmp_path):
    (opened,) = read(write(tmp_path, kardia.document(enhanced=block(1))))
    assert opened.lead_names == ("I",)
    assert [note.problem for note in opened.notes] == ["device_filter"]


def test_kardia_without_resolution_has_no_unit(tmp_path):
    document = kardia.document(raw=block(1, amplitudeResolution=None))
    (opened,) = read(write(tmp_path, document))
    assert not opened.unit_known
    (opened,) = read(write(tmp_path, document), formats.Hints(gain_per_mv=2000))
    np.testing.assert_allclose(signal(opened), DATA[:1] / 2000, rtol=1e-6)


def test_kardia_refusals(tmp_path):
    assert problem(write(tmp_path, {**kardia.document(), "data12L": {}})) == "no_ecg_lead"
    assert problem(write(tmp_path, kardia.document(raw=block(frequency=None)))) == "no_rate"
    assert (
        problem(write(tmp_path, kardia.document(raw=block(amplitudeResolution=0)))) == "wrong_units"
    )
    uneven = block()
    uneven["samples"]["AVR"] = [1, 2]
    assert problem(write(tmp_path, kardia.document(raw=uneven))) == "wrong_length"
    uneven["samples"]["AVR"] = ["x"] * 900
    assert problem(write(tmp_path, kardia.document(raw=uneven))) == "unreadable"


def test_fitbit_readings_are_recordings(tmp_path):
    newer = {"interval": {"startTime": "2025-01-02T03:04:05Z"}, "startTime": None}
    newer |= {"samplingFrequencyHz": None, "samplingFrequencyHertz": 125}
    newer |= {"scalingFactor": None, "millivoltsScalingFactor": 1000}
    log = {"ecgReadings": [fitbit.reading(DATA[0]), fitbit.reading(DATA[1], **newer)]}
    first, second = read(write(tmp_path, log))
    assert [first.name, second.name] == ["x.json#0", "x.json#1"]
    assert first.lead_names == second.lead_names == ("I",)
    assert (first.sample_rate_hz, second.sample_rate_hz) == (250, 125)
    np.testing.assert_allclose(signal(first), DATA[:1] / 10922, rtol=1e-6)
    np.testing.assert_allclose(signal(second), DATA[1:2] / 1000, rtol=1e-6)
    assert second.patient.recorded_at == datetime.datetime(2025, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)


def test_one_bad_reading_does_not_hide_the_others(tmp_path):
    bad = fitbit.reading(DATA[0], scalingFactor=-1)
    opened = formats.open(write(tmp_path, {"ecgReadings": [bad, fitbit.reading(DATA[1])]}))
    assert next(opened).num_samples == 900
    with pytest.raises(Defect) as caught:
        next(opened)
    assert caught.value.problem == "wrong_units"
    assert "1 of 2" in caught.value.detail


@pytest.mark.parametrize("quote", ['"', ""])
def test_withings_units_follow_the_position_of_the_device(tmp_path, quote):
    rows = [
        withings.row(DATA[0], 0, quote=quote),
        withings.row(DATA[1] / 1000, 2, quote=quote),
        withings.row(DATA[2], 9, quote=quote),
    ]
    path = write(tmp_path, "\r\n".join([withings.COLUMNS, *rows]), "signal.csv")
    opened = read(path)
    assert [item.name for item in opened] == [f"signal.csv#{number}" for number in range(3)]
    assert {item.lead_names for item in opened} == {("I",)}
    assert {item.sample_rate_hz for item in opened} == {300}
    for item, row in zip(opened[:2], DATA, strict=False):
        np.testing.assert_allclose(signal(item)[0], row / 1000, rtol=1e-6, atol=1e-9)
    assert [item.unit_known for item in opened] == [True, True, False]


def test_withings_rows_that_are_damaged_are_counted(tmp_path):
    rows = [withings.row(DATA[0])[:-500], withings.row(DATA[1]), "2020,ECG,300"]
    path = write(tmp_path, "\n".join([withings.COLUMNS, *rows]), "signal.csv")
    opened = formats.open(path)
    assert next(opened).name == "signal.csv#1"
    with pytest.raises(Defect) as caught:
        next(opened)
    assert "2 of 3" in caught.value.detail
