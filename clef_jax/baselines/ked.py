"""KED: the ECG encoder of a model of ECGs and texts (Tian et al. 2024, Cell Reports Medicine 5).

The network is an xresnet1d101. Its batch norms act: by their running statistics here, also while a
probe or a head is trained on it.

Shapes: B batch, C leads, T time (samples), D = 768 features.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from clef_jax.baselines import Context, _network
from clef_jax.baselines._network import Network
from clef_jax.embedding import published
from clef_jax.embedding.encoder import Encoder
from clef_jax.errors import UserError

TITLE = "KED"
_EPSILON, _MOMENTUM = 1e-5, 0.1
_STEM = ((32, 2), (32, 1), (64, 1))
"""Channels and stride of each convolution of the stem."""
_SIGNATURE = "7.2.convs.2.0.weight"
_TWIN = "7.2.convpath.0.2.0.weight"
_OWN_NAME = "ecg_model"
"""Name under which the published file keeps the encoder, beside that of texts."""
_COUNT = "num_batches_tracked"


class _Stage(NamedTuple):
    number: int
    hidden: int
    channels: int
    num_blocks: int
    stride: int


_STAGES = (
    _Stage(4, 64, 256, 3, 1),
    _Stage(5, 128, 512, 4, 2),
    _Stage(6, 128, 512, 23, 2),
    _Stage(7, 192, 768, 3, 2),
)

Statistics = dict[str, jax.Array]
"""Running means and variances of the batch norms, and their numbers of batches, by key."""


class KED(Network):
    """The ECG encoder of KED."""

    @property
    def in_channels(self) -> int:
        return self["0.0.weight"].shape[1]

    def stages(self, signal: jax.Array) -> Iterator[tuple[str, jax.Array]]:
        yield from self._stages(signal, None)

    def train(self, signal: jax.Array) -> tuple[jax.Array, Statistics]:
        """Returns the features, [B, D], by the statistics of this batch, and the running statistics
        after it, as the reference trains."""
        statistics: Statistics = {}
        *_, (_, features) = self._stages(signal, statistics)
        return features, statistics

    def time_steps(self, signal: jax.Array) -> dict[str, jax.Array]:
        steps = {}
        for name, value in self.stages(signal):
            stage = name.partition(".")[0]
            if value.ndim == 3 and stage in {str(s.number) for s in _STAGES}:
                steps[f"stage_{int(stage) - 3}"] = value
        return steps

    def _stages(
        self, signal: jax.Array, statistics: Statistics | None
    ) -> Iterator[tuple[str, jax.Array]]:
        if signal.shape[2] != self.in_channels:
            raise UserError(
                f"This KED takes {self.in_channels} leads, but the signal has {signal.shape[2]}.",
                problem="wrong_lead_count",
            )
        hidden = signal
        for number, (_, stride) in enumerate(_STEM):
            hidden = jax.nn.relu(self._unit(str(number), hidden, stride, statistics))
            yield str(number), hidden
        hidden = _max_pool(hidden)
        yield "3", hidden
        for stage in _STAGES:
            for block in range(stage.num_blocks):
                name = f"{stage.number}.{block}"
                stride = stage.stride if block == 0 else 1
                hidden = self._block(name, hidden, stride, statistics)
                yield name, hidden
        yield "features", hidden.mean(1)

    def _block(
        self, name: str, inputs: jax.Array, stride: int, statistics: Statistics | None
    ) -> jax.Array:
        hidden = jax.nn.relu(self._unit(f"{name}.convs.0", inputs, 1, statistics))
        hidden = jax.nn.relu(self._unit(f"{name}.convs.1", hidden, stride, statistics))
        hidden = self._unit(f"{name}.convs.2", hidden, 1, statistics)
        shortcut = _mean_pool(inputs) if stride == 2 else inputs
        projection = f"{name}.idpath.{stride - 1}"
        if f"{projection}.0.weight" in self:
            shortcut = self._unit(projection, shortcut, 1, statistics)
        return jax.nn.relu(hidden + shortcut)

    def _unit(
        self, name: str, inputs: jax.Array, stride: int, statistics: Statistics | None
    ) -> jax.Array:
        """Applies a convolution and its batch norm to [B, T, channels]."""
        kernel = self[f"{name}.0.weight"]
        padding = (kernel.shape[2] - 1) // 2
        outputs = jax.lax.conv_general_dilated(
            inputs,
            kernel,
            window_strides=(stride,),
            padding=((padding, padding),),
            dimension_numbers=("NWC", "OIW", "NWC"),
        )
        return self._norm(f"{name}.1", outputs, statistics)

    def _norm(self, name: str, inputs: jax.Array, statistics: Statistics | None) -> jax.Array:
        mean = jax.lax.stop_gradient(self[f"{name}.running_mean"])
        variance = jax.lax.stop_gradient(self[f"{name}.running_var"])
        if statistics is not None:
            count = inputs.shape[0] * inputs.shape[1]
            before = {"running_mean": mean, "running_var": variance}
            mean, variance = inputs.mean((0, 1)), inputs.var((0, 1))
            # PyTorch normalises by the biased variance, and keeps the unbiased one.
            after = {"running_mean": mean, "running_var": variance * count / (count - 1)}
            for key, old in before.items():
                new = jax.lax.stop_gradient(after[key])
                statistics[f"{name}.{key}"] = (1 - _MOMENTUM) * old + _MOMENTUM * new
            statistics[f"{name}.{_COUNT}"] = self[f"{name}.{_COUNT}"] + 1
        scale = self[f"{name}.weight"] / jnp.sqrt(variance + _EPSILON)
        mean, scale, bias = (
            _network.last_axis(vector, inputs) for vector in (mean, scale, self[f"{name}.bias"])
        )
        return (inputs - mean) * scale + bias


def _max_pool(inputs: jax.Array) -> jax.Array:
    """Returns the largest of 3 samples at a stride of 2, [B, T / 2, channels]."""
    return jax.lax.reduce_window(
        inputs, -jnp.inf, jax.lax.max, (1, 3, 1), (1, 2, 1), ((0, 0), (1, 1), (0, 0))
    )


def _mean_pool(inputs: jax.Array) -> jax.Array:
    """Returns the mean of each 2 samples; the last of an odd number stays as it is."""
    if inputs.shape[1] % 2:
        inputs = jnp.concatenate([inputs, inputs[:, -1:]], axis=1)
    return inputs.reshape(inputs.shape[0], -1, 2, inputs.shape[2]).mean(2)


def make(context: Context) -> Iterator[Encoder]:
    """Yields nothing: KED is evaluated from its weight file with `--model`."""
    del context
    yield from ()


def recognises(state_dict: Mapping[str, Any]) -> bool:
    """Returns whether weights are those of KED."""
    return any(_network.holds(state_dict, mark) for mark in (_SIGNATURE, _TWIN))


def from_torch(state_dict: Mapping[str, Any]) -> KED:
    """Returns the encoder with published weights.

    Args:
        state_dict: arrays by the published names, possibly after one prefix, or the published
            mapping, whose `ecg_model` is taken. It holds the convolutions of each block twice, as
            `convs` and as `convpath.0`; either may be absent.

    Raises:
        UserError: keys are unknown, missing or misshapen, or the two copies differ; the message
            names them.
    """
    mark = _SIGNATURE if _network.holds(state_dict, _SIGNATURE) else _TWIN
    arrays, prefix = _network.select(state_dict, mark, prefer=_OWN_NAME)
    num_leads = np.shape(arrays.get(f"{prefix}0.0.weight", ()))
    shapes = _shapes(num_leads[1] if len(num_leads) == 3 else 12)
    twins = {_twin(key): key for key in shapes if ".convs." in key}
    bare = {key.removeprefix(prefix) for key in arrays}
    if not bare & set(twins.values()):  # only the second copy exists
        second = {key: own for own, key in twins.items()}
        taken = _network.take(
            arrays,
            {second.get(key, key): shape for key, shape in shapes.items()},
            title=TITLE,
            prefix=prefix,
        )
        return KED({twins.get(key, key): value for key, value in taken.items()})
    both = (
        shapes | {own: shapes[key] for own, key in twins.items()} if bare & set(twins) else shapes
    )
    taken = _network.take(arrays, both, title=TITLE, prefix=prefix)
    differ = [own for own, key in twins.items() if own in taken and _differ(taken, own, key)]
    if differ:
        raise UserError(
            f"The weights do not fit {TITLE}: {len(differ)} arrays differ from their copies, for "
            f"example {differ[0]} from {twins[differ[0]]}; a published file holds them twice.",
            problem="wrong_weights",
        )
    return KED({key: taken[key] for key in shapes})


def _differ(arrays: Mapping[str, np.ndarray], first: str, second: str) -> bool:
    return not np.array_equal(arrays[first], arrays[second])


def _twin(key: str) -> str:
    return key.replace(".convs.", ".convpath.0.")


def one_lead(network: KED, lead: int) -> KED:
    """Returns the network for one lead alone: that of zeros in all other leads.

    Args:
        network: a network of 12 leads.
        lead: number of the lead in the order I, II, III, aVR, aVL, aVF, V1 to V6.
    """
    arrays = {key: network[key] for key in network.weights}
    arrays["0.0.weight"] = arrays["0.0.weight"][:, lead : lead + 1]
    return KED(arrays)


def _shapes(num_leads: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}

    def unit(name: str, inputs: int, outputs: int, taps: int) -> None:
        shapes[f"{name}.0.weight"] = (outputs, inputs, taps)
        for part in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{name}.1.{part}"] = (outputs,)
        shapes[f"{name}.1.{_COUNT}"] = ()

    channels = num_leads
    for number, (outputs, _) in enumerate(_STEM):
        unit(str(number), channels, outputs, 5)
        channels = outputs
    for stage in _STAGES:
        for block in range(stage.num_blocks):
            name = f"{stage.number}.{block}"
            unit(f"{name}.convs.0", channels, stage.hidden, 1)
            unit(f"{name}.convs.1", stage.hidden, stage.hidden, 5)
            unit(f"{name}.convs.2", stage.hidden, stage.channels, 1)
            if channels != stage.channels:
                unit(f"{name}.idpath.{stage.stride - 1}", channels, stage.channels, 1)
            channels = stage.channels
    return shapes


def untrained(seed: int) -> KED:
    """Returns a network of 12 leads with random weights, as its authors initialise it."""
    shapes = _shapes(num_leads=12)
    # Kaiming's initialisation by the number of inputs of a convolution.
    arrays = _network.initialised(
        shapes, seed, lambda key, shape: float(np.sqrt(2 / np.prod(shape[1:])))
    )
    for key in arrays:
        if key.endswith(".convs.2.1.weight"):  # so that each block begins as its shortcut
            arrays[key] = np.zeros_like(arrays[key])
    return KED(arrays)


PUBLISHED = published.Published(
    title=TITLE,
    paper="Tian et al. 2024, Cell Reports Medicine 5",
    licence="none stated",
    weights="zenodo.org/records/14881564, best_valid_all_increase_with_augment_epoch_3.pt",
    recognises=recognises,
    from_torch=from_torch,
    to_torch=_network.arrays_of,
    untrained=untrained,
    one_lead=one_lead,
    variants={
        published.PRESCRIBED: published.Variant(
            sample_rate_hz=100.0,
            window_seconds=10.0,
            prepare=lambda signal_mv, _: signal_mv.swapaxes(1, 2),
            standardised=True,
            sentence="10 s at 100 Hz, without a filter, scaled by one mean and standard deviation: "
            "those of the training patients in an evaluation, otherwise those of the window.",
        ),
        published.AS_REFERENCE: published.reference_variant(),
    },
)
