"""Encoders with their preprocessing: one compiled function maps windows in mV to features.

The function preprocesses a window as pre-training does, without augmentation: gaps are filled, and
the signal is band-passed forwards and backwards and scaled to mean 0 and standard deviation 1.

Shapes: B batch, T time (samples), D features of all layers.
"""

import dataclasses
import functools
import hashlib
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh

from clef_jax import machine, mesh as mesh_lib, models, plugin
from clef_jax.embedding.recipe import Recipe
from clef_jax.errors import WrongArgument, counted
from clef_jax.models import cost, size as size_lib
from clef_jax.signal import device
from clef_jax.signal.running_median import running_median


class Encoder(Protocol):
    """Interface of anything that maps windows of signals to features, such as a network."""

    @property
    def name(self) -> str:
        """Name of the encoder in tables."""
        ...

    @property
    def recipe(self) -> Recipe:
        """Preprocessing that is applied to a window before the encoder."""
        ...

    @property
    def mesh(self) -> Mesh:
        """Devices that the encoder runs on."""
        ...

    @property
    def layers(self) -> Mapping[str, slice]:
        """Slice of each layer's features among the D; the last layer is the embedding."""
        ...

    @property
    def num_features(self) -> int:
        """Number of features of all layers together, D."""
        ...

    @property
    def fingerprint(self) -> str:
        """Identifier that differs between encoders whose features differ."""
        ...

    @property
    def costs(self) -> Mapping[str, float]:
        """Number of `parameters`, and `flops` per window where they are known."""
        ...

    @property
    def in_channels(self) -> int:
        """Number of leads that the encoder takes together."""
        ...

    def window_rate_hz(self, sample_rate_hz: float) -> float:
        """Returns the sampling rate in Hz of the windows that the encoder takes.

        Args:
            sample_rate_hz: sampling rate of the recording.
        """
        ...

    def __call__(self, signal_mv: np.ndarray, sample_rate_hz: float) -> Any:
        """Returns the features of windows, float32 [B, D]; the devices may still compute them.

        Args:
            signal_mv: windows in mV, float32 [B, C, T], not finite where missing; B is a multiple
                of the number of devices.
            sample_rate_hz: sampling rate of the windows, as `window_rate_hz` returns it.
        """
        ...


