"""Fine-tuning: trains the whole encoder and a linear head for a task, with early stopping.

The head starts as the linear probe of the frozen encoder (Kumar et al. 2022, arXiv 2202.10054): one
that starts at 0 distorts the features before it has learned, and needs more recordings than most
labels have.

It takes the place of a probe: `make_fit` returns a function for `prediction.Protocol.fit`. Instead
of features, it receives the location of each recording (`locations`) and reads its samples.

Shapes: B windows of a batch, T time, D embedding, K outputs, N recordings.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from clef_jax import mesh as mesh_lib
from clef_jax.embedding import batch as batch_lib, trainable
from clef_jax.embedding.prepared import Embedded
from clef_jax.embedding.trainable import Trainable
from clef_jax.evaluation import early_stopping, linear, probe, samples as samples_lib
from clef_jax.evaluation.examples import Examples, folds
from clef_jax.evaluation.learning_rates import Rates, by_group, choose, with_rates
from clef_jax.evaluation.samples import Reader, Samples, pack, random_window

VALIDATION_FOLDS = 5
"""Number of folds of the training patients if there is no validation split; one of them is used
for validation."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of fine-tuning."""

    batch_size: int = 64
    """Number of recordings per step."""
    max_epochs: int = 30
    patience_epochs: int = 5
    """Number of epochs without improvement after which training stops."""
    min_improvement: float = 1e-3
    """Smallest decrease of the validation loss that counts as an improvement."""
    learning_rate: float = 3e-4
    """Highest learning rate of the schedule, of encoder and head."""
    rates: tuple[float, ...] = ()
    """Learning rates to choose from on validation data, for encoder and head each, instead of
    `learning_rate`; by default nothing is chosen."""
    weight_decay: float = 1e-2
    head_start: Literal["linear", "zero"] = "linear"
    """Head at the start: the linear probe of the frozen encoder, or 0."""
    optimizer: Literal["adamw", "adam_l2"] = "adamw"
    """adamw: AdamW with one epoch of warm-up and a cosine decay to 0. adam_l2: Adam with the weight
    penalty in the gradient and two cosine decays in sequence."""


RELEASED = Config(
    max_epochs=100,
    learning_rate=1e-3,
    weight_decay=1e-5,
    head_start="zero",
    optimizer="adam_l2",
)
"""Settings of the public PyTorch reference for most tasks."""


class Params(NamedTuple):
    """Parameters that are trained."""

    encoder: nnx.State
    weight: jax.Array
    """Weights of the head, [D, K]."""
    bias: jax.Array
    """Biases of the head, [K]."""


@dataclasses.dataclass(frozen=True, eq=False)
class FineTuned:
    """A fine-tuned encoder with its head; it can be used as a `probe.Probe`."""

    kind: str
    """Kind of the task."""
    samples: Reader
    steps: "Steps"
    params: Params
    centre: np.ndarray
    """Means of a regression's training targets, [K]; 0 in a classification."""
    scale: np.ndarray
    """Standard deviations of a regression's training targets, [K]; 1 in a classification."""
    threshold: np.ndarray
    """Lowest probability at which a class is predicted to be present, [K]."""
    strength: np.ndarray
    """NaN, [K]: fine-tuning has no such setting."""
    validation_loss: float
    """Lowest validation loss."""
    num_epochs: int
    """Number of epochs until training stopped."""
    rates: Rates
    """Learning rates."""

    def __call__(self, locations: np.ndarray) -> np.ndarray:
        """Returns the predictions of recordings at locations [N, 2], float64 [N, K].

        They come from the mean output over a recording's windows.
        """
        return linear.to_predictions(self.kind, self.logits(locations)) * self.scale + self.centre

    def logits(self, locations: np.ndarray) -> np.ndarray:
        """Returns the outputs of the head for recordings at locations [N, 2], float64 [N, K]."""
        return _logits(self.steps, self.params, self.samples, locations)

    def head_arrays(self) -> dict[str, Any]:
        """Returns the arrays of a `Head` of the fine-tuned encoder, by its fields' names."""
        return {
            "weight": np.asarray(self.params.weight).T,
            "bias": np.asarray(self.params.bias),
            "centre": np.asarray(self.centre),
            "scale": np.asarray(self.scale),
        }


