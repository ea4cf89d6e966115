"""Published encoders of others in use, as `clef_jax.load`, `embed` and `evaluate` take them.

`published` describes them.

Shapes: B windows, C leads, T samples of a window, T' samples of the network's input, V views of a
window, D features of all layers.
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh

from clef_jax import leads as leads_lib, mesh as mesh_lib
from clef_jax.embedding import foreign_step, published as published_lib
from clef_jax.embedding.encoder import digest, layer_slice
from clef_jax.embedding.published import Published, Variant
from clef_jax.embedding.recipe import Recipe
from clef_jax.errors import UserError, counted

UNTRAINED = "untrained:"
"""Prefix of the name of a published encoder, to evaluate it without weights."""


@dataclasses.dataclass(frozen=True, eq=False)
class ForeignEncoder:
    """A published network with its weights and preprocessing; `of_network` returns it."""

    name: str
    """Name of the encoder in tables."""
    key: str
    """Name of the baseline that describes the encoder."""
    published: Published
    variant_name: str
    mesh: Mesh
    graph: nnx.GraphDef
    params: nnx.State
    """Weights."""
    fixed: nnx.State
    """Arrays that are not trained, such as the statistics of batch norms."""
    lead: str | None = None
    """The only lead that it takes, if it was made from a network of 12 leads."""
    statistics: tuple[float, float] | None = None
    """Mean and standard deviation, in mV, of the training patients' signals, if they are known and
    the variant uses them."""
    run: Mapping[str, Any] | None = None
    """Metadata of a training, as in `Embedder`."""

    def __repr__(self) -> str:
        return f"ForeignEncoder(name={self.name!r}, variant={self.variant_name!r})"

    @property
    def variant(self) -> Variant:
        """The preprocessing."""
        return self.published.variants[self.variant_name]

    @property
    def recipe(self) -> Recipe:
        """Rate and length of the windows; the variant describes the rest of the preprocessing."""
        return self.variant.recipe

    @property
    def network(self) -> Any:
        """The network of the weights, as a Flax module."""
        return nnx.merge(self.graph, self.params, self.fixed)

    @property
    def layers(self) -> dict[str, slice]:
        """Slice of each layer's features among the D; the last layer is the embedding."""
        return self._layers

    @functools.cached_property
    def _layers(self) -> dict[str, slice]:
        names: list[str] = []
        function, *inputs = self._one_window(names)
        shapes = jax.eval_shape(function, *inputs)
        widths = {name: x.shape[-1] for name, x in zip(names, shapes, strict=True)}
        ends = np.cumsum(list(widths.values())).tolist()
        starts = [0, *ends[:-1]]
        return {
            name: slice(start, end) for name, start, end in zip(widths, starts, ends, strict=True)
        }

    @property
    def num_features(self) -> int:
        """Number of features of all layers together, D."""
        return list(self.layers.values())[-1].stop

    @property
    def costs(self) -> dict[str, float]:
        """Number of weights, and floating-point operations of the network per window by XLA's cost
        analysis."""
        return self._costs

    @functools.cached_property
    def _costs(self) -> dict[str, float]:
        count = sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(self.params))
        function, *inputs = self._one_window()
        analysis = jax.jit(function).lower(*inputs).cost_analysis() or {}
        costs: dict[str, float] = {"parameters": count}
        return costs | ({"flops": float(analysis["flops"])} if "flops" in analysis else {})

    def _one_window(self, names: list[str] | None = None) -> tuple[Any, ...]:
        """Returns a function that maps states and the input of one window to the features of each
        layer, and abstract values of these.

        Args:
            names: receives the names of the layers when the function is traced.
        """
        signal = jax.ShapeDtypeStruct((1, self.in_channels, self._num_samples), jnp.float32)
        given = jax.eval_shape(lambda x: self.variant.prepare(x, self.variant.constants()), signal)
        states = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), (self.params, self.fixed)
        )

        def layers(states: Any, inputs: jax.Array) -> list[jax.Array]:
            by_name = nnx.merge(self.graph, *states).layers(inputs)
            if names is not None:  # the mapping itself would lose its order: jax sorts keys
                names.extend(by_name)
            return list(by_name.values())

        return layers, states, given

    @property
    def _num_samples(self) -> int:
        return self.recipe.num_samples(self.recipe.sample_rate_hz)

    @property
    def in_channels(self) -> int:
        """Number of leads that the network takes together."""
        return self._in_channels

    @functools.cached_property
    def _in_channels(self) -> int:
        return self.network.in_channels

    @property
    def fingerprint(self) -> str:
        """SHA-256 digest of the weights and the preprocessing."""
        return self._fingerprint

    @functools.cached_property
    def _fingerprint(self) -> str:
        about = (self.key, self.variant_name, self.variant.sentence, self.statistics)
        return digest(repr(about), (self.params, self.fixed))

    def window_rate_hz(self, sample_rate_hz: float) -> float:
        """Returns the sampling rate of the windows that the encoder takes: always its own."""
        return self.recipe.sample_rate_hz

    def __call__(self, signal_mv: np.ndarray, sample_rate_hz: float) -> jax.Array:
        """Returns the features of windows, float32 [B, D], on the devices.

        Args:
            signal_mv: windows in mV, float32 [B, C, T], not finite where missing. B is a multiple
                of the number of devices, and T is `recipe.num_samples(sample_rate_hz)`.
            sample_rate_hz: sampling rate of the windows.

        Raises:
            ValueError: T is not the number of samples of a window at this rate.
        """
        return self._run(signal_mv, sample_rate_hz, None)

    def time_steps(self, signal_mv: np.ndarray, sample_rate_hz: float, layer: str) -> jax.Array:
        """Returns the time steps of a layer, float32 [B, n, D'], on the devices.

        The steps of all views of a window follow each other.

        Args:
            signal_mv, sample_rate_hz: as for `__call__`.
            layer: `last`, or a name in `layers`.

        Raises:
            UserError: the layer is unknown, or the network gives no time steps.
            ValueError: as for `__call__`.
        """
        if not hasattr(self.network, "time_steps"):
            raise UserError(
                f"{self.published.title} gives features of whole windows, but not of time steps.",
                problem="no_time_steps",
            )
        part = layer_slice(self, layer)
        name = next(name for name, columns in self.layers.items() if columns == part)
        return self._run(signal_mv, sample_rate_hz, name)

    def _run(self, signal_mv: np.ndarray, sample_rate_hz: float, layer: str | None) -> jax.Array:
        wanted = self.recipe.num_samples(sample_rate_hz)
        if signal_mv.shape[-1] != wanted:
            raise ValueError(
                f"A window at {sample_rate_hz:g} Hz has {counted(wanted, 'sample')}, not "
                f"{signal_mv.shape[-1]:,}."
            )
        step = foreign_step.compiled(self.graph, self.variant, self.mesh, layer)
        batch = mesh_lib.to_devices({"signal_mv": signal_mv}, self.mesh)
        return step(self.params, self.constants, batch["signal_mv"])

    @property
    def constants(self) -> tuple[Any, ...]:
        """Arrays that `features` needs beside the weights, on every device."""
        return self._constants

    @functools.cached_property
    def _constants(self) -> tuple[Any, ...]:
        scale = jnp.asarray(self.statistics or (np.nan, np.nan), jnp.float32)
        everywhere = mesh_lib.everywhere(self.mesh)
        return jax.device_put((self.fixed, self.variant.constants(), scale), everywhere)

    def features(self, params: Any, constants: Any, signal_mv: jax.Array) -> jax.Array:
        """Returns the last layer's features, float32 [B, D'], of windows [B, C, T] in mV, by other
        weights; runs within a compiled function, on one device."""
        _, last = foreign_step.layers(self.graph, self.variant, params, constants, signal_mv)[-1]
        return last

    def for_lead(self, lead: str) -> "ForeignEncoder":
        """Returns the encoder of one lead; an encoder of one lead stays as it is.

        Raises:
            UserError: the network has no form for one lead, or not for this one.
        """
        if self.in_channels == 1:
            return self
        if self.published.one_lead is None:
            raise UserError(
                f"{self.published.title} takes {counted(self.in_channels, 'lead')} at once, and "
                "has no form for one lead.",
                problem="wrong_lead_count",
            )
        names = [leads_lib.normalize(name) for name in leads_lib.STANDARD_12]
        if leads_lib.normalize(lead) not in names:
            raise UserError(
                f"{self.published.title} knows {', '.join(leads_lib.STANDARD_12)}, but not lead "
                f"{lead!r}.",
                problem="unknown_lead",
            )
        number = names.index(leads_lib.normalize(lead))
        alone = self.published.one_lead(self.network, number)
        other = _of_network(alone, self.mesh)
        return dataclasses.replace(self, **other, lead=leads_lib.STANDARD_12[number])


