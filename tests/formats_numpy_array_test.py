"""Tests NumPy arrays: windows are exact, no code is executed, and stated sizes are checked."""

import io
import os
import pathlib
import zipfile

import numpy as np
import pytest
from culprits import assert_names, refuses

from clef_jax import formats
from clef_jax.finding import Defect
from clef_jax.formats import Hints

SIGNAL = np.random.default_rng(0).normal(size=(12, 1000)).astype(np.float32)
AT_500 = Hints(sample_rate_hz=500, units="mV")


def opened(path, hints=AT_500):
    return list(formats.open(path, hints))


def refusal(path, hints=AT_500):
    with pytest.raises(Defect) as caught:
        opened(path, hints)
    assert caught.value.detail.endswith(".")
    return caught.value


@pytest.mark.parametrize(
    "signal",
    [SIGNAL, SIGNAL.T, np.asfortranarray(SIGNAL), SIGNAL.astype(">f8"), SIGNAL[:1]],
)
def test_windows_are_exact_whichever_axis_is_time(signal, tmp_path):
    np.save(tmp_path / "x.npy", signal)
    (recording,) = opened(tmp_path / "x.npy")
    count = min(signal.shape)
    assert recording.num_samples == 1000
    assert recording.lead_names == ("",) * count
    np.testing.assert_array_equal(recording.read(17, 300), SIGNAL[:count, 17:317])
    assert recording.read(1000, 0).shape == (count, 0)
    for start, length in ((-1, 5), (999, 2), (0, 1001)):
        with refuses("1000", error=Defect, problem="window_outside_record"):
            recording.read(start, length)


def test_one_dimension_is_one_lead(tmp_path):
    np.save(tmp_path / "x.npy", SIGNAL[0])
    (recording,) = opened(tmp_path / "x.npy", Hints(sample_rate_hz=250, lead_names=("ecg ii",)))
    assert (recording.lead_names, recording.sample_rate_hz) == (("II",), 250)
    assert not recording.unit_known
    assert [note.problem for note in recording.notes] == ["unknown_units"]
    np.testing.assert_array_equal(recording.read(0, 1000), SIGNAL[:1])


@pytest.mark.parametrize("axes", [(0, 1, 2), (0, 2, 1)])
def test_three_dimensions_are_many_recordings(axes, tmp_path):
    batch = np.stack([SIGNAL, SIGNAL + 1, SIGNAL + 2])
    np.save(tmp_path / "x.npy", batch.transpose(axes))
    recordings = opened(tmp_path / "x.npy")
    assert [r.name for r in recordings] == ["x.npy#0", "x.npy#1", "x.npy#2"]
    for number, recording in enumerate(recordings):
        np.testing.assert_array_equal(recording.read(0, 1000), SIGNAL + number)


def test_integers_are_steps_of_a_converter_with_gaps(tmp_path):
    adc = np.array([[100, -32768, 300] * 10], np.int16)
    np.save(tmp_path / "x.npy", adc)
    (recording,) = opened(tmp_path / "x.npy", Hints(sample_rate_hz=9, gain_per_mv=200))
    np.testing.assert_array_equal(recording.read(0, 3), np.float32([[0.5, np.nan, 1.5]]))
    assert recording.unit_known
    (recording,) = opened(tmp_path / "x.npy", Hints(sample_rate_hz=9))
    np.testing.assert_array_equal(recording.read(0, 3), np.float32([[100, np.nan, 300]]))
    assert not recording.unit_known
    (recording,) = opened(tmp_path / "x.npy", Hints(sample_rate_hz=9, units="uV"))
    np.testing.assert_allclose(recording.read(0, 3), [[0.1, np.nan, 0.3]])


def test_infinite_values_are_missing(tmp_path):
    np.save(tmp_path / "x.npy", np.array([1, np.inf, np.nan, -np.inf, 2]))
    (recording,) = opened(tmp_path / "x.npy")
    np.testing.assert_array_equal(recording.read(0, 5), [[1, np.nan, np.nan, np.nan, 2]])


