"""Tests EDF and BDF files as edfio and careless exporters write them."""

import numpy as np
import pytest
from culprits import assert_names, refuses

from clef_jax import formats
from clef_jax.finding import Defect

edfio = pytest.importorskip("edfio")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:edfio")

LENGTH = 2000


def signal(label, unit="mV", rate=200, seed=0, scale=1.0, kind=None):
    kind = kind or edfio.EdfSignal
    data = np.random.default_rng(seed).normal(size=LENGTH * rate // 200) * scale
    return kind(data, rate, label=label, physical_dimension=unit)


def write(tmp_path, *signals, kind=None, name="x.edf", **details):
    (kind or edfio.Edf)(list(signals), **details).write(tmp_path / name)
    return tmp_path / name


def refusal(path):
    with pytest.raises(Defect) as caught:
        list(formats.open(path))
    assert caught.value.detail.endswith(".")
    return caught.value


def test_ecg_signals_are_read_in_millivolts(tmp_path):
    stored = [
        signal("ECG I"),
        signal("EKG2", "uV", seed=1, scale=1000),
        signal("MLII", "V", seed=2, scale=0.001),
        signal("EEG Fpz", "uV", seed=3),
    ]
    path = write(tmp_path, *stored, annotations=[edfio.EdfAnnotation(1, None, "x")])
    (recording,) = formats.open(path)
    assert recording.lead_names == ("I", "EKG2", "MLII")
    assert (recording.sample_rate_hz, recording.num_samples) == (200, LENGTH)
    factors = np.array([1, 1e-3, 1e3])[:, None]
    want = np.stack([s.data for s in stored[:3]]) * factors
    for start, length in ((0, LENGTH), (3, 777), (199, 2), (LENGTH - 1, 1), (5, 0)):
        got = recording.read(start, length)
        assert got.dtype == np.float32
        np.testing.assert_array_equal(got, want[:, start : start + length].astype(np.float32))
    with refuses(error=Defect, problem="window_outside_record"):
        recording.read(1, LENGTH)


def test_signals_of_different_rates_are_recordings_of_their_own(tmp_path):
    path = write(tmp_path, signal("ECG"), signal("V1", rate=500), signal("V2", rate=500, seed=1))
    fast, slow = formats.open(path)
    assert (fast.name, fast.sample_rate_hz, fast.lead_names) == ("x.edf#500Hz", 500, ("V1", "V2"))
    assert (slow.name, slow.sample_rate_hz, slow.lead_names) == ("x.edf#200Hz", 200, ("ECG",))
    assert (fast.num_samples, slow.num_samples) == (LENGTH * 5 // 2, LENGTH)


def test_bdf_is_read_too(tmp_path):
    stored = signal("ECG II", "uV", kind=edfio.BdfSignal)
    path = write(tmp_path, stored, kind=edfio.Bdf, name="x.bdf")
    (recording,) = formats.open(path)
    assert recording.lead_names == ("II",)
    want = (stored.data[5:99] / 1000).astype(np.float32)
    np.testing.assert_array_equal(recording.read(5, 94)[0], want)


def test_leads_without_volts_are_left_out_or_refused(tmp_path):
    path = write(tmp_path, signal("ECG I"), signal("ECG II", "%"))
    (recording,) = formats.open(path)
    assert recording.lead_names == ("I",)
    assert [note.problem for note in recording.notes] == ["wrong_units"]
    defect = refusal(write(tmp_path, signal("EEG C3"), signal("SaO2", "%")))
    assert defect.problem == "no_ecg_lead"
    assert "EEG C3, SaO2" in defect.detail


@pytest.mark.parametrize("spoil", ["cut", "magic", "header", "garbage", "zero"])
def test_malformed_files_are_refused(spoil, tmp_path):
    path = write(tmp_path, signal("ECG I"))
    data = bytearray(path.read_bytes())
    head = 256 * 2
    changed = {
        "cut": data[: head + 399],
        "magic": b"x" + data[1:],
        "header": data[:300],
        "garbage": data[:252] + b"abcd" + data[256:],
        "zero": data[:244] + b"0       " + data[252:],
    }
    path.write_bytes(changed[spoil])
    wanted = "truncated" if spoil == "cut" else "unreadable"
    assert refusal(path).problem == wanted


def test_gaps_in_time_are_missing(tmp_path):
    stored = signal("ECG I")
    path = write(tmp_path, stored, annotations=[])
    data = path.read_bytes().replace(b"EDF+C", b"EDF+D")
    path.write_bytes(data)
    (recording,) = formats.open(path)  # it says there may be gaps, and there are none
    assert (recording.num_samples, recording.notes) == (LENGTH, ())
    # The last five of ten data records of a second begin a minute later.
    for second in range(5, 10):
        old, new = f"+{second}\x14\x14\0\0".encode(), f"+{second + 60}\x14\x14\0".encode()
        assert data.count(old) == 1
        data = data.replace(old, new)
    path.write_bytes(data)
    (recording,) = formats.open(path)
    assert [note.problem for note in recording.notes] == ["discontinuous"]
    gap = 12_000
    want = np.concatenate([stored.data[:1000], np.full(gap, np.nan), stored.data[1000:]])
    assert recording.num_samples == len(want)
    for start, length in ((0, len(want)), (990, 20), (2000, 9), (12_990, 1000), (999, gap + 2)):
        got = recording.read(start, length)[0]
        np.testing.assert_array_equal(got, want[start : start + length].astype(np.float32))


def test_a_file_that_was_cut_off_keeps_its_complete_data_records(tmp_path):
    stored = signal("ECG I")
    path = write(tmp_path, stored)
    path.write_bytes(path.read_bytes()[:-1])
    (recording,) = formats.open(path)
    assert [note.problem for note in recording.notes] == ["truncated"]
    kept = recording.num_samples
    assert kept == LENGTH * 9 // 10
    np.testing.assert_array_equal(recording.read(0, kept)[0], stored.data[:kept].astype("f4"))


def test_an_unfinished_file_is_as_long_as_what_it_holds(tmp_path):
    path = write(tmp_path, signal("ECG I"))
    data = path.read_bytes()
    path.write_bytes(data[:236] + b"-1      " + data[244:])
    (recording,) = formats.open(path)
    assert (recording.num_samples, recording.notes) == (LENGTH, ())


def edf(path, *signals, record_seconds="1", reserved=b""):
    """Writes signals of label, unit, physical limits and int16 samples, all fields as bytes."""
    fields = [(s[0], b"", s[1], *s[2], b"-32768", b"32767", b"") for s in signals]
    widths = (16, 80, 8, 8, 8, 8, 8, 80)
    texts = [b"0", b"X", b"X", b"01.01.26", b"10.00.00"]
    texts += [str(256 * (len(signals) + 1)).encode(), reserved, b"2", record_seconds.encode()]
    texts += [str(len(signals)).encode()]
    head = b"".join(
        t.ljust(n) for t, n in zip(texts, (8, 80, 80, 8, 8, 8, 44, 8, 8, 4), strict=True)
    )
    for i, width in enumerate(widths):
        head += b"".join(field[i].ljust(width) for field in fields)
    head += b"".join(str(len(s[3]) // 2).encode().ljust(8) for s in signals)
    head += b" " * 32 * len(signals)
    halves = [s[3].reshape(2, -1)[k].astype("<i2").tobytes() for k in (0, 1) for s in signals]
    path.write_bytes(head + b"".join(halves))
    return path


ADC = np.random.default_rng(3).integers(-3000, 3000, 1000)
LIMITS = b"-32768", b"32767"


@pytest.mark.parametrize(
    ("onset", "samples"),
    [(b"+1", 1000), (b"+1.5", 1250), (b"+0.998", 1000), (b"+0.9", None), (b"+9000000", None)],
)
def test_stated_times_place_data_records_unless_they_cannot_be(onset, samples, tmp_path):
    times = b"".join(text.ljust(40, b"\0") for text in (b"+0\x14\x14", onset + b"\x14\x14"))
    stated = b"EDF Annotations", b"", LIMITS, np.frombuffer(times, "<i2")
    path = edf(tmp_path / "x.edf", (b"ECG", b"uV", LIMITS, ADC), stated, reserved=b"EDF+D")
    if samples is None:
        assert refusal(path).problem == "discontinuous"
    else:
        (recording,) = formats.open(path)
        assert recording.num_samples == samples
        np.testing.assert_allclose(
            recording.read(samples - 500, 500)[0], ADC[500:] / 1000, atol=1e-6
        )


def test_gaps_without_stated_times_are_refused(tmp_path):
    path = edf(tmp_path / "x.edf", (b"ECG", b"uV", LIMITS, ADC), reserved=b"EDF+D")
    assert refusal(path).problem == "discontinuous"


@pytest.mark.parametrize("unit", ["µV".encode("latin-1"), "µV".encode(), "μV".encode(), b"mcV"])
def test_a_micro_sign_is_understood_in_any_encoding(unit, tmp_path):
    (recording,) = formats.open(edf(tmp_path / "x.edf", (b"ECG II", unit, LIMITS, ADC)))
    assert recording.unit_known
    np.testing.assert_allclose(recording.read(0, 1000)[0], ADC / 1000, atol=1e-6)


def test_decimal_commas_and_fields_filled_with_nul_are_understood(tmp_path):
    limits = b"-32,768", b"32,767"
    path = edf(tmp_path / "x.edf", (b"ECG II", b"mV", limits, ADC), record_seconds="2,0")
    data = path.read_bytes()
    path.write_bytes(data[:512].replace(b" ", b"\0").replace(b"ECG\0", b"ECG ") + data[512:])
    (recording,) = formats.open(path)
    assert (recording.lead_names, recording.sample_rate_hz) == (("II",), 250)
    np.testing.assert_allclose(recording.read(0, 1000)[0], ADC / 1000, atol=1e-6)


def test_hints_count_where_the_file_says_nothing(tmp_path):
    limits = b"-32.768", b"32.767"
    path = edf(tmp_path / "x.edf", (b"CH1", b"", limits, ADC), (b"CH2", b"", limits, -ADC))
    assert refusal(path).problem == "no_ecg_lead"
    hints = formats.Hints(units="V", lead_names=("II", "V1"))
    (recording,) = formats.open(path, hints)
    assert (recording.lead_names, recording.unit_known) == (("II", "V1"), True)
    assert not recording.notes
    np.testing.assert_allclose(recording.read(0, 1000), [ADC, -ADC], rtol=1e-6)
    path = edf(tmp_path / "x.edf", (b"ECG I", b"", limits, ADC))
    (recording,) = formats.open(path)
    assert not recording.unit_known
    (recording,) = formats.open(path, formats.Hints(units="V", lead_names=("II",)))
    assert (recording.lead_names, recording.unit_known) == (("I",), True)
    path = edf(tmp_path / "x.edf", (b"ECG", b"mV", limits, ADC))
    (recording,) = formats.open(path, formats.Hints(lead_names=("II",)))
    assert recording.lead_names == ("II",)
    (recording,) = formats.open(path, formats.Hints(lead_names=("II", "V1")))
    assert recording.lead_names == ("ECG",)


def test_numbered_channels_in_volts_are_leads_but_for_those_of_an_eeg_cap(tmp_path):
    channels = [(f"CH{i}".encode(), b"uV", LIMITS, ADC + i) for i in range(3)]
    (recording,) = formats.open(edf(tmp_path / "x.edf", *channels, (b"SpO2", b"%", LIMITS, ADC)))
    assert recording.lead_names == ("CH0", "CH1", "CH2")
    assert [note.problem for note in recording.notes] == ["unnamed_lead"]
    np.testing.assert_allclose(recording.read(0, 1000)[2], (ADC + 2) / 1000, atol=1e-6)
    many = [(f"CH{i}".encode(), b"uV", LIMITS, ADC) for i in range(19)]
    assert refusal(edf(tmp_path / "x.edf", *many)).problem == "no_ecg_lead"
    named = [(name, b"uV", LIMITS, ADC) for name in (b"Fp1", b"C3-A2", b"EMG chin")]
    assert refusal(edf(tmp_path / "x.edf", *named)).problem == "no_ecg_lead"


def test_the_ecg_in_the_montage_of_an_eeg_is_found(tmp_path):
    eeg, ecg = (b"EEG FP1-REF", b"uV", LIMITS, -ADC), (b"EEG EKG1-REF", b"uV", LIMITS, ADC)
    (recording,) = formats.open(edf(tmp_path / "x.edf", eeg, ecg))
    assert recording.lead_names == ("EEG EKG1-REF",)
    np.testing.assert_allclose(recording.read(0, 1000)[0], ADC / 1000, atol=1e-6)


def test_limits_that_give_no_scale_are_refused(tmp_path):
    for limits in (
        (b"5", b"5"),
        (b"0", b"1e-320"),
        (b"-1e308", b"1e308"),
        (b"x", b"1"),
        (b"", b""),
    ):
        path = edf(tmp_path / "x.edf", (b"ECG II", b"uV", limits, ADC))
        assert refusal(path).problem == "wrong_units"


def test_more_leads_than_an_ecg_has_are_refused(tmp_path):
    path = edf(tmp_path / "x.edf", *[(b"ECG", b"uV", LIMITS, ADC[:20])] * 65)
    assert refusal(path).problem == "lead_count"


def test_a_unit_that_is_no_voltage_is_named_in_the_refusal(tmp_path):
    defect = refusal(edf(tmp_path / "x.edf", (b"ECG II", b"mmHg", LIMITS, ADC)))
    assert defect.problem == "wrong_units"
    assert_names(defect.detail, "ECG II", "mmHg")
