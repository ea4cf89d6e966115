"""Finds the fastest form of each grouped convolution here: `python -m clef_jax.autotune`.

Times all forms at the layers of an encoder, in the precision that training would use on this
machine, for about a minute, and keeps the winners by kind of device. A training run goes by them
where `--conv-choices` asks for it.
"""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import cast

import jax
import rich.console
import rich.table
import tyro

from clef_jax import machine
from clef_jax.config import Precision, TrainConfig
from clef_jax.convolution import tuning, tuning_file
from clef_jax.convolution.rules import Choice, Choices
from clef_jax.convolution.tuning import LayerTimes, Timed
from clef_jax.errors import UserError, exit_on_user_error
from clef_jax.machine import keep_freed_memory
from clef_jax.models import cost, size as size_lib

_BATCH_SIZES = {"cpu": 16}
_BATCH_SIZE = 256
"""Signals, on a machine that is not among `_BATCH_SIZES`."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arguments:
    """Time every form of the grouped convolutions on this machine and keep the fastest."""

    size: str = "small"
    """Encoder whose layers are timed; several with commas: small,medium."""
    out: pathlib.Path | None = None
    """File to write; by default that of this kind of device in the user's cache folder."""
    budget_seconds: float = 60.0
    """Time for all layers together; with little of it fewer forms are tried."""
    batch_size: int | None = None
    """Signals of the batch; by default 16 on CPU and 256 elsewhere."""
    precision: Precision = "auto"
    """As in training: auto is bfloat16 on TPU and GPU, float32 on CPU."""
    window_seconds: float = 10.0
    """Length of the signal that the encoder sees."""
    sample_rate_hz: float = 500.0
    """Sampling rate of the prepared data set."""

    def __post_init__(self):
        for name in ("budget_seconds", "window_seconds", "sample_rate_hz", "batch_size"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise UserError(f"--{name.replace('_', '-')} must be above 0, not {value:g}.")

    @property
    def num_samples(self) -> int:
        return round(self.window_seconds * self.sample_rate_hz)

    @property
    def sizes(self) -> list[size_lib.EncoderSize]:
        try:
            return [size_lib.by_name(name.strip()) for name in self.size.split(",")]
        except ValueError as error:  # it speaks in a sentence
            raise UserError(f"--size: {error}") from error


def main(argv: Sequence[str] | None = None) -> None:
    with exit_on_user_error():
        arguments = tyro.cli(Arguments, args=argv, prog="python -m clef_jax.autotune")
        run(arguments, rich.console.Console(highlight=False))


def run(arguments: Arguments, console: rich.console.Console) -> Choices:
    """Times, prints and writes; the choices that are in the file now."""
    device = jax.devices()[0]
    if device.platform == "cpu":
        keep_freed_memory()  # as training does
    config = TrainConfig(data_dir="", workdir="", precision=arguments.precision)
    dtype = machine.compute_dtype(config.precision, device.platform)
    batch_size = arguments.batch_size or _BATCH_SIZES.get(device.platform, _BATCH_SIZE)
    console.print(
        f"{device.device_kind}, {batch_size} signals of {arguments.num_samples} samples, "
        f"{dtype.name}.",
        soft_wrap=True,
    )
    counts = {}
    for size in arguments.sizes:
        for layer, count in cost.conv_shapes(size, arguments.num_samples).items():
            counts[layer] = counts.get(layer, 0) + count
    with console.status("Timing"):
        times = list(
            tuning.measure(
                counts,
                platform=device.platform,
                dtype=dtype,
                batch_size=batch_size,
                budget_seconds=arguments.budget_seconds,
            )
        )
    console.print(table(times))
    for line in verdicts(times):
        console.print(line, soft_wrap=True)
    found = tuning.choices(
        times, platform=device.platform, device_kind=device.device_kind, dtype=dtype.name
    )
    return keep(found, arguments.out, console)


def keep(found: Choices, out: pathlib.Path | None, console: rich.console.Console) -> Choices:
    """Writes the choices beside those for other layers that the file holds already."""
    path = tuning_file.path_of(found.device_kind) if out is None else out.expanduser()
    if path.exists():
        old = tuning_file.read(path)
        if (old.platform, old.device_kind) != (found.platform, found.device_kind):
            raise UserError(
                f"{path} holds the choices for {old.device_kind} ({old.platform}), not for "
                f"{found.device_kind} ({found.platform}); give another --out."
            )
        found = tuning_file.merged(old, found)
    tuning_file.write(path, found)
    console.print(f"{len(found.measured)} layers are in {path}.", soft_wrap=True)
    return found


def table(times: Sequence[LayerTimes]) -> rich.table.Table:
    """One row per layer: the table's form and the fastest, with milliseconds."""
    columns = ("layer", "times", "table's form", "training", "forward", "fastest")
    result = rich.table.Table(title="One layer, ms", title_justify="left")
    for number, column in enumerate((*columns, "training", "forward", "faster")):
        result.add_column(column, justify="right" if number else "left")
    for one in times:
        layer, best, first = one.layer, one.best, one.table
        shape = f"{layer.length}x{layer.group_channels * layer.groups}"
        shape += f", {layer.groups} groups, stride {layer.stride}"
        row = [shape, str(one.count), name(one.by_table), *_cells(first), name(best.choice)]
        faster = "" if first is None else f"{first.training_seconds / best.training_seconds:.2f}"
        result.add_row(*row, *_cells(best), faster)
    return result


def name(choice: Choice) -> str:
    """A form and, where there are any, its blocks."""
    return f"{choice.form} {choice.block}" if "toeplitz" in choice.form else choice.form


def _cells(timed: Timed | None) -> tuple[str, str]:
    if timed is None:
        return "cannot run", ""
    forward = timed.forward_seconds
    return (
        f"{timed.training_seconds * 1e3:.2f}",
        "" if forward is None else f"{forward * 1e3:.2f}",
    )


def verdicts(times: Sequence[LayerTimes]) -> list[str]:
    """What the figures come to, and what was not tried, in sentences."""
    found = []
    if all(one.table for one in times):
        by_table = sum(one.count * cast(Timed, one.table).training_seconds for one in times)
        best = sum(one.count * one.best.training_seconds for one in times)
        found.append(
            f"All convolutions together: {by_table * 1e3:.1f} ms by the table, {best * 1e3:.1f} ms "
            f"by what is fastest here, {by_table / best:.2f} times faster."
        )
    num_skipped = sum(len(one.skipped) for one in times)
    if num_skipped:
        found.append(
            f"There was no time for {num_skipped} of "
            f"{num_skipped + sum(len(one.timed) + len(one.failed) for one in times)} forms: give "
            "more --budget-seconds to try them."
        )
    num_failed = sum(len(one.failed) for one in times)
    if num_failed:
        found.append(f"This device cannot run {num_failed} forms at this batch.")
    return found


if __name__ == "__main__":
    main()
