"""Fine-tuning: the whole encoder and a linear head learn a task, with early stopping.

It stands where a probe stands (`make_fit` gives what `prediction.Protocol.fit` takes), but its
"features" say where a recording's samples are: `places_of`.

Shapes: B windows of a batch, T time, D embedding, K outputs, N recordings.
"""

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from clef_jax import mesh as mesh_lib
from clef_jax.embedding import (
    batch as batch_lib,
    encoder as encoder_lib,
    inputs,
)
from clef_jax.embedding.encoder import Embedder
from clef_jax.embedding.prepared import Embedded
from clef_jax.evaluation import linear, probe
from clef_jax.evaluation.examples import Examples, folds
from clef_jax.formats import Opened

VALIDATION_FOLDS = 5
"""Without a validation split, one of so many folds of the training patients stops the training."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """How an encoder is fine-tuned."""

    batch_size: int = 64
    """Recordings per step."""
    max_epochs: int = 30
    patience_epochs: int = 5
    """Epochs without improvement before it stops."""
    min_improvement: float = 1e-3
    """Of the validation loss."""
    learning_rate: float = 3e-4
    """The highest."""
    weight_decay: float = 1e-2
    optimizer: Literal["adamw", "adam_l2"] = "adamw"
    """adamw: one epoch of warm-up, then a cosine to 0; adam_l2: the penalty is part of the
    gradient, and two cosines follow each other."""


RELEASED = Config(max_epochs=100, learning_rate=1e-3, weight_decay=1e-5, optimizer="adam_l2")
"""As the public PyTorch reference does most tasks."""


class Params(NamedTuple):
    """All that learns."""

    encoder: nnx.State
    weight: jax.Array
    """[D, K]."""
    bias: jax.Array
    """[K]."""


@dataclasses.dataclass(frozen=True, eq=False)
class FineTuned:
    """A fine-tuned encoder with its head, which predicts as a `probe.Probe` does."""

    kind: str
    samples: "Samples"
    steps: "Steps"
    params: Params
    centre: np.ndarray
    """[K], of a regression's targets."""
    scale: np.ndarray
    threshold: np.ndarray
    strength: np.ndarray
    """[K], NaN: there is no such setting."""
    validation_loss: float
    num_epochs: int

    def __call__(self, places: np.ndarray) -> np.ndarray:
        """Returns predictions float64 [N, K], from the mean output over a recording's windows."""
        logits = _logits(self.steps, self.params, self.samples, places)
        return linear.to_predictions(self.kind, logits) * self.scale + self.centre


def places_of(splits: Mapping[str, Embedded]) -> dict[str, Callable[[Embedded], np.ndarray]]:
    """Returns split and position of each recording as pseudo-features, [N, 2]; NaN where the lead
    is not usable."""
    order = list(splits.values())

    def place(embedded: Embedded) -> np.ndarray:
        split = next(number for number, other in enumerate(order) if other is embedded)
        positions = np.arange(embedded.index.num_records, dtype=np.float32)
        places = np.stack([np.full_like(positions, split), positions], axis=1)
        places[~embedded.usable] = np.nan
        return places

    return {"whole encoder": place}


def make_fit(
    embedder: Embedder,
    splits: Mapping[str, Embedded],
    config: Config,
    keep: Callable[[FineTuned], None] = lambda _: None,
) -> Callable[..., probe.Probe]:
    """What `prediction.Protocol` takes as `fit`; `keep` is given everything that was fine-tuned."""
    samples = Samples(splits, embedder)

    def fit(
        kind: str, train: Examples, validation: Examples | None = None, *, seed: int = 0
    ) -> Any:
        if validation is None or len(validation) < 2:
            fold = folds(train.patient, VALIDATION_FOLDS, seed)
            train, validation = train.at(fold != 0), train.at(fold == 0)
        probe.check(kind, train)
        tuned = _fine_tune(embedder, samples, kind, train, validation, config, seed)
        keep(tuned)
        return tuned

    return fit


