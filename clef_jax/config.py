"""Settings of a pre-training run, with their only defaults."""

import dataclasses
import json
import math
import pathlib
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import tyro

from clef_jax import command_line, dataset_list, leads, objectives
from clef_jax.errors import UserError
from clef_jax.models import size as size_lib
from clef_jax.setting import PER_PROCESS, RESUMABLE, check_numbers, declared, setting
from clef_jax.signal.augment_config import AugmentConfig

RANDOM_LEADS = "random"
COMPILATION_CACHE = "~/.cache/clef_jax/xla"
"""Folder that keeps compiled steps between starts."""

AUTO = "auto"
AUTO_REMAT, AUTO_MICROBATCHES = None, 0
"""Values of `remat` and `num_microbatches` until `planning.automatic` has chosen them."""


def _parsed_remat(texts: list[str]) -> bool | None:
    """Returns the value of --remat, which may stand alone."""
    known = {(): True, ("True",): True, ("False",): False, (AUTO,): AUTO_REMAT}
    if tuple(texts) not in known:
        raise ValueError(f"--remat={' '.join(texts)} must be True, False or auto.")
    return known[tuple(texts)]


def _parsed_microbatches(texts: list[str]) -> int:
    """Returns the value of --num-microbatches."""
    if texts == [AUTO]:
        return AUTO_MICROBATCHES
    if not texts[0].isdigit() or int(texts[0]) < 1:
        raise ValueError(f"--num-microbatches={texts[0]} must be a number from 1, or auto.")
    return int(texts[0])


