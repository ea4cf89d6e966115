"""The table of records in Markdown, and the commands that repeat its rows."""

import html
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from clef_jax import files
from clef_jax.errors import UserError, counted
from clef_jax.speedrunning import group as group_lib, record
from clef_jax.speedrunning.group import Group
from clef_jax.speedrunning.panel import BESIDE, SCORED

BEGIN, END = "<!-- records -->", "<!-- end of records -->"
"""Lines between which the table stands in a file with other text."""
_TITLES = ("PTB-XL macro", "AF", "sex", "CPSC or Chapman macro", "CinC AF")
_HEAD = "# Records\n"


def render(rows: Sequence[record.Row], figure: str) -> str:
    """Returns the table of all rows, a section for each panel, the highest score first.

    Args:
        rows: rows of the table in the order of their lines.
        figure: path of the plot, relative to the table.
    """
    if not rows:
        return "No record yet.\n"
    parts = [f"![Score against minutes of training]({figure})\n"]
    numbered = list(enumerate(rows, start=1))
    panels = list(dict.fromkeys(row["panel"]["digest"] for row in rows))
    for digest in panels:
        of_panel = [(n, row) for n, row in numbered if row["panel"]["digest"] == digest]
        if len(panels) > 1:
            parts.append(f"Panel {digest}: rows of other panels cannot be compared with these.\n")
        parts.append(_table(of_panel))
        parts.append(_notes([row for _, row in of_panel]))
    return "\n".join(parts)


def _table(numbered: Sequence[tuple[int, record.Row]]) -> str:
    head = ["line", "entry", "score (95 %)", "by seed", *_TITLES, "at 10 % of labels"]
    head += ["age MAE, years", "training", "minutes", "device", "dollars", "risk in training"]
    groups = group_lib.of_rows(numbered)
    lines = [_line(head), _line(["---"] * len(head)), *(_line(_cells(group)) for group in groups)]
    commands = [f"- {line}: {_code(row['command'])}" for line, row in sorted(numbered)]
    notes = [
        "An entry with several lines has means over its seeds, of scores and of interval ends.",
        "Training: size of the encoder, steps, patients per step, and length of the views.",
        "`--check=LINE` in place of the other settings repeats a row.",
    ]
    return "\n".join([*lines, "", "The commands, by line:", "", *commands, "", *notes, ""])


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(_escaped(cell) for cell in cells) + " |"


def _escaped(text: str) -> str:
    """Returns text on one line that Markdown shows as it is, without tags or marks of a table."""
    return html.escape(" ".join(text.split()), quote=False).replace("|", "\\|")


def _code(command: str) -> str:
    """Returns a command as code; a tag is used where a name could end the code or hold a mark."""
    command = " ".join(command.split())
    plain = not set("<`") & set(command)
    return f"`{command}`" if plain else f"<code>{html.escape(command, quote=False)}</code>"


def _cells(group: Group) -> list[str]:
    def task(name: str) -> float | None:
        return group.mean(lambda row: row["tasks"].get(name, {}).get("value"))

    score = {
        name: group.mean(lambda row, name=name: row["score"][name])
        for name in ("value", "low", "high")
    }
    first, *others = group.rows
    each = [_number(row["score"]["value"]) for row in group.rows] if others else []
    return [
        group.title,
        first["name"],
        interval(score),
        ", ".join(each),
        *(_number(task(name)) for name in SCORED),
        _number(group.mean(lambda row: row["few_labels"]["score"])),
        _fixed(task(BESIDE), 1),
        training_text(first),
        _fixed(group.mean(lambda row: row["minutes"] or None), 1) or "0",
        device_text(first["device"]),
        _fixed(group.mean(lambda row: row["dollars"]), 2),
        first["risk"] or ("none" if first["kind"] == "trained" else ""),
    ]


def training_text(row: record.Row) -> str:
    """Returns how a row was trained, such as small, 800 steps of 64, 5 s; empty if it was not."""
    settings = row["settings"]
    if row["kind"] == "scored":
        return ""
    if row["kind"] == "supervised":
        return f"{settings['size']}, {counted(settings['num_epochs'], 'epoch')}"
    steps = f"{counted(settings['num_steps'], 'step')} of {settings['global_batch_size']}"
    return f"{settings['size']}, {steps}, {settings['window_seconds']:g} s"


def device_text(device: Mapping[str, Any]) -> str:
    """Returns a device for the table, with the mark of a CPU's minutes."""
    if device["platform"] == "cpu":
        return f"{device['kind']}, {counted(device['cores'], 'core')} ({device['note']})"
    return f"{device['count']} x {device['kind']}"


def interval(score: Mapping[str, Any]) -> str:
    """Returns a score with its interval, for example .812 [.795, .829]."""
    low, high = score["low"], score["high"]
    around = "" if low is None else f" [{_number(low)}, {_number(high)}]"
    return _number(score["value"]) + around


def _number(value: float | None) -> str:
    return _fixed(value, 3).removeprefix("0")


def _fixed(value: float | None, decimals: int) -> str:
    return "" if value is None else f"{value:.{decimals}f}"


def _notes(rows: Sequence[record.Row]) -> str:
    """Returns what the rows of a panel have in common: test patients and missing tasks."""
    first = rows[-1]
    tested = [
        f"{name}, {task['num_patients']:,} patients ({task['tested']})"
        for name, task in first["tasks"].items()
    ]
    text = f"The score is the mean of the five AUROCs. Tested: {'; '.join(tested)}."
    missing = first["panel"]["missing"]
    if missing:
        text += f" Without {', '.join(missing)}, whose data is not prepared."
    return text + "\n"


def write(path: pathlib.Path, rows: Sequence[record.Row], figure: str) -> None:
    """Writes the table to a file of its own, or between the marks of a file with other text.

    Raises:
        UserError: the file exists and is neither.
    """
    text = render(rows, figure)
    before, after = frame(path)
    files.write_text(path, before + text + after)


def frame(path: pathlib.Path) -> tuple[str, str]:
    """Returns what stands before and after the table in a file.

    Raises:
        UserError: the file exists, does not have the two marks once in this order, and was not
            written by this command.
    """
    old = path.read_text(encoding="utf-8") if path.is_file() else _HEAD
    before, _, rest = old.partition(BEGIN)
    if old.count(BEGIN) == old.count(END) == 1 and END in rest:
        return f"{before}{BEGIN}\n\n", f"\n{END}{rest.partition(END)[2]}"
    if path.is_dir() or not old.startswith(_HEAD) or BEGIN in old or END in old:
        raise UserError(
            f"{path} was not written by this command, so it is not changed; choose another "
            f"--table, or add the lines {BEGIN} and {END}, once and in this order, where the table "
            "shall stand.",
            problem="foreign_file",
        )
    return f"{_HEAD}\n", ""
