"""Tests DICOM ECG waveforms as pydicom writes them, and that no message quotes the patient."""

import sys

import numpy as np
import pytest
from culprits import refuses

from clef_jax import formats
from clef_jax.finding import Defect
from clef_jax.formats import Hints, dicom

pydicom = pytest.importorskip("pydicom")

from pydicom import uid  # noqa: E402
from pydicom.dataset import Dataset, FileMetaDataset  # noqa: E402

ADC = np.random.default_rng(0).integers(-2000, 2000, (3, 500)).astype(np.int16)


def coded(meaning="", value=""):
    item = Dataset()
    item.CodeMeaning, item.CodeValue, item.CodingSchemeDesignator = meaning, value, "SCPECG"
    return item


def channel(source, unit="uV", sensitivity=5, correction=1, baseline=0):
    item = Dataset()
    item.ChannelSourceSequence = [source]
    item.ChannelSensitivity = sensitivity
    item.ChannelSensitivityCorrectionFactor = correction
    item.ChannelBaseline = baseline
    if unit:
        item.ChannelSensitivityUnitsSequence = [coded("", unit)]
    item.WaveformBitsStored = 16
    return item


CHANNELS = (
    channel(coded("Lead I (Einthoven)", "5.6.3-9-1")),
    channel(coded("", "2:64"), "mV", 0.005, 1.1, 0.25),
    channel(coded("Lead V1", "2:3"), "V", 0.000005),
)


def group(adc=ADC, channels=CHANNELS, **changes):
    item = Dataset()
    item.WaveformOriginality = "ORIGINAL"
    item.NumberOfWaveformChannels, item.NumberOfWaveformSamples = adc.shape
    item.SamplingFrequency = 500
    item.ChannelDefinitionSequence = list(channels)
    item.WaveformBitsAllocated = 16
    item.WaveformSampleInterpretation = "SS"
    item.WaveformData = adc.T.astype("<i2").tobytes()
    for name, value in changes.items():
        setattr(item, name, value)
    return item


def write(path, *groups, syntax=uid.ExplicitVRLittleEndian):
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.MediaStorageSOPClassUID = uid.TwelveLeadECGWaveformStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    dataset.SOPClassUID, dataset.SOPInstanceUID = uid.TwelveLeadECGWaveformStorage, "1.2.3"
    dataset.PatientName, dataset.PatientID = "Doe^Jane", "S3CRET"
    if groups:
        dataset.WaveformSequence = list(groups)
    dataset.save_as(path, enforce_file_format=True)
    return path


def refusal(path):
    with pytest.raises(Defect) as caught:
        list(formats.open(path))
    assert caught.value.detail.endswith(".")
    assert "Doe" not in caught.value.detail
    assert "S3CRET" not in caught.value.detail
    return caught.value


@pytest.mark.parametrize("name", ["x.dcm", "x", "1.2.840.7"])
def test_a_group_is_read_in_millivolts_whatever_the_file_is_called(name, tmp_path):
    path = write(tmp_path / name, group())
    assert list(formats.find(tmp_path)) == [path]
    (recording,) = formats.open(path)
    assert recording.lead_names == ("I", "aVF", "V1")
    assert (recording.sample_rate_hz, recording.num_samples) == (500, 500)
    assert recording.unit_known
    want = [ADC[0] * 0.005, ADC[1] * 0.0055 + 0.25, ADC[2] * 0.005]
    np.testing.assert_allclose(recording.read(7, 93), np.stack(want)[:, 7:100], rtol=1e-5)
    assert "Doe" not in repr(recording)


def test_groups_are_recordings_but_for_averaged_beats(tmp_path):
    beat = group(ADC[:, :99], WaveformOriginality="DERIVED")
    fast = group(SamplingFrequency=1000)
    first, last = formats.open(write(tmp_path / "x.dcm", group(), beat, fast))
    assert (first.name, first.sample_rate_hz) == ("x.dcm#0", 500)
    assert (last.name, last.sample_rate_hz) == ("x.dcm#2", 1000)
    assert "derived_series" in [note.problem for note in first.notes]
    assert refusal(write(tmp_path / "x.dcm", beat)).problem == "derived_series"


def test_padding_is_missing(tmp_path):
    padded = ADC.copy()
    padded[:, 100:120] = -32768
    item = group(padded)
    item.add_new(0x5400100A, "OW", b"\x00\x80")
    (recording,) = formats.open(write(tmp_path / "x.dcm", item))
    missing = np.isnan(recording.read(0, 500))
    np.testing.assert_array_equal(missing, padded == -32768)


def with_padding(adc, padding, channels=CHANNELS, **changes):
    item = group(adc, channels, **changes)
    item.add_new(0x5400100A, "OW", np.array(padding, "<i2").tobytes())
    return item


@pytest.mark.parametrize("offset", [0, 3])
def test_a_padding_value_among_the_samples_is_no_padding(offset, tmp_path):
    quiet = np.zeros((3, 500), np.int16)
    quiet[:, ::50] = np.arange(10, 130, 12) + offset
    quiet[:, 1::50] = 1
    (recording,) = formats.open(write(tmp_path / "x.dcm", with_padding(quiet, 0)))
    assert [note.problem for note in recording.notes] == ["padding_value"] * 3
    np.testing.assert_allclose(recording.read(0, 500)[0], quiet[0] * 0.005, atol=1e-6)


def test_a_padding_value_far_from_the_samples_is_missing(tmp_path):
    adc = np.abs(ADC) % 900 + 1000
    adc[:, 100:130] = 0
    (recording,) = formats.open(write(tmp_path / "x.dcm", with_padding(adc, 0)))
    assert recording.notes == ()
    np.testing.assert_array_equal(np.isnan(recording.read(0, 500)), adc == 0)


