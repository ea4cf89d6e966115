"""Settings of `python -m clef_jax.fit`; importing them needs neither jax nor a file format."""

import dataclasses
import pathlib
from typing import Annotated, Literal

import tyro

from clef_jax import command_line, plugin
from clef_jax.errors import WrongArgument
from clef_jax.formats import Hints
from clef_jax.training import Weights

CLASSICAL = "classical"
NOTHING_FITTED, NOT_ALL_USED = 1, 3
"""Exit codes of the command if it could not fit a head, and if it did, but not to all rows."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Fits a head to the labels of your own recordings; the model folder then answers."""

    model: command_line.Model
    """Workdir of a training run, a model folder, a file of weights, or hf:ORG/NAME@COMMIT."""
    input: str
    """Folder of recordings in any format that embed reads, or prepared data."""
    labels: str
    """CSV file with a column that names the recordings and a column for each label."""
    out: str
    """Model folder to write; the report and the table of rows are written beside it."""
    id_column: str | None = None
    """Column that names the recordings; by default file, path, record, record_id or id."""
    patient_column: str | None = None
    """Column that names the patients; by default patient or patient_id."""
    targets: tuple[str, ...] = ()
    """Columns to predict: several of yes or no, or of numbers, or one of classes. By default all
    other columns."""
    positive: tuple[str, ...] = ()
    """COLUMN=VALUE or COLUMN=VALUE|VALUE: these classes count as yes and all others as no."""
    classes: tuple[str, ...] = ()
    """Columns whose numbers are names of classes."""
    with_features: Annotated[tuple[str, ...], tyro.conf.arg(name="with")] = ()
    """Features beside the embedding: classical for rhythm and spectrum."""
    lead: str | None = None
    """Lead to use, by name or by number from 0; by default the only lead of a recording, or lead
    I."""
    layer: str = "last"
    """Layer that the head reads: last, or a stage such as stage_5."""
    head: Literal["linear", "attention"] = "linear"
    """linear on the mean of a layer over time, or attention, which weights its time steps."""
    finetune: bool = False
    """Train the encoder, too, instead of a head on frozen features; the model folder then holds the
    fine-tuned encoder. Six trainings: five for the cross-validation, and the final one."""
    finetune_epochs: int = 30
    """Most epochs of each training; it stops early on validation patients."""
    finetune_rates: tuple[float, ...] = (3e-4,)
    """Learning rates of fine-tuning; of several, one for the encoder and one for the head are
    chosen on validation patients."""
    weights: Weights = "trained"
    """Weights of a training run: trained, those of its last step, or ema, the moving average that a
    run with --ema-decay keeps."""
    sensitivity: float | None = None
    """Choose the highest threshold with at least this sensitivity, such as 0.95. By default the
    threshold has the best balanced accuracy."""
    specificity: float | None = None
    """Choose the lowest threshold with at least this specificity."""
    coverage: float = 0.9
    """Fraction of patients whose true number the interval of a predicted number holds."""
    compare: bool = True
    """Also fit the labels to a randomly initialised encoder and to rhythm and spectrum."""
    sample_rate_hz: float | None = None
    """Sampling rate in Hz of files that do not state one (NPY, CSV)."""
    unit: str | None = None
    """Unit of files that do not state one: mV, uV, V, or adc for ADC units."""
    gain_per_mv: float | None = None
    """ADC units per millivolt, for files without a gain."""
    lead_names: tuple[str, ...] | None = None
    """Lead names, in order, of files that name no leads."""
    num_resamples: int = 1000
    """Number of bootstrap samples of the patients for each interval of a score."""
    seed: int = 0
    """Random seed of folds, bootstrap samples and the randomly initialised encoder."""
    overwrite: bool = False
    """Replace a model folder that fit did not write, and other files in the place of the report and
    the table."""

    def __post_init__(self):
        for name in self.with_features:
            if name != CLASSICAL:
                raise WrongArgument(f"--with: {plugin.unknown('features', name, (CLASSICAL,))}")
        self._check_method()
        if self.layer == "all":
            raise WrongArgument("--layer=all: a head reads one layer; name it, or omit --layer.")
        if self.sensitivity is not None and self.specificity is not None:
            raise WrongArgument("Give --sensitivity or --specificity, not both.")
        for flag, fraction in (
            ("--sensitivity", self.sensitivity),
            ("--specificity", self.specificity),
            ("--coverage", self.coverage),
        ):
            if fraction is not None and not 0 < fraction < 1:
                raise WrongArgument(f"{flag}={fraction:g} must be above 0 and below 1.")
        command_line.check_positive(self, "sample_rate_hz", "gain_per_mv")
        if self.num_resamples < 100:
            raise WrongArgument(f"--num-resamples={self.num_resamples} must be at least 100.")
        command_line.check_seed(self.seed)
        self.hints  # noqa: B018 - rejects an unknown unit now, not at the first file
        self.positives  # noqa: B018 - rejects another form now

    def _check_method(self) -> None:
        if self.finetune and self.head == "attention":
            raise WrongArgument("Give --head=attention or --finetune, not both.")
        if self.finetune and self.layer != "last":
            raise WrongArgument(
                f"--layer={self.layer}: --finetune trains a head of the last layer; omit --layer."
            )
        if self.with_features and self.method != "linear":
            raise WrongArgument(
                "--with=classical goes with a linear head on frozen features only; omit it, or "
                "--head and --finetune."
            )
        if self.finetune_epochs < 1:
            raise WrongArgument(f"--finetune-epochs={self.finetune_epochs} must be at least 1.")
        if not self.finetune_rates or not all(0 < rate < 1 for rate in self.finetune_rates):
            raise WrongArgument("--finetune-rates must be numbers above 0 and below 1.")

    @property
    def method(self) -> str:
        """Name of the method, out of `fitting.method.METHODS`."""
        return "finetune" if self.finetune else self.head

    @property
    def folder(self) -> pathlib.Path:
        """Absolute path of the model folder to write."""
        return pathlib.Path(self.out).expanduser().resolve()

    @property
    def report(self) -> pathlib.Path:
        """Page of the report, beside the model folder because it is about single recordings."""
        return self.folder.with_name(f"{self.folder.name}.report.html")

    @property
    def table(self) -> pathlib.Path:
        """CSV file that says of every row and recording whether it was used, and why not."""
        return self.folder.with_name(f"{self.folder.name}.rows.csv")

    @property
    def positives(self) -> dict[str, tuple[str, ...]]:
        """Classes that count as yes, by the name of the column."""
        return dict(_positive(text) for text in self.positive)

    @property
    def hints(self) -> Hints:
        """Values of the settings for what files do not state themselves."""
        return Hints.of_settings(self)


def _positive(text: str) -> tuple[str, tuple[str, ...]]:
    column, equals, values = text.partition("=")
    if not equals or not values:
        raise WrongArgument(f"--positive={text} must be COLUMN=VALUE, such as rhythm=AF.")
    return column.strip(), tuple(value.strip() for value in values.split("|"))
