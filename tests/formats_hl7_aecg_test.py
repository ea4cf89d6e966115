"""Tests HL7 aECG files that are written here as the standard defines them."""

import numpy as np
import pytest

from clef_jax import formats
from clef_jax.finding import Defect

DIGITS = np.random.default_rng(0).integers(-500, 500, (2, 300))
TIME = (
    '<component><sequence><code code="TIME_ABSOLUTE"/><value xsi:type="GLIST_TS">'
    '<head value="20020101"/><increment value="{step}" unit="{unit}"/>'
    "</value></sequence></component>"
)
LEAD = (
    '<component><sequence><code code="MDC_ECG_LEAD_{lead}"/><value xsi:type="SLIST_PQ">'
    '<origin value="{origin}" unit="{unit}"/><scale value="{scale}" unit="{unit}"/>'
    "<digits>{digits}</digits></value></sequence></component>"
)
ROOT = (
    '<?xml version="1.0" encoding="UTF-8"?>{head}\n'
    '<AnnotatedECG xmlns="urn:hl7-org:v3" '
    'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">'
    "<subject>Jane Doe</subject>{series}</AnnotatedECG>"
)


def time(step="0.002", unit="s"):
    return TIME.format(step=step, unit=unit)


def lead(name, digits, unit="uV", scale="5", origin="0"):
    text = " ".join(map(str, digits))
    return LEAD.format(lead=name, digits=text, unit=unit, scale=scale, origin=origin)


def series(*sequences, derived=""):
    inside = "".join(sequences)
    return (
        '<component><series><code code="RHYTHM"/>'
        f"<component><sequenceSet>{inside}</sequenceSet></component>{derived}</series></component>"
    )


def write(tmp_path, *all_series, head=""):
    path = tmp_path / "x.xml"
    path.write_text(ROOT.format(head=head, series="".join(all_series)))
    return path


def refusal(path):
    with pytest.raises(Defect) as caught:
        list(formats.open(path))
    assert caught.value.detail.endswith(".")
    assert "Jane" not in caught.value.detail
    return caught.value


def test_leads_are_read_in_millivolts(tmp_path):
    leads = lead("II", DIGITS[0]), lead("AVR", DIGITS[1], "mV", "0.0025", "0.1")
    (recording,) = formats.open(write(tmp_path, series(time(), *leads)))
    assert recording.lead_names == ("II", "aVR")
    assert (recording.sample_rate_hz, recording.num_samples) == (500, 300)
    assert recording.unit_known
    want = np.stack([DIGITS[0] * 0.005, 0.1 + DIGITS[1] * 0.0025])
    np.testing.assert_allclose(recording.read(3, 99), want[:, 3:102], rtol=1e-5, atol=1e-7)
    assert "Jane" not in repr(recording)


@pytest.mark.parametrize(("step", "unit", "rate"), [("4", "ms", 250), ("1000", "us", 1000)])
def test_increments_have_units(step, unit, rate, tmp_path):
    path = write(tmp_path, series(time(step, unit), lead("I", DIGITS[0])))
    (recording,) = formats.open(path)
    assert recording.sample_rate_hz == rate


