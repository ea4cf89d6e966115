"""Encoder of GE MUSE XML files, written from restecg.dtd's elements, and small files of it."""

import base64
import zlib
from collections.abc import Mapping

import numpy as np

from fuzz_seeds import ADC, Seed

EIGHT = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")
HEAD = '<?xml version="1.0" encoding="{encoding}"?>\n<!DOCTYPE RestingECG SYSTEM "restecg.dtd">\n'
PATIENT = {"PatientAge": 63, "AgeUnits": "YEARS", "DateofBirth": "03-15-1961", "Gender": "FEMALE"}
TEST = {"AcquisitionTime": "09:15:11", "AcquisitionDate": "08-17-2024"}


def elements(values: Mapping[str, object]) -> str:
    """Returns elements of these names and texts; those with None are left out."""
    return "".join(f"<{tag}>{text}</{tag}>" for tag, text in values.items() if text is not None)


def lead(name: str, samples: np.ndarray, **changed: object) -> str:
    """Returns the element of a lead of integers [T]; keywords replace what it states."""
    payload = np.asarray(samples).astype("<i2").tobytes()
    encoded = base64.b64encode(payload).decode()
    lines = "\n".join(encoded[at : at + 76] for at in range(0, len(encoded), 76))
    stated = {
        "LeadByteCountTotal": len(payload),
        "LeadTimeOffset": 0,
        "LeadSampleCountTotal": len(samples),
        "LeadAmplitudeUnitsPerBit": 4.88,
        "LeadAmplitudeUnits": "MICROVOLTS",
        "LeadHighLimit": 32767,
        "LeadLowLimit": -32768,
        "LeadID": name,
        "LeadOffsetFirstSample": 0,
        "FirstSampleBaseline": 0,
        "LeadSampleSize": 2,
        "LeadOff": "FALSE",
        "BaselineSway": "FALSE",
        "LeadDataCRC32": zlib.crc32(payload),
        "WaveFormData": f"\n{lines}\n",
    }
    return f"<LeadData>{elements(stated | changed)}</LeadData>"


def waveform(*leads: str, kind: str | None = "Rhythm", **changed: object) -> str:
    """Returns the element of a waveform; keywords replace what it states."""
    stated = {
        "WaveformType": kind,
        "WaveformStartTime": 0,
        "NumberofLeads": len(leads),
        "SampleType": "CONTINUOUS_SAMPLES",
        "SampleBase": 500,
        "SampleExponent": 0,
        "HighPassFilter": 16,
        "LowPassFilter": 150,
        "ACFilter": 60,
    }
    return f"<Waveform>{elements(stated | changed)}{''.join(leads)}</Waveform>"


def document(
    *waveforms: str, patient: dict | None = None, test: dict | None = None, more: str = ""
) -> str:
    """Returns the root of a document.

    Args:
        waveforms: elements of waveforms.
        patient: what replaces the usual demographics.
        test: what replaces the usual data of the test.
        more: further elements before the waveforms.
    """
    return (
        "<RestingECG><MuseInfo><MuseVersion>9.0.7.17363</MuseVersion></MuseInfo>"
        f"<PatientDemographics>{elements(PATIENT | (patient or {}))}</PatientDemographics>"
        f"<TestDemographics>{elements(TEST | (test or {}))}</TestDemographics>"
        f"{more}{''.join(waveforms)}</RestingECG>"
    )


def encode(root: str, encoding: str = "ISO-8859-1", head: str = HEAD) -> bytes:
    """Returns the bytes of a document."""
    return (head.format(encoding=encoding) + root).encode(encoding)


def seeds() -> list[Seed]:
    """Returns whole recordings."""
    median = waveform(*(lead(name, ADC[:600]) for name in EIGHT[:2]), kind="Median")
    rhythm = waveform(*(lead(name, ADC) for name in EIGHT[:3]))
    roots = document(median, rhythm), document(rhythm, rhythm)
    return [
        Seed("x.xml", {"x.xml": encode(roots[0])}),
        Seed("x.xml", {"x.xml": encode(f"<Export>{roots[1]}</Export>", "utf-16", head="")}),
    ]