Remat = Annotated[
    bool | None,
    tyro.constructors.PrimitiveConstructorSpec(
        nargs="*",
        metavar="True|False|auto",
        instance_from_str=_parsed_remat,
        is_instance=lambda value: value is None or isinstance(value, bool),
        str_from_instance=lambda value: [AUTO if value is AUTO_REMAT else str(value)],
    ),
]
Microbatches = Annotated[
    int,
    tyro.constructors.PrimitiveConstructorSpec(
        nargs=1,
        metavar="INT>0|auto",
        instance_from_str=_parsed_microbatches,
        is_instance=lambda value: isinstance(value, int),
        str_from_instance=lambda value: [AUTO if value == AUTO_MICROBATCHES else str(value)],
    ),
]
Precision = Literal["auto", "float32", "bfloat16"]
Schedule = Literal["warm_restarts", "cosine"]
WindowStart = Literal["record_start", "random"]
BatchFrom = Literal["mixture", "one_data_set"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Pre-trains an encoder on prepared ECG recordings; resumes if the workdir has a checkpoint."""

    data_dir: str = setting(resumable=True, per_process=True)
    """Folder of prepared data sets, as given to clef-jax prepare."""
    workdir: str = setting(resumable=True, per_process=True)
    """Folder of this run: checkpoints, metrics, settings. The same command resumes the run."""
    size: str = "small"
    """Size of the encoder: small (0.4 M parameters), medium (31 M), large (297 M), or tiny for
    tests."""
    dataset: dataset_list.Names = "mimic_iv_ecg"
    """Prepared data set, NAME or NAME/CONFIG; or several with the weights of their patients in a
    batch, such as ptb_xl:0.5 chapman:0.2 mimic_iv_ecg:0.3. Without weights every patient is equally
    likely."""
    batch_from: BatchFrom = "mixture"
    """Data sets of one batch: mixture (all of them, by weight), or one_data_set (all patients from
    the same data set, which is sampled by weight; then no two patients can be told apart by their
    data sets alone)."""
    leads: str = RANDOM_LEADS
    """Leads from which views are sampled: random (all twelve), one (I), or several (I,II,V5). Each
    data set uses those that it has."""
    same_lead_fraction: float = 0.8
    """Probability that the second view has the lead of the first view; otherwise its lead is
    sampled again."""
    window_seconds: float = 10.0
    """Length of the encoder's input in seconds."""
    window_start: WindowStart = "record_start"
    """Start of a view in its recording: record_start (the paper), or random, independently for each
    view. Two views of the same seconds have their beats at the same times, which alone identifies a
    recording; random starts in recordings longer than the window avoid this."""
    encoder_rate_hz: float | None = None
    """Sampling rate in Hz of the encoder's input, to which windows of another rate are resampled;
    by default that of the data set, or the highest of several."""
    band_hz: tuple[float, float] = (0.67, 40.0)
    """Edges in Hz of the zero-phase 5th-order Butterworth band-pass."""
    augment: AugmentConfig = AugmentConfig()
    noise_path: str | None = setting(None, resumable=True, per_process=True)
    """File DATA_noises_real.mat with recorded noise at 500 Hz; by default noise is generated."""

    objective: str = "clef"
    """Training objective: the name of a module in clef_jax/objectives/."""
    preset: str = setting("paper", resumable=True)
    """Default settings of the objective: paper, released (the public PyTorch reference; clef), best
    (views, rate and projector that scored highest in a search; clef) or original (as the authors of
    simclr, moco, byol and vicreg train them)."""
    objective_config: Annotated[Any, tyro.conf.Suppress] = None
    """Settings of the objective; by default those of the preset. See `loss_config`."""

    global_batch_size: int = 64
    """Patients per step over all hosts and devices, with two views each."""
    num_epochs: float = setting(100.0, resumable=True)
    """Number of passes over the patients; ignored if --num-steps is given."""
    num_steps: int | None = setting(None, resumable=True)
    """Number of optimiser steps; by default --num-epochs decides."""
    learning_rate: float = 1e-4
    """Peak learning rate of AdamW."""
    weight_decay: float = 5e-4
    """Decoupled weight decay of AdamW, on every parameter."""
    schedule: Schedule = "warm_restarts"
    """warm_restarts: cosine per epoch, restarted at epochs 10, 30, 70 (the paper); cosine: one
    decay over the whole run after the warm-up."""
    min_learning_rate: float = 1e-6
    """Lowest learning rate of the schedule."""
    warmup_steps: int = 0
    """Number of steps in which the learning rate rises linearly from zero."""
    max_grad_norm: float | None = None
    """Largest global norm of the gradient, which is clipped to it; by default it is not clipped."""
    precision: Precision = "auto"
    """Number format of the encoder's activations: auto is bfloat16 on TPU and GPU, float32 on CPU.
    Parameters, filters, loss and optimiser are always float32."""
    remat: Remat = setting(False, resumable=True)
    """Recompute each block's activations in the backward pass, which takes less memory and more
    time. auto does so only if the step would not fit the device otherwise; --num-microbatches may
    be auto, too."""
    own_kernels: bool = setting(False, resumable=True)
    """On a GPU, compute swish and products together by kernels of this package, which move fewer
    bytes by the compiler's count, but never ran on a GPU."""
    bias_in_product: bool = setting(False, resumable=True)
    """On a GPU, add biases to products before they are rounded: without another pass where Triton
    multiplies, and with one more where cuBLASLt does. Never ran on a GPU."""
    num_microbatches: Microbatches = setting(1, resumable=True)
    """Number of parts in which each device encodes its patients, one after the other. The loss is
    still that of the whole batch; memory holds the activations of one part, and a step takes a
    third more time. auto takes the smallest number with which the step fits the device."""
    shard_optimizer: bool = setting(False, resumable=True)
    """Divide the optimiser's state over the devices (ZeRO-1) instead of replicating it: saves 8
    bytes per parameter and costs one more collective of the parameters in each step."""
    ema_decay: float | None = None
    """Keep an exponential moving average of the encoder's weights, of which a step keeps this
    fraction, for example 0.999; `--weights=ema` of embed and evaluate uses it. By default none is
    kept."""
    exclude: str | None = None
    """Recordings whose patients are kept out of training, as FIELD=VALUE,VALUE of a stored field,
    for example strat_fold=7,8; by default all training patients are used."""
    risk_table: str | None = setting(None, resumable=True, per_process=True)
    """CSV file with the columns record_id and risk, and optionally completeness (fraction of the
    score's inputs that were observed), whose risks replace the prepared ones; recordings that it
    does not name have an unknown risk. By default the prepared risk is used."""
    seed: int = 42
    """Random seed of initial weights, order of patients, leads, and augmentation."""

    max_nonfinite_steps: int = setting(10, resumable=True)
    """Number of consecutive steps with a non-finite loss or gradient, each of which is skipped,
    after which the run stops."""
    deterministic: bool = setting(False, resumable=True)
    """Use only kernels of a GPU that repeat their result to the last bit, which may be slower, so
    that a resumed run equals one without a stop; on CPU and TPU it is so anyway."""
    debug_nans: bool = setting(False, resumable=True)
    """Stop at the operation that returns the first NaN; slow, for debugging."""
    log_every_steps: int = setting(10, resumable=True)
    """Number of steps between two lines of metrics."""
    health_every_steps: int = setting(500, resumable=True)
    """Number of steps between representation checks on validation patients; 0 disables them."""
    health_patients: int = setting(256, resumable=True)
    """Number of validation patients in a representation check."""
    checkpoint_every_steps: int = setting(500, resumable=True)
    """Number of steps between checkpoints; the last step, SIGTERM and Ctrl-C
    always save one."""
    keep_checkpoints: int = setting(3, resumable=True)
    """Number of newest checkpoints to keep."""
    conv_choices: str = setting("table", resumable=True)
    """Implementations of the grouped convolution: table, the default rules; auto, the results of
    clef-jax autotune for this kind of device, if there are any; or a FILE of clef-jax autotune. A
    resumed run keeps the implementations of its first start."""
    read_threads: int = setting(2, resumable=True, per_process=True)
    """Number of threads that read batches ahead; one thread reads some 8,000 pairs per second."""
    read_processes: int = setting(0, resumable=True, per_process=True)
    """Number of processes that read batches ahead, each with --read-threads threads, for hosts
    whose devices need more than one process can read, for example eight GPUs. 0 reads in the
    training process."""
    read_ahead_batches: int = setting(4, resumable=True, per_process=True)
    """Number of batches that are read ahead."""
    compilation_cache_dir: str | None = setting(COMPILATION_CACHE, resumable=True, per_process=True)
    """Folder that keeps compiled steps between starts; None keeps none."""
    coordinator_address: str | None = setting(None, resumable=True, per_process=True)
    """HOST:PORT of process 0 when several processes train together, or auto where the cluster
    provides it (TPU pods, SLURM); by default one process trains alone."""
    num_processes: int | None = setting(None, resumable=True)
    """Number of processes; only with --coordinator-address=HOST:PORT."""
    process_id: int | None = setting(None, resumable=True, per_process=True)
    """Index of this process, from 0; only with --coordinator-address=HOST:PORT."""
    join_timeout_seconds: float = setting(60.0, resumable=True)
    """Time in seconds that processes wait for each other at the start; then they stop and name the
    missing ones."""
    stall_timeout_seconds: float = setting(600.0, resumable=True)
    """Time in seconds after which a step, a batch or a save ends the run with an error; 0 disables
    the limit. The first step, which compiles, has no limit."""
    profile_steps: tuple[int, int] | None = setting(None, resumable=True)
    """First and last step to profile for TensorBoard and Perfetto, in the workdir's folder
    profile."""

    FREE_TO_CHANGE: ClassVar[frozenset[str]]
    """Settings that a resumed run may change: those declared `resumable`."""

    PER_PROCESS: ClassVar[frozenset[str]]
    """Settings in which the processes of a run may differ: those declared `per_process`."""

    def __post_init__(self):
        size_lib.by_name(self.size)
        objectives.preset(self.objective, self.preset)
        # The one spelling, because a resumed run compares it with that of its first start.
        object.__setattr__(self, "dataset", dataset_list.normal(self.dataset))
        self.lead_names  # noqa: B018 - rejects unknown names now, not at the first batch
        check_numbers(self)
        command_line.check_seed(self.seed)
        first, last = self.profile_steps or (1, 1)
        if not 1 <= first <= last:
            raise UserError("--profile-steps must be a first and a last step, such as 20 25.")
        if self.global_batch_size < 2:
            raise UserError("--global-batch-size must be at least 2: the loss contrasts patients.")
        if not 0 <= self.same_lead_fraction <= 1:
            raise UserError("--same-lead-fraction must be a probability between 0 and 1.")
        if self.num_steps is not None and self.num_steps < 1:
            raise UserError(f"--num-steps must be at least 1, not {self.num_steps}.")
        if self.ema_decay is not None and not 0 <= self.ema_decay < 1:
            raise UserError(f"--ema-decay={self.ema_decay} must be at least 0 and below 1.")
        if not self.learning_rate >= self.min_learning_rate >= 0:
            raise UserError("--learning-rate must not be below --min-learning-rate.")

    @property
    def loss_config(self) -> Any:
        """Settings of the objective: its own if given, otherwise those of the preset."""
        if self.objective_config is not None:
            return self.objective_config
        return objectives.preset(self.objective, self.preset).config

    @property
    def is_automatic(self) -> bool:
        """Whether remat or the number of microbatches is `auto`, which the devices decide."""
        return self.remat is AUTO_REMAT or self.num_microbatches == AUTO_MICROBATCHES

    @property
    def label_names(self) -> tuple[str, ...]:
        """Names of the stored labels that the objective needs."""
        return objectives.load_one(self.objective).labels(self.loss_config)

    @property
    def datasets(self) -> tuple[dataset_list.Entry, ...]:
        """Names and weights of the data sets."""
        return dataset_list.parse(self.dataset)

    @property
    def lead_names(self) -> tuple[str, ...]:
        """Names of the leads from which views are sampled."""
        if self.leads == RANDOM_LEADS:
            return leads.STANDARD_12
        names = tuple(dict.fromkeys(leads.canonical(name) for name in self.leads.split(",")))
        if not set(names) <= set(leads.STANDARD_12):
            raise UserError(
                f"--leads={self.leads} names leads other than the twelve standard leads."
            )
        return names

    def total_steps(self, steps_per_epoch: int) -> int:
        """Returns the number of optimiser steps of the whole run."""
        if self.num_steps is not None:
            return self.num_steps
        return max(1, math.ceil(self.num_epochs * steps_per_epoch))

    @property
    def folder(self) -> pathlib.Path:
        """Absolute path of the workdir."""
        return pathlib.Path(self.workdir).expanduser().resolve()


TrainConfig.FREE_TO_CHANGE = declared(TrainConfig, RESUMABLE)
TrainConfig.PER_PROCESS = declared(TrainConfig, PER_PROCESS)


def saved(config: TrainConfig) -> dict[str, Any]:
    """Returns the settings as JSON values for a checkpoint, with presets resolved."""
    resolved = dataclasses.replace(config, objective_config=config.loss_config)
    return json.loads(json.dumps(dataclasses.asdict(resolved), default=np.ndarray.tolist))


def differences(old: dict, new: dict) -> list[str]:
    """Returns the differences between two saved configurations that a resumed run must not have."""
    sentences = []
    old, new = _with_own_defaults(old), _with_own_defaults(new)
    # A run that is older than a setting had the setting's present default.
    defaults = {field.name: field.default for field in dataclasses.fields(TrainConfig)}
    for name in sorted({*old, *new} - TrainConfig.FREE_TO_CHANGE):
        before, after = old.get(name, defaults.get(name)), new.get(name)
        if isinstance(before, dict) and isinstance(after, dict):
            for key in sorted({*before, *after}):
                if before.get(key) != after.get(key):
                    sentences.append(
                        f"{name}.{key} was {before.get(key)!r}, now {after.get(key)!r}"
                    )
        elif before != after:
            sentences.append(f"{name} was {before!r}, now {after!r}")
    stretched = _stretched_schedules(new)
    if stretched:
        for name in ("num_steps", "num_epochs"):
            if old.get(name) != new.get(name):
                sentences.append(
                    f"{name} was {old.get(name)!r}, now {new.get(name)!r}, "
                    f"which stretches {stretched}"
                )
    return sentences


def _with_own_defaults(saved_config: dict) -> dict:
    """Adds the defaults of those settings of the objective that are newer than the run."""
    name, own = saved_config.get("objective"), saved_config.get("objective_config")
    if not isinstance(own, dict) or name not in objectives.names():
        return saved_config
    preset = next(iter(objectives.load_one(name).presets.values()))
    fields = dataclasses.fields(preset.config)
    defaults = {f.name: f.default for f in fields if f.default is not dataclasses.MISSING}
    return saved_config | {"objective_config": json.loads(json.dumps(defaults)) | own}


def _stretched_schedules(saved_config: dict) -> str:
    """Returns the names of the schedules that extend over the whole run; empty if none does."""
    names = ["the cosine schedule"] if saved_config.get("schedule") == "cosine" else []
    name, own = saved_config.get("objective"), saved_config.get("objective_config")
    if isinstance(own, dict) and name in objectives.names():
        objective = objectives.load_one(name)
        config_class = type(next(iter(objective.presets.values())).config)
        if objective.depends_on_num_steps(config_class(**own)):
            names.append(f"the schedule of the objective {name}")
    return " and ".join(names)


def from_saved(values: dict[str, Any]) -> TrainConfig:
    """Returns the configuration from the JSON values of `saved`."""
    preset = objectives.preset(values["objective"], values["preset"]).config
    return TrainConfig(
        **values
        | {
            "band_hz": tuple(values["band_hz"]),
            "augment": AugmentConfig(**values["augment"]),
            "objective_config": type(preset)(**values["objective_config"]),
        }
    )