def test_series_are_recordings_but_for_derived_ones(tmp_path):
    inside = series(time(), lead("I", DIGITS[0, :100])).removeprefix("<component>")
    beat = inside.removesuffix("</component>").replace("series>", "derivedSeries>")
    derived = f"<derivation>{beat}</derivation>"
    first = series(time(), lead("I", DIGITS[0]), derived=derived)
    recordings = list(formats.open(write(tmp_path, first, series(time(), lead("V1", DIGITS[1])))))
    assert [r.name for r in recordings] == ["x.xml#0", "x.xml#1"]
    assert [r.lead_names for r in recordings] == [("I",), ("V1",)]
    assert [r.num_samples for r in recordings] == [300, 300]
    assert [note.problem for note in recordings[0].notes] == ["derived_series"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_long_comment_before_the_root_does_not_hide_it(encoding, tmp_path):
    comment = "<!-- a licence that mentions <b> --><?style x?>" * 2000
    path = write(tmp_path, series(time(), lead("I", DIGITS[0])), head=comment)
    path.write_bytes(path.read_text().replace("UTF-8", encoding).encode(encoding))
    (recording,) = formats.open(path)
    np.testing.assert_allclose(recording.read(0, 300)[0], DIGITS[0] * 0.005, rtol=1e-5)


def test_a_name_in_a_comment_is_no_root(tmp_path):
    (tmp_path / "x.xml").write_text("<!-- no <AnnotatedECG> --><note/>")
    assert not list(formats.find(tmp_path))


def test_numbers_may_have_decimal_commas(tmp_path):
    digits = [f"{value},5" for value in range(9)]
    content = series(time("0,004"), lead("II", digits, scale="4,88", origin="-0,5"))
    (recording,) = formats.open(write(tmp_path, content))
    assert recording.sample_rate_hz == 250
    want = ((np.arange(9) + 0.5) * 4.88 - 0.5) / 1000
    np.testing.assert_allclose(recording.read(0, 9)[0], want, rtol=1e-5)


@pytest.mark.parametrize("text", ["1_000", "1,000,000", "inf", "nan", "5 uV"])
def test_a_scale_that_is_no_number_is_refused(text, tmp_path):
    path = write(tmp_path, series(time(), lead("II", DIGITS[0], scale=text)))
    assert refusal(path).problem == "unreadable"


BOMB = (
    '<!DOCTYPE lolz [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">'
    '<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;">]>'
)


@pytest.mark.parametrize(
    "head", [BOMB, '<!DOCTYPE x SYSTEM "file:///etc/passwd">', '<!DOCTYPE x [<!ENTITY e "1">]>']
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_entities_are_refused_before_they_unpack(head, encoding, tmp_path):
    path = write(tmp_path, series(time(), lead("I", DIGITS[0])), head=head)
    text = path.read_text().replace("UTF-8", encoding)
    path.write_bytes(text.encode(encoding))
    assert "entities" in refusal(path).detail


def test_malformed_files_are_refused(tmp_path):
    good = lead("I", DIGITS[0])
    path = write(tmp_path, series(time(), good))
    path.write_bytes(path.read_bytes()[:900])
    assert "line 2" in refusal(path).detail
    faults = {
        "no_rate": series(good),
        "wrong_rate": series(time("0"), good),
        "no_ecg_lead": series(time()),
        "wrong_length": series(time(), good, lead("II", DIGITS[1, :9])),
        "wrong_units": series(time(), lead("I", DIGITS[0], "mmHg")),
        "unreadable": series(time(), lead("I", ["1", "x"])),
        "empty": series(time(), lead("I", [])),
    }
    for problem, content in faults.items():
        assert refusal(write(tmp_path, content)).problem == problem
    assert refusal(write(tmp_path)).problem == "no_ecg_lead"


def test_other_xml_is_no_recording(tmp_path):
    (tmp_path / "x.xml").write_text("<note>AnnotatedEEG</note>")
    survey = formats.Survey()
    assert not list(formats.find(tmp_path, survey))
    assert survey.num_others == 1


@pytest.mark.parametrize("encoding", ["UTF-8", "UTF-16", "x-unknown", "euc-kr"])
def test_a_wrong_or_unknown_encoding_does_not_matter_to_the_samples(tmp_path, encoding):
    path = write(tmp_path, series(time(), lead("II", DIGITS[0])))
    document = path.read_text().replace("UTF-8", encoding).replace("Jane Doe", "J\xe4ne D\xf6e")
    path.write_bytes(document.encode("iso-8859-1"))
    (recording,) = formats.open(path)
    np.testing.assert_allclose(recording.read(0, 300)[0], DIGITS[0] * 0.005, rtol=1e-6)
