"""Fine-tuning: the whole encoder and a linear head learn a task, with early stopping.

It stands where a probe stands (`make_fit` gives what `question.Protocol.fit` takes), but its
"features" say where a recording's samples are: `places_of`.

Shapes: B windows of a batch, T time, D embedding, K outputs, N recordings.
"""

import dataclasses
import functools
import math
import pathlib
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from clef_jax import mesh as mesh_lib
from clef_jax.data import raw
from clef_jax.embedding import encoder as encoder_lib, folder as model_folder
from clef_jax.embedding.encoder import Embedder
from clef_jax.embedding.prepared import Embedded, windows_of
from clef_jax.embedding.recipe import Recipe
from clef_jax.evaluation import linear, probe
from clef_jax.embedding.head import Head
from clef_jax.evaluation.examples import Examples, folds

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
    """A fine-tuned encoder with its head, which answers as a `probe.Probe` does."""

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
        """float64 [N, K]: the mean over a recording's windows of what the head says."""
        said = _say(self.steps, self.params, self.samples, places)
        return linear.answer(self.kind, said) * self.scale + self.centre


def places_of(splits: Mapping[str, Embedded]) -> dict[str, Callable[[Embedded], np.ndarray]]:
    """Takes the part of a layer of features: [N, 2], split and position of each recording."""
    order = list(splits.values())

    def place(one: Embedded) -> np.ndarray:
        split = next(number for number, other in enumerate(order) if other is one)
        rows = np.arange(len(one.facts), dtype=np.float32)
        found = np.stack([np.full_like(rows, split), rows], axis=1)
        found[~one.usable] = np.nan
        return found

    return {"whole encoder": place}


def make_fit(
    embedder: Embedder,
    splits: Mapping[str, Embedded],
    config: Config,
    keep: Callable[[FineTuned], None] = lambda _: None,
) -> Callable[..., probe.Probe]:
    """What `question.Protocol` takes as `fit`; `keep` is given everything that was fine-tuned."""
    samples = Samples(splits, embedder.recipe)

    def fit(
        kind: str, train: Examples, validation: Examples | None = None, *, seed: int = 0
    ) -> Any:
        if validation is None or len(validation) < 2:
            fold = folds(train.patient, VALIDATION_FOLDS, seed)
            train, validation = train.at(fold != 0), train.at(fold == 0)
        probe.check(kind, train)
        found = _fine_tune(embedder, samples, kind, train, validation, config, seed)
        keep(found)
        return found

    return fit


class Samples:
    """Windows of stored samples by place."""

    def __init__(self, splits: Mapping[str, Embedded], recipe: Recipe):
        self._splits, self._recipe = list(splits.values()), recipe
        self._readers = [raw.Reader(one.index) for one in self._splits]

    def rate_hz(self, places: np.ndarray) -> np.ndarray:
        """[N], of each recording."""
        found = [self._splits[int(s)].index.sample_rate_hz[int(r)] for s, r in places]
        return np.array(found, float)

    def windows(self, places: np.ndarray) -> list[np.ndarray]:
        """Of each recording its windows, int16 [W, T]."""
        found: list[Any] = [None] * len(places)
        for split, one in enumerate(self._splits):
            index, mine = one.index, np.flatnonzero(places[:, 0] == split)
            lead = index.lead_names.index(one.lead)
            rows = places[mine, 1].astype(np.int64)
            for where, row, record in zip(
                mine, rows, self._readers[split].records(rows), strict=True
            ):
                signal = raw.signal_of(record, len(index.lead_names))[lead]
                num_samples = self._recipe.num_samples(float(index.sample_rate_hz[row]))
                found[where] = windows_of(signal, num_samples)
        return found

    def batch(
        self, places: np.ndarray, windows: list[np.ndarray], size: int
    ) -> dict[str, np.ndarray]:
        """One window [T] of each place as a batch of a size; the rest is padding of weight 0."""
        adc = np.zeros((size, len(windows[0])), np.int16)
        adc[: len(windows)] = windows
        scale = np.ones(size, np.float32), np.zeros(size, np.int32)
        for number, (split, row) in enumerate(places.astype(int)):
            one = self._splits[split]
            lead = one.index.lead_names.index(one.lead)
            scale[0][number] = one.index.gain_per_mv[row, lead]
            scale[1][number] = one.index.baseline[row, lead]
        counts = (np.arange(size) < len(windows)).astype(np.float32)
        return {"adc": adc, "gain_per_mv": scale[0], "baseline": scale[1], "counts": counts}


class Steps(NamedTuple):
    """Compiled functions, one pair for each sampling rate."""

    learn: Callable[[float], Callable]
    """(params, opt_state, batch) -> (params, opt_state, loss)."""
    say: Callable[[float], Callable]
    """(params, batch) -> float32 [B, K]."""
    batch_size: int
    mesh: jax.sharding.Mesh


