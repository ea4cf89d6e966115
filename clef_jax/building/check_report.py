"""Output of `prepare --check`: tables of contents, labels and findings, and some recordings."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import rich.table

from clef_jax.building.check import Counts, ScanResult
from clef_jax.data import raw
from clef_jax.errors import counted
from clef_jax.signal import adc

NUM_PLOTTED = 10
NO_FINDING = "No lead of any recording has a finding."
_HISTOGRAM_BINS = 10
_MAX_VALUES = 12
_SCALED_QUANTILE = 0.995
"""Amplitudes without a unit are scaled so that this quantile is plotted as 1 mV."""


def tables(result: ScanResult) -> Iterator[rich.table.Table | str]:
    """Yields the tables and lines that `prepare --check` prints."""
    yield _contents(result)
    if result.metadata["labels"]:
        yield _labels(result)
    yield _leads(result)
    yield from result.damage
    state = "unchanged since it was prepared" if result.intact else "CHANGED since it was prepared"
    yield f"Fingerprint {result.metadata['fingerprint'][:12]}: {state}"


def _contents(result: ScanResult) -> rich.table.Table:
    """Returns a table of the contents of each split."""
    table = rich.table.Table(title=f"Checked {result.version_dir}")
    table.add_column("")
    for split in result.counts:
        table.add_column(split)
    indices, splits = result.indices.values(), result.counts.values()
    table.add_row("recordings", *(f"{counts.num_records:,}" for counts in splits))
    table.add_row("patients", *(f"{index.num_patients:,}" for index in indices))
    for title in ("rate", "length", "sex", "age"):
        table.add_row(title, *(_fractions(counts, title) for counts in splits))
    missing = [counts.num_missing / max(counts.num_samples, 1) for counts in splits]
    table.add_row("samples missing", *(f"{fraction:.3%}" for fraction in missing))
    table.add_row("risk", *(_histogram(index.risk) for index in indices))
    if any(np.isfinite(index.risk).any() for index in indices):
        table.add_row("completeness", *(_histogram(index.completeness) for index in indices))
    return table


def _fractions(counts: Counts, title: str) -> str:
    """Returns the values of a property with their fractions, lowest or most frequent first."""
    ordered = ordered_values(counts, title)
    shown = [f"{value} {fraction:.1%}" for value, fraction in ordered[:_MAX_VALUES]]
    more = len(ordered) - len(shown)
    return "\n".join(shown) + (f"\n{more} more" if more else "")


def ordered_values(counts: Counts, title: str) -> list[tuple[str, float]]:
    """Returns the values of a property with their fractions, lowest or most frequent first."""
    values = {value: n for (name, value), n in counts.by_value.items() if name == title}
    ordered = sorted(values, key=lambda v: (v == "unknown", _leading_number(v), -values[v]))
    total = max(counts.num_records, 1)
    return [(value, values[value] / total) for value in ordered]


def _leading_number(text: str) -> float:
    digits = text.split("-")[0].split("+")[0].split(" ")[0]
    return float(digits) if digits.replace(".", "").isdigit() else 0.0


def _histogram(values: np.ndarray) -> str:
    """Returns a histogram over [0, 1] as text, with the fraction of unknown values."""
    known = values[~np.isnan(values)]
    if not len(known):
        return "all unknown"
    counts, _ = np.histogram(known, bins=_HISTOGRAM_BINS, range=(0, 1))
    bars = "".join(" ▁▂▃▄▅▆▇█"[int(np.ceil(8 * n / counts.max()))] for n in counts)
    unknown = len(values) - len(known)
    return f"0 |{bars}| 1" + (f"\nunknown {unknown / len(values):.1%}" if unknown else "")


def _labels(result: ScanResult) -> rich.table.Table:
    """Returns a table of the labels: the fraction of each class, and the mean of numbers."""
    table = rich.table.Table(title="Labels")
    for name in ("label", "class"):
        table.add_column(name, overflow="fold")
    for split in result.counts:
        table.add_column(split, justify="right")
    for label in result.metadata["labels"]:
        title = f"{label['name']}\n{label['description']}"
        rows, absent = label_rows(result, label)
        if absent:
            rows.append([absent_words(absent, len(label["classes"])), *("" for _ in result.counts)])
        for row in rows:
            table.add_row(title, *row)
            title = ""
        table.add_section()
    return table


def label_rows(result: ScanResult, label: dict[str, Any]) -> tuple[list[list[str]], list[str]]:
    """Returns a row for each class that occurs, or for a number, and the classes that do not.

    A row has the name of the class, or the unit of the number, and a cell for each split.
    """
    rows, absent = [], []
    for name in label["classes"] or [""]:
        if label["classes"] and not any(_count(result, s, label, name) for s in result.counts):
            absent.append(name)
            continue
        cells = [_label_cell(result, split, label, name) for split in result.counts]
        rows.append([name or label["unit"], *cells])
    return rows, absent


def absent_words(absent: Sequence[str], num_classes: int) -> str:
    """Returns how many classes no recording has; empty if all occur."""
    if not absent:
        return ""
    return f"{len(absent)} of {counted(num_classes, 'class')} are absent"


def _count(result: ScanResult, split: str, label: dict[str, Any], name: str) -> int:
    """Returns the number of recordings of a split with a class, or with a number if it is ''."""
    by_class = result.metadata["splits"][split]["label_counts"].get(label["name"], {})
    return by_class.get(name, 0)


def _label_cell(result: ScanResult, split: str, label: dict[str, Any], name: str) -> str:
    """Returns the number of records with a class or number, and the mean and SD of numbers."""
    counts, number = result.counts[split], _count(result, split, label, name)
    text = f"{number:,} ({number / max(counts.num_records, 1):.1%})"
    if label["name"] not in counts.moments:
        return text
    known, total, squares = counts.moments[label["name"]]
    mean = total / known
    standard_deviation = np.sqrt(max(squares / known - mean**2, 0))
    return f"{text}\n{mean:.4g} ± {standard_deviation:.3g}"


def _leads(result: ScanResult) -> rich.table.Table | str:
    """Returns a table of the fraction of recordings with each problem, by lead, or a sentence."""
    total = Counts()
    for counts in result.counts.values():
        total.add(counts)
    problems, rows = lead_rows(result, total)
    if not problems:
        return NO_FINDING
    title = "Recordings by lead and finding"
    table = rich.table.Table("lead", *problems, title=title, min_width=len(title) + 2)
    for row in rows:
        table.add_row(*row)
    return table


def lead_rows(result: ScanResult, total: Counts) -> tuple[list[str], list[list[str]]]:
    """Returns the problems of leads, and a row for each lead: its name, and the fraction of
    recordings with each problem."""
    problems = sorted({problem for lead, problem in total.by_lead if lead})
    num_records, rows = max(total.num_records, 1), []
    for lead in result.metadata["leads"]:
        fractions = [total.by_lead[lead, problem] / num_records for problem in problems]
        rows.append([lead, *(f"{fraction:.2%}" if fraction else "" for fraction in fractions)])
    return problems, rows


class Recording(NamedTuple):
    """A recording to plot."""

    signal_mv: np.ndarray
    """[L, T]; NaN where missing."""
    leads: tuple[str, ...]
    sample_rate_hz: float
    title: str


def selected(result: ScanResult) -> Iterator[Recording]:
    """Yields recordings selected at random, without ids or values of a patient."""
    indices = result.indices
    records = [(s, row) for s, index in indices.items() for row in range(index.num_records)]
    rng = np.random.default_rng(0)
    chosen = rng.choice(len(records), min(NUM_PLOTTED, len(records)), replace=False)
    leads = next(iter(indices.values())).lead_names
    for number in chosen:
        split, row = records[number]
        index = indices[split]
        signal = raw.Reader(index).read([row], np.arange(len(leads)))[0]
        signal_mv = adc.to_mv(signal, index.gain_per_mv[row], index.baseline[row], np.float64)
        rate, amplitude = float(index.sample_rate_hz[row]), "10 mm/mV"
        if result.metadata["amplitude"] == "arbitrary":
            signal_mv, amplitude = _scaled(signal_mv), "amplitude without unit"
        title = f"{split}, {signal.shape[1] / rate:g} s at {rate:g} Hz; 25 mm/s, {amplitude}"
        yield Recording(signal_mv, tuple(leads), rate, title)


def _scaled(signal: np.ndarray) -> np.ndarray:
    median = np.nanmedian(signal)
    scale = np.nanquantile(np.abs(signal - median), _SCALED_QUANTILE)
    return (signal - median) / max(float(scale), 1e-9)
