"""Parses the command line of a training run, built from the classes of its settings."""

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from typing import Annotated, Any, TypeVar

import tyro

from clef_jax import command_line, objectives, plugin
from clef_jax.config import TrainConfig
from clef_jax.errors import UserError, WrongArgument

_Own = TypeVar("_Own")

_NOT_OF_PRESETS = frozenset({"objective", "preset", "objective_config", "data_dir", "workdir"})
"""Settings of a run that a preset of an objective must not change."""


def parse(argv: Sequence[str] | None = None) -> TrainConfig:
    """Parses `--name=value` arguments; those of an objective read `--clef.temperature=0.1`.

    Args:
        argv: the arguments; by default those of this process.

    Raises:
        WrongArgument: the settings are invalid or contradict each other.
    """
    parsed = _parse_checked(argv, [], dataclasses.MISSING, TrainConfig.__doc__, "train")
    return parsed.run


def parse_beside(
    argv: Sequence[str] | None, own: type[_Own], *, default: TrainConfig, command: str
) -> tuple[TrainConfig, _Own]:
    """Parses the settings of a training run together with a command's own settings.

    Args:
        argv: the arguments; by default those of this process.
        own: the dataclass of the command's own settings.
        default: default settings of the run, also for those that training itself requires.
        command: name of the command, for example "plan".

    Raises:
        WrongArgument: the settings are invalid or contradict each other.
    """
    own_field = ("own", Annotated[own, tyro.conf.arg(name="")])
    parsed = _parse_checked(argv, [own_field], default, own.__doc__, command)
    return parsed.run, parsed.own


def _parse_checked(argv: Sequence[str] | None, *settings: Any) -> Any:
    try:
        return _parse(list(sys.argv[1:] if argv is None else argv), *settings)
    except ValueError as error:  # raised by the checks of the settings' classes
        problem = error.problem if isinstance(error, UserError) else None
        raise WrongArgument(str(error), problem=problem) from error


def settings(
    argv: Sequence[str] = (),
    own: Sequence[Any] = (),
    *,
    default: Any = dataclasses.MISSING,
    doc: str | None = TrainConfig.__doc__,
) -> type:
    """Returns the dataclass that the arguments are parsed to.

    Args:
        argv: the arguments, which name the objective and its preset; both decide what other
            settings there are.
        own: fields of a command that adds settings of its own.
        default: default settings of the run.
        doc: description of the command.

    Raises:
        UserError: the objective or the preset is unknown.
    """
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    defaults = {f.name: f.default for f in dataclasses.fields(TrainConfig)}
    first.add_argument("--objective", default=defaults["objective"])
    first.add_argument("--preset", default=defaults["preset"])
    chosen, _ = first.parse_known_args(argv)
    preset = objectives.preset(chosen.objective, chosen.preset)
    run = Annotated[TrainConfig, tyro.conf.arg(name="")]
    run_field = dataclasses.field(default=_with_preset(default, preset, chosen))
    objective_field = dataclasses.field(default=preset.config)
    made = dataclasses.make_dataclass(
        "Settings",
        [
            *own,
            ("run", run, run_field),
            (chosen.objective, type(preset.config), objective_field),
        ],
        kw_only=True,
    )
    made.__doc__ = doc
    return made


def _parse(argv: list[str], own: list[Any], default: Any, doc: str | None, command: str) -> Any:
    argv = ["--remat=False" if text == "--no-remat" else text for text in argv]
    parsed = command_line.parse(settings(argv, own, default=default, doc=doc), argv, command)
    objective_config = getattr(parsed, parsed.run.objective)
    run = dataclasses.replace(parsed.run, objective_config=objective_config)
    return dataclasses.replace(parsed, run=run)


def _with_preset(default: Any, preset: objectives.Preset, chosen: argparse.Namespace) -> Any:
    """Returns the default settings of the run, changed as the preset demands.

    Arguments on the command line replace them, as they replace any default.

    Raises:
        UserError: the preset names a setting that training does not have.
    """
    if not preset.training:
        return default
    subject = f"The preset {chosen.preset!r} of the objective {chosen.objective!r}"
    fixed = _NOT_OF_PRESETS | TrainConfig.PER_PROCESS
    known = {field.name for field in dataclasses.fields(TrainConfig)} - fixed
    for name in preset.training:
        if name not in known:
            words = plugin.unknown("training setting", name, sorted(known))
            raise UserError(f"{subject} cannot be used. {words}")
    changes = {"objective": chosen.objective, "preset": chosen.preset, **preset.training}
    try:
        if isinstance(default, TrainConfig):
            return dataclasses.replace(default, **changes)
        return TrainConfig(data_dir=tyro.MISSING, workdir=tyro.MISSING, **changes)
    except (TypeError, ValueError) as error:
        raise UserError(f"{subject} has training settings that cannot be used: {error}") from error
