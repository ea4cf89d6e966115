"""Methods of fitting a head: linear on frozen features, attention on frozen time steps, or
fine-tuning of the whole encoder.

Shapes: N recordings, D features, K outputs.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from clef_jax.embedding.trainable import Trainable
from clef_jax.evaluation import attention, finetune, keeper, probe
from clef_jax.evaluation.attention import Attention
from clef_jax.evaluation.examples import Examples
from clef_jax.evaluation.finetune import FineTuned
from clef_jax.evaluation.probe import Probe
from clef_jax.evaluation.samples import Reader
from clef_jax.evaluation.time_steps import TimeSteps

LINEAR, ATTENTION, FINETUNE = METHODS = ("linear", "attention", "finetune")
"""Names of the methods, as in the results of `evaluate`."""


class Trained(Protocol):
    """A head that is fitted to some of the recordings."""

    @property
    def strength(self) -> np.ndarray:
        """Penalty of each output, [K]; NaN for a method without one."""
        ...

    def logits(self, features: np.ndarray) -> np.ndarray:
        """Returns the outputs before the sigmoid or softmax, or values of a regression, [N, K]."""
        ...

    def arrays(self) -> dict[str, np.ndarray]:
        """Returns the arrays of an `embedding.head.Head` by the names of its fields."""
        ...

    @property
    def encoder(self) -> Trainable | None:
        """The fine-tuned encoder; None if the encoder is frozen."""
        ...


Method = Callable[[str, Examples, int], Trained]
"""Fits a head: maps kind, recordings and seed to the head. The features of the recordings are
those of a frozen layer, or the locations of recordings in what the method reads."""


@dataclasses.dataclass(frozen=True, eq=False)
class _Linear:
    fitted: Probe
    encoder: None = None

    @property
    def strength(self) -> np.ndarray:
        return self.fitted.strength

    def logits(self, features: np.ndarray) -> np.ndarray:
        return probe.logits(self.fitted, features)

    def arrays(self) -> dict[str, np.ndarray]:
        return probe.head_arrays(self.fitted)


@dataclasses.dataclass(frozen=True, eq=False)
class _OnWindows:
    """A head that reads windows rather than features, with its own encoder if it was trained."""

    fitted: Attention | FineTuned
    encoder: Trainable | None = None

    @property
    def strength(self) -> np.ndarray:
        return self.fitted.strength

    def logits(self, features: np.ndarray) -> np.ndarray:
        return self.fitted.logits(features) * self.fitted.scale + self.fitted.centre

    def arrays(self) -> dict[str, np.ndarray]:
        return self.fitted.head_arrays()


def linear(widths: Sequence[int] = ()) -> Method:
    """Returns the method of `evaluate`'s linear probe.

    Args:
        widths: number of features of each group, if there are several.
    """
    return lambda kind, train, seed: _Linear(probe.fit(kind, train, None, widths=widths, seed=seed))


def on_time_steps(steps: TimeSteps) -> Method:
    """Returns the method of `evaluate`'s attention probe."""
    fit = attention.make_fit([steps])
    return lambda kind, train, seed: _OnWindows(fit(kind, train, None, seed=seed))


def fine_tuning(embedder: Trainable, windows: Reader, config: finetune.Config) -> Method:
    """Returns the method that trains the encoder, too.

    Args:
        embedder: encoder from which each training starts; it is not changed.
        windows: windows of the recordings.
        config: settings of the training.
    """
    fit: Any = finetune.make_fit_from(embedder, windows, config)

    def fitted(kind: str, train: Examples, seed: int) -> _OnWindows:
        tuned = fit(kind, train, None, seed=seed)
        return _OnWindows(tuned, keeper.model_of(embedder, tuned))

    return fitted
