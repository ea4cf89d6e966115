"""Every setting of a pre-training run. Nothing else in the package holds a default for them."""

import dataclasses
import json
import math
import pathlib
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import tyro

from clef_jax import leads, objectives
from clef_jax.errors import UserError
from clef_jax.models import size as size_lib
from clef_jax.signal.augment import AugmentConfig

RANDOM_LEADS = "random"

Precision = Literal["auto", "float32", "bfloat16"]
Schedule = Literal["warm_restarts", "cosine"]
WindowStart = Literal["record_start", "random"]


_RESUMABLE, _PER_PROCESS = "resumable", "per_process"


def setting(
    default: Any = dataclasses.MISSING, *, resumable: bool = False, per_process: bool = False
) -> Any:
    """Declares a setting that may change although all else about its run stays the same.

    Args:
        resumable: a resumed run may change it, because it does not alter what a step computes,
            but for rounding. (Of `preset` the outcome counts, `objective_config`; the data and the
            noise are compared by fingerprint.)
        per_process: the processes of one run may differ in it.
    """
    metadata = {_RESUMABLE: resumable, _PER_PROCESS: per_process}
    return dataclasses.field(default=default, metadata=metadata)


def _declared(config: type, mark: str) -> frozenset[str]:
    """Returns the names of the settings that are declared with a mark."""
    return frozenset(f.name for f in dataclasses.fields(config) if f.metadata.get(mark))


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """One pre-training run. A run with a checkpoint in its workdir goes on by itself."""

    data_dir: str = setting(resumable=True, per_process=True)
    """Folder that `python -m clef_jax.prepare` wrote to."""
    workdir: str = setting(resumable=True, per_process=True)
    """Folder of this run: checkpoints, metrics, config. Start the same command again to resume."""
    size: str = "small"
    """Encoder: small (0.4 M parameters), medium (31 M), large (297 M), or tiny for tests."""
    dataset: str = "mimic_iv_ecg"
    """Prepared data set, NAME or NAME/CONFIG; any with 12 leads will do."""
    leads: str = RANDOM_LEADS
    """Leads that views are drawn from: random (all twelve), one (I), or several (I,II,V5)."""
    same_lead_fraction: float = 0.8
    """Probability that the second view takes the first one's lead; else a lead is drawn anew."""
    window_seconds: float = 10.0
    """Length of the signal that the encoder sees."""
    window_start: WindowStart = "record_start"
    """Where in the record a view begins: record_start (the paper), or random, for each view on its
    own. Views of the same seconds share the very times of their beats, which tells recordings
    apart; with random starts and a window shorter than the records they share less."""
    band_hz: tuple[float, float] = (0.67, 40.0)
    """Pass band of the zero-phase 5th-order Butterworth filter."""
    augment: AugmentConfig = AugmentConfig()
    noise_path: str | None = setting(None, resumable=True, per_process=True)
    """DATA_noises_real.mat with recorded noise at 500 Hz; without it noise is generated."""

    objective: str = "clef"
    """Loss, by the name of its file in clef_jax/objectives/."""
    preset: str = setting("paper", resumable=True)
    """Settings of the objective to start from: paper, or released (as the public code does)."""
    objective_config: Annotated[Any, tyro.conf.Suppress] = None
    """The objective's own settings where they differ from the preset's; see `loss_config`."""

    global_batch_size: int = 64
    """Patients per step over all hosts and devices; each gives two views."""
    num_epochs: float = setting(100.0, resumable=True)
    """Passes over the patients. Ignored when --num-steps is given."""
    num_steps: int | None = setting(None, resumable=True)
    """Optimiser steps; overrides --num-epochs."""
    learning_rate: float = 1e-4
    """Peak learning rate of AdamW."""
    weight_decay: float = 5e-4
    """Decoupled weight decay of AdamW, on every parameter."""
    schedule: Schedule = "warm_restarts"
    """warm_restarts: cosine per epoch, restarted at epochs 10, 30, 70 (the paper); cosine: one
    decay over the whole run after the warm-up."""
    min_learning_rate: float = 1e-6
    """Lowest learning rate of either schedule."""
    warmup_steps: int = 0
    """Steps of linear warm-up from zero."""
    max_grad_norm: float | None = None
    """Clip the gradient to this global norm; None leaves it alone."""
    precision: Precision = "auto"
    """Of the encoder's activations: auto is bfloat16 on TPU and GPU, float32 on CPU. Parameters,
    filters, loss and optimiser are float32 always."""
    remat: bool = setting(False, resumable=True)
    """Recompute each block's activations in the backward pass: less memory, more time."""
    num_microbatches: int = setting(1, resumable=True)
    """Parts in which each device encodes its patients, one after the other. The loss is that of the
    whole batch all the same; memory holds the activations of one part, for a third more time."""
    shard_optimizer: bool = setting(False, resumable=True)
    """Divide the state of the optimiser over the devices (ZeRO-1) instead of keeping it on each:
    saves 8 bytes per parameter, for one more exchange of the parameters in each step."""
    seed: int = 42
    """Decides initial weights, order of patients, leads, and augmentation."""

    max_nonfinite_steps: int = setting(10, resumable=True)
    """Consecutive steps with a non-finite loss or gradient (each is skipped) before giving up."""
    debug_nans: bool = setting(False, resumable=True)
    """Stop at the operation that makes the first NaN, for debugging; slow."""
    log_every_steps: int = setting(10, resumable=True)
    """Steps between two lines of metrics."""
    health_every_steps: int = setting(500, resumable=True)
    """Steps between two looks at the representation (validation patients); 0 never looks."""
    health_patients: int = setting(256, resumable=True)
    """Patients in such a look."""
    checkpoint_every_steps: int = setting(500, resumable=True)
    """Steps between two checkpoints; the last step and SIGTERM always save."""
    keep_checkpoints: int = setting(3, resumable=True)
    """Newest checkpoints to keep."""
    conv_choices: str = setting("table", resumable=True)
    """Forms of the grouped convolution: table; auto, those that clef_jax.autotune measured on this
    kind of device, if it did; or its FILE. A run keeps those of its first start."""
    read_threads: int = setting(2, resumable=True, per_process=True)
    """Threads that read batches ahead; one gives some 8,000 pairs a second."""
    read_processes: int = setting(0, resumable=True, per_process=True)
    """Processes that read batches ahead, each with these threads; for hosts whose devices want more
    than threads of one process give (eight GPUs of one host, say). 0 reads in this process."""
    read_ahead_batches: int = setting(4, resumable=True, per_process=True)
    """Batches kept ready."""
    compilation_cache_dir: str | None = setting(
        "~/.cache/clef_jax/xla", resumable=True, per_process=True
    )
    """Where compiled steps are kept between starts; None keeps none."""
    coordinator_address: str | None = setting(None, resumable=True, per_process=True)
    """HOST:PORT of process 0 when several processes train together, or auto to ask the cluster
    (TPU pods, SLURM); None for one process."""
    num_processes: int | None = setting(None, resumable=True)
    """Number of processes; only with a HOST:PORT."""
    process_id: int | None = setting(None, resumable=True, per_process=True)
    """Number of this process, from 0; only with a HOST:PORT."""
    join_timeout_seconds: float = setting(60.0, resumable=True)
    """How long processes wait for each other at the start before they say who is missing."""
    stall_timeout_seconds: float = setting(600.0, resumable=True)
    """A step, a batch or a save that takes longer ends the run, with a sentence; 0 waits for ever.
    The first step, which compiles, may take as long as it likes."""
    profile_steps: tuple[int, int] | None = setting(None, resumable=True)
    """First and last step to record for TensorBoard and Perfetto, in the workdir's `profile`."""

    FREE_TO_CHANGE: ClassVar[frozenset[str]]
    """Settings that a resumed run may change: those declared `resumable`."""

    PER_PROCESS: ClassVar[frozenset[str]]
    """Settings in which the processes of a run may differ: those declared `per_process`."""

    def __post_init__(self):
        size_lib.by_name(self.size)
        objectives.preset(self.objective, self.preset)
        self.lead_names  # noqa: B018 - refuses unknown names now, not at the first batch
        for name in (
            "global_batch_size",
            "num_microbatches",
            "log_every_steps",
            "checkpoint_every_steps",
        ):
            if getattr(self, name) < 1:
                raise UserError(f"{flag(name)} must be at least 1, not {getattr(self, name)}.")
        first, last = self.profile_steps or (1, 1)
        if not 1 <= first <= last:
            raise UserError("--profile-steps takes the first and the last step, such as 20 25.")
        if self.global_batch_size < 2:
            raise UserError("--global-batch-size must be at least 2: patients repel each other.")
        if not 0 <= self.same_lead_fraction <= 1:
            raise UserError("--same-lead-fraction is a probability between 0 and 1.")
        if self.num_steps is not None and self.num_steps < 1:
            raise UserError(f"--num-steps must be at least 1, not {self.num_steps}.")
        if not self.learning_rate >= self.min_learning_rate >= 0:
            raise UserError("--learning-rate must not be below --min-learning-rate.")

    @property
    def loss_config(self) -> Any:
        """The objective's settings: its own, else those of the preset."""
        if self.objective_config is not None:
            return self.objective_config
        return objectives.preset(self.objective, self.preset).config

    @property
    def label_names(self) -> tuple[str, ...]:
        """Names of the stored labels that the objective needs."""
        return objectives.load_one(self.objective).labels(self.loss_config)

    @property
    def lead_names(self) -> tuple[str, ...]:
        """The leads that views are drawn from."""
        if self.leads == RANDOM_LEADS:
            return leads.STANDARD_12
        names = tuple(dict.fromkeys(leads.canonical(name) for name in self.leads.split(",")))
        if not set(names) <= set(leads.STANDARD_12):
            raise UserError(
                f"--leads={self.leads}: views are drawn from the twelve standard leads."
            )
        return names

    def total_steps(self, steps_per_epoch: int) -> int:
        """Optimiser steps of the whole run."""
        if self.num_steps is not None:
            return self.num_steps
        return max(1, math.ceil(self.num_epochs * steps_per_epoch))

    @property
    def folder(self) -> pathlib.Path:
        return pathlib.Path(self.workdir).expanduser().resolve()