def locations(
    splits: Mapping[str, Embedded], layer: str = "whole encoder"
) -> dict[str, Callable[[Embedded], np.ndarray]]:
    """Returns a function, by its layer's name, that maps a split to its recordings' locations.

    A location is the number of the split and the position in it, float32 [N, 2]; NaN where the lead
    is not usable. It takes the place of features.
    """
    order = list(splits.values())

    def locate(embedded: Embedded) -> np.ndarray:
        split = next(number for number, other in enumerate(order) if other is embedded)
        positions = np.arange(embedded.index.num_records, dtype=np.float32)
        located = np.stack([np.full_like(positions, split), positions], axis=1)
        located[~embedded.usable] = np.nan
        return located

    return {layer: locate}


def make_fit(
    embedder: Trainable,
    splits: Mapping[str, Embedded],
    config: Config,
    keep: Callable[[FineTuned], None] = lambda _: None,
) -> Callable[..., probe.Probe]:
    """Returns a function for `prediction.Protocol.fit` that fine-tunes an encoder.

    Args:
        embedder: Pre-trained encoder.
        splits: Splits of the data set.
        config: Settings.
        keep: Receives each fine-tuned encoder, for example to save it; by default it is not saved.
    """
    return make_fit_from(embedder, Samples(splits, embedder), config, keep)


def make_fit_from(
    embedder: Trainable,
    samples: Reader,
    config: Config,
    keep: Callable[[FineTuned], None] = lambda _: None,
) -> Callable[..., Any]:
    """Returns a function as `make_fit` does, for windows from anywhere."""

    @functools.cache  # compiled once for folds of one size
    def steps_of(kind: str, steps_per_epoch: int) -> tuple[optax.GradientTransformation, Steps]:
        size = batch_size(config, embedder.mesh)
        tx = _optimizer(config, steps_per_epoch)
        return tx, make_steps(embedder, kind, tx, size)

    def fit(
        kind: str, train: Examples, validation: Examples | None = None, *, seed: int = 0
    ) -> Any:
        if validation is None or len(validation) < 2:
            fold = folds(train.patient, VALIDATION_FOLDS, seed)
            train, validation = train.at(fold != 0), train.at(fold == 0)
        probe.check(kind, train)
        size = batch_size(config, embedder.mesh)
        tx, steps = steps_of(kind, math.ceil(len(train) / size))
        tuned = _fine_tune(embedder, samples, tx, steps, kind, train, validation, config, seed)
        keep(tuned)
        return tuned

    return fit


