"""A tiny model with a head, and an encoder whose only feature is known, for tests."""

import dataclasses

import jax
import numpy as np

from clef_jax import mesh as mesh_lib
from clef_jax.answers.fitted import Fitted
from clef_jax.embedding import encoder as encoder_lib
from clef_jax.embedding.head import Calibration, Head
from clef_jax.embedding.pretrained import Pretrained
from clef_jax.embedding.recipe import Recipe
from clef_jax.simulation import simulated_ecg

RATE = 250
RECIPE = Recipe(sample_rate_hz=100.0)
FITTED = Fitted(recordings=90, patients=60, leads=("II",), sample_rate_hz=(RATE, RATE))
HEAD = Head(
    weight=np.random.default_rng(0).normal(size=(2, 16)),
    bias=np.array([0.1, -0.2]),
    names=("AF", "block"),
    layer="stage_2",
    kind="multilabel",
    centre=np.zeros(2),
    scale=np.ones(2),
    calibration=Calibration("platt", np.array([0.5, 2.0]), np.array([0.1, -0.1])),
    threshold=np.array([0.5, 0.4]),
    fitted=FITTED.to_json(),
)


def model(head: Head = HEAD) -> Pretrained:
    """A tiny encoder of short windows on one device, with a head."""
    mesh = mesh_lib.make_mesh(jax.local_devices()[:1])
    return Pretrained(encoder_lib.random("tiny", mesh, seed=1, recipe=RECIPE), head)


def signal(seconds: float = 25, leads: tuple[str, ...] = ("I", "II")) -> np.ndarray:
    return simulated_ecg.make(0, leads, sample_rate_hz=RATE, num_samples=round(seconds * RATE))


@dataclasses.dataclass(frozen=True)
class Listening:
    """An encoder whose only feature is the mean of a part of the window, 0 where it is missing."""

    begin_seconds: float = 2.0
    end_seconds: float = 3.0
    name: str = "listening"
    recipe: Recipe = RECIPE
    in_channels: int = 1
    num_features: int = 1
    mesh: object = dataclasses.field(
        default_factory=lambda: mesh_lib.make_mesh(jax.local_devices()[:1])
    )

    @property
    def layers(self):
        return {"last": slice(0, 1)}

    def window_rate_hz(self, sample_rate_hz):
        return self.recipe.sample_rate_hz

    def __call__(self, signal_mv, sample_rate_hz):
        begin, end = (round(x * sample_rate_hz) for x in (self.begin_seconds, self.end_seconds))
        return np.nan_to_num(signal_mv[:, 0, begin:end]).mean(axis=1, keepdims=True)
