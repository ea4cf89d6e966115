"""Plot of the records: score against minutes of training."""

import io
import pathlib
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from clef_jax import files
from clef_jax.errors import UserError
from clef_jax.speedrunning import group as group_lib, record

_MARK = "clef-jax speedrun"
_KINDS = {
    "trained": ("#1b263b", "o"),
    "supervised": ("#b3101d", "s"),
    "scored": ("#5f6f86", "D"),
}
"""Colour and marker of each kind of row."""
_STYLE: dict[Any, Any] = {"svg.hashsalt": "clef_jax", "svg.fonttype": "none"}
"""Identifiers do not depend on the moment, and text stays text."""


def check(path: pathlib.Path) -> None:
    """Raises UserError if the plot would replace a file that is no such plot."""
    files.check_output(
        path,
        lambda old: _MARK in old.read_text(encoding="utf-8", errors="replace"),
        option="--records",
        can_overwrite=False,
    )


def write(path: pathlib.Path, rows: Sequence[record.Row]) -> None:
    """Draws all rows, each with its interval; rows without training stand at 0 minutes.

    Raises:
        UserError: another file has the name of the plot.
    """
    check(path)
    files.write_text(path, as_svg(draw(rows), creator=_MARK))


def as_svg(figure: Figure, *, creator: str) -> str:
    """Returns a figure as SVG that names its creator; the same figure gives the same text."""
    buffer = io.StringIO()
    with mpl.rc_context(_STYLE):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": creator})
    return "".join(f"{line.rstrip()}\n" for line in buffer.getvalue().splitlines())


def draw(rows: Sequence[record.Row]) -> Figure:
    """Returns the plot of score, with its interval, against minutes of training.

    Points have the numbers of their lines.
    """
    groups = group_lib.of_rows(enumerate(rows, start=1))
    figure = Figure(figsize=(8.4, 0.34 * len(groups) + 1.9), layout="constrained")
    panel, names = figure.subplots(1, 2, width_ratios=(3, 2))
    for height, group in enumerate(reversed(groups)):
        colour, marker = _KINDS[group.rows[0]["kind"]]
        for line, row in zip(group.lines, group.rows, strict=True):
            score, x = row["score"], row["minutes"]
            if score["low"] is not None:
                panel.plot([x, x], [score["low"], score["high"]], color=colour, lw=0.8, alpha=0.5)
            y = score["value"]
            panel.plot([x], [y], marker, color=colour, ms=5)
            panel.annotate(str(line), (x, y), xytext=(5, 3), textcoords="offset points", fontsize=7)
        text = f"{group.title}  {group.rows[0]['name']}, {group.score:.3f}"
        names.text(0, height, text, fontsize=8, color=colour, parse_math=False)
    names.set_ylim(-1, len(groups))
    names.set_axis_off()
    panel.set_xlabel("minutes of training" + _note(rows), fontsize=8)
    panel.set_ylabel("score, mean AUROC of the panel", fontsize=8)
    panel.tick_params(labelsize=8)
    panel.set_xlim(left=-0.05 * max([1.0, *(row["minutes"] for row in rows)]))
    panel.spines[["top", "right"]].set_visible(False)
    return figure


def _note(rows: Sequence[record.Row]) -> str:
    on_cpu = any(row["device"]["platform"] == "cpu" for row in rows)
    return f" (CPU: {record.SHARED})" if on_cpu else ""


def path_of(records: pathlib.Path) -> pathlib.Path:
    """Returns the path of the plot of a table.

    Raises:
        UserError: the table itself has the suffix of a plot.
    """
    if records.suffix in (".svg", ".md"):
        raise UserError(
            f"--records={records} is the table in JSON lines; give it a name such as "
            "records.jsonl.",
            problem="wrong_suffix",
        )
    return records.with_suffix(".svg")