def of_network(
    network: Any,
    mesh: Mesh,
    *,
    name: str,
    key: str,
    published: Published | None = None,
    variant: str | None = None,
    **more: Any,
) -> ForeignEncoder:
    """Returns a published network with its preprocessing, on every device of a mesh.

    Args:
        network: module whose `layers` maps [B, T', C] to the features of each layer, [B, D_s] by
            name, the last being the embedding, and whose `in_channels` is its number of leads.
        name: name in tables.
        key: name of the baseline that describes the encoder.
        published: the description; by default that of the baseline.
        variant: name of the preprocessing; by default the first, which the authors prescribe.
        more: other fields of the encoder.

    Raises:
        UserError: the variant is unknown.
    """
    published = published or published_lib.describe(key)
    variant_name, chosen = published.variant(variant)
    network = chosen.network(network)
    states = _of_network(network, mesh)
    if variant is not None and variant_name != next(iter(published.variants)):
        name = f"{name}, {variant_name}"
    return ForeignEncoder(name, key, published, variant_name, mesh, **states, **more)


def _of_network(network: Any, mesh: Mesh) -> dict[str, Any]:
    graph, params, fixed = nnx.split(network, nnx.Param, ...)
    everywhere = mesh_lib.everywhere(mesh)
    return {
        "graph": graph,
        "params": jax.device_put(params, everywhere),
        "fixed": jax.device_put(fixed, everywhere),
    }


def untrained(name: str, mesh: Mesh, *, seed: int, variant: str | None = None) -> ForeignEncoder:
    """Returns a published encoder with random weights, which has not learned anything.

    Raises:
        UserError: the name or the variant is unknown, or the encoder cannot be initialised.
    """
    published = published_lib.describe(name)
    if published.untrained is None:
        raise UserError(
            f"{published.title} is evaluated only with weights; give its file with --model.",
            problem="needs_weights",
        )
    network, label = published.untrained(seed), f"{UNTRAINED}{name}, seed {seed}"
    return of_network(network, mesh, name=label, key=name, published=published, variant=variant)
