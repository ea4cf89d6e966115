"""Tests that WFDB records of any unit, format and number of segments are read as by wfdb."""

import struct
import warnings

import numpy as np
import pytest
import soundfile
from culprits import refuses
from mimic_tree import ecg, write_record

from clef_jax import formats
from clef_jax.finding import Defect
from clef_jax.formats import Hints

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # pandas complains about wfdb's own code as it is imported
    import wfdb

pytestmark = pytest.mark.filterwarnings("ignore:The inplace keyword")  # within wfdb.wrsamp

THREE = ("II", "V", "RESP")


def opened(path, hints=None):
    (recording,) = formats.open(path, hints)
    return recording


def refusal(path):
    with pytest.raises(Defect) as caught:
        list(formats.open(path))
    return caught.value


def edit(path, old, new):
    text = path.with_suffix(".hea").read_text()
    assert old in text
    path.with_suffix(".hea").write_text(text.replace(old, new, 1))


@pytest.mark.parametrize("form", ["16", "212", "24", "32", "80"])
def test_windows_are_those_of_wfdb(form, tmp_path):
    signal = np.random.default_rng(0).normal(0, 0.1, (600, 3))
    signal[10:20, 1] = np.nan
    wfdb.wrsamp(
        "r",
        fs=360,
        units=["mV", "uV", "mV"],
        sig_name=["MLII", "avf", "V5"],
        p_signal=signal * [1, 1000, 1],
        fmt=[form] * 3,
        write_dir=str(tmp_path),
    )
    recording = opened(tmp_path / "r")
    assert recording.lead_names == ("MLII", "aVF", "V5")
    assert (recording.sample_rate_hz, recording.num_samples) == (360, 600)
    assert [note.problem for note in recording.notes] == ["units_converted"]
    want = wfdb.rdrecord(str(tmp_path / "r")).p_signal.T * [[1], [0.001], [1]]
    assert np.isnan(want[1, 10:20]).all()
    for start, count in ((0, 600), (7, 100), (15, 1), (600, 0)):
        got = recording.read(start, count)
        np.testing.assert_allclose(got, want[:, start : start + count], rtol=1e-6, atol=1e-7)
    with refuses("600", error=Defect, problem="window_outside_record"):
        recording.read(1, 600)


def test_other_signals_do_not_stop_the_leads(tmp_path):
    adc = ecg(1, num_leads=3)
    write_record(tmp_path / "r", adc, leads=THREE)
    edit(tmp_path / "r", "200.0(0)/mV 16 0 ", "100/mmHg 16 0 ")
    edit(tmp_path / "r", "RESP", "ABP")
    recording = opened(tmp_path / "r")
    assert recording.lead_names == ("V",)
    assert [note.lead for note in recording.notes] == ["II", "ABP"]
    np.testing.assert_allclose(recording.read(0, 50), adc[1:2, :50] / 200, rtol=1e-6)
    edit(tmp_path / "r", " V\n", " PLETH\n")
    assert refusal(tmp_path / "r").problem == "no_ecg_lead"


def test_leads_without_gain_have_that_of_the_format_or_of_the_user(tmp_path):
    adc = ecg(1, num_leads=2)
    write_record(tmp_path / "r", adc, leads=("I", "II"), gain="0")
    recording = opened(tmp_path / "r")
    assert recording.unit_known
    assert [(n.problem, n.lead) for n in recording.notes] == [
        ("default_gain", "I"),
        ("default_gain", "II"),
    ]
    np.testing.assert_allclose(recording.read(0, 9), adc[:, :9] / 200, rtol=1e-6)
    recording = opened(tmp_path / "r", Hints(gain_per_mv=50))
    assert recording.unit_known
    assert recording.notes == ()
    np.testing.assert_allclose(recording.read(0, 9), adc[:, :9] / 50, rtol=1e-6)
    edit(tmp_path / "r", " 0 16 0", " 100 16 0")
    recording = opened(tmp_path / "r")
    assert [(n.problem, n.lead) for n in recording.notes] == [("default_gain", "II")]
    want = adc[:, :9] / np.array([[100], [200]])
    np.testing.assert_allclose(recording.read(0, 9), want, rtol=1e-6)