def make_steps(embedder: Embedder, kind: str, tx: optax.GradientTransformation, size: int) -> Steps:
    mesh = embedder.mesh

    def logits_at(sample_rate_hz: float) -> Callable:
        recipe = embedder.recipe
        bandpass = encoder_lib.make_bandpass(recipe, mesh)

        def local(params: Params, batch: dict, bandpass: Any) -> jax.Array:
            # Each device takes its own copy; gradients of the copies are summed on the way back.
            params = jax.lax.pcast(params, mesh_lib.DATA, to="varying")
            signal = encoder_lib.prepare(batch, bandpass, sample_rate_hz, recipe)
            features = nnx.merge(embedder.graph, params.encoder)(signal[..., None])
            return features.astype(jnp.float32) @ params.weight + params.bias[None]

        def logits(params: Params, batch: dict) -> jax.Array:
            specs = (mesh_lib.EVERYWHERE, mesh_lib.ROWS, mesh_lib.EVERYWHERE)
            sharded = jax.shard_map(local, mesh=mesh, in_specs=specs, out_specs=mesh_lib.ROWS)
            stored = {name: batch[name] for name in ("adc", "gain_per_mv", "baseline")}
            return sharded(params, stored, bandpass)

        return logits

    def make_learn(sample_rate_hz: float) -> Callable:
        logits = logits_at(sample_rate_hz)

        def learn(params: Params, opt_state: optax.OptState, batch: dict):
            def mean_loss(params: Params) -> jax.Array:
                each = loss(kind, logits(params, batch), batch["target"])
                return (each * batch["counts"]).sum() / jnp.maximum(batch["counts"].sum(), 1)

            value, gradient = jax.value_and_grad(mean_loss)(params)
            updates, opt_state = tx.update(gradient, opt_state, params)
            return optax.apply_updates(params, updates), opt_state, value

        return jax.jit(learn, donate_argnums=(1,))

    def make_say(sample_rate_hz: float) -> Callable:
        return jax.jit(logits_at(sample_rate_hz))

    return Steps(functools.cache(make_learn), functools.cache(make_say), size, mesh)


def loss(kind: str, said: jax.Array, target: jax.Array) -> jax.Array:
    """[B]: cross entropy, or absolute error of scaled numbers, mean over outputs."""
    if kind == "regression":
        return jnp.abs(said - target).mean(axis=1)
    if kind == "multiclass":
        return optax.softmax_cross_entropy(said, target)
    return optax.sigmoid_binary_cross_entropy(said, target).mean(axis=1)


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
        for rate, chosen in _batches(samples.rate_hz(train.features), size, rng):
            places = train.features[chosen]
            windows = [rng.choice(found) for found in samples.windows(places)]
            batch = samples.batch(places, windows, size)
            batch["target"] = np.zeros((size, targets.shape[1]), np.float32)
            batch["target"][: len(chosen)] = targets[chosen]
            on_devices = mesh_lib.to_devices(batch, embedder.mesh)
            params, opt_state, _ = steps.learn(rate)(params, opt_state, on_devices)
        said = _say(steps, params, samples, validation.features)
        wanted = (validation.target - centre) / scale
        now = float(np.mean(jax.device_get(loss(kind, jnp.asarray(said), jnp.asarray(wanted)))))
        if now < best_loss - config.min_improvement:
            best, best_loss, best_epoch = params, now, epoch
        elif epoch - best_epoch >= config.patience_epochs:
            break
    said = _say(steps, best, samples, validation.features)
    return FineTuned(
        kind,
        samples,
        steps,
        best,
        centre,
        scale,
        probe.thresholds(kind, validation.target, linear.answer(kind, said)),
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
    rates_hz: np.ndarray, size: int, rng: np.random.Generator | None
) -> Iterator[tuple[float, np.ndarray]]:
    """Positions of recordings of one rate, at most `size` at a time, in the order of a lot."""
    found = []
    for rate in np.unique(rates_hz):
        mine = np.flatnonzero(rates_hz == rate)
        if rng is not None:
            rng.shuffle(mine)
        found += [(float(rate), mine[at : at + size]) for at in range(0, len(mine), size)]
    order = range(len(found)) if rng is None else rng.permutation(len(found))
    return iter([found[number] for number in order])


def _say(steps: Steps, params: Params, samples: Samples, places: np.ndarray) -> np.ndarray:
    """float64 [N, K]: what the head says before `linear.answer`, mean over windows."""
    total = np.zeros((len(places), params.bias.shape[0]))
    count = np.zeros(len(places))
    for rate, chosen in _batches(samples.rate_hz(places), steps.batch_size, None):
        windows = samples.windows(places[chosen])
        flat = [(owner, one) for owner, many in zip(chosen, windows, strict=True) for one in many]
        for start in range(0, len(flat), steps.batch_size):
            part = flat[start : start + steps.batch_size]
            owner = np.array([one for one, _ in part])
            batch = samples.batch(places[owner], [one for _, one in part], steps.batch_size)
            said = steps.say(rate)(params, mesh_lib.to_devices(batch, steps.mesh))
            np.add.at(total, owner, np.asarray(said, float)[: len(part)])
            np.add.at(count, owner, 1)
    return total / np.maximum(count, 1)[:, None]


class Keeper:
    """Keeps fine-tuned encoders as model folders, which `clef_jax.load` reads.

    Each has a folder MODEL/NUMBER, more than one where a task is cross-validated, with its head.
    """

    def __init__(self, embedder: Embedder, folder: pathlib.Path, names: tuple[str, ...]):
        """`names` are those of the outputs."""
        self._embedder, self._folder, self._names, self._count = embedder, folder, names, 0

    def __call__(self, found: FineTuned) -> None:
        self._count += 1
        name = re.sub(r"[^\w.-]+", "_", self._embedder.name)
        workdir = self._folder / name / str(self._count)
        shutil.rmtree(workdir, ignore_errors=True)
        told = model_folder.told_of_run(self._embedder.run)
        told |= {"fine_tuned_epochs": found.num_epochs, "validation_loss": found.validation_loss}
        tuned = dataclasses.replace(
            self._embedder, params=found.params.encoder, run={"model": told}
        )
        head = Head(
            weight=np.asarray(found.params.weight).T,
            bias=np.asarray(found.params.bias),
            names=self._names,
            layer=list(tuned.layers)[-1],
            kind=found.kind,
            centre=np.asarray(found.centre),
            scale=np.asarray(found.scale),
        )
        model_folder.save(tuned, workdir, head=head)
