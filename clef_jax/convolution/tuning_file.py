"""Measured choices of the grouped convolution's form, kept in a file by kind of device."""

import dataclasses
import json
import pathlib
from typing import Any

import jax

from clef_jax import files
from clef_jax.convolution.grouped import FORMS
from clef_jax.convolution.rules import Choice, Choices, ConvShape, MeasuredChoice
from clef_jax.errors import UserError

FOLDER = "~/.cache/clef_jax/conv"
"""Where `clef_jax.autotune` writes to and `auto` looks, beside the compiled steps."""

RUN_FILE = "conv_choices.json"
"""The copy that a run keeps in its workdir."""

VERSION = 1
"""Of the file's form."""


def path_of(device_kind: str, folder: str = FOLDER) -> pathlib.Path:
    """The file of one kind of device: `NVIDIA H200` is in `nvidia_h200.json`."""
    return pathlib.Path(folder).expanduser() / f"{files.name_of(device_kind)}.json"


def load(setting: str, device: Any, folder: str = FOLDER) -> Choices | None:
    """The choices for a JAX device; None stands for the table.

    Args:
        setting: `table`; `auto`, which takes the file of the device's kind if there is one; or
            the path of a file, which must be of that kind.

    Raises:
        UserError: the file is not there, cannot be read, or is of another kind of device.
    """
    if setting == "table":
        return None
    path = path_of(device.device_kind, folder) if setting == "auto" else pathlib.Path(setting)
    path = path.expanduser()
    if setting == "auto" and not path.exists():
        return None
    choices = read(path)
    if (choices.platform, choices.device_kind) != (device.platform, device.device_kind):
        raise UserError(
            f"{path} was measured on {choices.device_kind} ({choices.platform}), but this run is "
            f"on {device.device_kind} ({device.platform}): run python -m clef_jax.autotune here, "
            "or use the table.",
            problem="other_device",
        )
    return choices


def of_run(setting: str, device: Any, workdir: pathlib.Path) -> Choices | None:
    """Those of a training run: what its first start found, whatever was measured since.

    A run that goes on on another kind of device, where they mean nothing, takes the table.

    Raises:
        UserError: as for `load`; or several processes would each look into a folder of their own.
    """
    kept = workdir / RUN_FILE
    if kept.exists():
        choices = read(kept)
        same_kind = (choices.platform, choices.device_kind) == (device.platform, device.device_kind)
        return choices if same_kind and setting != "table" else None
    if setting == "auto" and jax.process_count() > 1:
        raise UserError(
            "--conv-choices=auto looks into the cache of each host, which may differ: give the "
            "path of one file that all hosts see."
        )
    choices = load(setting, device)
    if choices is not None and jax.process_index() == 0:
        write(kept, choices)
    return choices


def read(path: pathlib.Path) -> Choices:
    """The choices in a file.

    Raises:
        UserError: it is not there, or is not what `write` wrote.
    """
    if not path.is_file():
        raise UserError(
            f"There is no file {path} with measured choices; write `auto` or `table`, or make one "
            "with python -m clef_jax.autotune --out=FILE.",
            problem="missing_file",
        )
    try:
        return from_json(json.loads(path.read_text()))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(
            f"{path} does not hold choices that this version can read ({error}): make it again "
            "with python -m clef_jax.autotune.",
            problem="unreadable_choices",
        ) from error


def write(path: pathlib.Path, choices: Choices) -> None:
    """Writes the file as a whole or not at all, and its folder if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_text(path, json.dumps(to_json(choices), indent=2) + "\n")


def to_json(choices: Choices) -> dict[str, Any]:
    """The choices as JSON takes them."""
    rows = [
        {**one.layer._asdict(), "dtype": one.dtype, **one.choice._asdict()}
        for one in choices.measured
    ]
    head = {"version": VERSION, "platform": choices.platform, "device_kind": choices.device_kind}
    return head | {"choices": rows}


def from_json(values: dict[str, Any]) -> Choices:
    """What `to_json` made; of anything else a ValueError, TypeError, KeyError or AttributeError."""
    if values.get("version") != VERSION:
        raise ValueError(f"version {values.get('version')!r} rather than {VERSION}")
    measured = []
    for row in values["choices"]:
        layer = ConvShape(*(_positive(row[name]) for name in ConvShape._fields))
        if row["form"] not in FORMS:
            raise ValueError(f"an unknown form {row['form']!r}")
        choice = Choice(row["form"], _positive(row["block"]))
        measured.append(MeasuredChoice(layer, str(row["dtype"]), choice))
    return Choices(str(values["platform"]), str(values["device_kind"]), tuple(measured))


def _positive(value: Any) -> int:
    if not isinstance(value, int) or value < 1:
        raise ValueError(f"{value!r} rather than a positive whole number")
    return value


def merged(old: Choices, new: Choices) -> Choices:
    """The new choices, and the old ones for layers that are not among them."""
    known = {(one.layer, one.dtype) for one in new.measured}
    kept = tuple(one for one in old.measured if (one.layer, one.dtype) not in known)
    return dataclasses.replace(new, measured=kept + new.measured)