def test_a_negative_gain_inverts_a_lead(tmp_path):
    adc = ecg(1, num_leads=1)
    write_record(tmp_path / "r", adc, leads=("I",), gain="-100(3)/mV")
    recording = opened(tmp_path / "r")
    np.testing.assert_allclose(recording.read(0, 9), (adc[:, :9] - 3.0) / -100, rtol=1e-6)
    assert recording.notes == ()


def test_each_signal_has_its_own_rate(tmp_path):
    """A lead of 4 samples per frame, one of 2, and a breath of 1 between them."""
    fast, slow = np.arange(400, dtype="<i2"), np.arange(200, dtype="<i2") - 100
    breath = np.full((100, 1), 77, "<i2")
    frames = [fast.reshape(100, 4), breath, slow.reshape(100, 2)]
    np.concatenate(frames, axis=1).tofile(tmp_path / "r.dat")
    lines = ["r 3 62.5 100", "r.dat 16x4 200/mV 16 0 0 0 0 II", "r.dat 16 10/pm 16 0 0 0 0 RESP"]
    lines.append("r.dat 16x2 100/mV 16 0 0 0 0 V")
    (tmp_path / "r.hea").write_text("\n".join(lines) + "\n")
    first, second = formats.open(tmp_path / "r")
    assert (first.lead_names, first.sample_rate_hz, first.num_samples) == (("II",), 250, 400)
    assert (second.lead_names, second.sample_rate_hz, second.num_samples) == (("V",), 125, 200)
    assert (first.name, second.name) == ("r.hea#250Hz", "r.hea#125Hz")
    for start, count in ((0, 200), (3, 9), (101, 2), (197, 3)):
        want = fast[None, start : start + count] / 200
        np.testing.assert_allclose(first.read(start, count), want, rtol=1e-6)
        want = slow[None, start : start + count] / 100
        np.testing.assert_allclose(second.read(start, count), want, rtol=1e-6)


def test_checksums_count_all_samples_of_a_frame(tmp_path):
    samples = np.arange(400, dtype="<i2") + 100
    samples.tofile(tmp_path / "r.dat")
    total = int(samples.sum(dtype=np.int64)) & 0xFFFF
    header = f"r 1 62.5 100\nr.dat 16x4 200/mV 16 0 0 {total} 0 II\n"
    (tmp_path / "r.hea").write_text(header)
    assert opened(tmp_path / "r").notes == ()
    (tmp_path / "r.hea").write_text(header.replace(f" {total} ", f" {total - 1} "))
    assert [note.problem for note in opened(tmp_path / "r").notes] == ["checksum_mismatch"]
    (tmp_path / "r.hea").write_text(header.replace(f" {total} ", " 0 "))
    assert opened(tmp_path / "r").notes == ()


@pytest.mark.parametrize(
    ("names", "used"),
    [
        (("ECG", "PCG", "foot GSR", "marker"), ("ECG",)),
        (("EEG C3", "II", "EDF Annotations"), ("II",)),
        (("V5", "E1-M2", "Chin"), ("V5",)),
        (("mod.V1", "CM5", "A-S"), ("mod.V1", "CM5", "A-S")),
        (("CH1", "CH2", "marker"), ("CH1", "CH2")),
        (("record r, signal 0", ""), ("record r, signal 0", "")),
    ],
)
def test_signals_in_millivolts_are_leads_by_their_names_only(names, used, tmp_path):
    write_record(tmp_path / "r", ecg(1, 700, len(names)), leads=names)
    recording = opened(tmp_path / "r")
    assert recording.lead_names == used
    excluded = [note.lead for note in recording.notes if note.problem == "other_signal"]
    assert excluded == [name for name in names if name not in used]


def test_signals_without_any_lead_are_refused_unless_the_user_names_them(tmp_path):
    write_record(tmp_path / "r", ecg(1, 700, 2), leads=("PCG", "Abdomen_1"))
    assert refusal(tmp_path / "r").problem == "no_ecg_lead"
    recording = opened(tmp_path / "r", Hints(lead_names=("I", "V1")))
    assert recording.read(0, 10).shape == (2, 10)
    write_record(tmp_path / "r", ecg(1, 700, 19), leads=tuple(map(str, range(1, 20))))
    assert refusal(tmp_path / "r").problem == "no_ecg_lead"


def test_the_user_names_leads_whose_names_say_nothing(tmp_path):
    write_record(tmp_path / "r", ecg(1, 700, 2), leads=("CH1", "CH2"))
    assert opened(tmp_path / "r", Hints(lead_names=("V1", "II"))).lead_names == ("V1", "II")


