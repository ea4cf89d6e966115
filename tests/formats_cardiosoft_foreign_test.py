"""Tests the reader of GE CardioSoft XML on an export that `ecgprocess` comes with."""

import pathlib
from xml.etree import ElementTree

import numpy as np
import pytest

from clef_jax import formats

LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")


@pytest.fixture
def foreign():
    """An export of CardioSoft 6.73 that an independent reader comes with."""
    package = pytest.importorskip("ecgprocess")
    folder = pathlib.Path(package.__file__).parent / "example_data" / "example_datasets"
    path = folder / "example-XML1.xml"
    if not path.is_file():
        pytest.skip("this version of ecgprocess comes without the example")
    return path


def test_a_foreign_export_agrees_with_an_independent_reader(foreign, tmp_path):
    xml = pytest.importorskip("ecgprocess.process_xml")
    config = pytest.importorskip("ecgprocess.utils.config_tools")
    lines = ["[WaveForms]"]
    lines += [f"{name}\tStripData.WaveformData_{k}.#text" for k, name in enumerate(LEADS)]
    lines += ["[MetaData]", "sampling frequency (original)\tStripData.SampleRate.#text"]
    lines += ["sampling number (waveforms)\tStripData.ChannelSampleCountTotal", ""]
    settings = tmp_path / "settings.txt"
    settings.write_text("\n".join(lines))
    parser = config.ConfigParser(str(settings))()
    parser.map(mapper=config.DataMap())
    theirs = xml.ECGXMLReader()(str(foreign)).extract(parser).WaveForms
    strip = next(formats.open(foreign))
    assert strip.lead_names == LEADS
    assert strip.num_samples == 5000
    for name, row in zip(LEADS, strip.read(0, 5000), strict=True):
        np.testing.assert_allclose(row, np.asarray(theirs[name], float) * 5e-3, atol=1e-6)


def test_the_leads_of_a_foreign_full_disclosure_obey_einthoven(foreign):
    _, recording = formats.open(foreign)
    assert recording.lead_names == LEADS
    assert recording.num_samples == 8000
    data = ElementTree.parse(foreign).getroot().find("FullDisclosure/FullDisclosureData")
    assert data is not None
    texts = (data.text or "").splitlines()
    lines = [line.strip().strip(",") for line in texts if line.strip()]
    stored = np.array([line.split(",") for line in lines], int).reshape(16, 12, 500)
    signal = recording.read(0, 8000)
    expected = stored.transpose(1, 0, 2).reshape(12, 8000) * 5e-3
    np.testing.assert_allclose(signal, expected, atol=1e-6)
    np.testing.assert_allclose(signal[2], signal[1] - signal[0], atol=1e-6)
    np.testing.assert_allclose(signal[3], -(signal[0] + signal[1]) / 2, atol=2.6e-3)
    assert recording.patient.age_years is not None