def test_the_smallest_value_of_the_stored_bits_is_padding(tmp_path):
    channels = [channel(coded(f"Lead V{i}")) for i in range(1, 4)]
    for item in channels:
        item.WaveformBitsStored = 12
    adc = ADC.clip(-2047, 2047)
    adc[:, 7:99] = -2048
    (recording,) = formats.open(write(tmp_path / "x.dcm", with_padding(adc, -2048, channels)))
    np.testing.assert_array_equal(np.isnan(recording.read(0, 500)), adc == -2048)


@pytest.mark.parametrize("name", ["x.dcm", "x"])
def test_a_file_without_the_prefix_is_read(name, tmp_path):
    path = write(tmp_path / name, group())
    whole = path.read_bytes()
    path.write_bytes(whole[132:])
    (recording,) = formats.open(path)
    np.testing.assert_allclose(recording.read(0, 9)[0], ADC[0, :9] * 0.005, rtol=1e-5)


@pytest.mark.parametrize("order", ["<", ">"])
def test_samples_are_read_in_the_byte_order_of_the_file(order, tmp_path):
    adc = ADC.copy()
    adc[:, 40:60] = -32768
    item = with_padding(adc, -32768, WaveformData=adc.T.astype(f"{order}i2").tobytes())
    item["WaveformPaddingValue"].value = np.array(-32768, f"{order}i2").tobytes()
    syntax = uid.ExplicitVRBigEndian if order == ">" else uid.ExplicitVRLittleEndian
    path = write(tmp_path / "x.dcm", item, syntax=syntax)
    (recording,) = formats.open(path)
    got = recording.read(0, 500)[0]
    np.testing.assert_array_equal(np.isnan(got), adc[0] == -32768)
    np.testing.assert_allclose(got[:40], ADC[0, :40] * 0.005, rtol=1e-5)


def test_a_compressed_file_is_read_unless_it_unpacks_to_anything(tmp_path, monkeypatch):
    path = write(tmp_path / "x.dcm", group())
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = uid.DeflatedExplicitVRLittleEndian
    dataset.save_as(path, enforce_file_format=True)
    (recording,) = formats.open(path)
    np.testing.assert_allclose(recording.read(0, 9)[0], ADC[0, :9] * 0.005, rtol=1e-5)
    size = path.stat().st_size
    monkeypatch.setattr(dicom, "_MAX_FILE_BYTES", size + 100)
    assert refusal(path).problem == "too_large"
    path.write_bytes(path.read_bytes()[:-500])
    monkeypatch.undo()
    assert refusal(path).problem == "unreadable"


def test_channels_that_are_no_ecg_are_left_out(tmp_path):
    channels = (CHANNELS[0], channel(coded("Arterial pressure"), "mm[Hg]"), CHANNELS[2])
    (recording,) = formats.open(write(tmp_path / "x.dcm", group(channels=channels)))
    assert recording.lead_names == ("I", "V1")
    assert [note.problem for note in recording.notes] == ["other_signal"]
    np.testing.assert_allclose(recording.read(0, 9)[1], ADC[2, :9] * 0.005, rtol=1e-5)


def test_without_a_rate_it_is_unknown_unless_told(tmp_path):
    item = group()
    del item.SamplingFrequency
    path = write(tmp_path / "x.dcm", item)
    assert refusal(path).problem == "no_rate"
    (recording,) = formats.open(path, Hints(sample_rate_hz=250))
    assert recording.sample_rate_hz == 250


def test_without_units_the_amplitudes_are_unknown_unless_told(tmp_path):
    channels = [channel(coded("Lead I"), "", 2)]
    path = write(tmp_path / "x.dcm", group(ADC[:1], channels))
    (recording,) = formats.open(path)
    assert not recording.unit_known
    (recording,) = formats.open(path, Hints(units="uV"))
    assert recording.unit_known
    np.testing.assert_allclose(recording.read(0, 9), ADC[:1, :9] * 0.002, rtol=1e-5)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"WaveformData": b"12"}, "truncated"),
        ({"NumberOfWaveformSamples": 4_000_000_000}, "truncated"),
        ({"NumberOfWaveformSamples": 0}, "unreadable"),
        ({"NumberOfWaveformChannels": 2}, "unreadable"),
        ({"WaveformSampleInterpretation": "MB"}, "unreadable"),
        ({"SamplingFrequency": 0}, "wrong_rate"),
        ({"ChannelDefinitionSequence": []}, "unreadable"),
    ],
)
def test_malformed_groups_are_refused(changes, problem, tmp_path):
    assert refusal(write(tmp_path / "x.dcm", group(**changes))).problem == problem


def test_files_without_waveforms_or_of_another_kind_are_refused(tmp_path):
    assert refusal(write(tmp_path / "x.dcm")).problem == "no_ecg_lead"
    (tmp_path / "x.dcm").write_bytes(b"nothing of the kind" * 20)
    assert refusal(tmp_path / "x.dcm").problem == "unreadable"
    whole = write(tmp_path / "x.dcm", group()).read_bytes()
    for length in (140, 400, len(whole) - 1500):
        (tmp_path / "x.dcm").write_bytes(whole[:length])
        assert refusal(tmp_path / "x.dcm").problem in ("unreadable", "truncated", "no_ecg_lead")


def test_without_pydicom_the_user_is_told_what_to_install(tmp_path, monkeypatch):
    path = write(tmp_path / "x.dcm", group())
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with refuses("pydicom", "pip install 'clef_jax[formats]'"):
        list(formats.open(path))