def test_a_micro_sign_in_latin_1_and_names_with_commas_are_read(tmp_path):
    adc = ecg(1, 700, 2)
    write_record(tmp_path / "r", adc, leads=("II,", "AVR,"), gain="1/uV")
    text = (tmp_path / "r.hea").read_text()
    (tmp_path / "r.hea").write_bytes(text.replace("uV", "\u00b5V").encode("latin-1"))
    recording = opened(tmp_path / "r")
    assert recording.lead_names == ("II", "aVR")
    np.testing.assert_allclose(recording.read(0, 9), adc[:, :9] / 1000, rtol=1e-6)


@pytest.mark.parametrize("suffix", [".dat", ".mat"])
@pytest.mark.parametrize("name", ["r", "another"])
def test_a_signal_file_leads_to_its_record(suffix, name, tmp_path):
    adc = ecg(1, 700, 2)
    write_record(tmp_path / "r", adc, leads=("I", "II"))
    file = (tmp_path / "r.dat").rename(tmp_path / f"{name}{suffix}")
    offset = ""
    if suffix == ".mat":
        file.write_bytes(struct.pack("<5i", 30, 2, 700, 0, 4) + b"val\0" + file.read_bytes())
        offset = "+24"
    text = (tmp_path / "r.hea").read_text()
    (tmp_path / "r.hea").write_text(text.replace("r.dat 16", f"{file.name} 16{offset}"))
    np.testing.assert_allclose(opened(file).read(0, 700), adc / 200, rtol=1e-6)
    assert list(formats.find(tmp_path)) == [tmp_path / "r.hea"]


def test_a_signal_file_without_a_header_is_no_recording(tmp_path):
    (tmp_path / "r.dat").write_bytes(bytes(100))
    assert refusal(tmp_path / "r.dat").problem == "unknown_format"
    assert list(formats.find(tmp_path)) == []


def pack(samples, form):
    """The bytes of integers in a storage format, by signal(5)."""
    if form == "24":
        return samples.astype("<i4").view("u1").reshape(-1, 4)[:, :3].tobytes()
    if form in ("310", "311"):
        one, two, three = (samples & 0x3FF).reshape(-1, 3).T
        if form == "311":
            return (one | two << 10 | three << 20).astype("<u4").tobytes()
        words = [one << 1 | (three & 0x1F) << 11, two << 1 | (three >> 5) << 11]
        return np.stack(words, axis=1).astype("<u2").tobytes()
    kind, offset = {"61": (">i2", 0), "80": ("u1", 128), "160": ("<u2", 32768)}[form]
    return (samples + offset).astype(kind).tobytes()


@pytest.mark.parametrize("form", ["24", "61", "80", "160", "310", "311"])
def test_a_header_without_length_takes_it_from_the_file(form, tmp_path):
    samples = np.random.default_rng(0).integers(-120, 120, (600, 2))
    (tmp_path / "r.dat").write_bytes(pack(samples.reshape(-1), form))
    line = f"r.dat {form} 200/mV 16 0 0 0 0"
    (tmp_path / "r.hea").write_text(f"r 2 250\n{line} I\n{line} II\n")
    recording = opened(tmp_path / "r")
    assert recording.num_samples == 600
    for start, count in ((0, 600), (7, 100), (599, 1)):
        want = samples.T[:, start : start + count] / 200
        np.testing.assert_allclose(recording.read(start, count), want, atol=1e-6)


def test_windows_of_differences_are_parts_of_the_whole(tmp_path):
    steps = np.random.default_rng(0).integers(-100, 100, 90).astype("i1")
    steps.tofile(tmp_path / "r.dat")
    (tmp_path / "r.hea").write_text("r 1 250 90\nr.dat 8 100/mV 12 0 40 0 0 II\n")
    want = (40 + np.cumsum(steps.astype(int)))[None] / 100
    np.testing.assert_allclose(opened(tmp_path / "r").read(50, 30), want[:, 50:80], rtol=1e-6)


def test_a_header_without_names_takes_those_of_the_user(tmp_path):
    write_record(tmp_path / "r", ecg(1, num_leads=2), leads=("", ""))
    assert opened(tmp_path / "r").lead_names == ("", "")
    hints = Hints(lead_names=("ii", "V1"))
    assert opened(tmp_path / "r", hints).lead_names == ("II", "V1")
    write_record(tmp_path / "r", ecg(1, num_leads=2), leads=("III", "V3"))
    assert opened(tmp_path / "r", hints).lead_names == ("III", "V3")


