"""The command line of a training run, made from the settings' own classes and docstrings."""

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from typing import Annotated, Any, TypeVar

import tyro

from clef_jax import objectives, plugin
from clef_jax.config import TrainConfig
from clef_jax.errors import UserError

_Own = TypeVar("_Own")

_NOT_OF_PRESETS = frozenset({"objective", "preset", "objective_config", "data_dir", "workdir"})
"""Settings of a run that a preset of an objective cannot change."""


def parse(argv: Sequence[str] | None = None) -> TrainConfig:
    """Settings from `--name=value` arguments; the objective's as `--clef.temperature=0.1`."""
    return _told(argv, [], dataclasses.MISSING, TrainConfig.__doc__, "python -m clef_jax.train").run


def parse_beside(
    argv: Sequence[str] | None, own: type[_Own], *, default: TrainConfig, prog: str
) -> tuple[TrainConfig, _Own]:
    """Settings of a training run and, beside them, those of a command that looks at it.

    Args:
        own: a dataclass, the settings of the command.
        default: of the run, also where training itself insists on a value.
        prog: how the command is called.
    """
    part = ("own", Annotated[own, tyro.conf.arg(name="")])
    parsed = _told(argv, [part], default, own.__doc__, prog)
    return parsed.run, parsed.own


def _told(argv: Sequence[str] | None, *settings: Any) -> Any:
    try:
        return _parse(list(sys.argv[1:] if argv is None else argv), *settings)
    except ValueError as error:  # the settings' own checks speak in sentences
        raise UserError(str(error)) from error


def _parse(argv: list[str], own: list[Any], default: Any, doc: str | None, prog: str) -> Any:
    # Which settings there are depends on the objective and its preset, so these come first.
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    defaults = {f.name: f.default for f in dataclasses.fields(TrainConfig)}
    first.add_argument("--objective", default=defaults["objective"])
    first.add_argument("--preset", default=defaults["preset"])
    chosen, _ = first.parse_known_args(argv)
    preset = objectives.preset(chosen.objective, chosen.preset)
    default = _with_preset(default, preset, chosen)

    settings = dataclasses.make_dataclass(
        "Settings",
        [
            *own,
            (
                "run",
                Annotated[TrainConfig, tyro.conf.arg(name="")],
                dataclasses.field(default=default),
            ),
            (
                chosen.objective,
                type(preset.config),
                dataclasses.field(default=preset.config),
            ),
        ],
        kw_only=True,
    )
    settings.__doc__ = doc
    parsed = tyro.cli(settings, args=argv, prog=prog)
    run = dataclasses.replace(parsed.run, objective_config=getattr(parsed, chosen.objective))
    return dataclasses.replace(parsed, run=run)


def _with_preset(default: Any, preset: objectives.Preset, chosen: argparse.Namespace) -> Any:
    """Returns the default settings of the run, changed by those that belong to the preset.

    What the command line gives replaces them, as it replaces any default.

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
