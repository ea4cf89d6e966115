"""An encoder with its preprocessing: stored samples of any rate to embeddings.

What pre-training does to a view without augmentation happens here, in one compiled function a rate:
millivolts, gaps filled, resampled to the rate of the encoder, zero-phase band-pass, z-score.

Shapes: B batch, T time (samples), D features of all layers.
"""

import dataclasses
import functools
import hashlib
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh

from clef_jax import machine, mesh as mesh_lib, models
from clef_jax.embedding.recipe import Recipe
from clef_jax.errors import UserError
from clef_jax.models import cost, size as size_lib
from clef_jax.signal import device
from clef_jax.training import checkpoint


class Encoder(Protocol):
    """Whatever turns windows of stored samples into features: a network, or a formula."""

    @property
    def name(self) -> str:
        """What a table calls it."""
        ...

    @property
    def recipe(self) -> Recipe: ...

    @property
    def mesh(self) -> Mesh: ...

    @property
    def layers(self) -> Mapping[str, slice]:
        """Where each layer's features are among the D; the last layer is the embedding."""
        ...

    @property
    def num_features(self) -> int: ...

    @property
    def fingerprint(self) -> str:
        """Changes with whatever changes a feature."""
        ...

    @property
    def costs(self) -> Mapping[str, float]:
        """`parameters`, and `flops` of a window where they are known."""
        ...

    def __call__(
        self,
        adc: np.ndarray,
        gain_per_mv: np.ndarray,
        baseline: np.ndarray,
        sample_rate_hz: float,
    ) -> Any:
        """Features float32 [B, D] of windows int16 [B, T], as `Embedder.__call__`."""
        ...


@dataclasses.dataclass(frozen=True, eq=False)
class Embedder:
    """An encoder that is only read. Make one with `from_run` or `random`."""

    name: str
    """What a table calls it."""
    size: str
    recipe: Recipe
    mesh: Mesh
    graph: nnx.GraphDef
    params: nnx.State
    run: Mapping[str, Any] | None = None
    """What its checkpoint says of the run: settings, data, position; None of an untrained one."""

    @property
    def layers(self) -> dict[str, slice]:
        """Where each layer's features are among the D; the last layer is the embedding."""
        widths = size_lib.by_name(self.size).stage_channels
        ends = np.cumsum(widths).tolist()
        starts = [0, *ends[:-1]]
        return {
            f"stage_{number}": slice(start, end)
            for number, (start, end) in enumerate(zip(starts, ends, strict=True), start=1)
        }

    @property
    def num_features(self) -> int:
        return sum(size_lib.by_name(self.size).stage_channels)

    @property
    def costs(self) -> dict[str, float]:
        """Weights, and floating-point operations of the layers for a window."""
        size = size_lib.by_name(self.size)
        num_samples = self.recipe.num_samples(self.recipe.sample_rate_hz)
        return {
            "parameters": cost.num_parameters(size),
            "flops": cost.forward_flops(size, num_samples),
        }

    @functools.cached_property
    def in_channels(self) -> int:
        """Leads that the network takes at once."""
        return self.encoder.in_channels

    @property
    def encoder(self) -> models.Net1D:
        """The network, as a module."""
        return nnx.merge(self.graph, self.params)

    @property
    def fingerprint(self) -> str:
        """SHA-256 over weights and preprocessing."""
        return self._fingerprint

    @functools.cached_property
    def _fingerprint(self) -> str:
        digest = hashlib.sha256(repr((self.size, self.recipe)).encode())
        for path, leaf in jax.tree_util.tree_leaves_with_path(self.params):
            digest.update(jax.tree_util.keystr(path).encode())
            digest.update(np.ascontiguousarray(jax.device_get(leaf)).tobytes())
        return digest.hexdigest()

    def __call__(
        self,
        adc: np.ndarray,
        gain_per_mv: np.ndarray,
        baseline: np.ndarray,
        sample_rate_hz: float,
    ) -> jax.Array:
        """Features of windows: float32 [B, D], on the devices.

        Args:
            adc: int16 [B, T], -32768 is missing; B divides by the number of devices, and T is
                `recipe.num_samples(sample_rate_hz)`.
            gain_per_mv, baseline: [B].

        Raises:
            ValueError: T is another number.
        """
        stored = {
            "adc": adc,
            "gain_per_mv": np.asarray(gain_per_mv, np.float32),
            "baseline": np.asarray(baseline, np.int32),
        }
        return self._run(stored, sample_rate_hz)

    def of_mv(self, signal_mv: np.ndarray, sample_rate_hz: float) -> jax.Array:
        """Features of windows in millivolts: float32 [B, D], on the devices.

        Args:
            signal_mv: float32 [B, T], or [B, C, T] of an encoder of C leads; what is not finite is
                missing; B and T as in `__call__`.

        Raises:
            ValueError: T is another number.
        """
        return self._run({"signal_mv": np.asarray(signal_mv, np.float32)}, sample_rate_hz)

    def _run(self, windows: dict[str, np.ndarray], sample_rate_hz: float) -> jax.Array:
        given = windows[next(iter(windows))].shape[-1]
        wanted = self.recipe.num_samples(sample_rate_hz)
        if given != wanted:
            raise ValueError(f"A window has {wanted} samples, not {given}.")
        step = _compiled(self.graph, self.recipe, self.mesh, float(sample_rate_hz))
        return step(self.params, mesh_lib.to_devices(windows, self.mesh))