def test_a_wrong_checksum_and_another_name_within_are_no_hindrance(tmp_path):
    write_record(tmp_path / "r", ecg(1, num_leads=1), leads=("I",), checksums=False)
    edit(tmp_path / "r", "r 1 500", "other 1 500/125(3)")
    recording = opened(tmp_path / "r")
    assert recording.sample_rate_hz == 500
    assert [note.problem for note in recording.notes] == ["checksum_mismatch"]


@pytest.fixture
def segments(tmp_path):
    """A record of two segments that hold the same signals."""
    write_record(tmp_path / "r_0001", ecg(1, 700, 3), leads=THREE)
    write_record(tmp_path / "r_0002", ecg(2, 300, 3), leads=THREE)
    lines = ["r/2 3 500 1000", "r_0001 700", "r_0002 300"]
    (tmp_path / "r.hea").write_text("\n".join(lines) + "\n")
    return tmp_path


def test_segments_are_read_as_one_record(segments):
    assert list(formats.find(segments)) == [segments / "r.hea"]
    recording = opened(segments / "r")
    assert recording.lead_names == ("II", "V")
    assert recording.num_samples == 1000
    want = np.concatenate([ecg(1, 700, 3), ecg(2, 300, 3)], axis=1)[:2] / 200
    for start, count in ((0, 1000), (600, 300), (710, 50), (999, 1)):
        window = recording.read(start, count)
        np.testing.assert_allclose(window, want[:, start : start + count], rtol=1e-6)


@pytest.mark.parametrize("names", ["r r_0001 r_0002", "r_0001 r_0002 r r", "r r_0002"])
def test_a_list_of_a_record_and_its_segments_names_one_recording(names, segments):
    (segments / "RECORDS").write_text("\n".join(names.split()))
    assert list(formats.find(segments / "RECORDS")) == [segments / "r.hea"]
    assert list(formats.find(segments)) == [segments / "r.hea"]


def test_a_list_of_segments_alone_names_them(segments):
    (segments / "RECORDS").write_text("r_0001\nr_0002/\n")
    found = list(formats.find(segments / "RECORDS"))
    assert found == [segments / "r_0001.hea", segments / "r_0002.hea"]


def rename(folder, function):
    for path in list(folder.iterdir()):
        path.rename(path.with_name("renaming"))
        (folder / "renaming").rename(folder / function(path))


@pytest.mark.parametrize(
    "function",
    [
        lambda path: path.name.upper(),
        lambda path: path.stem + path.suffix.upper(),
        lambda path: path.stem + (".HEA" if path.suffix == ".hea" else path.suffix),
        lambda path: path.stem + (".DAT" if path.suffix == ".dat" else path.suffix),
    ],
)
def test_names_in_upper_case_are_read_as_in_lower_case(function, segments, tmp_path):
    write_record(tmp_path / "one", ecg(3, 500, 3), leads=THREE)
    paths = (segments / "r", tmp_path / "one")
    expected = [opened(path).read(0, 500) for path in paths]
    for folder in {segments, tmp_path}:
        rename(folder, function)
    for path, signal in zip(paths, expected, strict=True):
        np.testing.assert_array_equal(opened(formats_path(path, function)).read(0, 500), signal)
    found = [path for folder in {segments, tmp_path} for path in formats.find(folder)]
    assert {path.stem.lower() for path in found} == {"r", "one"}
    assert {path.suffix.lower() for path in found} == {".hea"}
    survey = formats.Survey()
    assert len(list(formats.find(tmp_path, survey))) == 2
    assert (survey.num_others, survey.refused) == (0, [])
    data = tmp_path / function(tmp_path / "one.dat")
    np.testing.assert_array_equal(opened(data).read(0, 500), expected[1])


def formats_path(path, function):
    """Returns a renamed record without suffix, as users name it."""
    return path.with_name(function(path.with_suffix(".hea"))).with_suffix("")