@dataclasses.dataclass(frozen=True, eq=False)
class Embedder:
    """A network with its weights and preprocessing.

    `embedding.checkpoint.load`, `of_encoder` and `random` return it.
    """

    name: str
    """Name of the encoder in tables."""
    size: str
    recipe: Recipe
    mesh: Mesh
    graph: nnx.GraphDef
    params: nnx.State
    run: Mapping[str, Any] | None = None
    """Settings, data and position of the training run; None if the network has none."""

    def __repr__(self) -> str:
        return f"Embedder(name={self.name!r}, size={self.size!r}, recipe={self.recipe!r})"

    @property
    def layers(self) -> dict[str, slice]:
        """Slice of each layer's features among the D; the last layer is the embedding."""
        widths = size_lib.by_name(self.size).stage_channels
        ends = np.cumsum(widths).tolist()
        starts = [0, *ends[:-1]]
        return {
            f"stage_{number}": slice(start, end)
            for number, (start, end) in enumerate(zip(starts, ends, strict=True), start=1)
        }

    @property
    def num_features(self) -> int:
        """Number of features of all layers together, D."""
        return sum(size_lib.by_name(self.size).stage_channels)

    @property
    def costs(self) -> dict[str, float]:
        """Number of weights, and floating-point operations of the layers per window."""
        size = size_lib.by_name(self.size)
        num_samples = self.recipe.num_samples(self.recipe.sample_rate_hz)
        return {
            "parameters": cost.num_parameters(size, self.in_channels),
            "flops": cost.forward_flops(size, num_samples, self.in_channels),
        }

    @property
    def in_channels(self) -> int:
        """Number of leads that the network takes together."""
        return self._in_channels

    @functools.cached_property
    def _in_channels(self) -> int:
        return self.encoder.in_channels

    @property
    def encoder(self) -> models.Net1D:
        """The network as a Flax module."""
        return nnx.merge(self.graph, self.params)

    @property
    def fingerprint(self) -> str:
        """SHA-256 digest of the weights and the preprocessing."""
        return self._fingerprint

    @functools.cached_property
    def _fingerprint(self) -> str:
        return digest(repr((self.size, self.recipe)) + self.recipe.variant, self.params)

    def window_rate_hz(self, sample_rate_hz: float) -> float:
        """Returns the sampling rate of the windows that the encoder takes: always its own."""
        return self.recipe.sample_rate_hz

    def __call__(self, signal_mv: np.ndarray, sample_rate_hz: float) -> jax.Array:
        """Returns the features of windows, float32 [B, D], on the devices.

        Args:
            signal_mv: windows in mV, float32 [B, C, T], not finite where missing. B is a multiple
                of the number of devices, and T is `recipe.num_samples(sample_rate_hz)`.
            sample_rate_hz: sampling rate of the windows. If it is not the encoder's, the devices
                resample in float32; `embedding.batch` resamples beforehand instead.

        Raises:
            ValueError: T is not the number of samples of a window at this rate.
        """
        self._check(signal_mv, sample_rate_hz)
        step = _compiled(self.graph, self.recipe, self.mesh)
        return step(self.params, mesh_lib.to_devices({"signal_mv": signal_mv}, self.mesh))

    def time_steps(self, signal_mv: np.ndarray, sample_rate_hz: float, layer: str) -> jax.Array:
        """Returns the time steps of a layer, float32 [B, n, D'], on the devices.

        Their mean over time is the layer's features, up to rounding.

        Args:
            signal_mv, sample_rate_hz: as for `__call__`.
            layer: `last`, or a name in `layers`.

        Raises:
            UserError: the layer is unknown.
            ValueError: as for `__call__`.
        """
        self._check(signal_mv, sample_rate_hz)
        stage = list(self.layers.values()).index(layer_slice(self, layer))
        step = _compiled(self.graph, self.recipe, self.mesh, stage)
        return step(self.params, mesh_lib.to_devices({"signal_mv": signal_mv}, self.mesh))

    def _check(self, signal_mv: np.ndarray, sample_rate_hz: float) -> None:
        wanted = self.recipe.num_samples(sample_rate_hz)
        if signal_mv.shape[-1] != wanted:
            raise ValueError(
                f"A window at {sample_rate_hz:g} Hz has {counted(wanted, 'sample')}, not "
                f"{signal_mv.shape[-1]:,}."
            )


@functools.lru_cache(maxsize=32)
def _compiled(
    graph: nnx.GraphDef, recipe: Recipe, mesh: Mesh, stage: int | None = None
) -> Callable:
    """Returns a function (params, batch) -> features, compiled once for encoders of one shape.

    With the number of a stage, it returns the time steps of this stage instead.
    """
    bandpass = make_bandpass(recipe, mesh)

    def local(params: nnx.State, batch: dict[str, jax.Array], bandpass: device.Bandpass | None):
        signal = prepare(batch["signal_mv"], bandpass, recipe).swapaxes(1, 2)
        if stage is not None:
            return nnx.merge(graph, params).time_steps(signal, stage).astype(jnp.float32)
        stages = nnx.merge(graph, params).stages(signal)
        return jnp.concatenate([stage.astype(jnp.float32) for stage in stages], axis=1)

    def embed(params, batch, bandpass):
        # Per device: under plain jit XLA gathers the batch around grouped convolutions.
        return jax.shard_map(
            local,
            mesh=mesh,
            in_specs=(mesh_lib.EVERYWHERE, mesh_lib.ROWS, mesh_lib.EVERYWHERE),
            out_specs=mesh_lib.ROWS,
        )(params, batch, bandpass)

    compiled = jax.jit(embed)
    return lambda params, batch: compiled(params, batch, bandpass)