class Samples:
    """The windows of recordings of a data set, as `embedding.batch` reads them for any encoder."""

    def __init__(self, splits: Mapping[str, Embedded], embedder: Embedder):
        self._splits, self._embedder = list(splits.values()), embedder

    def windows(self, places: np.ndarray) -> list[batch_lib.Windows]:
        """Returns the windows of each recording.

        Args:
            places: [N, 2], split and position of each recording.
        """
        windows: list[Any] = [None] * len(places)
        for split, embedded in enumerate(self._splits):
            mine = np.flatnonzero(places[:, 0] == split)
            positions = places[mine, 1].astype(np.int64)
            recordings = inputs.stored(embedded.index, positions, embedded.lead)
            for number, opened in zip(mine, recordings, strict=True):
                windows[number] = self._read(opened)
        return windows

    def _read(self, opened: Opened) -> batch_lib.Windows:
        windower = batch_lib.make_windower(self._embedder, opened.sample_rate_hz)
        first = windower.starts(opened.num_samples)
        (windows,) = batch_lib.read(opened, [(0,)], windower, first)
        return windows


def _random_window(windows: batch_lib.Windows, rng: np.random.Generator) -> np.ndarray:
    """Returns one of the usable windows [1, S], or any where none is usable."""
    usable = np.flatnonzero(windows.quality.usable)
    choices = usable if len(usable) else np.arange(len(windows.signal_mv))
    return windows.signal_mv[rng.choice(choices)]


def _batch(windows: Sequence[np.ndarray], size: int) -> dict[str, np.ndarray]:
    """Returns windows [1, S] as a batch of a size; the rest is padding of weight 0."""
    signal_mv = np.zeros((size, *windows[0].shape), np.float32)
    signal_mv[: len(windows)] = windows
    return {
        "signal_mv": signal_mv,
        "counts": (np.arange(size) < len(windows)).astype(np.float32),
    }


class Steps(NamedTuple):
    """Compiled functions."""

    learn: Callable
    """(params, opt_state, batch) -> (params, opt_state, loss)."""
    compute_logits: Callable
    """(params, batch) -> float32 [B, K]."""
    batch_size: int
    mesh: jax.sharding.Mesh


def make_steps(embedder: Embedder, kind: str, tx: optax.GradientTransformation, size: int) -> Steps:
    mesh, recipe = embedder.mesh, embedder.recipe
    bandpass = encoder_lib.make_bandpass(recipe, mesh)

    def local(params: Params, signal_mv: jax.Array, bandpass: Any) -> jax.Array:
        # Each device takes its own copy; gradients of the copies are summed on the way back.
        params = jax.lax.pcast(params, mesh_lib.DATA, to="varying")
        signal = encoder_lib.prepare(signal_mv, bandpass, recipe).swapaxes(1, 2)
        features = nnx.merge(embedder.graph, params.encoder)(signal)
        return features.astype(jnp.float32) @ params.weight + params.bias[None]

    def logits(params: Params, signal_mv: jax.Array) -> jax.Array:
        specs = (mesh_lib.EVERYWHERE, mesh_lib.ROWS, mesh_lib.EVERYWHERE)
        sharded = jax.shard_map(local, mesh=mesh, in_specs=specs, out_specs=mesh_lib.ROWS)
        return sharded(params, signal_mv, bandpass)

    def learn(params: Params, opt_state: optax.OptState, batch: dict):
        def mean_loss(params: Params) -> jax.Array:
            each = loss(kind, logits(params, batch["signal_mv"]), batch["target"])
            return (each * batch["counts"]).sum() / jnp.maximum(batch["counts"].sum(), 1)

        value, gradient = jax.value_and_grad(mean_loss)(params)
        updates, opt_state = tx.update(gradient, opt_state, params)
        return optax.apply_updates(params, updates), opt_state, value

    return Steps(jax.jit(learn, donate_argnums=(1,)), jax.jit(logits), size, mesh)


def loss(kind: str, logits: jax.Array, target: jax.Array) -> jax.Array:
    """[B]: cross entropy, or absolute error of scaled numbers, mean over outputs."""
    if kind == "regression":
        return jnp.abs(logits - target).mean(axis=1)
    if kind == "multiclass":
        return optax.softmax_cross_entropy(logits, target)
    return optax.sigmoid_binary_cross_entropy(logits, target).mean(axis=1)