def test_segments_of_variable_layout_are_read(tmp_path):
    write_record(tmp_path / "s_0001", ecg(1, 700, 2), leads=("II", "V"))
    write_record(tmp_path / "s_0002", ecg(2, 300, 1), leads=("V",))
    layout = ["s_layout 2 500 0", "~ 0 200/mV 16 0 0 0 0 II", "~ 0 200/mV 16 0 0 0 0 V"]
    (tmp_path / "s_layout.hea").write_text("\n".join(layout) + "\n")
    lines = ["r/4 2 500 1100", "s_layout 0", "s_0001 700", "~ 100", "s_0002 300"]
    (tmp_path / "r.hea").write_text("\n".join(lines) + "\n")
    assert list(formats.find(tmp_path)) == [tmp_path / "r.hea"]
    recording = opened(tmp_path / "r")
    assert recording.lead_names == ("II", "V")
    got = recording.read(600, 500)
    np.testing.assert_allclose(got[0, :100], ecg(1, 700, 2)[0, 600:] / 200, rtol=1e-6)
    assert np.isnan(got[0, 100:]).all()
    assert np.isnan(got[1, 100:200]).all()
    np.testing.assert_allclose(got[1, 200:], ecg(2, 300, 1)[0] / 200, rtol=1e-6)


def test_segments_stay_in_their_folder(segments):
    edit(segments / "r", "r_0002 300", "../r_0002 300")
    assert refusal(segments / "r").problem == "path_outside_source"


@pytest.mark.parametrize("suffix", [".dat", ".hea"])
def test_a_segment_that_is_missing_is_a_gap_and_is_named(suffix, segments):
    (segments / f"r_0002{suffix}").unlink()
    recording = opened(segments / "r")
    assert [note.problem for note in recording.notes] == ["missing_file", "other_signal"]
    assert f"r_0002{suffix}" in recording.notes[0].detail
    np.testing.assert_allclose(recording.read(0, 700), ecg(1, 700, 3)[:2] / 200, rtol=1e-6)
    assert np.isnan(recording.read(700, 300)).all()
    (segments / f"r_0001{suffix}").unlink()
    assert refusal(segments / "r").problem == "missing_file"


def test_each_segment_has_its_own_unit_gain_and_baseline(segments):
    write_record(segments / "r_0002", ecg(2, 300, 3), leads=THREE, gain="2(50)/uV")
    recording = opened(segments / "r")
    problems = [(note.problem, note.lead) for note in recording.notes]
    assert problems == [
        ("other_signal", "RESP"),
        ("units_converted", "II"),
        ("units_converted", "V"),
    ]
    want = [ecg(1, 700, 3)[:2] / 200, (ecg(2, 300, 3)[:2] - 50.0) / 2000]
    np.testing.assert_allclose(recording.read(0, 1000), np.concatenate(want, axis=1), rtol=1e-6)


def test_a_lead_that_a_segment_lacks_or_states_otherwise_is_a_gap(segments):
    write_record(segments / "r_0002", ecg(2, 300, 2), leads=("V", "RESP"))
    recording = opened(segments / "r")
    assert ("missing_lead", "II") in [(note.problem, note.lead) for note in recording.notes]
    window = recording.read(700, 300)
    assert np.isnan(window[0]).all()
    np.testing.assert_allclose(window[1], ecg(2, 300, 2)[0] / 200, rtol=1e-6)
    edit(segments / "r_0002", "/mV", "/mmHg")
    recording = opened(segments / "r")
    assert ("wrong_units", "V") in [(note.problem, note.lead) for note in recording.notes]
    assert np.isnan(recording.read(700, 300)).all()


def test_segments_of_several_samples_per_frame_are_read(segments):
    for name in ("r_0001", "r_0002"):
        edit(segments / name, " 500 ", " 125 ")
        text = (segments / f"{name}.hea").read_text().replace(".dat 16 ", ".dat 16x4 ")
        text = text.replace(" 700\n", " 175\n").replace(" 300\n", " 75\n")
        (segments / f"{name}.hea").write_text(text)
        samples = np.fromfile(segments / f"{name}.dat", "<i2").reshape(-1, 4, 3)
        np.ascontiguousarray(samples.transpose(0, 2, 1)).tofile(segments / f"{name}.dat")
    (segments / "r.hea").write_text("r/2 3 125 250\nr_0001 175\nr_0002 75\n")
    recording = opened(segments / "r")
    assert (recording.sample_rate_hz, recording.num_samples) == (500, 1000)
    want = np.concatenate([ecg(1, 700, 3), ecg(2, 300, 3)], axis=1)[:2] / 200
    for start, count in ((0, 1000), (601, 198), (711, 50), (999, 1)):
        window = recording.read(start, count)
        np.testing.assert_allclose(window, want[:, start : start + count], rtol=1e-6)


