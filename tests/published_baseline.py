"""A published encoder of another package, small enough for tests: a baseline named `toy`."""

import sys

import jax
import jax.numpy as jnp
import numpy as np

from clef_jax.baselines import _network
from clef_jax.embedding import published

SHAPES = {"toy.weight": (3, 12), "toy.bias": (3,), "toy.norm.running_mean": (3,)}


class Toy(_network.Network):
    """The mean of rectified mixtures of the leads, and then of their squares."""

    @property
    def in_channels(self):
        return self["toy.weight"].shape[1]

    def time_steps(self, signal, observed=None):
        del observed
        mixed = self.linear("toy", signal) - self["toy.norm.running_mean"][None, None]
        return {"wide": jax.nn.relu(mixed), "last": jax.nn.relu(mixed) ** 2}

    def layers(self, signal, observed=None):
        weight = jnp.ones(signal.shape[:2]) if observed is None else observed.astype(jnp.float32)
        weight = (weight / weight.sum(1, keepdims=True))[..., None]
        # The names are not in the order of the alphabet.
        return {name: (x * weight).sum(1) for name, x in self.time_steps(signal).items()}


def make(context):
    del context
    yield from ()


def from_torch(state_dict):
    arrays, prefix = _network.select(state_dict, "toy.norm.running_mean")
    leads = np.shape(arrays.get(f"{prefix}toy.weight", (0,)))[-1]
    shapes = SHAPES | {"toy.weight": (3, leads)}
    return Toy(_network.take(arrays, shapes, title="Toy", prefix=prefix))


def untrained(seed):
    arrays = _network.initialised(SHAPES, seed, lambda key, shape: 0.5)
    return Toy(arrays | {"toy.norm.running_mean": np.array([0.1, -0.2, 0.3], np.float32)})


def one_lead(network, lead):
    arrays = {key: network[key] for key in network.weights}
    return Toy(arrays | {"toy.weight": arrays["toy.weight"][:, lead : lead + 1]})


def leads_last(signal_mv, _):
    return signal_mv.swapaxes(1, 2)


PUBLISHED = published.Published(
    title="Toy",
    paper="none",
    licence="none stated",
    weights="nowhere.example",
    recognises=lambda content: _network.holds(content, "toy.norm.running_mean"),
    from_torch=from_torch,
    to_torch=_network.arrays_of,
    untrained=untrained,
    one_lead=one_lead,
    checksums={"toy.pth": "0" * 64},
    variants={
        "prescribed": published.Variant(
            sample_rate_hz=100.0,
            window_seconds=2.0,
            prepare=leads_last,
            standardised=True,
            sentence="Standardised.",
        ),
        "padded": published.Variant(
            sample_rate_hz=100.0,
            window_seconds=4.0,
            prepare=leads_last,
            pads_short=True,
            sentence="Padded.",
        ),
        "halves": published.Variant(
            sample_rate_hz=100.0,
            window_seconds=4.0,
            prepare=lambda x, gain: (
                gain
                * x.reshape(-1, x.shape[1], 2, 200)
                .transpose(0, 2, 3, 1)
                .reshape(-1, 200, x.shape[1])
            ),
            constants=lambda: np.float32(2),
            num_views=2,
            sentence="Two halves.",
        ),
        "as_reference": published.reference_variant(num_samples=4000),
    },
)


def register(folder, monkeypatch):
    """Makes `toy` a baseline, as an installed package does."""
    records = folder / "toy-1.0.dist-info"
    records.mkdir(parents=True)
    (records / "METADATA").write_text("Metadata-Version: 2.1\nName: toy\nVersion: 1.0\n")
    (records / "entry_points.txt").write_text(f"[clef_jax.baselines]\ntoy = {__name__}\n")
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
