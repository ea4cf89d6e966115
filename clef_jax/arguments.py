"""The command line of a training run, made from the settings' own classes and docstrings."""

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from typing import Annotated

import tyro

from clef_jax import objectives
from clef_jax.config import TrainConfig
from clef_jax.errors import UserError


def parse(argv: Sequence[str] | None = None) -> TrainConfig:
    """Settings from `--name=value` arguments; the objective's as `--clef.temperature=0.1`."""
    try:
        return _parse(list(sys.argv[1:] if argv is None else argv))
    except ValueError as error:  # the settings' own checks speak in sentences
        raise UserError(str(error)) from error


def _parse(argv: list[str]) -> TrainConfig:
    # Which settings there are depends on the objective and its preset, so these come first.
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    defaults = {f.name: f.default for f in dataclasses.fields(TrainConfig)}
    first.add_argument("--objective", default=defaults["objective"])
    first.add_argument("--preset", default=defaults["preset"])
    chosen, _ = first.parse_known_args(argv)
    preset = objectives.preset(chosen.objective, chosen.preset)

    settings = dataclasses.make_dataclass(
        "Settings",
        [
            ("run", Annotated[TrainConfig, tyro.conf.arg(name="")]),
            (chosen.objective, type(preset), dataclasses.field(default=preset)),
        ],
        kw_only=True,
    )
    settings.__doc__ = TrainConfig.__doc__
    parsed = tyro.cli(settings, args=argv, prog="python -m clef_jax.train")
    return dataclasses.replace(parsed.run, objective_config=getattr(parsed, chosen.objective))
