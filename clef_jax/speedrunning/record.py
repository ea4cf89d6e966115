"""Rows of the table of records: one JSON object per line, each appended once."""

import datetime
import hashlib
import json
import pathlib
import time
from collections.abc import Mapping, Sequence
from typing import Any

from clef_jax import cores, files, folder_lock, machine
from clef_jax.errors import UserError

FORMAT = 1
SHARED = "shared machine, not comparable"
"""Mark of minutes on a CPU."""
_NUMBER, _NUMBER_OR_NONE = (int, float), (int, float, type(None))
_NEEDED: dict[str, type | tuple[type, ...]] = {
    "format": int,
    "id": str,
    "name": str,
    "kind": str,
    "score": dict,
    "few_labels": dict,
    "tasks": dict,
    "panel": dict,
    "device": dict,
    "minutes": _NUMBER,
    "dollars": _NUMBER_OR_NONE,
    "risk": (str, type(None)),
    "settings": dict,
    "fingerprint": str,
    "training_data": (dict, type(None)),
    "command": str,
    "test_folds": list,
    "num_resamples": int,
    "version": dict,
}
"""Types of what a row must have."""
_SETTINGS = {
    "trained": {"size", "num_steps", "global_batch_size", "window_seconds"},
    "supervised": {"size", "num_epochs"},
    "scored": set(),
}
"""Settings that a row of each kind must have."""
_VERSIONS = ("clef_jax", "jax", "jaxlib", "flax", "numpy")
_WAIT_SECONDS = 60.0

Row = dict[str, Any]


def device() -> dict[str, Any]:
    """Returns a description of the devices that JAX uses; a CPU's minutes are marked."""
    import jax

    first = jax.devices()[0]
    described: dict[str, Any] = {
        "platform": first.platform,
        "kind": first.device_kind,
        "count": jax.device_count(),
    }
    if first.platform == "cpu":
        num_cores = len(cores.own())
        described |= {"kind": _processor(), "count": 1, "cores": num_cores, "note": SHARED}
    return described


def _processor() -> str:
    """Returns the name of the processor, or `cpu` where the system does not state it."""
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return "cpu"
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else "cpu"


def versions() -> dict[str, str]:
    """Returns the versions of this package and of those that decide its results."""
    return machine.installed_versions(_VERSIONS)


def today() -> str:
    """Returns the date in UTC, as 2026-01-31."""
    return datetime.datetime.now(datetime.UTC).date().isoformat()


def dollars(minutes: float, price_per_hour: float | None) -> float | None:
    """Returns the cost of some minutes; None without a price."""
    return None if price_per_hour is None else round(minutes / 60 * price_per_hour, 4)


def digest(*parts: Any) -> str:
    """Returns the identifier of a row that the same model and panel always give."""
    text = json.dumps(parts, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def read(path: pathlib.Path) -> list[Row]:
    """Returns the rows of a table; none if the file does not exist.

    Raises:
        UserError: the file is not a table of records, is damaged, has a row twice, or is of another
            version.
    """
    if path.is_dir():
        raise UserError(f"{path} is a folder; give --records a file.", problem="is_a_folder")
    content = path.read_bytes() if path.exists() else b""
    rows: list[Row] = []
    lines: dict[str, int] = {}
    for number, line in enumerate(content.splitlines(), start=1):
        if not line.strip():
            continue
        row = _parse(line, path, number)
        first = lines.setdefault(row["id"], number)
        if first != number:
            raise UserError(
                f"Lines {first} and {number} of {path} are the same row, which would count as two "
                "seeds; delete one of them.",
                problem="double_row",
            )
        rows.append(row)
    return rows


def _parse(line: bytes, path: pathlib.Path, number: int) -> Row:
    """Returns the row on a line of a table, from 1, or raises UserError."""
    try:
        row = json.loads(line.decode())
    except ValueError as error:
        raise _foreign(path, number) from error
    if not isinstance(row, dict) or "format" not in row:
        raise _foreign(path, number)
    if row["format"] != FORMAT:
        raise UserError(
            f"Line {number} of {path} has the format {row['format']}, but this version reads "
            f"{FORMAT}; use the version of clef_jax that wrote it.",
            problem="other_format",
        )
    if not _is_row(row):
        raise _foreign(path, number)
    return row


def _is_row(row: Row) -> bool:
    """Returns whether a row has all that table, plot and check read, of the right types."""
    if not all(isinstance(row.get(name, ...), types) for name, types in _NEEDED.items()):
        return False
    score, tasks = row["score"], row["tasks"].values()
    return (
        row["kind"] in _SETTINGS
        and _SETTINGS[row["kind"]] <= set(row["settings"])
        and isinstance(score.get("value"), _NUMBER)
        and all(isinstance(score.get(name, ...), _NUMBER_OR_NONE) for name in ("low", "high"))
        and isinstance(row["few_labels"].get("score", ...), _NUMBER_OR_NONE)
        and all(isinstance(task, dict) and isinstance(task.get("value"), _NUMBER) for task in tasks)
        and "digest" in row["panel"]
        and {"platform", "kind", "count"} <= set(row["device"])
    )


def _foreign(path: pathlib.Path, number: int) -> UserError:
    return UserError(
        f"Line {number} of {path} is damaged, or clef-jax speedrun did not write it. The file is "
        "not changed; restore or delete the line, or choose another --records.",
        problem="foreign_file",
    )


def row_at(rows: Sequence[Row], line: int, path: pathlib.Path) -> Row:
    """Returns the row on a line, from 1.

    Raises:
        UserError: the table has no such line.
    """
    if not 1 <= line <= len(rows):
        raise UserError(
            f"{path} has {len(rows)} rows, so --check={line} names none.", problem="no_such_row"
        )
    return rows[line - 1]


def append(path: pathlib.Path, row: Mapping[str, Any]) -> tuple[int, bool]:
    """Appends a row, unless the table has it; returns its line, and whether it is new.

    The file is replaced as a whole, so that a crash leaves the earlier or the new table.

    Raises:
        UserError: the file is not a table of records, or another program keeps it locked.
    """
    with locked(path):
        rows = read(path)
        for line, old in enumerate(rows, start=1):
            if old["id"] == row["id"]:
                return line, False
        lines = [json.dumps(value, allow_nan=False) for value in (*rows, row)]
        files.write_text(path, "\n".join(lines) + "\n")
        return len(lines), True


def locked(path: pathlib.Path) -> folder_lock.FolderLock:
    """Returns the lock of a table, to be used in `with`, once no other program holds it.

    Raises:
        UserError: another program holds it for a minute.
    """
    return _Waiting(path.with_name(f".{path.name}.lock"))


class _Waiting(folder_lock.FolderLock):
    """A lock that waits for another program, which holds it for moments only."""

    def __enter__(self) -> folder_lock.FolderLock:
        end = time.monotonic() + _WAIT_SECONDS
        while True:
            try:
                return super().__enter__()
            except folder_lock.InUseError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.2)
