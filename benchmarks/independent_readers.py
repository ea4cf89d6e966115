"""Reads recordings and tables of public data sets without the project's own readers.

The packages are those that others use: wfdb, edfio, pydicom, SciPy, sierraecg and pandas.
"""

import ast
import dataclasses
import pathlib
import tempfile
import warnings
import xml.etree.ElementTree
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of its own imports
    import wfdb

MILLIVOLTS = {"v": 1000.0, "mv": 1.0, "uv": 0.001, "nv": 1e-6}
MASKED_YEARS = 90
"""Stored age of patients over 89, whose age the sources mask."""

OLDEST_YEARS = 120
"""Highest plausible age; dates that give a higher one give none."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reference:
    """What an independent reader found in a file; None for what it does not give.

    Shapes: L leads, T time.
    """

    millivolts: np.ndarray
    """[L, T], NaN where missing; in the unit of the file if that is unknown."""
    rate_hz: float | None = None
    lead_names: tuple[str, ...] | None = None
    adc: np.ndarray | None = None
    """Integers [L, T]; only of WFDB, as gain and baseline, [L]."""
    gain_per_mv: np.ndarray | None = None
    baseline: np.ndarray | None = None


def read_wfdb(header: pathlib.Path) -> Reference:
    """Reads a record with wfdb, from a copy without the date, whose order wfdb may not accept."""
    first, *lines = header.read_text().splitlines()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        text = "\n".join([" ".join(first.split()[:4]), *lines])
        (folder / header.name).write_text(text + "\n")
        for file in {line.split()[0] for line in lines if line.strip() and line[0] != "#"}:
            (folder / file).symlink_to((header.parent / file).resolve())
        stem = str(folder / header.stem)
        read: Any = wfdb.rdrecord
        digital, physical = (read(stem, physical=choice) for choice in (False, True))
    factor = np.array([MILLIVOLTS[unit.lower()] for unit in physical.units])
    return Reference(
        millivolts=factor[:, None] * physical.p_signal.T,
        rate_hz=physical.fs,
        lead_names=tuple(physical.sig_name),
        adc=digital.d_signal.T,
        gain_per_mv=np.array(digital.adc_gain) / factor,
        baseline=np.array(digital.baseline),
    )


def read_file(path: pathlib.Path) -> list[Reference] | None:
    """Returns the recordings of a file; None if no independent reader knows the file."""
    suffix, header = path.suffix.lower(), path.with_suffix(".hea")
    if suffix in (".hea", ".dat", ".mat") and header.is_file():
        return [read_wfdb(header)]
    if suffix == ".xml":
        root = xml.etree.ElementTree.parse(path).getroot()
        reader = _XML.get(root.tag.rpartition("}")[2])
        return reader(path, root) if reader else None
    reader = _READERS.get(suffix)
    return reader(path) if reader else None


def _edf(path: pathlib.Path) -> list[Reference]:
    import edfio

    signals = edfio.read_edf(path).signals
    factors = [MILLIVOLTS.get(signal.physical_dimension.lower(), 1.0) for signal in signals]
    data = np.stack([f * s.data for f, s in zip(factors, signals, strict=True)])
    names = tuple(signal.label for signal in signals)
    rate = signals[0].sampling_frequency
    return [Reference(millivolts=data, rate_hz=rate, lead_names=names)]


def _dicom(path: pathlib.Path) -> list[Reference]:
    import pydicom

    dataset, references = pydicom.dcmread(path), []
    for number, group in enumerate(dataset.WaveformSequence):
        if group.WaveformOriginality != "ORIGINAL":
            continue
        channels = group.ChannelDefinitionSequence
        units = [c.ChannelSensitivityUnitsSequence[0].CodeValue.lower() for c in channels]
        names = [c.ChannelSourceSequence[0].CodeMeaning for c in channels]
        factor = np.array([MILLIVOLTS[unit] for unit in units])
        references.append(
            Reference(
                millivolts=factor[:, None] * dataset.waveform_array(number).T,
                rate_hz=float(group.SamplingFrequency),
                lead_names=tuple(name.removeprefix("Lead ") for name in names),
            )
        )
    return references


def _matlab(path: pathlib.Path) -> list[Reference]:
    import scipy.io

    values = {k: v for k, v in scipy.io.loadmat(path).items() if isinstance(v, np.ndarray)}
    signal = max(values.values(), key=lambda value: value.size)
    rates = [value for name, value in values.items() if name in ("fs", "curr_sample_rate")]
    return [Reference(millivolts=signal, rate_hz=float(rates[0].item()) if rates else None)]


def _text(path: pathlib.Path) -> list[Reference]:
    """Reads comma-separated integers, one time a row, with a counter in front."""
    return [Reference(millivolts=np.loadtxt(path, delimiter=",").T[1:])]


_SIERRA_RESOLUTION = ("signalresolution", "resolution")
"""Names of the element with the microvolts of a step, in versions 1.03 and 1.04."""


def _philips(path: pathlib.Path, root: xml.etree.ElementTree.Element) -> list[Reference]:
    import sierraecg

    read = sierraecg.read_file(str(path))
    stated = (e.text for e in root.iter() if e.tag.rpartition("}")[2] in _SIERRA_RESOLUTION)
    microvolts = float(next(stated) or 0)
    rows = {lead.label: lead.samples.astype(int) for lead in read.leads}
    i, ii, iii = rows["I"], rows["II"], rows["III"]
    # sierraecg rounds halves down, but the manufacturer's converter towards zero.
    for name, total, sign in (("aVR", i + ii, -1), ("aVL", i - iii, 1), ("aVF", ii + iii, 1)):
        rows[name] += sign * ((total < 0) & (total % 2 == 1))
    millivolts = np.stack([*rows.values()]) * (microvolts / 1000)
    rate_hz = read.leads[0].sampling_freq
    return [Reference(millivolts=millivolts, rate_hz=rate_hz, lead_names=tuple(rows))]


def _aecg(_: pathlib.Path, root: xml.etree.ElementTree.Element) -> list[Reference]:
    """Reads the rhythm series; derived series, such as averaged beats, are below other elements."""
    ns = {"": "urn:hl7-org:v3"}
    references = []
    for group in root.iterfind("component/series/component/sequenceSet", ns):
        names, rows, rate = [], [], None
        for sequence in group.iterfind("component/sequence", ns):
            code, value = sequence.find("code", ns), sequence.find("value", ns)
            assert code is not None
            assert value is not None
            increment, digits = value.find("increment", ns), value.find("digits", ns)
            if increment is not None:
                rate = 1 / float(increment.attrib["value"])
            if digits is None:
                continue
            origin, scale = value.find("origin", ns), value.find("scale", ns)
            assert origin is not None
            assert scale is not None
            factors = [
                float(e.attrib["value"]) * MILLIVOLTS[e.attrib["unit"].lower()]
                for e in (origin, scale)
            ]
            names.append(code.attrib["code"].rpartition("_")[2])
            rows.append(factors[0] + factors[1] * np.array((digits.text or "").split(), float))
        references.append(
            Reference(millivolts=np.stack(rows), rate_hz=rate, lead_names=tuple(names))
        )
    return references


_READERS: dict[str, Callable[[pathlib.Path], list[Reference]]] = {
    ".edf": _edf,
    ".dcm": _dicom,
    ".mat": _matlab,
    ".txt": _text,
}
_XML: dict[str, Callable[..., list[Reference]]] = {
    "restingecgdata": _philips,
    "AnnotatedECG": _aecg,
}


def read_tables(dataset: str, source: pathlib.Path) -> dict[str, dict[str, Any]]:
    """Returns what the tables of a raw folder state about recordings, by record id and name."""
    reader = _TABLES.get(dataset.partition("/")[0])
    return reader(source) if reader else {}


def _ptb_xl(source: pathlib.Path) -> dict[str, dict[str, Any]]:
    statements = pd.read_csv(source / "scp_statements.csv", index_col=0)
    classes = statements[statements.diagnostic == 1].diagnostic_class
    values = {}
    for row in pd.read_csv(source / "ptbxl_database.csv").to_dict("records"):
        codes = ast.literal_eval(str(row["scp_codes"]))
        known = {
            "patient_id": str(int(row["patient_id"])),
            "age_years": MASKED_YEARS if row["age"] == 300 else row["age"],
            "male": 1 - row["sex"],
            "strat_fold": row["strat_fold"],
            "scp_codes": sorted(codes),
            "superdiagnostic": sorted({classes[code] for code in codes if code in classes}),
        }
        values[row["filename_lr"]] = values[row["filename_hr"]] = known
    return values


def _cinc2017(source: pathlib.Path) -> dict[str, dict[str, Any]]:
    table = pd.read_csv(source / "REFERENCE.csv", header=None, names=["record", "rhythm"])
    return {row["record"]: {"rhythm": row["rhythm"]} for row in table.to_dict("records")}


def _chapman(source: pathlib.Path) -> dict[str, dict[str, Any]]:
    values = {}
    for header in source.rglob("*.hea"):
        lines = [line for line in header.read_text().splitlines() if line.startswith("#")]
        stated = dict(line.lstrip("# ").split(": ", 1) for line in lines if ": " in line)
        values[header.relative_to(source).with_suffix("").as_posix()] = {
            "age_years": float(stated["Age"]),
            "male": float(stated["Sex"] == "Male"),
            "snomed": sorted(stated["Dx"].split(",")),
        }
    return values


def _mimic_iv_ecg(source: pathlib.Path) -> dict[str, dict[str, Any]]:
    records = pd.read_csv(source / "record_list.csv", parse_dates=["ecg_time"])
    records = records.merge(pd.read_csv(source / "hosp" / "patients.csv.gz"), on="subject_id")
    values = {}
    for row in records.to_dict("records"):
        age = min(row["anchor_age"], MASKED_YEARS) + row["ecg_time"].year - row["anchor_year"]
        values[row["path"]] = {
            "patient_id": str(row["subject_id"]),
            "recorded_at": row["ecg_time"].isoformat(),
            "age_years": min(age, MASKED_YEARS) if age <= OLDEST_YEARS else np.nan,
            "male": float(row["gender"] == "M"),
        }
    return values


_TABLES: dict[str, Callable[[pathlib.Path], dict[str, dict[str, Any]]]] = {
    "ptb_xl": _ptb_xl,
    "cinc2017": _cinc2017,
    "chapman": _chapman,
    "mimic_iv_ecg": _mimic_iv_ecg,
}