def test_samples_stay_on_disk(tmp_path):
    shape = (2, 1 << 31)
    with (tmp_path / "x.npy").open("wb") as stream:
        header = {"descr": "<i2", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(stream, header)
        os.truncate(stream.fileno(), stream.tell() + 2 * 2 * shape[1])  # 8 GiB of nothing
    (recording,) = opened(tmp_path / "x.npy")
    assert recording.num_samples == shape[1]
    assert (recording.read(shape[1] - 10, 10) == 0).all()


def test_npz_says_rate_gain_and_leads_itself(tmp_path):
    adc = (SIGNAL[:2] * 1000).astype(np.int16)
    facts = {"fs": 360, "gain_per_mv": 1000.0, "lead_names": np.array(["MLII", "AVR"])}
    np.savez_compressed(tmp_path / "x.npz", signal=adc, labels=np.arange(7), **facts)
    (recording,) = opened(tmp_path / "x.npz", Hints())
    assert recording.lead_names == ("MLII", "aVR")
    assert (recording.sample_rate_hz, recording.unit_known) == (360, True)
    np.testing.assert_allclose(recording.read(5, 9), adc[:, 5:14] / 1000, rtol=1e-6)


@pytest.mark.parametrize("rate", ["500", b"500", "500.0 Hz", np.array(["500,0"]), np.int16(500)])
def test_npz_may_hold_its_rate_as_a_text_and_names_as_bytes(rate, tmp_path):
    names = np.array([b"I", b"AVR"])
    np.savez(tmp_path / "x.npz", ecg=SIGNAL[:2], fs=rate, leads=names, units=b"uV")
    (recording,) = opened(tmp_path / "x.npz", Hints())
    assert (recording.sample_rate_hz, recording.lead_names) == (500, ("I", "aVR"))
    assert recording.unit_known
    np.testing.assert_allclose(recording.read(0, 1000), SIGNAL[:2] / 1000, rtol=1e-5)


def test_the_rate_of_the_file_has_priority_over_the_hint(tmp_path):
    np.savez(tmp_path / "x.npz", ecg=SIGNAL[:2], fs=250)
    (recording,) = opened(tmp_path / "x.npz")
    assert recording.sample_rate_hz == 250


def test_a_stated_baseline_is_0_mv(tmp_path):
    adc = np.round(SIGNAL[:2] * 200).astype(np.int16)
    np.savez(tmp_path / "x.npz", val=adc + 1024, fs=250, gain=200, baseline=1024)
    (recording,) = opened(tmp_path / "x.npz", Hints())
    np.testing.assert_allclose(recording.read(0, 1000), adc / 200, rtol=1e-6)
    np.savez(tmp_path / "x.npz", val=SIGNAL[:2], fs=250, gain=200, baseline=1024, unit="mV")
    (recording,) = opened(tmp_path / "x.npz", Hints())
    np.testing.assert_array_equal(recording.read(0, 1000), SIGNAL[:2])


@pytest.mark.parametrize("fill", [1e20, 9.96921e36, np.finfo(np.float32).max])
def test_values_that_fill_gaps_are_missing(fill, tmp_path):
    signal = SIGNAL[:1].copy()
    signal[0, 3:20] = fill
    np.save(tmp_path / "x.npy", signal)
    (recording,) = opened(tmp_path / "x.npy")
    got = recording.read(0, 1000)
    assert np.isnan(got[0, 3:20]).all()
    np.testing.assert_array_equal(got[0, 20:], SIGNAL[0, 20:])


@pytest.mark.parametrize("rate", ["fast", "", "inf", "1_000", np.array(["500", "250"])])
def test_a_rate_that_is_no_number_is_not_known(rate, tmp_path):
    np.savez(tmp_path / "x.npz", ecg=SIGNAL[:2], fs=rate)
    assert refusal(tmp_path / "x.npz", Hints()).problem in ("no_rate", "empty")


def test_many_rows_without_names_are_rather_beats(tmp_path):
    beats = np.tile(SIGNAL[0, :188], (40, 1))
    np.save(tmp_path / "x.npy", beats)
    assert refusal(tmp_path / "x.npy").problem == "ambiguous_shape"
    hints = Hints(sample_rate_hz=500, lead_names=tuple(f"E{i}" for i in range(40)))
    (recording,) = opened(tmp_path / "x.npy", hints)
    np.testing.assert_array_equal(recording.read(0, 188), beats)


def test_npz_of_several_arrays_holds_several_recordings(tmp_path):
    np.savez(tmp_path / "x.npz", first=SIGNAL, second=SIGNAL[:, :500])
    recordings = opened(tmp_path / "x.npz")
    assert {r.name: r.num_samples for r in recordings} == {
        "x.npz#first": 1000,
        "x.npz#second": 500,
    }


class Evil:
    def __reduce__(self):
        return pathlib.Path.touch, (pathlib.Path(os.environ["EVIL_MARK"]),)


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_a_pickle_is_refused_and_not_run(suffix, tmp_path, monkeypatch):
    monkeypatch.setenv("EVIL_MARK", str(tmp_path / "mark"))
    array = np.array([Evil(), Evil()], object)
    path = tmp_path / f"x{suffix}"
    if suffix == ".npy":
        np.save(path, array, allow_pickle=True)
    else:
        np.savez(path, signal=array)
    defect = refusal(path)
    assert defect.problem == "unreadable"
    assert_names(defect.detail, path.name, "Python")
    assert not (tmp_path / "mark").exists()


def npy_bytes(shape, descr="<f4", data=b""):
    stream = io.BytesIO()
    header = {"descr": descr, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, header)
    return stream.getvalue() + data


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"not an array at all", "unreadable"),
        (b"\x93NUMPY\x01\x00", "unreadable"),
        (b"\x93NUMPY\x09\x00" + b"x" * 99, "unreadable"),
        (b"\x93NUMPY\x01\x00\x10\x00" + b"(" * 16, "unreadable"),
        (npy_bytes((12, 1000), data=b"x" * 40), "truncated"),
        (npy_bytes((10**15, 12)), "truncated"),
        (npy_bytes((0, 12)), "empty"),
        (npy_bytes((-1, 12)), "unreadable"),
        (npy_bytes((2, 2, 2, 2), data=b"x" * 64), "unreadable"),
        (npy_bytes((9,), "<c8", b"x" * 99), "unreadable"),
        (npy_bytes((12, 20), data=b"x" * 960), "ambiguous_shape"),
        (npy_bytes((100, 1000), data=bytes(400_000)), "ambiguous_shape"),
    ],
)
def test_malformed_arrays_are_refused(content, problem, tmp_path):
    (tmp_path / "x.npy").write_bytes(content)
    assert refusal(tmp_path / "x.npy").problem == problem


