"""Attention probe: learned queries pool the time steps of a frozen stage for a linear head.

Each query weights the time steps by a softmax of its products with them, and pools a share of the
features; the head is linear. Training starts with the same weight for all steps and with the linear
probe of their mean, because a head that starts at 0 needs more recordings than most labels have. It
stops early on validation patients.

It takes the place of a probe as fine-tuning does: `make_fit` returns a function for
`prediction.Protocol.fit`, which receives the location of each recording instead of features.

Shapes: B windows of a batch, n time steps, D features of a step, Q queries, K outputs, N
recordings.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from clef_jax.embedding import batch as batch_lib
from clef_jax.evaluation import early_stopping, finetune, linear, probe
from clef_jax.evaluation.examples import Examples, folds
from clef_jax.evaluation.time_steps import TimeSteps


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of the attention probe."""

    num_queries: int = 4
    """Number of queries; each pools its share of the features."""
    batch_size: int = 64
    """Number of recordings per step."""
    max_epochs: int = 40
    patience_epochs: int = 5
    """Number of epochs without improvement after which training stops."""
    min_improvement: float = 1e-4
    """Smallest decrease of the validation loss that counts as an improvement."""
    learning_rate: float = 1e-3
    """Highest learning rate, after one epoch of warm-up and before a cosine decay to 0."""
    weight_decay: float = 1e-2


class Params(NamedTuple):
    """Parameters of the probe."""

    query: jax.Array
    """Queries, [Q, D]."""
    weight: jax.Array
    """Weights of the head, [D, K]."""
    bias: jax.Array
    """Biases of the head, [K]."""


@dataclasses.dataclass(frozen=True, eq=False)
class Attention:
    """A fitted attention probe; it can be used as a `probe.Probe`."""

    kind: str
    """Kind of the task."""
    windows: "Windows"
    params: Params
    centre: np.ndarray
    """Means of a regression's training targets, [K]; 0 in a classification."""
    scale: np.ndarray
    """Standard deviations of a regression's training targets, [K]; 1 in a classification."""
    threshold: np.ndarray
    """Lowest probability at which a class is predicted to be present, [K]."""
    strength: np.ndarray
    """NaN, [K]: the probe has no such setting."""
    validation_loss: float
    """Lowest validation loss."""
    num_epochs: int
    """Number of epochs until training stopped."""

    def __call__(self, locations: np.ndarray) -> np.ndarray:
        """Returns the predictions of recordings at locations [N, 2], float64 [N, K].

        They come from the mean output over a recording's usable windows.
        """
        return linear.to_predictions(self.kind, self.logits(locations)) * self.scale + self.centre

    def logits(self, locations: np.ndarray) -> np.ndarray:
        """Returns the outputs of the head for recordings at locations [N, 2], float64 [N, K]."""
        return self.windows.logits(self.params, locations)

    def head_arrays(self) -> dict[str, Any]:
        """Returns the arrays of a `Head` that reads time steps as they are, by its fields' names.

        A constant that all steps add to the product with a query does not change the softmax; see
        `embedding.attention_pooling`.
        """
        centre, scale = (x.astype(np.float64) for x in self.windows.scaling)
        query = np.asarray(self.params.query, np.float64) / scale / math.sqrt(len(scale))
        weight = (np.asarray(self.params.weight, np.float64).T / scale).astype(np.float32)
        bias = np.asarray(self.params.bias, np.float64) - weight.astype(np.float64) @ centre
        return {
            "query": query.astype(np.float32),
            "weight": weight,
            "bias": bias.astype(np.float32),
            "centre": self.centre,
            "scale": self.scale,
        }


def make_fit(splits: Sequence[TimeSteps], config: Config | None = None) -> Callable[..., Attention]:
    """Returns a function for `prediction.Protocol.fit` that trains an attention probe.

    Args:
        splits: Time steps of the data set's splits, in the order of `finetune.locations`.
        config: Settings; by default those of `Config`.
    """
    settings = config or Config()

    def fit(
        kind: str, train: Examples, validation: Examples | None = None, *, seed: int = 0
    ) -> Attention:
        if validation is None or len(validation) < 2:
            fold = folds(train.patient, finetune.VALIDATION_FOLDS, seed)
            train, validation = train.at(fold != 0), train.at(fold == 0)
        probe.check(kind, train)
        return _train(splits, kind, train, validation, settings, seed)

    return fit


