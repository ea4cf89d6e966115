"""Encodes Philips Sierra XML files, as the schemas of versions 1.03 and 1.04 describe them.

XLI, the compression of the values, has no public specification; it is encoded here as three public
decoders read it.
"""

import base64
import struct

import numpy as np

from fuzz_seeds import ADC, Seed

NAMESPACE = "http://www3.medical.philips.com"
LIMB = ("III", "aVR", "aVL", "aVF")


def lzw(data: bytes) -> bytes:
    """Returns LZW codes of 10 bits, the last one 1023, most significant bit first."""
    table = {bytes([value]): value for value in range(256)}
    codes, word = [], b""
    for value in data:
        longer = word + bytes([value])
        if longer in table:
            word = longer
            continue
        codes.append(table[word])
        if len(table) < 1023:
            table[longer] = len(table)
        word = bytes([value])
    codes += [table[word], 1023] if word else [1023]
    bits = "".join(f"{code:010b}" for code in codes)
    bits += "0" * (-len(bits) % 8)
    return bytes(int(bits[at : at + 8], 2) for at in range(0, len(bits), 8))


def chunk(samples: np.ndarray) -> bytes:
    """Returns a channel, int [T], as XLI: a header and compressed second differences."""
    bends = [int(2 * samples[t - 1] - samples[t - 2] - samples[t]) for t in range(2, len(samples))]
    stored = [int(value) for value in samples[:2]] + [bend + 64 for bend in bends[1:]] + [0]
    words = [value & 0xFFFF for value in stored[: len(samples)]]
    data = lzw(bytes(word >> 8 for word in words) + bytes(word & 255 for word in words))
    first = (bends[0] + 0x8000) % 0x10000 - 0x8000 if bends else 0
    return struct.pack("<ihh", len(data), 1, first) + data


