"""Makes one row of the table of records: pre-trains or takes a model, scores it, appends the row.

The folder of the run keeps what was decided at its first start, checkpoints and embeddings, so that
the same command resumes a run that was killed at any moment.
"""

import dataclasses
import pathlib
import shlex
import time

import rich.console

from clef_jax import files, folder_lock, machine
from clef_jax.errors import PROGRAM, UserError
from clef_jax.speedrunning import (
    check,
    panel as panel_lib,
    plot,
    pretrain,
    record,
    scored_model,
    supervised,
    table,
)
from clef_jax.speedrunning.settings import SUPERVISED, Config

LOCK_FILE = "speedrun.lock"


def run(config: Config) -> None:
    """Makes one row, checks one, or draws the table again.

    Raises:
        UserError: the data, the minutes or the settings cannot be used; another process uses the
            folder; or a checked row was not repeated.
    """
    console = rich.console.Console(highlight=False)
    figure = plot.path_of(config.records_path)
    for path, option in ((config.records_path, "--records"), (config.table_path, "--table")):
        files.check_output_folder(path.parent, option=option)
    table.frame(config.table_path)
    plot.check(figure)
    rows = record.read(config.records_path)
    if config.render:
        if not config.records_path.exists():
            raise UserError(
                f"{config.records_path} does not exist, so there is nothing to draw; set --records "
                "to a table of records.",
                problem="no_records",
            )
        draw(config)
        console.print(f"Drawn: {config.table_path} and {figure}.", soft_wrap=True, markup=False)
        return
    machine.keep_freed_memory()  # training does it too late: JAX counts the devices before
    files.check_output_folder(config.folder)
    with folder_lock.FolderLock(config.folder / LOCK_FILE):
        if config.check is not None:
            check.run(config, record.row_at(rows, config.check, config.records_path), console)
            return
        row = make_row(config, console)
    line, is_new = record.append(config.records_path, row)
    draw(config)
    console.print(
        f"{row['name']}: score {table.interval(row['score'])}, "
        f"{'added as' if is_new else 'present already as'} line {line} of {config.records_path}. "
        f"The table is {config.table_path}, the plot {figure}.",
        soft_wrap=True,
        markup=False,
    )


def draw(config: Config) -> None:
    """Draws the table and the plot from the records."""
    figure = plot.path_of(config.records_path)
    with record.locked(config.records_path):
        rows = record.read(config.records_path)
        plot.write(figure, rows)
        files.make_folder(config.table_path.parent)
        table.write(config.table_path, rows, _relative(figure, config.table_path.parent))


def _relative(path: pathlib.Path, folder: pathlib.Path) -> str:
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.as_posix()


def make_row(config: Config, console: rich.console.Console) -> record.Row:
    """Returns the row of a run, which is finished first.

    Raises:
        UserError: as `run`.
    """
    panel = panel_lib.make(config.data_dir, config.test_folds)
    panel_lib.check_folds(panel, config.folder / scored_model.CACHE)
    if panel.missing:
        console.print(
            f"The panel lacks {', '.join(panel.missing)}, whose data is not prepared; the row can "
            "be compared only with rows of the same panel.",
            soft_wrap=True,
        )
    make = {"": pretrain.run, SUPERVISED: supervised.run}.get(config.model, scored_model.run)
    start = time.perf_counter()
    entry = make(config, panel, console)
    other = (time.perf_counter() - start) / 60 - entry.minutes
    return {
        "format": record.FORMAT,
        "id": entry.identity,
        "name": config.name or default_name(config),
        "date": record.today(),
        **entry.scores.to_json(),
        "minutes": round(entry.minutes, 3),
        "dial_minutes": config.minutes if entry.minutes else None,
        "other_minutes": round(max(0.0, other), 3),
        "device": record.device(),
        "price_per_hour": config.price_per_hour,
        "dollars": record.dollars(entry.minutes, config.price_per_hour),
        **entry.facts,
        "test_folds": list(config.test_folds),
        "num_resamples": config.num_resamples,
        "panel": panel.to_json(),
        "command": command_of(config),
        "version": record.versions(),
    }


def default_name(config: Config) -> str:
    """Returns the name of a row: the model's, or objective and preset, with what is not usual."""
    if config.model:
        return _without_folder(config.model)
    parts = [config.objective, config.preset]
    parts += ["same seconds"] if config.views == "same" else []
    parts += [config.train] if config.train else []
    return ", ".join(parts)


def _without_folder(model: str) -> str:
    """Returns the name of a model without the folders of its path."""
    prefix, colon, path = model.rpartition(":")
    return f"{prefix}{colon}{pathlib.Path(path).name}"


def command_of(config: Config) -> str:
    """Returns the command of a run without its folders, which differ between users."""
    flags: list[str] = []
    for field in dataclasses.fields(config):
        value, name = getattr(config, field.name), "--" + field.name.replace("_", "-")
        if value == field.default or field.name in ("data_dir", "out", "records", "table"):
            continue
        if field.name == "model":
            value = _without_folder(value)
        if isinstance(value, tuple):
            flags += [name, *map(str, value)]
        else:
            flags.append(f"{name}={value}")
    return shlex.join([PROGRAM, "speedrun", *flags])