class Windows:
    """Reads time steps of recordings, and scales them by the training recordings' statistics."""

    def __init__(self, splits: Sequence[TimeSteps], train: np.ndarray, batch_size: int):
        """Computes mean and standard deviation of each feature over the training time steps.

        Args:
            splits: Time steps of the data set's splits.
            train: Locations of the training recordings, [N, 2].
            batch_size: Number of windows that are read at a time.
        """
        self._splits, self._batch_size = splits, batch_size
        self.num_features = splits[0].steps.shape[2]
        count, (total, squares) = 0, np.zeros((2, self.num_features))
        for positions in _groups(np.arange(len(train)), batch_size):
            for windows in self.of(train[positions]):
                steps = self._read(windows).astype(np.float64).reshape(-1, self.num_features)
                total, squares = total + steps.sum(axis=0), squares + (steps**2).sum(axis=0)
                count += len(steps)
        centre = total / max(1, count)
        spread = np.sqrt(np.maximum(squares / max(1, count) - centre**2, 0))
        scale = np.where(spread > 1e-6 * (1 + np.abs(centre)), spread, 1.0)
        self._centre, self._scale = centre.astype(np.float32), scale.astype(np.float32)

    @property
    def scaling(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and scale of each feature, [D] each."""
        return self._centre, self._scale

    def of(self, locations: np.ndarray) -> list[list[tuple[int, int]]]:
        """Returns the windows, as numbers of split and window, that recordings are judged by.

        They are the usable windows, or all windows of a recording without a usable one.
        """
        result = []
        for split, position in locations.astype(np.int64).tolist():
            stored = self._splits[split]
            numbers = np.arange(stored.first[position], stored.first[position + 1])
            usable = numbers[stored.usable[numbers]]
            result.append([(split, n) for n in (usable if len(usable) else numbers).tolist()])
        return result

    def scaled(self, windows: Sequence[tuple[int, int]]) -> np.ndarray:
        """Returns the scaled time steps of windows, float32 [batch_size, n, D], with zeros behind
        them."""
        steps = self._read(windows)
        result = np.zeros((self._batch_size, *steps.shape[1:]), np.float32)
        result[: len(steps)] = (steps - self._centre) / self._scale
        return result

    def means(self, locations: np.ndarray) -> np.ndarray:
        """Returns the mean of each recording's scaled time steps, float32 [N, D]."""
        result = np.zeros((len(locations), self.num_features), np.float32)
        for position, windows in enumerate(self.of(locations)):
            result[position] = self._read(windows).mean(axis=(0, 1), dtype=np.float64)
        return (result - self._centre) / self._scale

    def logits(self, params: Params, locations: np.ndarray) -> np.ndarray:
        """Returns the mean output of the head over each recording's windows, float64 [N, K]."""
        outputs = np.zeros((len(locations), params.bias.shape[0]))
        for positions in _groups(np.arange(len(locations)), self._batch_size):
            of_recordings = self.of(locations[positions])
            windows = [window for one in of_recordings for window in one]
            rows = [
                np.asarray(_logits(params, self.scaled(group)))[: len(group)]
                for group in _groups(windows, self._batch_size)
            ]
            ends = np.cumsum([len(one) for one in of_recordings])[:-1]
            for position, values in zip(
                positions, np.split(np.concatenate(rows), ends), strict=True
            ):
                outputs[position] = batch_lib.mean(values, np.ones(len(values), bool))
        return outputs

    def _read(self, windows: Sequence[tuple[int, int]]) -> np.ndarray:
        return np.stack([self._splits[split].steps[number] for split, number in windows])


def _groups(items, size: int) -> Iterator:
    """Yields consecutive items, at most `size` at a time."""
    return (items[start : start + size] for start in range(0, len(items), size))


def outputs(params: Params, steps: jax.Array) -> jax.Array:
    """Returns the outputs of the head, [B, K], for scaled time steps [B, n, D]."""
    num_queries, num_features = params.query.shape
    scores = steps @ params.query.T / math.sqrt(num_features)
    weights = jax.nn.softmax(scores, axis=1)  # [B, n, Q]
    query_of = np.arange(num_features) * num_queries // num_features
    pooled = jnp.einsum("bnq,bnd->bqd", weights, steps)[:, query_of, np.arange(num_features)]
    return pooled @ params.weight + params.bias[None]


_logits = jax.jit(outputs)


def _train(
    splits: Sequence[TimeSteps],
    kind: str,
    train: Examples,
    validation: Examples,
    config: Config,
    seed: int,
) -> Attention:
    """Trains until the validation loss stops improving; returns the parameters of its minimum."""
    windows = Windows(splits, train.features, config.batch_size)
    centre, scale = finetune.centre_and_scale(kind, train.target)
    target, wanted = ((x.target - centre) / scale for x in (train, validation))
    num_outputs = target.shape[1]
    params = _start(
        kind,
        windows,
        dataclasses.replace(train, target=target),
        dataclasses.replace(validation, target=wanted),
        min(config.num_queries, windows.num_features),
    )
    tx, step = _make_step(kind, config, math.ceil(len(train) / config.batch_size))
    opt_state = tx.init(params)
    choices, rng = windows.of(train.features), np.random.default_rng(seed)

    def run_epoch(params: Params) -> Params:
        nonlocal opt_state
        for positions in _groups(rng.permutation(len(train)), config.batch_size):
            chosen = [choices[p][rng.integers(len(choices[p]))] for p in positions.tolist()]
            padded = np.zeros((config.batch_size, num_outputs), np.float32)
            padded[: len(positions)] = target[positions]
            counts = (np.arange(config.batch_size) < len(positions)).astype(np.float32)
            params, opt_state = step(params, opt_state, windows.scaled(chosen), padded, counts)
        return params

    def validation_loss(params: Params) -> float:
        return finetune.mean_loss(kind, windows.logits(params, validation.features), wanted)

    best, best_loss, epoch = early_stopping.train(params, run_epoch, validation_loss, config)
    predicted = linear.to_predictions(kind, windows.logits(best, validation.features))
    return Attention(
        kind,
        windows,
        best,
        centre,
        scale,
        probe.thresholds(kind, validation.target, predicted),
        np.full(num_outputs, np.nan),
        best_loss,
        epoch,
    )


def _start(
    kind: str, windows: Windows, train: Examples, validation: Examples, num_queries: int
) -> Params:
    """Returns queries of 0, and the linear probe of the mean over the time steps.

    The targets of a regression are standardised.
    """
    train, validation = (
        dataclasses.replace(examples, features=windows.means(examples.features))
        for examples in (train, validation)
    )
    weight, bias = probe.weights(probe.fit(kind, train, validation))
    queries = jnp.zeros((num_queries, windows.num_features))
    return Params(queries, jnp.asarray(weight.T), jnp.asarray(bias))


@functools.lru_cache(maxsize=32)
def _make_step(
    kind: str, config: Config, steps_per_epoch: int
) -> tuple[optax.GradientTransformation, Callable]:
    """Returns the optimiser and the training step, which is compiled once for folds of one size."""
    rate = optax.warmup_cosine_decay_schedule(
        0.0, config.learning_rate, steps_per_epoch, config.max_epochs * steps_per_epoch + 1
    )
    tx = optax.adamw(rate, weight_decay=config.weight_decay)

    @functools.partial(jax.jit, donate_argnums=(1,))
    def step(params, opt_state, steps, target, counts):
        def mean_loss(params: Params) -> jax.Array:
            losses = finetune.loss(kind, outputs(params, steps), target)
            return (losses * counts).sum() / counts.sum()

        gradient = jax.grad(mean_loss)(params)
        updates, opt_state = tx.update(gradient, opt_state, params)
        return optax.apply_updates(params, updates), opt_state

    return tx, step
