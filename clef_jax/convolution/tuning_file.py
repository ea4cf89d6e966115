"""Reads and writes tuning results of the grouped convolution, one file per kind of device."""

import dataclasses
import json
import pathlib
from typing import Any

import jax

from clef_jax import files
from clef_jax.convolution.grouped import IMPLEMENTATIONS
from clef_jax.convolution.rules import Choice, ConvShape, TuningResult, TuningResults
from clef_jax.errors import UserError, invocation

FOLDER = "~/.cache/clef_jax/conv"
"""Folder that `clef_jax.autotune` writes to and the setting `auto` reads."""

RUN_FILE = "conv_choices.json"
"""Name of the copy in a run's workdir."""

VERSION = 1
"""Version of the file format."""


def path_of(device_kind: str, folder: str = FOLDER) -> pathlib.Path:
    """Returns the file of a kind of device; that of `NVIDIA H200` is `nvidia_h200.json`."""
    return pathlib.Path(folder).expanduser() / f"{files.slug(device_kind)}.json"


def load(setting: str, device: Any, folder: str = FOLDER) -> TuningResults | None:
    """Loads the tuning results for a JAX device.

    Args:
        setting: `table` for the default rules; `auto` for the file of the device's kind if it
            exists; or the path of a file for that kind.
        device: the JAX device.
        folder: folder of the files for `auto`.

    Returns:
        The tuning results; None for the default rules.

    Raises:
        UserError: the file does not exist, cannot be read, or is for another kind of device.
    """
    if setting == "table":
        return None
    path = path_of(device.device_kind, folder) if setting == "auto" else pathlib.Path(setting)
    path = path.expanduser()
    if setting == "auto" and not path.exists():
        return None
    results = read(path)
    if (results.platform, results.device_kind) != (device.platform, device.device_kind):
        raise UserError(
            f"{path} was measured on {results.device_kind} ({results.platform}), but this run "
            f"uses {device.device_kind} ({device.platform}): run "
            f"{invocation('autotune')} here, or set `table`.",
            problem="other_device",
        )
    return results


def load_for_run(setting: str, device: Any, workdir: pathlib.Path) -> TuningResults | None:
    """Loads the tuning results of a training run.

    The first start of a run copies them to its workdir, and later starts use the copy. A run that
    resumes on another kind of device uses the default rules.

    Returns:
        The tuning results; None for the default rules.

    Raises:
        UserError: as for `load`, or the setting is `auto` with several processes.
    """
    copy = workdir / RUN_FILE
    if copy.exists():
        results = read(copy)
        same_kind = (results.platform, results.device_kind) == (device.platform, device.device_kind)
        return results if same_kind and setting != "table" else None
    if setting == "auto" and jax.process_count() > 1:
        raise UserError(
            "--conv-choices=auto reads the cache of each host, which may differ: set the path of "
            "one file that all hosts share."
        )
    results = load(setting, device)
    if results is not None and jax.process_index() == 0:
        write(copy, results)
    return results


def read(path: pathlib.Path) -> TuningResults:
    """Reads the tuning results from a file that `write` wrote.

    Raises:
        UserError: the file does not exist or is invalid.
    """
    if not path.is_file():
        raise UserError(
            f"Tuning results {path} not found; set `auto` or `table`, or create the file with "
            f"{invocation('autotune --out=FILE')}.",
            problem="missing_file",
        )
    try:
        return from_json(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(
            f"{path} does not hold tuning results that this version can read ({error}). If it is "
            "not a file of yours, remove it and create it with "
            f"{invocation('autotune')}.",
            problem="unreadable_choices",
        ) from error


def write(path: pathlib.Path, results: TuningResults) -> None:
    """Writes a complete file or none, and creates its folder if needed."""
    files.make_folder(path.parent)
    files.write_text(path, json.dumps(to_json(results), indent=2) + "\n")


def to_json(results: TuningResults) -> dict[str, Any]:
    """Returns the tuning results as JSON values."""
    rows = [
        {
            **result.shape._asdict(),
            "dtype": result.dtype,
            "form": result.choice.implementation,
            "block": result.choice.block,
        }
        for result in results.measured
    ]
    head = {"version": VERSION, "platform": results.platform, "device_kind": results.device_kind}
    return head | {"choices": rows}


def from_json(values: dict[str, Any]) -> TuningResults:
    """Returns the tuning results from the JSON values of `to_json`.

    Raises:
        ValueError, TypeError, KeyError, AttributeError: the values are invalid.
    """
    if values.get("version") != VERSION:
        raise ValueError(f"version {values.get('version')!r} instead of {VERSION}")
    measured = []
    for row in values["choices"]:
        shape = ConvShape(*(_positive(row[name]) for name in ConvShape._fields))
        if row["form"] not in IMPLEMENTATIONS:
            raise ValueError(f"unknown implementation {row['form']!r}")
        choice = Choice(row["form"], _positive(row["block"]))
        measured.append(TuningResult(shape, str(row["dtype"]), choice))
    return TuningResults(str(values["platform"]), str(values["device_kind"]), tuple(measured))


def _positive(value: Any) -> int:
    if not isinstance(value, int) or value < 1:
        raise ValueError(f"{value!r} instead of a positive integer")
    return value


def merged(old: TuningResults, new: TuningResults) -> TuningResults:
    """Returns the new tuning results, and the old ones of convolutions without a new one."""
    known = {(result.shape, result.dtype) for result in new.measured}
    others = tuple(r for r in old.measured if (r.shape, r.dtype) not in known)
    return dataclasses.replace(new, measured=others + new.measured)
