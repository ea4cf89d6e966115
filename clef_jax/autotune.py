"""Times the implementations of each grouped convolution on this machine, and stores the fastest.

`python -m clef_jax.autotune --size=small`

Times all implementations with the convolution shapes of an encoder, in the precision that training
would use on this machine, for about a minute. A training run uses the stored results if
`--conv-choices` requests them.
"""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import rich.console
import rich.table

from clef_jax import command_line, files
from clef_jax.config import Precision, TrainConfig
from clef_jax.errors import UserError, counted, exit_on_user_error
from clef_jax.models import size as size_lib

if TYPE_CHECKING:
    from clef_jax.convolution.rules import Choice, TuningResults
    from clef_jax.convolution.tuning import ConvTimes, Timed

_BATCH_SIZES = {"cpu": 16}
_BATCH_SIZE = 256
"""Number of signals in the batch on a platform that is not in `_BATCH_SIZES`."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arguments:
    """Times the implementations of each grouped convolution on this machine, and stores the
    fastest."""

    size: str = "small"
    """Encoder whose convolutions are timed; several separated by commas, for example
    small,medium."""
    out: pathlib.Path | None = None
    """File to write; by default the file of this kind of device in the user's cache folder."""
    budget_seconds: float = 60.0
    """Time limit in seconds for all convolutions; a smaller limit times fewer implementations."""
    batch_size: int | None = None
    """Number of signals in the batch; by default 16 on CPU and 256 elsewhere."""
    precision: Precision = "auto"
    """Number format, as in training: auto is bfloat16 on TPU and GPU, float32 on CPU."""
    window_seconds: float = 10.0
    """Length of the encoder's input in seconds."""
    sample_rate_hz: float = 500.0
    """Sampling rate of the prepared data set in Hz."""

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
        except ValueError as error:  # its message is a sentence for the user
            raise UserError(f"--size: {error}") from error


SETTINGS = Arguments


def main(argv: Sequence[str] | None = None) -> None:
    with exit_on_user_error():
        arguments = command_line.parse(SETTINGS, argv, "autotune")
        run(arguments, rich.console.Console(highlight=False))


def run(arguments: Arguments, console: rich.console.Console) -> "TuningResults":
    """Times the convolutions, prints a table, writes the file, and returns the file's content."""
    import jax

    from clef_jax import machine
    from clef_jax.convolution import tuning
    from clef_jax.models import cost

    machine.keep_freed_memory()  # as training does
    device = jax.devices()[0]
    check_output(arguments.out, device.platform, device.device_kind)
    config = TrainConfig(data_dir="", workdir="", precision=arguments.precision)
    dtype = machine.compute_dtype(config.precision, device.platform)
    batch_size = arguments.batch_size or _BATCH_SIZES.get(device.platform, _BATCH_SIZE)
    console.print(
        f"{device.device_kind}, {counted(batch_size, 'signal')} of "
        f"{counted(arguments.num_samples, 'sample')}, {dtype.name}.",
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
    choices = tuning.results(
        times, platform=device.platform, device_kind=device.device_kind, dtype=dtype.name
    )
    return keep(choices, arguments.out, console)


def check_output(out: pathlib.Path | None, platform: str, device_kind: str) -> None:
    """Checks before the timing that its results can be written.

    Raises:
        UserError: the file holds something else than tuning results of this kind of device, or
            cannot be written.
    """
    from clef_jax.convolution import tuning_file

    path = tuning_file.path_of(device_kind) if out is None else out.expanduser()
    # Such a file is added to, not replaced; `read` reports any other one.
    files.check_output(path, lambda _: True)
    if path.exists():
        _check_device(path, tuning_file.read(path), platform, device_kind)


def _check_device(
    path: pathlib.Path, stored: "TuningResults", platform: str, device_kind: str
) -> None:
    if (stored.platform, stored.device_kind) != (platform, device_kind):
        raise UserError(
            f"{path} holds the tuning results of {stored.device_kind} ({stored.platform}), not of "
            f"{device_kind} ({platform}); choose another --out."
        )


def keep(
    choices: "TuningResults", out: pathlib.Path | None, console: rich.console.Console
) -> "TuningResults":
    """Adds tuning results to the file, and returns all that it holds now.

    Raises:
        UserError: the file holds the results of another kind of device.
    """
    from clef_jax.convolution import tuning_file

    path = tuning_file.path_of(choices.device_kind) if out is None else out.expanduser()
    if path.exists():
        old = tuning_file.read(path)
        _check_device(path, old, choices.platform, choices.device_kind)
        choices = tuning_file.merged(old, choices)
    tuning_file.write(path, choices)
    console.print(f"{path} holds {counted(len(choices.measured), 'convolution')}.", soft_wrap=True)
    return choices


def table(times: "Sequence[ConvTimes]") -> rich.table.Table:
    """Returns a table with a row per convolution: default and fastest implementation, and times."""
    columns = ("convolution", "count", "default", "training", "forward", "fastest")
    result = rich.table.Table(title="Time of one convolution, ms", title_justify="left")
    for number, column in enumerate((*columns, "training", "forward", "faster")):
        result.add_column(column, justify="right" if number else "left")
    for timed in times:
        layer, best, first = timed.shape, timed.best, timed.timed_default
        shape = f"{layer.length}x{layer.group_channels * layer.groups}"
        shape += f", {counted(layer.groups, 'group')}, stride {layer.stride}"
        row = [shape, str(timed.count), name(timed.default), *_cells(first), name(best.choice)]
        faster = "" if first is None else f"{first.training_seconds / best.training_seconds:.2f}"
        result.add_row(*row, *_cells(best), faster)
    return result


def name(choice: "Choice") -> str:
    """Returns an implementation's name, with its block size if it has one."""
    return (
        f"{choice.implementation} {choice.block}"
        if "toeplitz" in choice.implementation
        else choice.implementation
    )


def _cells(timed: "Timed | None") -> tuple[str, str]:
    if timed is None:
        return "cannot run", ""
    forward = timed.forward_seconds
    return (
        f"{timed.training_seconds * 1e3:.2f}",
        "" if forward is None else f"{forward * 1e3:.2f}",
    )


def verdicts(times: "Sequence[ConvTimes]") -> list[str]:
    """Returns the conclusions as sentences: the total times, and what was not timed."""
    sentences = []
    if all(layer.timed_default for layer in times):
        by_table = sum(
            layer.count * cast("Timed", layer.timed_default).training_seconds for layer in times
        )
        best = sum(layer.count * layer.best.training_seconds for layer in times)
        sentences.append(
            f"All convolutions take {by_table * 1e3:.1f} ms with the default implementations and "
            f"{best * 1e3:.1f} ms with the fastest ones, {by_table / best:.2f} times less."
        )
    num_skipped = sum(len(layer.skipped) for layer in times)
    if num_skipped:
        num_all = num_skipped + sum(len(layer.timed) + len(layer.failed) for layer in times)
        sentences.append(
            f"The time limit excluded {num_skipped} of {counted(num_all, 'implementation')}; "
            "increase --budget-seconds to time them."
        )
    num_failed = sum(len(layer.failed) for layer in times)
    if num_failed:
        sentences.append(
            f"This device cannot run {counted(num_failed, 'implementation')} at this batch size."
        )
    return sentences


if __name__ == "__main__":
    main()
