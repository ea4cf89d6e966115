"""Tests Philips Sierra XML files: public examples, and files of an encoder of our own."""

import base64
import datetime
import lzma
import pathlib
import struct

import benchmark_modules
import numpy as np
import pytest

from clef_jax import formats
from clef_jax.finding import Defect
from clef_jax.formats import _xli, philips_sierra

sierra = benchmark_modules.load("fuzz_seeds.philips_sierra")
EXAMPLES = pathlib.Path(__file__).parents[2] / "shared/data/original_files/hospital"
needs_examples = pytest.mark.skipif(not EXAMPLES.is_dir(), reason="no example at hand")
RNG = np.random.default_rng(3)
LIMB = ("I", "II", "III", "aVR", "aVL", "aVF")
CHEST = tuple(f"V{number}" for number in range(1, 7))


def walk(length=600, scale=9):
    return np.cumsum(RNG.integers(-scale, scale + 1, length))


def twelve_leads(length=600):
    """Leads whose limb leads hold the equations up to one unit, as those of a device."""
    one, two = walk(length), walk(length)
    leads = {"I": one, "II": two, "III": two - one, "aVR": -(one + two) // 2}
    leads |= {"aVL": (2 * one - two) // 2, "aVF": (2 * two - one) // 2}
    for name in LIMB[2:]:
        leads[name] = leads[name] + RNG.integers(-1, 2, length)
    return leads | {name: walk(length) for name in CHEST}


LEADS = twelve_leads()


def write(tmp_path, *waves, **settings):
    path = tmp_path / "x.xml"
    path.write_bytes(sierra.document(*waves, **settings))
    return path


def opened(path, hints=None):
    (recording,) = formats.open(path, hints)
    return recording


def whole(recording):
    return recording.read(0, recording.num_samples)


def problems(recording):
    return [note.problem for note in recording.notes]


def refusal(path, hints=None):
    with pytest.raises(Defect) as caught:
        list(formats.open(path, hints))
    assert caught.value.detail.endswith(".")
    assert "Jan" not in caught.value.detail
    return caught.value.problem


def example(tmp_path, name):
    """An example, which is compressed by xz or not."""
    packed = EXAMPLES / f"{name}.xml.xz"
    if not packed.exists():
        return EXAMPLES / f"{name}.xml"
    path = tmp_path / f"{name}.xml"
    path.write_bytes(lzma.decompress(packed.read_bytes()))
    return path


def assert_reads(recording, leads, names=None, step_mv=0.005):
    assert recording.lead_names == tuple(names or leads)
    expected = np.stack(list(leads.values())) * step_mv
    np.testing.assert_allclose(whole(recording), expected, rtol=1e-6, atol=1e-7)


@needs_examples
def test_compressed_example_is_what_the_vendor_converts_it_to(tmp_path):
    """The vendor's converter also removed interference of 60 Hz, so that single samples differ."""
    ours = opened(example(tmp_path, "philips_1_04_compressed"))
    theirs = opened(example(tmp_path, "philips_1_04_uncompressed"))
    assert ours.lead_names == theirs.lead_names == (*LIMB, *CHEST)
    assert ours.num_samples == theirs.num_samples == 5500
    assert ours.sample_rate_hz == theirs.sample_rate_hz == 500
    units, converted = (whole(recording).astype(np.float64) / 0.005 for recording in (ours, theirs))
    error = converted - units
    assert np.abs(error).max() < 4.5
    spectrum = np.abs(np.fft.rfft(error[:, :5000], axis=1)) ** 2
    interference = spectrum[:, 590:611].sum(axis=1) / 21
    assert (interference > 20 * np.median(spectrum, axis=1)).mean() > 0.7
    # Halves are rounded towards zero: no lead is off on one side of zero.
    for name, signs in (("aVR", (-1, -1)), ("aVL", (1, -0.5)), ("aVF", (-0.5, 1))):
        row = ours.lead_names.index(name)
        one, two = units[:2]
        is_negative = signs[0] * one + signs[1] * two < -4
        assert abs(error[row, is_negative].mean()) < 0.1


@needs_examples
@pytest.mark.parametrize(
    "name", ["philips_1_03", "philips_1_04_01", "philips_1_04_compressed"], ids=str
)
def test_examples_are_read_as_an_independent_reader_reads_them(tmp_path, name):
    sierraecg = pytest.importorskip("sierraecg")
    path = example(tmp_path, name)
    theirs = {lead.label: lead.samples.astype(int) for lead in sierraecg.read_file(str(path)).leads}
    recording = opened(path)
    assert recording.lead_names == tuple(theirs) == (*LIMB, *CHEST)
    assert recording.sample_rate_hz == 500
    assert recording.unit_known
    units = np.round(whole(recording) / 0.005).astype(int)
    for lead, row in zip(recording.lead_names, units, strict=True):
        # The independent reader rounds negative halves away from zero.
        assert set(row - theirs[lead]) <= ({-1, 0, 1} if lead.startswith("aV") else {0})
    expected = {"calibration_pulse", "device_filter"}
    assert set(problems(recording)) - {"derived_series"} == expected


@needs_examples
def test_examples_state_their_patients(tmp_path):
    old = opened(example(tmp_path, "philips_1_03")).patient
    assert (old.age_years, old.male) == (50, True)
    assert old.recorded_at == datetime.datetime(2011, 12, 1, 7, 27, 34)
    new = opened(example(tmp_path, "philips_1_04_compressed")).patient
    assert new.age_years == pytest.approx(32.98, abs=0.01)
    assert new.male is False
    assert opened(example(tmp_path, "philips_1_04_01")).patient.male is None


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8", "iso-8859-1"])
@pytest.mark.parametrize("compression", ["XLI", None])
def test_leads_are_read_in_millivolts(tmp_path, encoding, compression):
    waves = sierra.parsed(LEADS, compression=compression)
    recording = opened(write(tmp_path, waves, encoding=encoding))
    assert_reads(recording, LEADS)
    assert recording.sample_rate_hz == 500
    assert recording.part == ""
    assert problems(recording) == ["device_filter"]


def test_version_1_03_is_read(tmp_path):
    path = write(tmp_path, sierra.parsed_old(LEADS), version="1.03", details=sierra.OLD)
    recording = opened(path)
    assert_reads(recording, LEADS)
    filters = next(note for note in recording.notes if note.problem == "device_filter")
    assert "0.05 to 150 Hz" in filters.detail
    waves = sierra.parsed_old(LEADS, compressflag="False")
    assert_reads(opened(write(tmp_path, waves, version="1.03", details=sierra.OLD)), LEADS)


@pytest.mark.parametrize(
    ("encoding", "word", "changes"),
    [
        ("Hex", "<i2", {}),
        ("Plain", "<i2", {}),
        ("Base64", "<i4", {"bitspersample": "32"}),
        ("Base64", "<u2", {"signalsigned": "False", "signaloffset": "32768"}),
    ],
    ids=["hex", "plain", "32 bits", "unsigned"],
)
def test_uncompressed_values_are_read(tmp_path, encoding, word, changes):
    stored = {name: row + int(changes.get("signaloffset", 0)) for name, row in LEADS.items()}
    waves = sierra.parsed(stored, word, compression=None, dataencoding=encoding, **changes)
    assert_reads(opened(write(tmp_path, waves)), LEADS)


def test_other_order_of_bytes_is_noticed(tmp_path):
    recording = opened(write(tmp_path, sierra.parsed(LEADS, ">i2", compression=None)))
    assert_reads(recording, LEADS)
    assert "byte_order" in problems(recording)
    coarse = {name: 256 * np.clip(row, -99, 99) for name, row in LEADS.items()}
    assert_reads(opened(write(tmp_path, sierra.parsed(coarse, compression=None))), coarse)


def test_large_steps_wrap_around(tmp_path):
    rough = {name: RNG.integers(-32768, 32768, 500) for name in ("I", "V1")}
    assert_reads(opened(write(tmp_path, sierra.parsed(rough))), rough)


@pytest.mark.parametrize("length", [1, 2, 3, 4])
def test_short_leads_are_read(tmp_path, length):
    short = {name: row[:length] for name, row in LEADS.items()}
    stored = sierra.differences(short)
    expected = list(stored.values())
    decoded = _xli.decode(b"".join(map(sierra.chunk, expected)), "x")
    if length > 1:
        np.testing.assert_array_equal(decoded, expected)
        assert_reads(opened(write(tmp_path, sierra.parsed(short))), short)


def test_leads_are_restored_by_name(tmp_path):
    some = {name: LEADS[name] for name in ("V1", "aVF", "III", "II", "I", "V2")}
    assert_reads(opened(write(tmp_path, sierra.parsed(some))), some)
    eight = {name: LEADS[name] for name in ("I", "II", *CHEST)}
    assert_reads(opened(write(tmp_path, sierra.parsed(eight))), eight)


def test_differences_without_their_leads_are_excluded(tmp_path):
    text = sierra.parsed(LEADS).replace("I II III", "V7 II III")
    recording = opened(write(tmp_path, text))
    assert recording.lead_names == ("V7", "II", *CHEST)
    assert "missing_lead" in problems(recording)
    text = sierra.parsed(LEADS).replace('leadlabels="I II III', 'leadlabels="I I II')
    assert refusal(write(tmp_path, text)) == "unnamed_lead"


def test_uncompressed_differences_are_noticed(tmp_path):
    waves = sierra.parsed(sierra.differences(LEADS), compression=None)
    assert_reads(opened(write(tmp_path, waves)), LEADS)


def test_leads_that_the_device_computed_are_noted(tmp_path):
    derived = {f"{name}d": row for name, row in LEADS.items()}
    text = sierra.parsed(LEADS).replace(" ".join(LEADS), " ".join(derived))
    recording = opened(write(tmp_path, text))
    assert_reads(recording, LEADS)
    assert "computed_lead" in problems(recording)
    both = {"V1": LEADS["V1"], "V1d": LEADS["V2"]}
    assert_reads(opened(write(tmp_path, sierra.parsed(both, compression=None))), both)
    details = sierra.OLD.replace("STD-12", "EASI")
    easi = write(tmp_path, sierra.parsed_old(LEADS), version="1.03", details=details)
    assert "computed_lead" in problems(opened(easi))


def test_further_channels_of_old_files_are_kept_without_a_name(tmp_path):
    more = LEADS | {"V7": walk(), "V8": walk()}
    details = sierra.OLD.replace("STD-12", "STD-15").replace(">12<", ">14<")
    path = write(tmp_path, sierra.parsed_old(more), version="1.03", details=details)
    recording = opened(path)
    assert_reads(recording, more, (*LEADS, "", ""))
    assert "unnamed_lead" in problems(recording)
    names = "".join(f'<leadmeasurement leadname="{name}"/>' for name in more)
    extra = f"<measurements><leadmeasurements>{names}</leadmeasurements></measurements>"
    path = write(tmp_path, sierra.parsed_old(more), version="1.03", details=details, extra=extra)
    assert_reads(opened(path), more)


def test_names_can_be_given(tmp_path):
    three = {name: LEADS[name] for name in ("I", "II", "V5")}
    waves = sierra.parsed(three, leadlabels=None)
    details = "<samplingrate>500</samplingrate>"
    path = write(tmp_path, waves, details=details)
    assert refusal(path) == "unnamed_lead"
    hints = formats.Hints(lead_names=tuple(three))
    recording = opened(path, hints)
    assert recording.lead_names == tuple(three)
    assert refusal(path, formats.Hints(lead_names=("I", "II"))) == "lead_count"
    waves = sierra.parsed(three, leadlabels=None, compression=None)
    assert_reads(opened(write(tmp_path, waves, details=details), hints), three)
    unnamed = opened(write(tmp_path, waves, details=details))
    assert_reads(unnamed, three, ("", "", ""))


def test_calibration_pulse_is_noted(tmp_path):
    pulse = np.concatenate([np.zeros(50), np.full(100, 200), np.zeros(50)]).astype(int)
    leads = {name: np.concatenate([row, pulse]) for name, row in LEADS.items()}
    recording = opened(write(tmp_path, sierra.parsed(leads, compression=None)))
    (note,) = [note for note in recording.notes if note.problem == "calibration_pulse"]
    assert "200 samples" in note.detail
    leads = {name: np.concatenate([row, pulse // 2]) for name, row in LEADS.items()}
    waves = sierra.parsed(leads, compression=None)
    assert "calibration_pulse" not in problems(opened(write(tmp_path, waves)))


def test_several_elements_are_several_recordings(tmp_path):
    other = twelve_leads()
    path = write(tmp_path, sierra.parsed(LEADS), sierra.parsed(other, compression=None))
    first, second = formats.open(path)
    assert (first.part, second.part) == ("0", "1")
    assert_reads(first, LEADS)
    assert_reads(second, other)


def test_leads_in_elements_of_their_own_are_placed_in_time(tmp_path):
    def part(name, start, row):
        text = base64.b64encode(row.astype("<i2").tobytes()).decode()
        place = sierra.attributes(leadname=name, starttime=str(start), duration="2")
        return f"<leadwaveform {place}>{text}</leadwaveform>"

    stated = sierra.attributes(dataencoding="Base64", samplespersecond="500", resolution="5")
    inside = part("I", 0, LEADS["I"][:100]) + part("V1", 200, LEADS["V1"][:50])
    recording = opened(write(tmp_path, f"<leadwaveforms {stated}>{inside}</leadwaveforms>"))
    signal = whole(recording)
    assert signal.shape == (2, 150)
    np.testing.assert_allclose(signal[0, :100], LEADS["I"][:100] * 0.005, rtol=1e-6)
    np.testing.assert_allclose(signal[1, 100:], LEADS["V1"][:50] * 0.005, rtol=1e-6)
    assert np.isnan(signal[0, 100:]).all()
    assert np.isnan(signal[1, :100]).all()
    far = part("I", 10**12, LEADS["I"][:100])
    path = write(tmp_path, f"<leadwaveforms {stated}>{far}</leadwaveforms>")
    assert refusal(path) == "too_large"


def test_beats_are_skipped_and_losses_are_noted(tmp_path):
    changes = {"notchfiltered": "True", "notchfilterfreqs": "60 120", "artfiltered": "True"}
    waves = sierra.parsed(LEADS, samplespersecond="1000", resolution="20", **changes)
    recording = opened(write(tmp_path, waves, sierra.BEATS))
    details = {note.problem: note.detail for note in recording.notes}
    assert set(details) == {
        "derived_series", "device_filter", "upsampled", "low_precision", "wrong_length"
    }  # fmt: skip
    assert "60/120 Hz" in details["device_filter"]
    assert recording.sample_rate_hz == 1000
    waves = sierra.parsed(LEADS, upsampled="True")
    assert "upsampled" in problems(opened(write(tmp_path, waves)))


def test_what_the_file_does_not_state_can_be_given(tmp_path):
    waves = sierra.parsed(LEADS, resolution=None, samplespersecond=None)
    path = write(tmp_path, waves, details="")
    assert refusal(path) == "no_rate"
    recording = opened(path, formats.Hints(sample_rate_hz=250))
    assert not recording.unit_known
    recording = opened(path, formats.Hints(sample_rate_hz=250, gain_per_mv=200))
    assert recording.sample_rate_hz == 250
    assert_reads(recording, LEADS)


@pytest.mark.parametrize(
    ("patient", "age"),
    [
        ("<age><years>61</years></age>", 61),
        ("<age><months>18</months></age>", 1.5),
        ("<age><dateofbirth>1951-12-01</dateofbirth></age>", 60),
        ('<age defaultage="50"><dateofbirth/></age>', None),
        ("<age><years>Unknown</years></age>", None),
        ("<age><years>999</years></age>", None),
        ("", None),
    ],
)
def test_age_is_that_at_the_recording(tmp_path, patient, age):
    recording = opened(write(tmp_path, sierra.parsed(LEADS), patient=patient))
    found = recording.patient.age_years
    assert found is None if age is None else found == pytest.approx(age, abs=0.01)


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ('date="2011-12-01" time="07:27:34.250"', datetime.datetime(2011, 12, 1, 7, 27, 34)),
        ('date="2011-12-01" time=""', None),
        ('date="2011-13-01" time="07:27:34"', None),
        (
            'date="2011-12-01" time="07:27:34+02:00"',
            datetime.datetime.fromisoformat("2011-12-01T07:27:34+02:00"),
        ),
    ],
)
def test_time_is_stated_or_unknown(tmp_path, when, expected):
    assert opened(write(tmp_path, sierra.parsed(LEADS), when=when)).patient.recorded_at == expected


@pytest.mark.parametrize(
    ("waves", "problem"),
    [
        (sierra.parsed(LEADS).replace('"XLI"', '"Huffman"'), "unreadable"),
        (sierra.parsed(LEADS).replace('"Base64"', '"Base32"'), "unreadable"),
        (sierra.parsed(LEADS).replace("</", "!</"), "unreadable"),
        (sierra.parsed(LEADS, compression=None, bitspersample="12"), "unreadable"),
        (sierra.parsed(LEADS, signaloffset="x"), "unreadable"),
        (sierra.parsed(LEADS, compression=None, durationperchannel="1300"), "truncated"),
        (sierra.parsed(LEADS, compression=None, durationperchannel="1100"), "wrong_length"),
        (sierra.parsed(LEADS, leadlabels=" ".join(f"V{n}" for n in range(20)), numberofleads="20"),
         "truncated"),
        ("<parsedwaveforms/>", "no_ecg_lead"),
        ('<unparsedwaveforms href="http://x"/>', "missing_file"),
        (sierra.BEATS, "no_ecg_lead"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused(tmp_path, waves, problem):
    assert refusal(write(tmp_path, waves)) == problem


def packed(*chunks):
    data = b"".join(chunks)
    stated = sierra.attributes(leadlabels="V1", numberofleads="1", samplespersecond="500")
    text = base64.b64encode(data).decode()
    return f'<parsedwaveforms compression="XLI" {stated}>{text}</parsedwaveforms>'


def test_hostile_compression_is_refused(tmp_path):
    good = sierra.chunk(LEADS["V1"])
    assert refusal(write(tmp_path, packed(good[:-9]))) == "truncated"
    assert refusal(write(tmp_path, packed(struct.pack("<ihh", -8, 1, 0), good))) == "unreadable"
    undefined = bytes(
        int(f"{65:010b}{900:010b}{1023:010b}00"[at : at + 8], 2) for at in (0, 8, 16, 24)
    )
    path = write(tmp_path, packed(struct.pack("<ihh", 4, 1, 0), undefined))
    assert refusal(path) == "unreadable"
    bomb = sierra.chunk(np.zeros(100_000, int))
    assert len(bomb) < 2000
    path = write(tmp_path, packed(*[bomb] * 200))
    assert refusal(path) == "too_large"


def test_leads_that_cannot_be_told_from_differences_are_left_out(tmp_path):
    text = sierra.parsed(LEADS).replace("II III aVR", "II III -aVR")
    recording = opened(write(tmp_path, text))
    assert "-aVR" not in recording.lead_names
    assert len(recording.lead_names) == 11
    assert "missing_lead" in problems(recording)
    assert refusal(write(tmp_path, sierra.parsed({"V1": LEADS["V1"]}).replace("V1", "aVR"))) == (
        "no_ecg_lead"
    )


def test_waveforms_without_samples_are_refused(tmp_path):
    stated = sierra.attributes(dataencoding="Base64", samplespersecond="500", compression="XLI")
    nothing = f"<parsedwaveforms {stated}>{base64.b64encode(bytes(8)).decode()}</parsedwaveforms>"
    assert refusal(write(tmp_path, nothing, details="")) == "empty"
    assert refusal(write(tmp_path, "<leadwaveforms><other/></leadwaveforms>")) == "empty"
    for start in ("-5", "x"):
        part = f'<leadwaveform leadname="I" starttime="{start}">AAAAAA==</leadwaveform>'
        path = write(tmp_path, f"<leadwaveforms>{part}</leadwaveforms>")
        assert refusal(path) == "unreadable"


def test_channels_that_nothing_separates_are_refused(tmp_path):
    waves = sierra.parsed(LEADS, compression=None, leadlabels=None, durationperchannel=None)
    waves = waves.replace('numberofleads="12"', "")
    path = write(tmp_path, waves, details="<samplingrate>500</samplingrate>")
    assert refusal(path) == "unnamed_lead"
    assert_reads(opened(path, formats.Hints(lead_names=tuple(LEADS))), LEADS)


def test_samples_must_be_whole_and_not_too_many(tmp_path, monkeypatch):
    stated = sierra.attributes(dataencoding="Hex", leadlabels="V1", samplespersecond="500")
    odd = write(tmp_path, f"<parsedwaveforms {stated}>000102</parsedwaveforms>")
    assert refusal(odd) == "truncated"
    monkeypatch.setattr(philips_sierra, "_MAX_SAMPLES", 10)
    assert refusal(write(tmp_path, sierra.parsed(LEADS, compression=None))) == "too_large"
    monkeypatch.setattr(philips_sierra, "_MAX_TEXT", 10)
    waves = sierra.parsed(LEADS, compression=None, dataencoding="Plain")
    assert refusal(write(tmp_path, waves)) == "too_large"


def test_more_leads_than_those_of_an_ecg_are_refused(tmp_path):
    many = {f"L{number}": LEADS["V1"] for number in range(70)}
    assert refusal(write(tmp_path, sierra.parsed(many, compression=None))) == "lead_count"


def test_leads_of_unequal_length_are_refused(tmp_path):
    unequal = {"V1": LEADS["V1"], "V2": LEADS["V2"][:-1]}
    assert refusal(write(tmp_path, sierra.parsed(unequal))) == "wrong_length"


def test_unknown_versions_are_noted(tmp_path):
    recording = opened(write(tmp_path, sierra.parsed(LEADS), version="1.05"))
    assert_reads(recording, LEADS)
    assert "unknown_version" in problems(recording)


def test_other_documents_are_not_taken(tmp_path):
    path = tmp_path / "x.xml"
    path.write_text("<RestingECG><Waveform/></RestingECG>")
    assert formats.load()["philips_sierra"].looks_like(path) is False