def _fine_tune(
    embedder: Embedder,
    samples: Samples,
    kind: str,
    train: Examples,
    validation: Examples,
    config: Config,
    seed: int,
) -> FineTuned:
    size = -(-config.batch_size // embedder.mesh.size) * embedder.mesh.size
    centre, scale = _standard(kind, train.target)
    targets = ((train.target - centre) / scale).astype(np.float32)
    tx = _optimizer(config, steps_per_epoch=math.ceil(len(train) / size))
    steps = make_steps(embedder, kind, tx, size)
    params = _first(embedder, train.target.shape[1])
    opt_state, rng = tx.init(params), np.random.default_rng(seed)
    best, best_loss, best_epoch, epoch = params, math.inf, 0, 0
    for epoch in range(1, config.max_epochs + 1):
        for chosen in _batches(len(train), size, rng):
            recordings = samples.windows(train.features[chosen])
            batch = _batch([_random_window(windows, rng) for windows in recordings], size)
            batch["target"] = np.zeros((size, targets.shape[1]), np.float32)
            batch["target"][: len(chosen)] = targets[chosen]
            on_devices = mesh_lib.to_devices(batch, embedder.mesh)
            params, opt_state, _ = steps.learn(params, opt_state, on_devices)
        logits = _logits(steps, params, samples, validation.features)
        wanted = (validation.target - centre) / scale
        now = float(np.mean(jax.device_get(loss(kind, jnp.asarray(logits), jnp.asarray(wanted)))))
        if now < best_loss - config.min_improvement:
            best, best_loss, best_epoch = params, now, epoch
        elif epoch - best_epoch >= config.patience_epochs:
            break
    logits = _logits(steps, best, samples, validation.features)
    return FineTuned(
        kind,
        samples,
        steps,
        best,
        centre,
        scale,
        probe.thresholds(kind, validation.target, linear.to_predictions(kind, logits)),
        np.full(train.target.shape[1], np.nan),
        best_loss,
        epoch,
    )


def _standard(kind: str, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centre and scale of a regression's targets; of classes 0 and 1."""
    if kind != "regression":
        return np.zeros(target.shape[1]), np.ones(target.shape[1])
    spread = target.std(axis=0)
    return target.mean(axis=0), np.where(spread > 0, spread, 1.0)


def _first(embedder: Embedder, num_outputs: int) -> Params:
    """The pre-trained encoder with a head that says 0."""
    width = list(embedder.layers.values())[-1]
    weight = jnp.zeros((width.stop - width.start, num_outputs))
    params = Params(embedder.params, weight, jnp.zeros(num_outputs))
    return jax.device_put(params, mesh_lib.everywhere(embedder.mesh))


def _optimizer(config: Config, steps_per_epoch: int) -> optax.GradientTransformation:
    total = config.max_epochs * steps_per_epoch
    if config.optimizer == "adam_l2":
        half = optax.cosine_decay_schedule(config.learning_rate, max(1, total // 2))
        rate = optax.join_schedules([half, half], [max(1, total // 2)])
        return optax.chain(optax.add_decayed_weights(config.weight_decay), optax.adam(rate))
    rate = optax.warmup_cosine_decay_schedule(
        0.0, config.learning_rate, steps_per_epoch, max(total, steps_per_epoch + 1)
    )
    return optax.adamw(rate, weight_decay=config.weight_decay)


def _batches(
    num_recordings: int, size: int, rng: np.random.Generator | None
) -> Iterator[np.ndarray]:
    """Yields positions of recordings, at most `size` at a time; in random order with an `rng`."""
    positions = np.arange(num_recordings)
    if rng is not None:
        rng.shuffle(positions)
    groups = [positions[at : at + size] for at in range(0, num_recordings, size)]
    order = range(len(groups)) if rng is None else rng.permutation(len(groups))
    return iter([groups[number] for number in order])


def _logits(steps: Steps, params: Params, samples: Samples, places: np.ndarray) -> np.ndarray:
    """Returns the outputs of the head, float64 [N, K], each the mean over the usable windows."""
    outputs = np.zeros((len(places), params.bias.shape[0]))
    for chosen in _batches(len(places), steps.batch_size, None):
        recordings = samples.windows(places[chosen])
        windows = np.concatenate([recording.signal_mv for recording in recordings])
        parts = []
        for start in range(0, len(windows), steps.batch_size):
            part = windows[start : start + steps.batch_size]
            batch = {"signal_mv": _batch(list(part), steps.batch_size)["signal_mv"]}
            on_devices = mesh_lib.to_devices(batch, steps.mesh)
            parts.append(np.asarray(steps.compute_logits(params, **on_devices))[: len(part)])
        ends = np.cumsum([len(recording.signal_mv) for recording in recordings])[:-1]
        by_recording = np.split(np.concatenate(parts), ends)
        for number, recording, logits in zip(chosen, recordings, by_recording, strict=True):
            outputs[number] = batch_lib.mean(logits, recording.quality.usable)
    return outputs