@pytest.mark.parametrize("names", [("r1", "r2"), ("r_1", "r_2"), ("part", "s")])
def test_segments_of_any_name_are_not_read_a_second_time(names, tmp_path):
    for number, name in enumerate(names):
        write_record(tmp_path / name, ecg(number, 700, 1), leads=("II",))
        # The master record has a signal file of its own name.
        (tmp_path / f"{name}.dat").rename(tmp_path / f"r{number}.dat")
        edit(tmp_path / name, f"{name}.dat", f"r{number}.dat")
    (tmp_path / "r0.dat").rename(tmp_path / "r.dat")
    edit(tmp_path / names[0], "r0.dat", "r.dat")
    (tmp_path / "r.hea").write_text(f"r/2 1 500 1400\n{names[0]} 700\n{names[1]} 700\n")
    write_record(tmp_path / "r_alone", ecg(3, 700, 1), leads=("II",))
    survey = formats.Survey()
    found = list(formats.find(tmp_path, survey))
    assert found == [tmp_path / "r.hea", tmp_path / "r_alone.hea"]
    assert survey.num_others == 0


def test_a_gap_of_years_is_refused(segments):
    (segments / "r.hea").write_text(f"r/2 3 500 {10**13 + 700}\nr_0001 700\n~ {10**13}\n")
    assert refusal(segments / "r").problem == "too_large"


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("r.dat 16", "../r.dat 16", "path_outside_source"),
        ("r 2 500 5000", "r 2 500 6000", "truncated"),
        ("r 2 500 5000", "r 2 0 5000", "wrong_rate"),
        ("r 2 500 5000", "what is this", "unreadable"),
        ("r.dat 16", "none.dat 16", "missing_file"),
    ],
)
def test_malformed_records_are_refused(old, new, problem, tmp_path):
    write_record(tmp_path / "r", ecg(1, num_leads=2), leads=("I", "II"))
    edit(tmp_path / "r", old, new)
    assert refusal(tmp_path / "r").problem == problem


def test_compressed_segments_of_several_rates_are_read(tmp_path):
    """As ICU monitors are archived: two leads at four times the rate of a pulse."""
    adc = ecg(1, 400, 2)
    adc[1, 50:60] = -32768
    for name, samples in (("e", adc), ("p", ecg(2, 100, 1))):
        channels = len(samples)
        options = {"samplerate": 96000, "subtype": "PCM_16", "format": "FLAC"}
        file = tmp_path / f"{name}.dat"
        with soundfile.SoundFile(str(file), "w", channels=channels, **options) as stream:
            stream.write(samples.T.astype(np.int16))
    lines = ["/mV 16 0 0 0 0 II", "(10)/mV 16 0 0 0 0 V", "/NU 16 0 0 0 0 Pleth"]
    files = ["e.dat 516x4 200", "e.dat 516x4 200", "p.dat 516 10"]
    stored = [f"{file}{line}" for file, line in zip(files, lines, strict=True)]
    layout = [f"~ 0x4 200{line}" for line in lines[:2]] + [f"~ 0 10{lines[2]}"]
    (tmp_path / "s_0001.hea").write_text("\n".join(["s_0001 3 62.5 100", *stored]) + "\n")
    (tmp_path / "s_layout.hea").write_text("\n".join(["s_layout 3 62.5 0", *layout]) + "\n")
    (tmp_path / "s.hea").write_text("s/3 3 62.5 130\ns_layout 0\ns_0001 100\n~ 30\n")
    assert list(formats.find(tmp_path)) == [tmp_path / "s.hea"]
    recording = opened(tmp_path / "s")
    assert (recording.lead_names, recording.sample_rate_hz) == (("II", "V"), 250)
    want = np.full((2, 520), np.nan)
    want[:, :400] = np.where(adc == -32768, np.nan, (adc - np.array([[0], [10.0]])) / 200)
    for start, count in ((0, 520), (37, 91), (399, 2)):
        window = recording.read(start, count)
        np.testing.assert_allclose(window, want[:, start : start + count], rtol=1e-6)
