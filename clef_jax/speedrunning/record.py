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
KINDS = ("trained", "supervised", "scored")
_NEEDED = ("format", "id", "name", "kind", "score", "few_labels", "tasks", "panel", "device")
_NEEDED += ("minutes", "dollars", "risk", "settings", "fingerprint", "training_data", "command")
_NEEDED += ("test_folds", "num_resamples", "version")
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
        UserError: the file is not a table of records, or of another version.
    """
    if path.is_dir():
        raise UserError(f"{path} is a folder; give --records a file.", problem="is_a_folder")
    try:
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        rows = [json.loads(line) for line in text.splitlines() if line.strip()]
    except ValueError as error:
        raise _foreign(path) from error
    for row in rows:
        if not isinstance(row, dict) or "format" not in row:
            raise _foreign(path)
        if row["format"] != FORMAT:
            raise UserError(
                f"{path} has rows of format {row['format']}, but this version reads {FORMAT}; "
                "use the version of clef_jax that wrote them.",
                problem="other_format",
            )
        if not all(name in row for name in _NEEDED) or row["kind"] not in KINDS:
            raise _foreign(path)
    return rows


def _foreign(path: pathlib.Path) -> UserError:
    return UserError(
        f"{path} is not a table of records that this command wrote, so it is not changed; choose "
        "another --records.",
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