def differences(leads: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns leads, int [T], with the differences that XLI stores for four limb leads."""

    def half(total: np.ndarray) -> np.ndarray:
        return np.sign(total) * (np.abs(total) // 2)

    out = dict(leads)
    if "III" in out:
        out["III"] = leads["II"] - leads["I"] - leads["III"]
    if "aVR" in out:
        out["aVR"] = -half(leads["I"] + leads["II"]) - leads["aVR"]
    if "aVL" in out:
        out["aVL"] = half(leads["I"] - leads["III"]) - leads["aVL"]
    if "aVF" in out:
        out["aVF"] = half(leads["II"] + leads["III"]) - leads["aVF"]
    return out


def values(leads: dict[str, np.ndarray], compression: str, encoding: str, word: str = "<i2") -> str:
    """Returns the text of waveforms.

    Args:
        leads: integers by lead, [T].
        compression: `XLI` or an empty text.
        encoding: `Base64`, `Hex` or `Plain`.
        word: type of uncompressed values.
    """
    if compression:
        stored = differences(leads)
        unused = [np.zeros(len(row), int) for row in list(leads.values())[:1] * 4]
        data = b"".join(chunk(row) for row in [*stored.values(), *unused])
    else:
        data = b"".join(row.astype(word).tobytes() for row in leads.values())
    if encoding == "Plain":
        return " ".join(str(value) for row in leads.values() for value in row)
    return data.hex() if encoding == "Hex" else base64.encodebytes(data).decode()


def attributes(**stated: str) -> str:
    return " ".join(f'{name}="{value}"' for name, value in stated.items())


def parsed(leads: dict[str, np.ndarray], word: str = "<i2", **changes: str | None) -> str:
    """Returns `parsedwaveforms` as of version 1.04; a changed attribute of None is left out."""
    length = len(next(iter(leads.values())))
    stated = {
        "dataencoding": "Base64", "compression": "XLI", "numberofleads": str(len(leads)),
        "leadlabels": " ".join(leads), "durationperchannel": str(2 * length),
        "samplespersecond": "500", "resolution": "5", "signaloffset": "0", "signalsigned": "True",
        "bitspersample": "16", "hipass": "0.05", "lowpass": "150", "notchfiltered": "False",
    } | changes  # fmt: skip
    stated = {name: value for name, value in stated.items() if value is not None}
    text = values(leads, stated.get("compression", ""), stated["dataencoding"], word)
    return f"<parsedwaveforms {attributes(**stated)}>{text}</parsedwaveforms>"


def parsed_old(leads: dict[str, np.ndarray], **changes: str | None) -> str:
    """Returns `parsedwaveforms` as of version 1.03, without names of leads."""
    length = len(next(iter(leads.values())))
    stated = {
        "compressflag": "True", "compressmethod": "XLI", "filterflag": "True",
        "dataencoding": "Base64", "durationperchannel": str(2 * length), "nbitspersample": "16",
    } | changes  # fmt: skip
    stated = {name: value for name, value in stated.items() if value is not None}
    compression = stated["compressmethod"] if stated["compressflag"] == "True" else ""
    text = values(leads, compression, stated["dataencoding"])
    return f"<parsedwaveforms {attributes(**stated)}>{text}</parsedwaveforms>"


OLD = (
    "<samplingrate>500</samplingrate><signalresolution>5</signalresolution>"
    "<signalbandwidth>0.05-150</signalbandwidth><acquisitiontype>STD-12</acquisitiontype>"
    "<bitspersample>16</bitspersample><signaloffset>0</signaloffset>"
    "<signalsigned>True</signalsigned><numberchannelsallocated>12</numberchannelsallocated>"
    "<numberchannelsvalid>12</numberchannelsvalid><leadset>STD-12</leadset>"
)
NEW = (
    "<samplingrate>500</samplingrate><resolution>5</resolution><hipass>0.05</hipass>"
    "<lowpass>150</lowpass><acquisitiontype>10-WIRE</acquisitiontype>"
    "<numberchannelsallocated>12</numberchannelsallocated>"
    "<numberchannelsvalid>12</numberchannelsvalid>"
)
BEATS = (
    '<repbeats dataencoding="Base64" samplespersec="1000" resolution="1.0" repbeatmethod="mean">'
    '<repbeat leadname="I"><waveform duration="4">AAABAAIA</waveform></repbeat></repbeats>'
)


def document(
    *waves: str,
    version: str = "1.04",
    details: str = NEW,
    patient: str = "<age><years>50</years></age><sex>Female</sex>",
    when: str = 'date="2011-12-01" time="07:27:34"',
    encoding: str = "utf-16",
    extra: str = "",
) -> bytes:
    """Returns a file.

    Args:
        waves: elements of waveforms.
        version: version of the format.
        details: what is within `signalcharacteristics`.
        patient: what is within `generalpatientdata`.
        when: date and time of the acquisition.
        encoding: encoding of the file.
        extra: elements before the waveforms.
    """
    kind = "SierraECG" if version == "1.03" else "PhilipsECG"
    text = (
        f'<?xml version="1.0" encoding="{encoding}"?>\r\n<restingecgdata xmlns="{NAMESPACE}" '
        'status="New" lang="en"><documentinfo><documentname>x.xml</documentname>'
        f"<documenttype>{kind}</documenttype><documentversion>{version}</documentversion>"
        f"</documentinfo><dataacquisition {when}><signalcharacteristics>{details}"
        "</signalcharacteristics></dataacquisition><patient><generalpatientdata><name><lastname>"
        f"Jané</lastname></name>{patient}</generalpatientdata></patient>{extra}<waveforms>"
        f"{''.join(waves)}</waveforms></restingecgdata>"
    )
    return text.encode(encoding)


def seeds() -> list[Seed]:
    """Returns whole recordings."""
    one, two = ADC.astype(int) // 5, (1.5 * ADC).astype(int) // 5
    limb = {
        "I": one, "II": two, "III": two - one, "aVR": -(one + two) // 2, "aVL": one - two // 2,
        "aVF": two - one // 2,
    }  # fmt: skip
    all_leads = limb | {f"V{number}": one // number for number in range(1, 7)}
    few = {name: row[:200] for name, row in limb.items()}
    contents = (
        document(parsed(few), BEATS),
        document(parsed(few, compression=None)),
        document(parsed_old(all_leads), version="1.03", details=OLD, encoding="utf-8"),
        document(parsed(few, compression=None, dataencoding="Plain"), encoding="utf-8"),
    )
    return [Seed("x.xml", {"x.xml": content}) for content in contents]