TrainConfig.FREE_TO_CHANGE = _declared(TrainConfig, _RESUMABLE)
TrainConfig.PER_PROCESS = _declared(TrainConfig, _PER_PROCESS)


def saved(config: TrainConfig) -> dict[str, Any]:
    """The configuration as JSON keeps it in a checkpoint, presets resolved."""
    resolved = dataclasses.replace(config, objective_config=config.loss_config)
    return json.loads(json.dumps(dataclasses.asdict(resolved), default=np.ndarray.tolist))


def flag(field: str) -> str:
    """How a field is written on the command line."""
    return "--" + field.replace("_", "-")


def differences(old: dict, new: dict) -> list[str]:
    """Which settings that matter differ between two saved configurations, as sentences."""
    found = []
    # A run from before there was a setting had what is its default now.
    defaults = {field.name: field.default for field in dataclasses.fields(TrainConfig)}
    for name in sorted({*old, *new} - TrainConfig.FREE_TO_CHANGE):
        before, after = old.get(name, defaults.get(name)), new.get(name)
        if isinstance(before, dict) and isinstance(after, dict):
            for key in sorted({*before, *after}):
                if before.get(key) != after.get(key):
                    found.append(f"{name}.{key} was {before.get(key)!r}, now {after.get(key)!r}")
        elif before != after:
            found.append(f"{name} was {before!r}, now {after!r}")
    if new.get("schedule") == "cosine":
        for name in ("num_steps", "num_epochs"):
            if old.get(name) != new.get(name):
                found.append(
                    f"{name} was {old.get(name)!r}, now {new.get(name)!r}, "
                    "which stretches the cosine schedule"
                )
    return found


def from_saved(values: dict[str, Any]) -> TrainConfig:
    """The configuration that `saved` turned into JSON."""
    preset = objectives.preset(values["objective"], values["preset"]).config
    return TrainConfig(
        **values
        | {
            "band_hz": tuple(values["band_hz"]),
            "augment": AugmentConfig(**values["augment"]),
            "objective_config": type(preset)(**values["objective_config"]),
        }
    )
