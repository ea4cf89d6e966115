"""What `prepare --check` shows of a prepared data set: tables, and recordings on ECG paper."""

from collections.abc import Iterator

import numpy as np
import rich.table
from matplotlib.figure import Figure

from clef_jax import files
from clef_jax.building.check import Part, ScanResult
from clef_jax.data import raw
from clef_jax.errors import UserError
from clef_jax.page import ecg_paper
from clef_jax.signal import adc

PICTURE_FILE = "check.png"
NUM_PICTURES = 10
_HISTOGRAM_BINS = 10
_MOST_VALUES = 12
_SCALED_QUANTILE = 0.995
"""Amplitudes without a unit are drawn so that this quantile is a millivolt high."""


def tables(found: ScanResult) -> Iterator[rich.table.Table | str]:
    """What `prepare --check` prints."""
    yield _facts(found)
    if found.metadata["labels"]:
        yield _labels(found)
    yield _leads(found)
    yield from found.damage
    state = "as it was prepared" if found.intact else "DIFFERS from what was prepared"
    yield f"Fingerprint {found.metadata['fingerprint'][:12]}: {state}"
    if found.intact:
        yield f"Recordings drawn by lot are in {found.version_dir / PICTURE_FILE}"


def _facts(found: ScanResult) -> rich.table.Table:
    table = rich.table.Table(title=f"Checked {found.version_dir}")
    table.add_column("")
    for split in found.parts:
        table.add_column(split)
    indices, parts = found.indices.values(), found.parts.values()
    table.add_row("recordings", *(f"{part.num_records:,}" for part in parts))
    table.add_row("patients", *(f"{one.num_patients:,}" for one in indices))
    for title in ("rate", "length", "sex", "age"):
        table.add_row(title, *(_shares(part, title) for part in parts))
    table.add_row(
        "samples missing", *(f"{part.num_missing / max(part.num_samples, 1):.3%}" for part in parts)
    )
    table.add_row("risk", *(_histogram(one.risk) for one in indices))
    if any(np.isfinite(one.risk).any() for one in indices):
        table.add_row("completeness", *(_histogram(one.completeness) for one in indices))
    return table


def _shares(part: Part, title: str) -> str:
    """The values of one fact with their shares, the most frequent or lowest first."""
    values = {value: n for (name, value), n in part.counts.items() if name == title}
    most = sorted(values, key=lambda v: (v == "unknown", _leading_number(v), -values[v]))
    total = max(part.num_records, 1)
    shown = [f"{value} {values[value] / total:.1%}" for value in most[:_MOST_VALUES]]
    more = len(most) - len(shown)
    return "\n".join(shown) + (f"\n{more} more" if more else "")


def _leading_number(text: str) -> float:
    digits = text.split("-")[0].split("+")[0].split(" ")[0]
    return float(digits) if digits.replace(".", "").isdigit() else 0.0


def _histogram(values: np.ndarray) -> str:
    """Bars over [0, 1], and how many are unknown."""
    known = values[~np.isnan(values)]
    if not len(known):
        return "all unknown"
    counts, _ = np.histogram(known, bins=_HISTOGRAM_BINS, range=(0, 1))
    bars = "".join(" ▁▂▃▄▅▆▇█"[int(np.ceil(8 * n / counts.max()))] for n in counts)
    unknown = len(values) - len(known)
    return f"0 |{bars}| 1" + (f"\nunknown {unknown / len(values):.1%}" if unknown else "")


def _labels(found: ScanResult) -> rich.table.Table:
    """Every class of every label with its share, and the mean of numbers."""
    table = rich.table.Table(title="Labels")
    for name in ("label", "class"):
        table.add_column(name, overflow="fold")
    for split in found.parts:
        table.add_column(split, justify="right")
    for label in found.metadata["labels"]:
        title = f"{label['name']}\n{label['description']}"
        for name in label["classes"] or [""]:
            cells = [_label_cell(found, split, label, name) for split in found.parts]
            table.add_row(title, name or label["unit"], *cells)
            title = ""
        table.add_section()
    return table


def _label_cell(found: ScanResult, split: str, label: dict, name: str) -> str:
    part = found.parts[split]
    counts = found.metadata["splits"][split]["label_counts"]
    number = counts.get(label["name"], {}).get(name, 0)
    share = f"{number:,} ({number / max(part.num_records, 1):.1%})"
    if label["name"] not in part.moments:
        return share
    known, total, squares = part.moments[label["name"]]
    mean = total / known
    deviation = np.sqrt(max(squares / known - mean**2, 0))
    return f"{share}\n{mean:.4g} ± {deviation:.3g}"


def _leads(found: ScanResult) -> rich.table.Table:
    """For every lead, in how many recordings something is wrong with it."""
    total = Part()
    for part in found.parts.values():
        total.add(part)
    problems = sorted({problem for lead, problem in total.lead_counts if lead})
    table = rich.table.Table("lead", *problems, title="Recordings by lead and finding")
    num_records = max(total.num_records, 1)
    for lead in found.metadata["leads"]:
        shares = [total.lead_counts[lead, problem] / num_records for problem in problems]
        table.add_row(lead, *(f"{share:.2%}" if share else "" for share in shares))
    return table


def save_picture(found: ScanResult) -> None:
    """Draws some recordings into the folder of the data set.

    Raises:
        UserError: it cannot be written to.
    """
    file = found.version_dir / PICTURE_FILE
    try:
        with files.appearing(file) as half:
            draw(found).savefig(half, format=file.suffix[1:], dpi=80)
    except OSError as error:
        raise UserError(f"{file} could not be written: {error.strerror}.") from error


def draw(found: ScanResult) -> Figure:
    """Some recordings, drawn by lot over all splits; no name and no value of a patient."""
    indices = found.indices
    lot = [(split, row) for split, one in indices.items() for row in range(one.num_records)]
    rng = np.random.default_rng(0)
    chosen = rng.choice(len(lot), min(NUM_PICTURES, len(lot)), replace=False)
    leads = next(iter(indices.values())).lead_names
    rows = -(-len(chosen) // 2)
    height_inches = 0.35 + 1.2 * ecg_paper.num_rows(leads)
    figure = Figure(figsize=(20.5, rows * height_inches), layout="constrained")
    panels = figure.subplots(rows, 2, squeeze=False).ravel()
    for panel in panels[len(chosen) :]:
        panel.set_axis_off()
    for panel, number in zip(panels, chosen, strict=False):
        split, row = lot[number]
        one = indices[split]
        signal = raw.Reader(one).read([row], np.arange(len(leads)))[0]
        drawn_mv = adc.to_mv(signal, one.gain_per_mv[row], one.baseline[row], np.float64)
        rate, amplitude = float(one.sample_rate_hz[row]), "10 mm/mV"
        if found.metadata["amplitude"] == "arbitrary":
            drawn_mv, amplitude = _scaled(drawn_mv), "amplitude without unit"
        title = f"{split}, {signal.shape[1] / rate:g} s at {rate:g} Hz; 25 mm/s, {amplitude}"
        ecg_paper.draw(panel, drawn_mv, leads, rate, title=title)
    return figure


def _scaled(signal: np.ndarray) -> np.ndarray:
    middle = np.nanmedian(signal)
    height = np.nanquantile(np.abs(signal - middle), _SCALED_QUANTILE)
    return (signal - middle) / max(float(height), 1e-9)