def test_named_leads_tell_which_axis_is_time(tmp_path):
    np.save(tmp_path / "x.npy", SIGNAL[:, :20].T)
    hints = Hints(sample_rate_hz=500, units="mV", lead_names=tuple(f"V{i}" for i in range(12)))
    (recording,) = opened(tmp_path / "x.npy", hints)
    np.testing.assert_array_equal(recording.read(0, 20), SIGNAL[:, :20])
    other = Hints(sample_rate_hz=500, lead_names=("I", "II"))
    np.save(tmp_path / "x.npy", SIGNAL)
    assert refusal(tmp_path / "x.npy", other).problem == "lead_count"


def test_without_a_rate_it_is_refused(tmp_path):
    np.save(tmp_path / "x.npy", SIGNAL)
    assert refusal(tmp_path / "x.npy", Hints()).problem == "no_rate"


def test_archives_that_unpack_to_anything_are_refused(tmp_path):
    path = tmp_path / "x.npz"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("signal.npy", "w", force_zip64=True) as entry,
    ):
        entry.write(npy_bytes((12, 6_000_000)))
        for _ in range(288):
            entry.write(bytes(1_000_000))
    assert path.stat().st_size < 400_000
    assert refusal(path).problem == "too_large"


@pytest.mark.parametrize("shape", [(10**14,), (12, 1001)])
def test_an_archive_that_claims_more_than_it_holds_is_refused(shape, tmp_path):
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("signal.npy", npy_bytes(shape, data=bytes(48_000)))
    assert refusal(tmp_path / "x.npz").problem == "truncated"


def test_broken_archives_are_refused(tmp_path):
    path = tmp_path / "x.npz"
    path.write_bytes(b"PK\x03\x04 nothing")
    assert refusal(path).problem == "unreadable"
    np.savez(path, signal=SIGNAL)
    data = bytearray(path.read_bytes())
    data[5000] ^= 0xFF
    path.write_bytes(data)
    assert refusal(path).problem == "unreadable"
    np.savez(path, fs=500)
    assert refusal(path).problem == "empty"
