"""Loads pretrained models: `clef_jax.load(path).embed(signal, sample_rate_hz)`.

Shapes: T samples of a signal, W windows, D features of a layer.
"""

import dataclasses
import importlib
import pathlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jax.sharding import Mesh

from clef_jax import mesh as mesh_lib
from clef_jax.embedding import (
    array,
    batch,
    encoder as encoder_lib,
    foreign_folder,
    loading,
    prediction,
    signals as signals_lib,
    window as window_lib,
)
from clef_jax.embedding.encoder import Embedder
from clef_jax.embedding.foreign import ForeignEncoder
from clef_jax.embedding.head import Head
from clef_jax.embedding.lead_selection import ALL_LEADS
from clef_jax.embedding.prediction import Prediction
from clef_jax.embedding.recipe import Recipe
from clef_jax.embedding.signals import EmbeddedWindows, Signals
from clef_jax.embedding.streaming import MAX_JITTER_SECONDS, PacketStream
from clef_jax.errors import UserError
from clef_jax.training import TRAINED, Weights

if TYPE_CHECKING:  # a floor above
    from clef_jax.explaining.explanation import Explanation
    from clef_jax.fitting.labelled_model import LabelledModel


def load(
    path: str | pathlib.Path,
    mesh: Mesh | None = None,
    *,
    weights: Weights = TRAINED,
    variant: str | None = None,
) -> "Pretrained":
    """Loads the model at a path: a training run, a model folder, or a file of weights.

    Files are Lightning `.ckpt`, PyTorch `.pt` or `.pth`, or `.safetensors`, with the reference's
    names, which imply the size and the paper's preprocessing, or those of published encoders.

    Args:
        path: a training run, a model folder, a file of weights, or `hf:ORG/NAME@REVISION`.
        mesh: devices to run on; by default this process's own.
        weights: `trained`, or `ema` for the moving average that a training run may keep.
        variant: preprocessing of a published encoder: `prescribed` by its authors, the default,
            `as_reference`, or another that it has.

    Raises:
        UserError: the path holds no such model, or the variant is unknown.
    """
    mesh = mesh or mesh_lib.make_mesh(jax.local_devices())
    return Pretrained(*loading.read(path, mesh, weights=weights, variant=variant))


