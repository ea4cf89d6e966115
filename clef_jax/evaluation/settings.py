"""The settings of `python -m clef_jax.evaluate`, which the command line and the bench share."""

import dataclasses
import pathlib
from typing import Literal

from clef_jax import plugin
from clef_jax.errors import UserError
from clef_jax.evaluation import models, probe

ALL, PAPER = "all", "paper"
LAST, BEST = "last", "best"
FINETUNE = "finetune"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Evaluates pre-trained encoders by probes on features, and compares them with baselines."""

    checkpoint: tuple[str, ...] = ()
    """Workdirs of training runs, model folders or files of weights; the first is compared with
    every other one."""
    compare: tuple[str, ...] = ()
    """More workdirs, or names of baselines, to compare them with."""
    data_dir: str
    """Folder that `python -m clef_jax.prepare` wrote to."""
    out: str
    """Folder for the page, the results and cached embeddings."""
    tasks: str = ALL
    """Names separated by commas; all, or paper for the paper's 18. Tasks whose data set is not
    prepared are skipped, with a message, unless they are named."""
    preset: Literal["paper", "released"] = "paper"
    """released: lead, scaling and fine-tuning as the public PyTorch reference does each task."""
    probes: str = "linear"
    """Probes, separated by commas: linear, knn, finetune."""
    lead: str | None = None
    """Lead for all tasks; by default each task's own."""
    layer: str = LAST
    """Which features: last, a stage such as stage_5, or best, chosen on validation data."""
    label_shares: tuple[float, ...] = (1.0,)
    """Fractions of the training patients whose labels are used, for example 0.01 0.1 1."""
    label_draws: int = 3
    """Number of times that patients are sampled for each fraction below 1."""
    hold_out: str | None = None
    """LABEL=NUMBER, for example strat_fold=8: tests on these recordings whatever their split."""
    cross_validate: bool = False
    """Predict every patient of all splits by cross-validation instead of testing on the test
    split: for small data sets. Where something is held out it stays the test."""
    baselines: str = models.ALL
    """Baselines to evaluate: all, none, or names of clef_jax.baselines."""
    random_encoders: int = 3
    """Number of randomly initialised encoders, one per seed."""
    size: str = "small"
    """Size of the randomly initialised encoders, if no checkpoint is given."""
    geometry: bool = False
    """Also measure how embedding distance relates to risk."""
    geometry_dataset: str = "mimic_iv_ecg"
    """Prepared data set whose embeddings are measured, NAME or NAME/CONFIG."""
    num_resamples: int = 1000
    """Resamples of the patients for each interval, and permutations for each test."""
    seed: int = 0

    def __post_init__(self):
        if self.num_resamples < 100:
            raise UserError(f"--num-resamples={self.num_resamples} must be at least 100.")
        if self.random_encoders < 0:
            raise UserError("--random-encoders must not be negative.")
        if self.label_draws < 1:
            raise UserError("--label-draws must be at least 1.")
        if not self.label_shares or not all(0 < share <= 1 for share in self.label_shares):
            raise UserError("--label-shares must be fractions above 0 and up to 1.")
        for name in self.methods:
            if name not in (*probe.METHODS, FINETUNE):
                unknown = plugin.unknown("probe", name, (*probe.METHODS, FINETUNE))
                raise UserError(f"--probes: {unknown}")

    @property
    def methods(self) -> tuple[str, ...]:
        """The probes; the released protocol fine-tunes."""
        if self.preset == "released":
            return (FINETUNE,)
        return tuple(name.strip() for name in self.probes.split(","))

    @property
    def folder(self) -> pathlib.Path:
        return pathlib.Path(self.out).expanduser().resolve()