def batch_size(config: Config, mesh: jax.sharding.Mesh) -> int:
    """Returns the number of recordings per step, a multiple of the number of devices."""
    return -(-config.batch_size // mesh.size) * mesh.size


class Steps(NamedTuple):
    """Compiled functions of fine-tuning, for one batch size."""

    train: Callable
    """Maps (params, opt_state, batch) to (params, opt_state, loss) after a training step."""
    compute_logits: Callable
    """Maps (params, signal_mv) to the outputs of the head, float32 [B, K]."""
    batch_size: int
    mesh: jax.sharding.Mesh


def make_steps(
    embedder: Trainable, kind: str, tx: optax.GradientTransformation, size: int
) -> Steps:
    """Returns the compiled functions for an encoder, a kind of task and a batch size."""
    mesh, constants = embedder.mesh, trainable.constants(embedder)

    def local(params: Params, signal_mv: jax.Array, constants: Any) -> jax.Array:
        # Each device has a copy of the parameters; the gradients of the copies are summed.
        params = jax.lax.pcast(params, mesh_lib.DATA, to="varying")
        features = trainable.features(embedder, params.encoder, constants, signal_mv)
        return features @ params.weight + params.bias[None]

    def logits(params: Params, signal_mv: jax.Array) -> jax.Array:
        specs = (mesh_lib.EVERYWHERE, mesh_lib.ROWS, mesh_lib.EVERYWHERE)
        sharded = jax.shard_map(local, mesh=mesh, in_specs=specs, out_specs=mesh_lib.ROWS)
        return sharded(params, signal_mv, constants)

    def train(params: Params, opt_state: optax.OptState, batch: dict):
        def mean_loss(params: Params) -> jax.Array:
            losses = loss(kind, logits(params, batch["signal_mv"]), batch["target"])
            return (losses * batch["counts"]).sum() / jnp.maximum(batch["counts"].sum(), 1)

        value, gradient = jax.value_and_grad(mean_loss)(params)
        updates, opt_state = tx.update(gradient, opt_state, params)
        return optax.apply_updates(params, updates), opt_state, value

    return Steps(jax.jit(train, donate_argnums=(1,)), jax.jit(logits), size, mesh)


def loss(kind: str, logits: jax.Array, target: jax.Array) -> jax.Array:
    """Returns the loss of logits [B, K] for each window, [B], as a mean over outputs.

    It is the cross entropy of a classification, or the absolute error of scaled targets.
    """
    if kind == "regression":
        return jnp.abs(logits - target).mean(axis=1)
    if kind == "multiclass":
        return optax.softmax_cross_entropy(logits, target)
    return optax.sigmoid_binary_cross_entropy(logits, target).mean(axis=1)


def mean_loss(kind: str, logits: np.ndarray, target: np.ndarray) -> float:
    """Returns the mean loss of logits [N, K] over recordings; see `loss`."""
    return float(np.mean(jax.device_get(loss(kind, jnp.asarray(logits), jnp.asarray(target)))))


def _fine_tune(
    embedder: Trainable,
    samples: Reader,
    tx: optax.GradientTransformation,
    steps: Steps,
    kind: str,
    train: Examples,
    validation: Examples,
    config: Config,
    seed: int,
) -> FineTuned:
    """Trains with each pair of learning rates to try, and returns the encoder with the lowest
    validation loss.

    All pairs of equal rates are tried, and then the other rates of the head with the best rate.
    """
    centre, scale = centre_and_scale(kind, train.target)
    scaled = dataclasses.replace(train, target=((train.target - centre) / scale).astype("f4"))
    wanted = (validation.target - centre) / scale
    start = _initial_params(embedder, train.target.shape[1])
    if config.head_start == "linear":
        judged = dataclasses.replace(validation, target=wanted)
        start = _linear_start(start, samples, steps, kind, scaled, judged)

    def run(rates: Rates) -> FineTuned:
        state = with_rates(tx.init(start), rates)
        best, best_loss, epoch = _train(
            steps, samples, kind, scaled, validation.features, wanted, config, seed, start, state
        )
        logits = _logits(steps, best, samples, validation.features)
        threshold = probe.thresholds(kind, validation.target, linear.to_predictions(kind, logits))
        nothing = np.full(train.target.shape[1], np.nan)
        return FineTuned(
            kind, samples, steps, best, centre, scale, threshold, nothing, best_loss, epoch, rates
        )

    return choose(run, config.rates or (config.learning_rate,))


def _train(
    steps: Steps,
    samples: Reader,
    kind: str,
    train: Examples,
    validation: np.ndarray,
    wanted: np.ndarray,
    config: Config,
    seed: int,
    params: Params,
    opt_state: optax.OptState,
) -> tuple[Params, float, int]:
    """Trains until the validation loss stops improving.

    The targets of `train`, and `wanted` [N, K] of the locations `validation` [N, 2], are scaled.

    Returns:
        The parameters with the lowest validation loss, this loss, and the number of epochs.
    """
    rng, size, mesh = np.random.default_rng(seed), steps.batch_size, steps.mesh

    def run_epoch(params: Params) -> Params:
        nonlocal opt_state
        for positions in samples_lib.batches(len(train), size, rng):
            recordings = samples.windows(train.features[positions])
            batch = pack([random_window(windows, rng) for windows in recordings], size)
            batch["target"] = np.zeros((size, train.target.shape[1]), np.float32)
            batch["target"][: len(positions)] = train.target[positions]
            on_devices = mesh_lib.to_devices(batch, mesh)
            params, opt_state, _ = steps.train(params, opt_state, on_devices)
        return params

    def validation_loss(params: Params) -> float:
        return mean_loss(kind, _logits(steps, params, samples, validation), wanted)

    return early_stopping.train(params, run_epoch, validation_loss, config)


def centre_and_scale(kind: str, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns mean and standard deviation of a regression's targets; 0 and 1 of other tasks."""
    if kind != "regression":
        return np.zeros(target.shape[1]), np.ones(target.shape[1])
    spread = target.std(axis=0)
    return target.mean(axis=0), np.where(spread > 0, spread, 1.0)


def _initial_params(embedder: Trainable, num_outputs: int) -> Params:
    """Returns the parameters of the pre-trained encoder and of a head whose outputs are 0."""
    width = list(embedder.layers.values())[-1]
    weight = jnp.zeros((width.stop - width.start, num_outputs))
    params = Params(embedder.params, weight, jnp.zeros(num_outputs))
    return jax.device_put(params, mesh_lib.everywhere(embedder.mesh))


def _linear_start(
    start: Params,
    samples: Reader,
    steps: Steps,
    kind: str,
    train: Examples,
    validation: Examples,
) -> Params:
    """Returns `start` with the linear probe of its encoder as the head; targets are scaled."""
    width = start.weight.shape[0]
    identity = start._replace(weight=jnp.eye(width), bias=jnp.zeros(width))
    train, validation = (
        dataclasses.replace(
            examples,
            features=_logits(steps, identity, samples, examples.features).astype(np.float32),
        )
        for examples in (train, validation)
    )
    weight, bias = probe.weights(probe.fit(kind, train, validation))
    head = jax.device_put((weight.T, bias), mesh_lib.everywhere(steps.mesh))
    return start._replace(weight=head[0], bias=head[1])


def _optimizer(config: Config, steps_per_epoch: int) -> optax.GradientTransformation:
    """Returns the optimiser; the last part of its state are the `Rates`, so that other rates need
    no other compiled step."""
    rates = Rates(config.learning_rate, config.learning_rate)
    return optax.chain(*_unit_steps(config, steps_per_epoch), by_group(rates))


def _unit_steps(config: Config, steps_per_epoch: int) -> tuple[optax.GradientTransformation, ...]:
    """Returns the parts of the optimiser for a highest learning rate of 1."""
    total = config.max_epochs * steps_per_epoch
    if config.optimizer == "adam_l2":
        half = optax.cosine_decay_schedule(1.0, max(1, total // 2))
        rate = optax.join_schedules([half, half], [max(1, total // 2)])
        return optax.add_decayed_weights(config.weight_decay), optax.adam(rate)
    rate = optax.warmup_cosine_decay_schedule(
        0.0, 1.0, steps_per_epoch, max(total, steps_per_epoch + 1)
    )
    return (optax.adamw(rate, weight_decay=config.weight_decay),)


def _logits(steps: Steps, params: Params, samples: Reader, locations: np.ndarray) -> np.ndarray:
    """Returns the mean output of the head over each recording's usable windows, float64 [N, K]."""
    outputs = np.zeros((len(locations), params.bias.shape[0]))
    for positions in samples_lib.batches(len(locations), steps.batch_size, None):
        recordings = samples.windows(locations[positions])
        windows = np.concatenate([recording.signal_mv for recording in recordings])
        batches = []
        for start in range(0, len(windows), steps.batch_size):
            rows = windows[start : start + steps.batch_size]
            batch = {"signal_mv": pack(list(rows), steps.batch_size)["signal_mv"]}
            on_devices = mesh_lib.to_devices(batch, steps.mesh)
            batches.append(np.asarray(steps.compute_logits(params, **on_devices))[: len(rows)])
        ends = np.cumsum([len(recording.signal_mv) for recording in recordings])[:-1]
        by_recording = np.split(np.concatenate(batches), ends)
        for number, recording, logits in zip(positions, recordings, by_recording, strict=True):
            outputs[number] = batch_lib.mean(logits, recording.quality.usable)
    return outputs
