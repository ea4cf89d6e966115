"""Small whole DICOM files."""

import io

import numpy as np

from fuzz_seeds import ADC, Seed


def seeds() -> list[Seed]:
    """Returns whole recordings."""
    from pydicom import uid
    from pydicom.dataset import Dataset, FileMetaDataset

    def code(meaning: str, value: str) -> Dataset:
        item = Dataset()
        item.CodeMeaning, item.CodeValue, item.CodingSchemeDesignator = meaning, value, "MDC"
        return item

    def file(syntax: str) -> bytes:
        channels = []
        for lead in ("I", "II"):
            channel = Dataset()
            channel.ChannelSourceSequence = [code(f"Lead {lead}", "2:1")]
            channel.ChannelSensitivity, channel.ChannelBaseline = "1", "0"
            channel.ChannelSensitivityCorrectionFactor = "1"
            channel.ChannelSensitivityUnitsSequence = [code("", "uV")]
            channel.WaveformBitsStored = 16
            channels.append(channel)
        group = Dataset()
        group.WaveformOriginality, group.SamplingFrequency = "ORIGINAL", "500"
        group.NumberOfWaveformChannels, group.NumberOfWaveformSamples = 2, len(ADC)
        group.ChannelDefinitionSequence = channels
        group.WaveformBitsAllocated, group.WaveformSampleInterpretation = 16, "SS"
        group.add_new(0x5400100A, "OW", b"\x00\x80")
        group.WaveformData = np.stack([ADC, -ADC], 1).astype("<i2").tobytes()
        dataset = Dataset()
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = syntax
        dataset.file_meta.MediaStorageSOPClassUID = uid.TwelveLeadECGWaveformStorage
        dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
        dataset.SOPClassUID, dataset.SOPInstanceUID = uid.TwelveLeadECGWaveformStorage, "1.2.3"
        dataset.WaveformSequence = [group]
        stream = io.BytesIO()
        dataset.save_as(stream, enforce_file_format=True)
        return stream.getvalue()

    explicit = file(uid.ExplicitVRLittleEndian)
    contents = (
        explicit,
        file(uid.ImplicitVRLittleEndian),
        file(uid.DeflatedExplicitVRLittleEndian),
        explicit[132:],
    )
    return [Seed("x.dcm", {"x.dcm": content}) for content in contents]
