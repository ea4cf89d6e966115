"""Heads of every kind that files can hold, on 16 features of the layer `stage_2`."""

import dataclasses

import numpy as np

from clef_jax.embedding.head import Calibration, Head

WIDTH = 16
_RNG = np.random.default_rng(5)
_KNOTS = np.sort(_RNG.normal(size=(2, 7)), axis=1)
_KNOTS[0, 5:] = _KNOTS[0, 4]  # as padding repeats the last
_LEVELS = np.sort(_RNG.uniform(size=(2, 7)), axis=1)
_LEVELS[0, 5:] = _LEVELS[0, 4]

PLATT = Head(
    weight=_RNG.normal(size=(2, WIDTH)),
    bias=np.array([0.1, -0.2]),
    names=("AF", "block"),
    layer="stage_2",
    kind="multilabel",
    centre=np.zeros(2),
    scale=np.ones(2),
    calibration=Calibration("platt", np.array([0.5, 2.0]), np.array([0.1, -0.1])),
    threshold=np.array([0.5, 0.4]),
    prevalence=np.array([0.3, 0.1]),
)
PLAIN = dataclasses.replace(PLATT, calibration=None, threshold=None)
ISOTONIC = dataclasses.replace(
    PLATT,
    calibration=Calibration("isotonic", knot_logits=_KNOTS, knot_probabilities=_LEVELS),
)
MULTICLASS = dataclasses.replace(
    PLATT,
    kind="multiclass",
    calibration=Calibration("temperature", np.full(2, 0.7), np.zeros(2)),
    threshold=None,
)
REGRESSION = dataclasses.replace(
    PLATT,
    kind="regression",
    calibration=None,
    threshold=None,
    prevalence=None,
    centre=np.array([60.0, 5.0]),
    scale=np.array([15.0, 0.1]),
    half_width=np.array([3.0, 4.0]),
    coverage=0.8,
)
ALL = {
    "plain": PLAIN,
    "platt": PLATT,
    "isotonic": ISOTONIC,
    "multiclass": MULTICLASS,
    "regression": REGRESSION,
}
WITH_CLASSICAL = dataclasses.replace(
    PLATT, features=("embedding", "classical"), weight=_RNG.normal(size=(2, WIDTH + 9))
)
ATTENTION = dataclasses.replace(PLATT, query=_RNG.normal(size=(2, WIDTH)))