@functools.lru_cache(maxsize=32)
def _compiled(graph: nnx.GraphDef, recipe: Recipe, mesh: Mesh, sample_rate_hz: float) -> Callable:
    """(params, batch) -> features; encoders of one shape share it, for compiling takes seconds."""
    bandpass = make_bandpass(recipe, mesh)

    def local(params: nnx.State, batch: dict[str, jax.Array], bandpass: device.Bandpass | None):
        signal = prepare(batch, bandpass, sample_rate_hz, recipe)
        signal = signal[..., None] if signal.ndim == 2 else signal.swapaxes(1, 2)
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
    """The filter that `prepare` takes, on every device; None if the recipe filters nothing."""
    if recipe.band_hz is None:
        return None
    num_samples = recipe.num_samples(recipe.sample_rate_hz)
    bandpass = device.make_bandpass(num_samples, recipe.sample_rate_hz, *recipe.band_hz)
    return jax.device_put(bandpass, mesh_lib.everywhere(mesh))


def prepare(
    batch: Mapping[str, jax.Array],
    bandpass: device.Bandpass | None,
    sample_rate_hz: float,
    recipe: Recipe,
) -> jax.Array:
    """Signals [B, T'] at the recipe's rate, as the encoder takes them.

    Of windows `adc` [B, T] with `gain_per_mv` and `baseline` [B], or of `signal_mv` [B, T]; of
    `signal_mv` [B, C, T] they are [B, C, T'].
    """
    if "signal_mv" in batch:
        *leading, num_samples = batch["signal_mv"].shape
        signal = device.fill_gaps(batch["signal_mv"].reshape(-1, num_samples))
    else:
        signal = device.from_adc(batch["adc"], batch["gain_per_mv"], batch["baseline"])
        leading = [signal.shape[0]]
    signal = device.resample(signal, sample_rate_hz, recipe.sample_rate_hz)
    if bandpass is not None:
        signal = device.bandpass(signal, bandpass)
    signal = device.zscore(signal) if recipe.zscored else signal
    return signal.reshape(*leading, signal.shape[-1])


def from_run(workdir: str | pathlib.Path, mesh: Mesh, *, name: str | None = None) -> Embedder:
    """The encoder of a run's newest checkpoint.

    Raises:
        UserError: there is no run, or no finished checkpoint yet.
    """
    workdir = pathlib.Path(workdir).expanduser().resolve()
    run = checkpoint.read_run(workdir)
    config = run["config"]
    dtype = machine.compute_dtype(config["precision"], mesh_lib.platform(mesh))
    graph, abstract = models.abstract_encoder(config["size"], dtype)
    params = checkpoint.restore_params(workdir, mesh_lib.abstract(abstract, mesh))
    return Embedder(
        name or workdir.name, config["size"], Recipe.of_run(run), mesh, graph, params, run
    )


def of_encoder(encoder: models.Net1D, mesh: Mesh, *, name: str, recipe: Recipe) -> Embedder:
    """An encoder that is at hand, with its preprocessing, on every device of a mesh."""
    graph, params = nnx.split(encoder, nnx.Param)
    params = jax.device_put(params, mesh_lib.everywhere(mesh))
    size = size_lib.name_of(encoder.size)
    return Embedder(name, size, recipe, mesh, graph, params)


def random(size: str, mesh: Mesh, *, seed: int, recipe: Recipe | None = None) -> Embedder:
    """An encoder that learned nothing: the floor that a pre-trained one must beat."""
    dtype = machine.compute_dtype("auto")
    encoder = models.create_encoder(size, rngs=nnx.Rngs(seed), dtype=dtype)
    return of_encoder(encoder, mesh, name=f"random {size}, seed {seed}", recipe=recipe or Recipe())


def layer_slice(embedder: Encoder, layer: str) -> slice:
    """The features of a layer: `last`, or a name of its `layers`.

    Raises:
        UserError: there is no such layer; says which there are.
    """
    layers = embedder.layers
    if layer == "last":
        return list(layers.values())[-1]
    if layer not in layers:
        raise UserError(f"There is no layer {layer!r}; there are last, {', '.join(layers)}.")
    return layers[layer]
