"""Reads the table of ECGs that Withings exports (`signal.csv`): a row and a list of samples each.

Samples are microvolts if the device was worn on the wrist (a watch), and millivolts on the arm (a
blood pressure monitor), as the description in the export states.
"""

import csv
import functools
import itertools
import json
from collections.abc import Iterator
from pathlib import Path

from clef_jax.finding import Defect
from clef_jax.formats import _array, _failures, _json, _patient, _recording, _text
from clef_jax.formats._recording import Format, Hints, Opened, Patient

_COLUMNS = {"frequency", "signal", "wearposition"}
_UNITS = {"0": "uV", "1": "uV", "2": "mV", "3": "mV"}
"""Units by the position of the device: wrists, and arms."""
_LEAD = "I"
"""Lead between the two arms."""


def looks_like(path: Path) -> bool:
    """Returns whether the first line names the columns of such a table."""
    _, lines = _text.head(path)
    return bool(lines) and set(_names(lines[0])) >= _COLUMNS


def _names(line: str) -> list[str]:
    fields = _text.split(line, ",")
    return [field.lower().replace(" ", "").replace("_", "") for field in fields]


def open_table(path: Path, hints: Hints) -> Iterator[Opened]:
    """Yields the recording of each row.

    Raises:
        Defect: the table holds no ECG, or some rows cannot be read.
    """
    encoding, _ = _text.head(path)
    failures, num_read = _failures.Failures(path.name), 0
    with path.open(encoding=encoding or "utf-8", errors="replace", newline="") as stream:
        columns = _names(stream.readline(_text.MAX_LINE_BYTES))
        # A row of a few minutes takes less than this; longer lines are cut and refused.
        lines = iter(lambda: stream.readline(_text.MAX_LINE_BYTES), "")
        number = -1
        for line in itertools.islice(lines, None):
            if not line.strip():
                continue
            number += 1
            with failures.catch(f"row {number}"):
                opened = _open(_row(line, columns, path.name), str(number), hints, path.name)
                num_read += 1
                yield opened
    failures.report(num_read)
    if not num_read:
        raise Defect("empty", f"{path.name} holds no ECG.")


def _row(line: str, columns: list[str], where: str) -> dict[str, str]:
    """Returns the fields of a line by their columns.

    The list of samples has commas, whether or not it is quoted.
    """
    start, stop = line.find("["), line.rfind("]")
    if not 0 <= start < stop:
        raise Defect("unreadable", f"A row of {where} has no complete list of samples.")
    samples = line[start : stop + 1]
    rest = line[:start].rstrip(' "') + "@" + line[stop + 1 :].lstrip(' "')
    try:
        fields = next(csv.reader([rest.strip("\r\n")]), [])
    except csv.Error:
        fields = []
    if len(fields) < columns.index("signal") + 1:
        raise Defect("unreadable", f"A row of {where} has too few columns.")
    row = dict(zip(columns, (field.strip() for field in fields), strict=False))
    if row["signal"] != "@":
        raise Defect("unreadable", f"A row of {where} has its samples in another column.")
    return {**row, "signal": samples}


def _open(row: dict[str, str], part: str, hints: Hints, where: str) -> Opened:
    try:
        listed = json.loads(row["signal"])
    except (ValueError, RecursionError):
        detail = f"A row of {where} has samples that are not numbers."
        raise Defect("unreadable", detail) from None
    samples = _json.array(listed, where)
    stated = _recording.parse_number(row.get("frequency", ""))
    rate = _recording.check_rate(stated or hints.sample_rate_hz, where)
    factor, known = _recording.scale(_UNITS.get(row.get("wearposition", ""), ""), hints)
    names, notes = _recording.lead_names((_LEAD,), hints, 1)
    return Opened(
        part=part,
        lead_names=names,
        sample_rate_hz=rate,
        num_samples=len(samples),
        unit_known=known,
        read=functools.partial(_array.read, samples[None] * factor, 1.0),
        notes=(*notes, *_recording.unit_notes(known)),
        patient=Patient(recorded_at=_patient.iso_time(row.get("date", ""))),
    )


FORMAT = Format(name="Withings", suffixes=(".csv",), looks_like=looks_like, open=open_table)
