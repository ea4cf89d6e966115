"""Encoder of GE CardioSoft XML files, written from public exports, and small files of it."""

import numpy as np

from fuzz_seeds import ADC, Seed

HEAD = '<?xml version="1.0" encoding="{encoding}" ?>\n'
DISCLOSURE = "FullDisclosure"


def lines(values: np.ndarray, width: int = 500) -> str:
    """Returns numbers in lines that end with a comma, except the last one."""
    texts = [",".join(map(str, values[at : at + width])) for at in range(0, len(values), width)]
    return "\t\t" + ",\n\t\t".join(texts)


def quantity(tag: str, value: object, units: str | None) -> str:
    """Returns an element with a unit; an empty text for the value None."""
    attribute = "" if units is None else f' units="{units}"'
    return "" if value is None else f"<{tag}{attribute}>{value}</{tag}>"


def waves(leads: dict[str, np.ndarray]) -> str:
    """Returns the elements of the samples of each lead, integers [T]."""
    return "".join(
        f'<WaveformData lead="{name}">{lines(row)}</WaveformData>' for name, row in leads.items()
    )


def strip(
    leads: dict[str, np.ndarray],
    *,
    rate: object = 500,
    resolution: object = 5,
    rate_unit: str | None = "Hz",
    unit: str | None = "uVperLsb",
    num_samples: object = None,
    tag: str = "StripData",
    inside: str | None = None,
) -> str:
    """Returns a strip, or median beats with another tag.

    Args:
        leads: integers [T] of each lead by name.
        rate: stated sampling rate; None for none.
        resolution: stated size of a step; None for none.
        rate_unit: unit of the rate; None for none.
        unit: unit of the resolution; None for none.
        num_samples: stated number of samples of a lead; by default the true one.
        tag: name of the element.
        inside: content in place of the samples.
    """
    longest = max((len(row) for row in leads.values()), default=0)
    return (
        f"<{tag}><NumberOfLeads>{len(leads)}</NumberOfLeads>"
        f"{quantity('SampleRate', rate, rate_unit)}"
        f"<ChannelSampleCountTotal>{longest if num_samples is None else num_samples}"
        f"</ChannelSampleCountTotal>{quantity('Resolution', resolution, unit)}"
        f"{waves(leads) if inside is None else inside}"
        '<ArrhythmiaResults><Time units="ms">800</Time><BeatClass>dominant</BeatClass>'
        f"</ArrhythmiaResults></{tag}>"
    )


def disclosure(
    leads: dict[str, np.ndarray],
    *,
    rate: int = 500,
    resolution: object = 5,
    by_sample: bool = False,
    num_values: object = None,
    num_leads: object = None,
    order: str | None = None,
) -> str:
    """Returns a full disclosure of leads of whole seconds.

    Args:
        leads: integers [T] of each lead by name.
        rate: sampling rate in Hz.
        resolution: size of a step in microvolts.
        by_sample: whether a sample of each lead follows another, rather than a second of each.
        num_values: stated number of values; by default the true one.
        num_leads: stated number of leads; by default the true one.
        order: stated names of the leads; by default the true ones.
    """
    rows = np.stack(list(leads.values()))
    size = 1 if by_sample else rate
    values = rows.reshape(len(rows), -1, size).transpose(1, 0, 2).reshape(-1)
    return (
        f"<{DISCLOSURE}><NumberOfChannels>{len(leads) if num_leads is None else num_leads}"
        f"</NumberOfChannels>{quantity('SampleRate', rate, 'Hz')}"
        f"{quantity('Resolution', resolution, 'uVperLsb')}"
        f"<LeadOrder>{','.join(leads) if order is None else order}</LeadOrder>"
        f"<FullDisclosureData>{lines(values, max(size, len(rows)))},\n\t\t<SampleCountTotal>"
        f"{len(values) if num_values is None else num_values}</SampleCountTotal>"
        f"</FullDisclosureData></{DISCLOSURE}>"
    )


def document(
    *content: str,
    age: tuple[object, str] | None = (53, "YEARS"),
    born: tuple[int, int, int] = (1965, 1, 1),
    gender: str = "MALE",
    observed: str | None = None,
    filters: str | None = None,
) -> str:
    """Returns the root of a document.

    Args:
        content: medians, strips and full disclosures.
        age: age and unit; None for none.
        born: year, month and day of birth.
        gender: sex of the patient.
        observed: elements of the time; by default 2018-07-19 14:19:39.
        filters: elements of the filters; by default those of a usual device.
    """
    usual = (
        "<CubicSpline>No</CubicSpline><Filter50Hz>Yes</Filter50Hz><Filter60Hz>No</Filter60Hz>"
        '<LowPass units="Hz">100</LowPass><HighPass units="Hz">0.01</HighPass>'
    )
    time = (
        "<Hour>14</Hour><Minute>19</Minute><Second>39</Second>"
        "<Day>19</Day><Month>7</Month><Year>2018</Year>"
    )
    year, month, day = born
    return (
        "<CardiologyXML><ObservationType>RestECG</ObservationType>"
        f"<ObservationDateTime>{time if observed is None else observed}</ObservationDateTime>"
        f"<PatientInfo>{quantity('Age', *age) if age else ''}<BirthDateTime><Day>{day}</Day>"
        f"<Month>{month}</Month><Year>{year}</Year></BirthDateTime><Gender>{gender}</Gender>"
        f"</PatientInfo><FilterSetting>{usual if filters is None else filters}</FilterSetting>"
        f"{''.join(content)}</CardiologyXML>"
    )


def encode(root: str, encoding: str = "ISO-8859-1", head: str = HEAD) -> bytes:
    """Returns the bytes of a document."""
    return (head.format(encoding=encoding) + root).encode(encoding)


def seeds() -> list[Seed]:
    """Returns whole recordings."""
    row = ADC.astype(int)
    leads = {"I": row, "II": row // 2, "V1": -row}
    median = strip({"I": row[:600]}, tag="MedianSamples")
    rest = document(
        f"<RestingECGMeasurements>{median}</RestingECGMeasurements>",
        strip(leads),
        disclosure(leads),
    )
    exercise = document(disclosure(leads, rate=100, resolution=10))
    return [
        Seed("x.xml", {"x.xml": encode(rest)}),
        Seed("x.xml", {"x.xml": encode(exercise, "utf-16")}),
    ]
