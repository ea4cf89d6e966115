"""WFDB records of any unit, storage format and number of segments, as wfdb reads them."""

import warnings

import numpy as np
import pytest
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


def test_leads_without_gain_are_unknown_units_unless_told(tmp_path):
    adc = ecg(1, num_leads=2)
    write_record(tmp_path / "r", adc, leads=("I", "II"), gain="0")
    recording = opened(tmp_path / "r")
    assert not recording.unit_known
    np.testing.assert_array_equal(recording.read(0, 9), adc[:, :9])
    recording = opened(tmp_path / "r", Hints(gain_per_mv=50))
    assert recording.unit_known
    np.testing.assert_allclose(recording.read(0, 9), adc[:, :9] / 50, rtol=1e-6)
    edit(tmp_path / "r", " 0 16 0", " 100 16 0")
    recording = opened(tmp_path / "r")
    assert (recording.lead_names, recording.unit_known) == (("I",), True)
    assert [note.problem for note in recording.notes] == ["wrong_units"]


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


def test_a_segment_that_is_missing_is_told_when_it_is_read(segments):
    (segments / "r_0002.dat").unlink()
    recording = opened(segments / "r")
    assert recording.read(0, 700).shape == (2, 700)
    with refuses(error=Defect, problem="unreadable"):
        recording.read(800, 10)


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
