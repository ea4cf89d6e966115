"""Settings of `python -m clef_jax.speedrun`; importing them needs no jax."""

import dataclasses
import math
import pathlib
import shlex
from typing import Literal

from clef_jax import command_line, dataset_list
from clef_jax.errors import UserError, WrongArgument
from clef_jax.models import size as size_lib

PUBLIC = ("ptb_xl", "chapman", "cinc2017")
"""Data sets that a scored run may use: anyone can download them without credentials."""

SUPERVISED, AUTO = "supervised", "auto"

_OURS = {"workdir": "out", "exclude": "test-folds", "num-epochs": "minutes"}
_OURS |= {name: name for name in ("data-dir", "dataset", "size", "objective", "preset", "seed")}
_OURS |= {"num-steps": "num-steps"}
"""Flags of training that --train must not hold, and the flag of this command that takes their
place."""

_OWN_FILES = ("risk-table", "noise-path")
"""Flags of training that name a file which only its owner has."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Pre-trains on public data within some minutes, scores the encoder on patients that no
    training saw, and adds the result to a table of records."""

    data_dir: str = ""
    """Folder of prepared public data sets, as given to clef-jax prepare: ptb_xl, chapman,
    cinc2017, as many as there are."""
    out: str = ""
    """Folder of this run; the same command resumes it."""
    minutes: float = 10.0
    """Time for pre-training in minutes. Size, batch, steps, learning rate, warm-up and precision
    follow from it and from the measured speed of this machine."""
    records: str = "records.jsonl"
    """Table of records, a file of JSON lines; a plot of the same name is drawn beside it."""
    table: str | None = None
    """Markdown file of the table; by default the name of --records with .md. In a file that has the
    lines <!-- records --> and <!-- end of records -->, only what is between them is replaced."""
    name: str | None = None
    """Name of the row; by default the objective with its preset, or the model."""
    model: command_line.Model = ""
    """Model to score without pre-training: untrained, classical, the path of a model, or
    embeddings:FILE; supervised trains a network from scratch on the labels of each task. By
    default an encoder is pre-trained."""
    dataset: tuple[str, ...] = ()
    """Public data sets to pre-train on, with weights as for clef-jax train; by default all that are
    prepared and can be trained on, every patient equally likely."""
    objective: str = "clef"
    """Training objective, as for clef-jax train."""
    preset: str = "paper"
    """Preset of the objective, as for clef-jax train."""
    views: Literal["other", "same"] = "other"
    """Views of a patient. other: 5 s from random places of a recording; same: the same 10 s and a
    learning rate of 1e-4, as in the paper. Settings of the preset or in --train win."""
    size: str = AUTO
    """Size of the encoder; auto is the largest that the minutes suffice for."""
    num_steps: int | None = None
    """Number of optimiser steps; by default as many as fit in the minutes."""
    seed: int = 42
    """Random seed."""
    train: str = ""
    """More flags of clef-jax train, for example "--clef.temperature=0.1 --learning-rate=3e-4"."""
    test_folds: tuple[int, ...] = (9, 10)
    """Folds of PTB-XL that are kept for the test; no training sees their patients."""
    price_per_hour: float | None = None
    """Price of this machine in dollars per hour, from which the row states what it cost."""
    num_resamples: int = 1000
    """Number of bootstrap samples of the patients for each interval."""
    check: int | None = None
    """Repeat the row on this line of the table, from 1, with its stored settings, and compare;
    nothing is added."""
    render: bool = False
    """Only draw the table and the plot again."""

    def __post_init__(self):
        if not (math.isfinite(self.minutes) and self.minutes > 0):
            raise WrongArgument(f"--minutes={self.minutes:g} must be above 0.")
        if self.price_per_hour is not None and not 0 <= self.price_per_hour < math.inf:
            raise WrongArgument(f"--price-per-hour={self.price_per_hour:g} must be at least 0.")
        if self.num_steps is not None and self.num_steps < 1:
            raise WrongArgument(f"--num-steps={self.num_steps} must be at least 1.")
        if self.num_resamples < 100:
            raise WrongArgument(f"--num-resamples={self.num_resamples} must be at least 100.")
        if self.check is not None and self.check < 1:
            raise WrongArgument(f"--check={self.check} must be a line of the table, from 1.")
        command_line.check_seed(self.seed)
        self._check_folds()
        if not self.render:
            self._check_run()

    def _check_folds(self) -> None:
        if not self.test_folds or not set(self.test_folds) < set(range(1, 11)):
            raise WrongArgument(
                "--test-folds must name one or more of the folds 1 to 10, and leave some to train "
                "on.",
                problem="wrong_folds",
            )

    def _check_run(self) -> None:
        for flag, value in (("--data-dir", self.data_dir), ("--out", self.out)):
            if not value:
                raise WrongArgument(f"{flag} is needed.", problem="missing_flag")
        for name in self.dataset:
            check_public(name)
        self._check_size()
        self.train_flags  # noqa: B018 - rejects flags that cannot be used now
        if self.model:
            self._check_scored()

    def _check_size(self) -> None:
        if self.size == AUTO:
            return
        try:
            size_lib.by_name(self.size)
        except ValueError as error:
            raise WrongArgument(f"--size: {error}", problem="unknown_size") from error

    def _check_scored(self) -> None:
        """Raises WrongArgument for settings of a pre-training beside --model, which needs none."""
        defaults = {field.name: field.default for field in dataclasses.fields(self)}
        names = ("dataset", "objective", "preset", "views", "num_steps", "train")
        given = [name for name in names if getattr(self, name) != defaults[name]]
        if given:
            flag = "--" + given[0].replace("_", "-")
            raise WrongArgument(
                f"{flag} belongs to a pre-training, but --model={self.model} is scored as it is; "
                "omit one of the two.",
                problem="model_is_not_trained",
            )

    @property
    def train_flags(self) -> tuple[str, ...]:
        """The flags of --train.

        Raises:
            WrongArgument: they cannot be read, or one belongs to this command.
        """
        try:
            flags = tuple(shlex.split(self.train))
        except ValueError as error:
            raise WrongArgument(f"--train={self.train!r} cannot be split: {error}.") from error
        for flag in flags:
            name = flag.partition("=")[0].removeprefix("--").replace("_", "-")
            if flag.startswith("--") and name in _OURS:
                raise WrongArgument(
                    f"--train must not hold --{name}, which this command sets itself; use "
                    f"--{_OURS[name]}.",
                    problem="flag_of_the_command",
                )
            if name in _OWN_FILES and flag.startswith("--"):
                raise WrongArgument(
                    f"--train must not hold --{name}, because nobody else could repeat the row "
                    "without the file.",
                    problem="own_file",
                )
        return flags

    @property
    def folder(self) -> pathlib.Path:
        """Absolute path of the folder of this run."""
        return pathlib.Path(self.out).expanduser().resolve()

    @property
    def records_path(self) -> pathlib.Path:
        """Absolute path of the table of records."""
        return pathlib.Path(self.records).expanduser().resolve()

    @property
    def table_path(self) -> pathlib.Path:
        """Absolute path of the Markdown file of the table."""
        if self.table is None:
            return self.records_path.with_suffix(".md")
        return pathlib.Path(self.table).expanduser().resolve()


def check_public(dataset: str) -> None:
    """Raises UserError unless a data set, NAME or NAME/CONFIG or NAME:WEIGHT, is a public one."""
    name = dataset_list.base_name(dataset)
    if name in PUBLIC:
        return
    reason = _NOT_PUBLIC.get(name)
    if reason is None:
        raise WrongArgument(
            f"--dataset={dataset} is not among the public data sets of a scored run: "
            f"{', '.join(PUBLIC)}.",
            problem="not_public",
        )
    raise UserError(
        f"--dataset={dataset}: {reason} A scored run uses public data only, so that anyone can "
        f"repeat it: {', '.join(PUBLIC)}.",
        problem="credentialed_data",
    )


_NOT_PUBLIC = {
    "mimic_iv_ecg": "MIMIC-IV-ECG is prepared with the tables of MIMIC-IV, which need credentials "
    "and a signed agreement.",
    "mc_med": "MC-MED needs credentials and a signed agreement.",
    "aurora_bp": "Aurora-BP is given on request only.",
}
"""Data sets that are refused, with the reason."""