def make_bandpass(recipe: Recipe, mesh: Mesh) -> device.Bandpass | None:
    """Returns the filter for `prepare`, on every device; None if the recipe has no filter."""
    if recipe.band_hz is None:
        return None
    bandpass = make_filter(recipe, recipe.band_hz)
    return jax.device_put(bandpass, mesh_lib.everywhere(mesh))


def make_filter(recipe: Recipe, band_hz: tuple[float, float]) -> device.Bandpass:
    """Returns the filter of a recipe with a pass band, as a linear map."""
    rate_hz = recipe.sample_rate_hz
    num_samples = recipe.num_samples(rate_hz)
    if recipe.preparation is None:
        return device.make_bandpass(num_samples, rate_hz, *band_hz)
    return device.make_chain(num_samples, rate_hz, recipe.preparation.zero_phase(rate_hz))


def prepare(signal_mv: jax.Array, bandpass: device.Bandpass | None, recipe: Recipe) -> jax.Array:
    """Preprocesses windows for the encoder: fills gaps, resamples, filters and scales.

    Maps float32 [..., T] in mV, not finite where missing, to float32 [..., T'] at the recipe's
    rate. T is the number of samples of a window at the rate of the signal. For variants that scale
    all leads of a window together, [B, C, T] are windows of C leads.
    """
    *leading, num_samples = signal_mv.shape
    signal = signal_mv.reshape(-1, num_samples)
    if recipe.zero_gaps:
        signal = jnp.where(jnp.isfinite(signal), signal, 0)
    else:
        signal = device.fill_gaps(signal)
    signal = device.resample_to_count(signal, recipe.num_samples(recipe.sample_rate_hz))
    if bandpass is not None:
        signal = device.bandpass(signal, bandpass)
    prepared_samples = signal.shape[-1]
    if recipe.preparation is not None:
        count = recipe.preparation.median_samples(recipe.sample_rate_hz)
        if count is not None:
            signal = signal - running_median(signal, count)
        num_leads = leading[-1] if len(leading) > 1 else 1
        signal = signal.reshape(-1, num_leads * prepared_samples)
    signal = device.zscore(signal) if recipe.zscored else signal
    return signal.reshape(*leading, prepared_samples)


def of_encoder(encoder: models.Net1D, mesh: Mesh, *, name: str, recipe: Recipe) -> Embedder:
    """Returns an existing encoder with its preprocessing, on every device of a mesh."""
    graph, params = nnx.split(encoder, nnx.Param)
    params = jax.device_put(params, mesh_lib.everywhere(mesh))
    size = size_lib.name_of(encoder.size)
    return Embedder(name, size, recipe, mesh, graph, params)


def random(size: str, mesh: Mesh, *, seed: int, recipe: Recipe | None = None) -> Embedder:
    """Returns a randomly initialised encoder, the baseline for pre-trained ones."""
    dtype = machine.compute_dtype("auto")
    encoder = models.create_encoder(size, rngs=nnx.Rngs(seed), dtype=dtype)
    return of_encoder(encoder, mesh, name=f"random {size}, seed {seed}", recipe=recipe or Recipe())


def digest(about: str, weights: Any) -> str:
    """Returns the SHA-256 digest of a text and of the names and bytes of a tree of arrays."""
    result = hashlib.sha256(about.encode())
    for path, leaf in jax.tree_util.tree_leaves_with_path(weights):
        result.update(jax.tree_util.keystr(path).encode())
        result.update(np.ascontiguousarray(jax.device_get(leaf)).tobytes())
    return result.hexdigest()


class _Layered(Protocol):
    """Anything with named layers."""

    @property
    def layers(self) -> Mapping[str, slice]: ...


def layer_slice(embedder: _Layered, layer: str) -> slice:
    """Returns the slice of a layer's features among those of all layers.

    Args:
        layer: `last`, or a name in `layers`.

    Raises:
        UserError: the layer is unknown; the message lists the available ones.
    """
    layers = embedder.layers
    if layer == "last":
        return list(layers.values())[-1]
    if layer not in layers:
        raise WrongArgument(plugin.unknown("layer", layer, ("last", *layers)))
    return layers[layer]