@dataclasses.dataclass(frozen=True, eq=False)
class Pretrained:
    """An encoder with its preprocessing, as `load` returns it."""

    embedder: Embedder | ForeignEncoder
    head: Head | None = dataclasses.field(default=None, repr=False)
    """Head that computes answers from features; None if the model only embeds."""

    @property
    def name(self) -> str:
        """Name of the encoder in tables."""
        return self.embedder.name

    @property
    def recipe(self) -> Recipe:
        """Preprocessing that is applied to a signal before the encoder."""
        return self.embedder.recipe

    @property
    def layers(self) -> dict[str, int]:
        """Number of features of each available layer, by the layer's name."""
        return {name: part.stop - part.start for name, part in self.embedder.layers.items()}

    @property
    def in_channels(self) -> int:
        """Number of leads that the encoder takes together."""
        return self.embedder.in_channels

    @property
    def fingerprint(self) -> str:
        """SHA-256 digest of the weights and the preprocessing."""
        return self.embedder.fingerprint

    def save(self, folder: str | pathlib.Path) -> pathlib.Path:
        """Writes a model folder: weights, configuration, preprocessing, fingerprint, card, head."""
        return foreign_folder.save_any(self.embedder, folder, head=self.head)

    def embed(
        self,
        signal: Any,
        sample_rate_hz: float,
        layer: str | int | None = None,
        lead: str | int | None = None,
        *,
        lead_names: Sequence[str] | None = None,
        unit: str | None = None,
        stride_seconds: float | None = None,
        each_window: bool = False,
    ) -> np.ndarray:
        """Embeds signals of any length at any rate.

        Args:
            signal: [..., T], one or many signals, for example [12, T]; NaN (or -32768 among
                integers) is missing, and so is what a masked array masks. Time may also come
                before the leads, as in wfdb's [T, 12] and in [N, T, 12].
            sample_rate_hz: sampling rate of `signal` in Hz.
            layer: name in `layers`, number from 1, or `all`; by default the last layer.
            lead: the only row to embed, by name or by number from 0; by default all rows. Names
                need `lead_names`, except for the 12 usual leads, whose order is inferred from the
                signal.
            lead_names: names of the rows, in any spelling.
            unit: mV, uV, V or adc (unknown unit); by default adc for integers, otherwise mV.
            stride_seconds: time between the starts of consecutive windows; by default the length
                of a window.
            each_window: return the embedding of every window instead of their mean.

        Returns:
            The embeddings, float32 [..., D], or [..., W, D] with `each_window`. A signal longer
            than the encoder's window is cut into windows, whose usable embeddings are averaged; a
            shorter signal of 2 s or more is continued by its mirror image.

        Raises:
            UserError: the signal, rate, lead, layer or unit is invalid; the message says why. Below
                2 s or 50 Hz there is no embedding.

        Warns:
            UserWarning: a window is flat, is mostly missing, or exceeds the amplitude of an ECG; or
                the signal is shorter than a window, or sampled below 100 Hz.
        """
        model, signals = self.interpret(signal, lead, lead_names, unit)
        windower = batch.make_windower(model.embedder, sample_rate_hz, stride_seconds)
        embedded = list(signals_lib.embed(model.embedder, signals, windower, model.part(layer)))
        window_lib.warn([item.quality for item in embedded], stacklevel=3)
        out = np.stack([x.features if each_window else x.mean() for x in embedded])
        return out.reshape(*signals.leading, *out.shape[1:])

    def predict(
        self,
        signal: Any,
        sample_rate_hz: float,
        lead: str | int | None = None,
        *,
        lead_names: Sequence[str] | None = None,
        unit: str | None = None,
        stride_seconds: float | None = None,
        each_window: bool = False,
        prevalence: Mapping[str, float] | float | None = None,
        age_years: float | None = None,
    ) -> Prediction:
        """Answers the questions of the model's head about signals of any length at any rate.

        Args:
            signal, sample_rate_hz, lead, lead_names, unit, stride_seconds: as in `embed`.
            each_window: answer for every window instead of the mean of a signal's windows.
            prevalence: fraction of positives among the people whose signals these are, by the name
                of the output; by default the one that the head's calibration assumes.
            age_years: age of the patient, which is compared with those of the fit.

        Returns:
            The answers, with an axis of outputs behind those of the signals; NaN for a signal
            without a usable window. What is unlike the recordings of the fit is in the `problems`.

        Raises:
            UserError: the model has no head, or an argument is invalid; the message says which.

        Warns:
            UserWarning: as `embed`.
        """
        model, signals = self.interpret(signal, lead, lead_names, unit)
        head = prediction.require_head(model.head, model.name)
        corrected = prediction.prevalence_of(head, prevalence)
        encoder, part = prediction.encoder_of(head, model.embedder)
        windower = batch.make_windower(encoder, sample_rate_hz, stride_seconds)
        embedded = list(signals_lib.embed(encoder, signals, windower, part))
        qualities = [item.quality for item in embedded]
        window_lib.warn(qualities, stacklevel=3)
        flags = prediction.flags_of(
            head, signals.leading, sample_rate_hz, signals.lead_names, age_years
        )
        return prediction.predict(
            head,
            [item.features if each_window else item.mean() for item in embedded],
            qualities,
            flags,
            leading=signals.leading,
            prevalence=corrected,
            start_seconds=embedded[0].start_seconds if each_window else None,
            model_fingerprint=model.fingerprint,
        )

    def interpret(
        self,
        signal: Any,
        lead: str | int | None,
        lead_names: Sequence[str] | None,
        unit: str | None,
    ) -> tuple["Pretrained", Signals]:
        """Returns the model for what a user gives, and the signals for it; see `embed`."""
        rows = array.one_lead(array.rows(signal, lead_names), lead, lead_names)
        model = self
        if self._takes_one_of_several and lead is None:
            rows = array.in_standard_order(rows, lead_names)
        elif lead is not None and self._takes_one_of_several:
            model = self._of_lead(lead, lead_names)
        signal_mv, unit_known = array.to_mv(rows, unit)
        num_leads = array.check_leads(signal_mv, model.in_channels)
        leading = signal_mv.shape[: -1 if num_leads == 1 else -2]
        signals = signal_mv.reshape(-1, num_leads, signal_mv.shape[-1])
        if isinstance(lead, str):
            lead_names = (lead,)
        elif lead is not None:
            lead_names = lead_names and (lead_names[lead],)
        names = None if lead_names is None or num_leads > 1 else tuple(lead_names)
        return model, Signals(signals, leading, unit_known, names)

    def windows(
        self,
        signal_mv: np.ndarray,
        sample_rate_hz: float,
        layer: str | int | None = None,
        *,
        unit_known: bool = True,
        stride_seconds: float | None = None,
    ) -> EmbeddedWindows:
        """Embeds every window of a signal [T], or [C, T] for an encoder of C leads.

        Raises:
            UserError: the signal, rate or layer is invalid, as in `embed`.
        """
        signal_mv = array.unmasked(signal_mv)
        array.check_leads(signal_mv, self.in_channels)
        windower = batch.make_windower(self.embedder, sample_rate_hz, stride_seconds)
        signals = Signals(np.atleast_2d(signal_mv)[None], (), unit_known, None)
        return next(signals_lib.embed(self.embedder, signals, windower, self.part(layer)))

    def stream(
        self,
        sample_rate_hz: float,
        layer: str | int | None = None,
        lead: str | None = None,
        *,
        lead_names: Sequence[str] | None = None,
        unit: str | None = None,
        stride_seconds: float | None = None,
        max_jitter_seconds: float = MAX_JITTER_SECONDS,
        prevalence: Mapping[str, float] | float | None = None,
        age_years: float | None = None,
    ) -> PacketStream:
        """Returns a stream that embeds a signal while it is recorded, as `windows` would later, and
        that answers, where the model has a head, as `predict` with `each_window` would.

        Args:
            sample_rate_hz, layer, lead, lead_names, unit, stride_seconds: as in `embed`; 12 leads
                without names arrive in the standard order.
            max_jitter_seconds: as in `PacketStream`.
            prevalence, age_years: as in `predict`.

        Raises:
            UserError: an argument is invalid; the message says which.
        """
        model = self if lead is None else self.for_leads([lead])
        windower = batch.make_windower(model.embedder, sample_rate_hz, stride_seconds)
        answerer = prediction.window_answerer(
            model.head,
            model.embedder,
            prevalence,
            sample_rate_hz=windower.sample_rate_hz,
            lead_names=lead_names or (None if lead is None else (lead,)),
            age_years=age_years,
        )
        return PacketStream(
            model.embedder,
            model.part(layer),
            windower,
            answerer=answerer,
            lead_names=lead_names,
            unit=unit,
            max_jitter_seconds=max_jitter_seconds,
        )

    def fit(
        self, recordings: Sequence[Any], labels: Any, *, patients: Any = None, **options: Any
    ) -> "LabelledModel":
        """Returns this model with a head fitted to labels; see `fitting.from_python.fit`."""
        # Fitting needs evaluation, which needs loaded models: it is imported when it is called.
        fitting = importlib.import_module("clef_jax.fitting.from_python")
        return fitting.fit(self.embedder, recordings, labels, patients=patients, **options)

    def explain(self, signal: Any, sample_rate_hz: float, **options: Any) -> "Explanation":
        """Returns what moved the answer to a signal; see `explaining.from_python.explain`."""
        explaining = importlib.import_module("clef_jax.explaining.from_python")
        return explaining.explain(self, signal, sample_rate_hz, **options)

    def part(self, layer: str | int | None) -> slice:
        """Returns the slice of a layer's features among those of all layers.

        Raises:
            UserError: the layer is unknown; the message lists the available ones.
        """
        if layer == "all":
            return slice(0, self.embedder.num_features)
        if isinstance(layer, int):
            names = list(self.embedder.layers)
            layer = names[layer - 1] if 1 <= layer <= len(names) else f"stage_{layer}"
        return encoder_lib.layer_slice(self.embedder, layer or "last")

    def for_leads(self, leads: Sequence[str]) -> "Pretrained":
        """Returns the model for leads; a published encoder of several has a form for one alone.

        Raises:
            UserError: the encoder has another network for each of several leads.
        """
        if not self._takes_one_of_several or ALL_LEADS in leads:
            return self
        if len(leads) > 1:
            raise UserError(
                f"{self.name} has another network for each lead; embed {' and '.join(leads)} one "
                "after the other, or all leads together.",
                problem="several_networks",
            )
        return self._of_lead(leads[0], None)

    @property
    def _takes_one_of_several(self) -> bool:
        """Whether the network takes several leads, and has a form for each of them alone."""
        return self.in_channels > 1 and isinstance(self.embedder, ForeignEncoder)

    def _of_lead(self, lead: str | int, lead_names: Sequence[str] | None) -> "Pretrained":
        """Returns the model for one lead alone."""
        assert isinstance(self.embedder, ForeignEncoder)
        if not isinstance(lead, str):
            if lead_names is None:
                raise UserError(
                    f"{self.name} has another network for each lead; name the lead, such as "
                    f"lead='II', instead of its number {lead}.",
                    problem="unnamed_lead",
                )
            lead = lead_names[lead]
        return Pretrained(self.embedder.for_lead(lead))
