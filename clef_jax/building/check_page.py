"""The page of `prepare --check`: contents, labels, findings and some recordings of a data set.

It holds counts and ten recordings that were selected at random, and no identifier of a patient.
"""

import html
import pathlib
from collections.abc import Iterator

import numpy as np

from clef_jax import files
from clef_jax.building import check_report
from clef_jax.building.check import Counts, ScanResult
from clef_jax.errors import UserError, counted
from clef_jax.page import chart, dots, ecg_strips, template
from clef_jax.page.panel import Panel

PAGE_FILE = "check.html"
_TITLE = "Prepared data"
_NUM_UNFOLDED = 2
"""Number of recordings that are seen without unfolding."""
_MOST_VALUES = 12
"""Largest number of values of a property in a chart."""


def is_page(path: pathlib.Path) -> bool:
    """Returns whether a file is such a page."""
    return template.is_document(path, _TITLE)


def save_page(result: ScanResult) -> str:
    """Writes the page into the folder of the data set.

    Returns:
        A sentence that names the file, or says why it could not be written: the data may be
        read-only, and is checked all the same.
    """
    file = result.version_dir / PAGE_FILE
    try:
        files.write_text(file, render(result))
    except (OSError, UserError) as error:
        cause = error if isinstance(error, OSError) else error.__cause__
        why = files.reason(cause, file.parent) if isinstance(cause, OSError) else str(error)
        return f"No recordings are plotted, because {file} could not be written: {why}."
    return f"The page with recordings selected at random is {file}"


def render(result: ScanResult) -> str:
    """Returns the page as HTML."""
    state = "unchanged since it was prepared" if result.intact else "CHANGED since it was prepared"
    totals = _total(result)
    patients = sum(index.num_patients for index in result.indices.values())
    name = "/".join(result.version_dir.parts[-3:])
    words = (
        f"{counted(totals.num_records, 'recording')} of {counted(patients, 'patient')} in "
        f"{counted(len(result.counts), 'split')}; {state}."
    )
    return template.document(
        _TITLE,
        f'<p class="answer">{html.escape(f"{name}: {words}")}</p>',
        template.section("Contents", "", _contents(result), _charts(result, totals)),
        _labels(result),
        template.section("Findings by lead", "", _findings(result, totals), anchor="findings"),
        template.section(
            "Recordings",
            "Recordings that were selected at random: 25 mm per second, 10 mm per millivolt.",
            *_recordings(list(_strips(result))),
            anchor="recordings",
        ),
        template.folded(
            "Origin",
            template.description_list({"Fingerprint": str(result.metadata["fingerprint"])}),
            level=2,
        ),
    )


def _total(result: ScanResult) -> Counts:
    total = Counts()
    for counts in result.counts.values():
        total.add(counts)
    return total


def _contents(result: ScanResult) -> str:
    rows = []
    for split, counts in result.counts.items():
        index = result.indices[split]
        unknown = float(np.isnan(index.risk).mean()) if index.num_records else 0.0
        rows.append(
            [
                html.escape(split),
                f"{counts.num_records:,}",
                f"{index.num_patients:,}",
                f"{counts.num_missing / max(counts.num_samples, 1):.3%}",
                f"{unknown:.1%}",
            ]
        )
    header = ("split", "recordings", "patients", "samples missing", "risk unknown")
    return template.table(header, rows, name="splits")


def _charts(result: ScanResult, total: Counts) -> str:
    """Returns the distributions over all splits; a property with one value is a sentence."""
    charts, equal = [], {}
    for title in ("age", "sex", "length", "rate"):
        values = check_report.ordered_values(total, title)
        if len(values) < 2:
            equal[title] = ", ".join(name for name, _ in values)
            continue
        frequent = sorted(values, key=lambda item: -item[1])[:_MOST_VALUES]
        rows = [dots.Dot(name, 100 * share) for name, share in values if (name, share) in frequent]
        more = (
            f", {len(values) - len(rows)} rarer values left out" if len(rows) < len(values) else ""
        )
        caption = f"<figcaption><b>{title}</b>, % of recordings{more}</figcaption>"
        text = f"{title}, % of recordings{more}:"
        charts.append(caption + dots.plot(rows, text, include=(0.0,)))
    risks = [index.risk[np.isfinite(index.risk)] for index in result.indices.values()]
    risk = np.concatenate(risks) if risks else np.zeros(0)
    if len(risk):
        charts.append(_histogram(100 * risk))
    return (template.description_list(equal) if equal else "") + chart.grid(*charts)


def _histogram(percent: np.ndarray) -> str:
    counts, edges = np.histogram(percent, bins=20)
    fraction = 100 * counts / len(percent)
    panel = Panel(
        *((float(edges[0]), float(edges[-1])), (0.0, float(fraction.max()) * 1.05)),
        title="risk",
        x_name="10-year risk, %",
        y_name="% of recordings",
    )
    for low, high, share in zip(edges[:-1], edges[1:], fraction, strict=True):
        if share:
            panel.rectangle((low, high), (0.0, share), "bar")
    middle = np.median(percent)
    return panel.draw(f"Histogram of the 10-year risk; the median is {middle:.3g} %.")


def _labels(result: ScanResult) -> str:
    """Returns a folded table for each label; empty without labels."""
    parts = []
    for label in result.metadata["labels"]:
        rows, absent = check_report.label_rows(result, label)
        cells = [[html.escape(cell) for cell in row] for row in rows]
        header = ("class" if label["classes"] else "value", *result.counts)
        gist = check_report.absent_words(absent, len(label["classes"]))
        table = template.table(header, cells, name=label["name"]) if rows else ""
        names = f'<p class="quiet">Absent: {html.escape(", ".join(absent))}.</p>' if absent else ""
        parts.append(
            template.folded(
                label["name"], table, names, caption=label["description"], gist=gist, level=3
            )
        )
    return template.section("Labels", "", *parts, anchor="labels") if parts else ""


def _findings(result: ScanResult, total: Counts) -> str:
    problems, rows = check_report.lead_rows(result, total)
    if not problems:
        return f"<p>{check_report.NO_FINDING}</p>"
    cells = [[html.escape(cell) for cell in row] for row in rows]
    return template.table(("lead", *problems), cells, name="findings")


def _recordings(strips: list[str]) -> Iterator[str]:
    """Yields the first recordings, and the others folded."""
    yield chart.grid(*strips[:_NUM_UNFOLDED], kind="broad")
    if others := strips[_NUM_UNFOLDED:]:
        title = counted(len(others), "more recording")
        yield template.folded(title, chart.grid(*others, kind="broad"))


def _strips(result: ScanResult) -> Iterator[str]:
    for recording in check_report.selected(result):
        yield ecg_strips.draw(
            recording.signal_mv, recording.leads, recording.sample_rate_hz, recording.title
        )
