"""Tests ECGs as Apple Health exports them, in several languages."""

import datetime

import benchmark_modules
import numpy as np
import pytest

from clef_jax import formats
from clef_jax.finding import Defect

benchmark_modules.load("fuzz_seeds")
apple = benchmark_modules.load("fuzz_seeds.apple_health")
SAMPLES = np.random.default_rng(0).normal(size=2000).cumsum().round(3) * 20


def write(tmp_path, text, encoding="utf-8", name="ecg_2020-02-05.csv"):
    path = tmp_path / name
    path.write_bytes(text.encode(encoding))
    return path


def one(path, hints=None):
    (opened,) = formats.open(path, hints)
    return opened


def assert_read(opened, rate=512.0, samples=SAMPLES):
    assert opened.lead_names == ("I",)
    assert opened.sample_rate_hz == rate
    assert opened.unit_known
    np.testing.assert_allclose(
        opened.read(0, len(samples))[0], samples / 1000, rtol=1e-6, atol=1e-6
    )
    assert opened.num_samples == len(samples)
    assert not opened.notes


@pytest.mark.parametrize("language", apple.LANGUAGES)
@pytest.mark.parametrize(("decimal", "quoted"), [(".", False), (",", False), (",", True)])
def test_languages_and_decimal_signs(tmp_path, language, decimal, quoted):
    rate = f"511{decimal}9"
    text = apple.export(SAMPLES, language, decimal=decimal, quoted=quoted, rate=rate)
    assert_read(one(write(tmp_path, text)), 511.9)


@pytest.mark.parametrize(("decimal", "ending"), [(".", ","), (",", ","), (",", ";;"), (".", ",,")])
def test_lines_may_end_with_empty_columns_and_have_a_long_minus(tmp_path, decimal, ending):
    head, *samples = apple.export(SAMPLES, "de", decimal=decimal).rsplit("\n\n", 1)
    lines = [f"{line}{ending}" for line in samples[0].split()]
    assert_read(one(write(tmp_path, "\n\n".join([head, "\n".join(lines).replace("-", "\u2212")]))))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_encodings_and_line_ends(tmp_path, encoding, newline):
    text = apple.export(SAMPLES, "de", decimal=",", born="05.02.1952", newline=newline)
    assert_read(one(write(tmp_path, text, encoding)))


@pytest.mark.parametrize(
    "spelling", ["512 hertz", "512 Hz", "512.000 Hz", "512 Hertz", "512Hz", "512 unknown"]
)
def test_spellings_of_the_rate(tmp_path, spelling):
    text = apple.export(SAMPLES).replace("512 hertz", spelling)
    assert_read(one(write(tmp_path, text)))


def test_rates_with_a_comma_that_is_not_quoted(tmp_path):
    text = apple.export(SAMPLES, "de", decimal=",").replace("512 Hertz", "512,844 Hertz")
    assert_read(one(write(tmp_path, text)), 512.844)


def test_heart_rate_below_the_unit(tmp_path):
    assert_read(one(write(tmp_path, apple.export(SAMPLES, late="Average Heart Rate,64 bpm"))))


def test_thousands_are_grouped(tmp_path):
    samples = SAMPLES * 10
    assert np.abs(samples).max() > 2000
    for decimal, sign in ((".", ","), (",", ".")):
        text = apple.export([], "en")
        numbers = [f"{value:,.3f}" for value in samples]
        swap = str.maketrans(",.", f"{sign}{decimal}")
        text += "\n".join(f'"{number.translate(swap)}"' for number in numbers)
        assert_read(one(write(tmp_path, text)), samples=samples)


@pytest.mark.parametrize(
    "born",
    [
        *('"Feb 5, 1952"', "5 Feb 1952", "05.02.1952", "1952-02-05", "5 févr. 1952", "5 feb 1952"),
        *("5 de fevereiro de 1952", "5 febbraio 1952", '"5. Februar 1952"', "5 februari 1952"),
    ],
)
def test_patient(tmp_path, born):
    patient = one(write(tmp_path, apple.export(SAMPLES, born=born))).patient
    assert patient.age_years == pytest.approx(68, abs=0.01)
    assert patient.male is None
    zone = datetime.timezone(datetime.timedelta(hours=1))
    assert patient.recorded_at == datetime.datetime(2020, 2, 5, 9, 14, 40, tzinfo=zone)


@pytest.mark.parametrize(
    ("born", "is_known"), [("02/05/1952", False), ("25/12/1951", True), ("x", False), ("", False)]
)
def test_dates_that_are_ambiguous_are_not_used(tmp_path, born, is_known):
    patient = one(write(tmp_path, apple.export(SAMPLES, born=born))).patient
    assert (patient.age_years is not None) == is_known


def test_headers_without_lead_and_unit(tmp_path):
    text = apple.export(SAMPLES).replace("Lead,Lead I\n", "").replace("Unit,µV\n", "")
    opened = one(write(tmp_path, text))
    assert opened.lead_names == ("I",)  # the watch has no other
    assert not opened.unit_known
    assert_read(one(write(tmp_path, text), formats.Hints(units="uV")))


def test_values_of_the_header_are_in_no_message(tmp_path):
    text = apple.export(SAMPLES) + "Jane Doe,1\n"
    with pytest.raises(Defect) as caught:
        one(write(tmp_path, text))
    assert caught.value.problem == "unreadable"
    assert "Jane" not in caught.value.detail


def test_tables_keep_their_reader(tmp_path):
    rows = "\n".join(f"{number},{-number}" for number in range(100))
    for heading in ("Sample Rate,500 Hz\nUnit,uV\nDevice,x\nI,II", "a,1\nb,500 Hz\nc,uV\nTime,ECG"):
        path = write(tmp_path, f"{heading}\n{rows}\n")
        assert formats.find_format(path) is formats.load()["csv_table"]
