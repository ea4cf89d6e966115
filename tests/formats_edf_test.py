"""EDF and BDF files as edfio writes them."""

import sys

import numpy as np
import pytest
from culprits import refuses

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


@pytest.mark.parametrize("spoil", ["cut", "part", "magic", "header", "garbage", "zero"])
def test_malformed_files_are_refused(spoil, tmp_path):
    path = write(tmp_path, signal("ECG I"))
    data = bytearray(path.read_bytes())
    head = 256 * 2
    changed = {
        "cut": data[: head + 400],
        "part": data[:-1],
        "magic": b"x" + data[1:],
        "header": data[:300],
        "garbage": data[:252] + b"abcd" + data[256:],
        "zero": data[:244] + b"0       " + data[252:],
    }
    path.write_bytes(changed[spoil])
    wanted = "truncated" if spoil in ("cut", "part") else "unreadable"
    assert refusal(path).problem == wanted


def test_gaps_in_time_are_refused(tmp_path):
    path = write(tmp_path, signal("ECG I"), annotations=[])
    data = path.read_bytes().replace(b"EDF+C", b"EDF+D")
    path.write_bytes(data)
    assert len(list(formats.open(path))) == 1  # it says there may be gaps, and there are none
    path.write_bytes(data.replace(b"+3\x14\x14", b"+9\x14\x14"))
    assert refusal(path).problem == "discontinuous"


def test_without_edfio_the_user_is_told_what_to_install(tmp_path, monkeypatch):
    path = write(tmp_path, signal("ECG I"))
    monkeypatch.setitem(sys.modules, "edfio", None)
    with refuses("edfio", "pip install 'clef_jax[formats]'"):
        list(formats.open(path))
