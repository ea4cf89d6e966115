"""Descriptions of published encoders of others: a network, and the preprocessing it is fed with.

A module of `clef_jax.baselines` describes such an encoder by one value, `PUBLISHED`.

Shapes: B windows, C leads, T samples of a window, T' samples of the network's input, V views of a
window.
"""

import dataclasses
import pathlib
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np

from clef_jax import plugin
from clef_jax.embedding import encoder as encoder_lib
from clef_jax.embedding.recipe import PaddedRecipe, Recipe
from clef_jax.errors import WrongArgument
from clef_jax.signal import device

PRESCRIBED, AS_REFERENCE = "prescribed", "as_reference"
"""Names of the variants that every published encoder has: what its authors prescribe, which is the
default, and what the public CLEF reference feeds it with."""

_BASELINES = "clef_jax.baselines"
"""Package whose modules describe published encoders. They import this package, so they are found as
plug-ins rather than imported."""
_ATTRIBUTE = "PUBLISHED"


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Variant:
    """A preprocessing for a published network."""

    sample_rate_hz: float
    """Sampling rate of the windows that `prepare` takes; recordings are resampled to it."""
    window_seconds: float
    """Length of these windows."""
    prepare: Callable[[jax.Array, Any], jax.Array]
    """Maps windows in mV without gaps, float32 [B, C, T], and the constants to the network's input,
    [B V, T', C], the views of a window one after the other. It is compiled."""
    sentence: str
    """Description for the user."""
    constants: Callable[[], Any] = lambda: None
    """Returns arrays that `prepare` needs, such as a filter."""
    num_views: int = 1
    """Number of views of a window, V, whose features are averaged."""
    pads_short: bool = False
    """Whether a recording shorter than a window is padded on its left by samples that the network
    is told to ignore, instead of being continued by its mirror image. The network's `layers` takes
    which samples are observed, [B, T'], as its second argument."""
    standardised: bool = False
    """Whether windows are scaled by one mean and one standard deviation before `prepare`: those of
    the training patients in an evaluation, otherwise those of each window, over all its leads."""
    network: Callable[[Any], Any] = lambda network: network
    """Returns the network of this variant for that of the weights."""

    @property
    def recipe(self) -> Recipe:
        """The window as the rest of the package describes it; `prepare` does all else."""
        kind = PaddedRecipe if self.pads_short else Recipe
        return kind(
            sample_rate_hz=self.sample_rate_hz,
            window_seconds=self.window_seconds,
            band_hz=None,
            zscored=False,
        )


def reference_variant(*, num_samples: int | None = None, **options: Any) -> Variant:
    """Returns the variant `as_reference`: windows are preprocessed as those of CLEF.

    Args:
        num_samples: number of first samples that the network receives; by default all.
        options: other settings of the variant; `sentence` is added to the description.
    """
    recipe = Recipe()
    more = options.pop("sentence", "")

    def prepare(signal_mv: jax.Array, bandpass: Any) -> jax.Array:
        prepared = encoder_lib.prepare(signal_mv, bandpass, recipe)
        return prepared[..., :num_samples].swapaxes(1, 2)

    def constants() -> device.Bandpass:
        count = recipe.num_samples(recipe.sample_rate_hz)
        return device.make_bandpass(count, recipe.sample_rate_hz)

    return Variant(
        sample_rate_hz=recipe.sample_rate_hz,
        window_seconds=recipe.window_seconds,
        prepare=prepare,
        constants=constants,
        sentence="10 s at 500 Hz, band-passed from 0.67 to 40 Hz and z-scored for each lead, as "
        f"the public CLEF reference does.{more and f' {more}'}",
        **options,
    )


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Published:
    """Describes a published encoder."""

    title: str
    paper: str
    licence: str
    """Licence of the weights."""
    weights: str
    """Page on which the authors publish the weights."""
    recognises: Callable[[Mapping[str, Any]], bool]
    """Returns whether a file's contents, mappings within mappings, are weights of this encoder."""
    from_torch: Callable[[Mapping[str, Any]], Any]
    """Returns the network with the weights of a file; refuses what does not fit by name."""
    to_torch: Callable[[Any], Mapping[str, np.ndarray]]
    """Returns the weights of a network by the names that `from_torch` reads."""
    variants: Mapping[str, Variant]
    """Preprocessing by name; the default is the first."""
    untrained: Callable[[int], Any] | None = None
    """Returns a randomly initialised network for a seed."""
    one_lead: Callable[[Any, int], Any] | None = None
    """Returns the network of one lead for that of 12 and the lead's number in the standard order;
    None if the network takes one lead anyway."""
    checksums: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """SHA-256 of published files by name, as far as they are known."""

    def variant(self, name: str | None) -> tuple[str, Variant]:
        """Returns the name of a variant and the variant; the first by default.

        Raises:
            UserError: the variant is unknown.
        """
        name = next(iter(self.variants)) if name is None else name
        if name not in self.variants:
            what = f"variant of {self.title}"
            message = plugin.unknown(what, name, self.variants)
            raise WrongArgument(message, problem="unknown_variant")
        return name, self.variants[name]


def modules() -> Iterator[tuple[str, types.ModuleType]]:
    """Yields the name and the module of each baseline, which are imported one after the other."""
    kind = plugin.Kind(label="baseline", package=_BASELINES, attribute="make", expected=None)
    for name in kind.names():
        yield name, kind.module(name)


def describe(name: str) -> Published:
    """Returns the description of a published encoder by its baseline's name.

    Raises:
        UserError: the name is unknown; the message lists the available ones.
    """
    known = {key: getattr(module, _ATTRIBUTE, None) for key, module in modules()}
    published = {key: value for key, value in known.items() if isinstance(value, Published)}
    if name not in published:
        raise WrongArgument(
            plugin.unknown("published encoder", name, published), problem="unknown_encoder"
        )
    return published[name]


def recognise(content: Mapping[str, Any]) -> tuple[str, Published] | None:
    """Returns name and description of the published encoder whose weights a file holds, if any."""
    for name, module in modules():
        published = getattr(module, _ATTRIBUTE, None)
        if isinstance(published, Published) and published.recognises(content):
            return name, published
    return None


def check_no_variant(path: pathlib.Path, variant: str | None) -> None:
    """Raises WrongArgument if a variant is chosen for a model of this package."""
    if variant is not None:
        raise WrongArgument(
            f"--variant={variant} chooses the preprocessing of a published encoder, but {path} is "
            "a model of this package, whose preprocessing is fixed.",
            problem="unknown_variant",
        )
