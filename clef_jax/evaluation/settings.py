"""Settings of `python -m clef_jax.evaluate`, for the command line and the bench."""

import dataclasses
import pathlib
from typing import Literal

from clef_jax import command_line, plugin
from clef_jax.errors import UserError, WrongArgument
from clef_jax.training import Weights

ALL, PAPER, NONE = "all", "paper", "none"
LAST, BEST = "last", "best"
LINEAR, FINETUNE, ATTENTION = "linear", "finetune", "attention"
RELEASED, LEAD_I = "released", "lead_I"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Evaluates encoders on clinical tasks, and compares them with baselines."""

    model: command_line.Models = ()
    """Workdirs of training runs, model folders, files of weights or hf:ORG/NAME@COMMIT; the first
    model is compared with all others."""
    compare: tuple[str, ...] = ()
    """More models, or names of baselines, to compare with the first model; untrained:NAME for a
    published encoder with random weights; embeddings:FILE for embeddings in a Parquet or .npz file,
    joined by record id; A+B for the features of several of these side by side."""
    weights: Weights = "trained"
    """Weights of training runs: trained, those of the last step, or ema, the moving average that a
    run with --ema-decay keeps."""
    variant: tuple[str, ...] = ()
    """Preprocessing of published encoders: prescribed by their authors, as_reference, or another
    that they have; each named one is evaluated. By default the prescribed one."""
    data_dir: str
    """Folder of prepared data sets, as given to clef-jax prepare."""
    out: str
    """Folder for the page, the results and cached embeddings."""
    tasks: str = ALL
    """Names of tasks separated by commas; all; or paper for the paper's 18. The groups all and
    paper skip tasks without prepared data, with a message."""
    preset: Literal["paper", "released", "lead_I"] = "paper"
    """paper; released for the lead, scaling and fine-tuning of the public PyTorch reference; or
    lead_I for a published comparison on five concepts of PTB-XL: lead I, a logistic probe on the
    last and on the best stage, five random splits by record."""
    probes: str = "linear"
    """Probes, separated by commas: linear, knn, attention (learned queries over the time steps of a
    stage), finetune."""
    finetune_rates: tuple[float, ...] = (1e-4, 3e-4, 1e-3)
    """Learning rates of fine-tuning, of which one for the encoder and one for the head are chosen
    on validation patients; the preset released has its own rate."""
    lead: str | None = None
    """Lead for all tasks; by default each task's own."""
    layer: str = LAST
    """Layer whose features are evaluated: last, a stage such as stage_5, or best, which is selected
    on validation data."""
    label_shares: tuple[float, ...] = (1.0,)
    """Fractions of the training patients whose labels are used, for example 0.01 0.1 1."""
    label_draws: int = 3
    """Number of random samples of patients for each fraction below 1."""
    hold_out: str | None = None
    """Test set given as LABEL=NUMBER or LABEL=NUMBER,NUMBER, for example strat_fold=9,10; by
    default the test split."""
    cross_validate: bool = False
    """Predict the patients of all splits by cross-validation, for small data sets, instead of
    testing on the test split. Recordings of --hold-out remain the test set."""
    keep_heads: bool = False
    """Keep the heads of the linear and attention probes as model folders in heads, which
    clef-jax predict takes; fine-tuned encoders are always kept, in fine_tuned."""
    baselines: str = ALL
    """Baselines to evaluate: all, none, or names of clef_jax.baselines."""
    random_encoders: int = 3
    """Number of randomly initialised encoders, one per seed."""
    size: str = "small"
    """Size of the randomly initialised encoders, if no model is given."""
    geometry: bool = False
    """Also measure how embedding distance relates to risk."""
    geometry_dataset: str = "mimic_iv_ecg"
    """Prepared data set whose embeddings are measured, NAME or NAME/CONFIG."""
    num_resamples: int = 1000
    """Number of bootstrap samples of the patients for each interval, and of permutations for each
    test; tests use more permutations where Holm's correction needs smaller p-values."""
    seed: int = 0
    """Random seed of encoders, folds, bootstrap samples and permutations."""
    overwrite: bool = False
    """Replace files in the folder that have the names of the results but were not written by an
    evaluation; otherwise they are an error."""

    def __post_init__(self):
        if self.num_resamples < 100:
            raise UserError(f"--num-resamples={self.num_resamples} must be at least 100.")
        if self.random_encoders < 0:
            raise UserError("--random-encoders must not be negative.")
        if self.label_draws < 1:
            raise UserError("--label-draws must be at least 1.")
        num_seeds = max(1, self.random_encoders, self.label_draws)
        command_line.check_seed(self.seed, num_seeds=num_seeds)
        if not self.label_shares or not all(0 < share <= 1 for share in self.label_shares):
            raise UserError("--label-shares must be fractions above 0 and up to 1.")
        if not self.finetune_rates or not all(0 < rate < 1 for rate in self.finetune_rates):
            raise UserError("--finetune-rates must be numbers between 0 and 1.")
        self._check_probes()
        if self.keep_heads and not {LINEAR, ATTENTION} & set(self.methods):
            raise WrongArgument(
                "--keep-heads keeps heads of the probes linear and attention; add one of them to "
                "--probes."
            )
        if self.keep_heads and 1 not in self.label_shares:
            raise WrongArgument(
                "--keep-heads keeps heads that are fitted to all labels; add 1 to --label-shares."
            )
        if self.keep_heads and self.preset == LEAD_I:
            raise WrongArgument(
                "--keep-heads: the lead-I protocol fits heads to five random divisions, of which "
                "none is kept; omit one of the two flags."
            )

    def _check_probes(self) -> None:
        from clef_jax.evaluation import probe  # imports jax, which the help text does without

        known = (*probe.METHODS, ATTENTION, FINETUNE)
        for name in self.methods:
            if name not in known:
                raise WrongArgument(f"--probes: {plugin.unknown('probe', name, known)}")

    @property
    def methods(self) -> tuple[str, ...]:
        """Names of the probes; the released protocol fine-tunes."""
        if self.preset == RELEASED:
            return (FINETUNE,)
        return tuple(name.strip() for name in self.probes.split(","))

    @property
    def folder(self) -> pathlib.Path:
        """Absolute path of the folder to write."""
        return pathlib.Path(self.out).expanduser().resolve()
