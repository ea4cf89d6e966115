"""Evaluates models on tasks: embeds the data, fits probes and scores the predictions.

Features are computed once for all tasks and stored on disk.
"""

import dataclasses
import functools
import pathlib
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import rich.console

from clef_jax import tasks
from clef_jax.data import index as index_lib
from clef_jax.embedding import encoder as encoder_lib
from clef_jax.embedding.encoder import Embedder
from clef_jax.embedding.foreign import ForeignEncoder
from clef_jax.embedding.prepared import Embedded
from clef_jax.errors import UserError
from clef_jax.evaluation import (
    adaptation,
    attention,
    clinical_baseline,
    feature_source,
    finetune,
    geometry,
    head_keeper,
    lead_one,
    prediction,
    probe,
    score,
    time_steps,
)
from clef_jax.evaluation.feature_source import FeatureSource, Model
from clef_jax.evaluation.keeper import Keeper
from clef_jax.evaluation.prediction import HoldOut, Layers, Predictions, Protocol
from clef_jax.evaluation.result import Result
from clef_jax.evaluation.score import Scored
from clef_jax.evaluation.settings import ATTENTION, BEST, FINETUNE, LAST, LEAD_I, LINEAR, Config
from clef_jax.tasks import Task

CLINICAL_BASELINE = "age, sex, pressure"
"""Name of the model that predicts from the patient's metadata, without a signal."""
_METADATA_LAYER = "facts"
"""Name of the clinical baseline's features in the results."""


class Bench:
    """Evaluates models on tasks."""

    def __init__(self, config: Config, models: Sequence[Model], console: rich.console.Console):
        self.config, self.models, self.console = config, models, console
        self.problems: list[str] = []
        """Messages about what could not be evaluated."""
        self.remarks: list[str] = []
        """Sentences about probes that a model cannot have."""
        self._windows_per_second: dict[str, float] = {}
        self._seconds: dict[str, float] = {}

    def evaluate(self, task: Task) -> list[Result]:
        """Returns the results of every model on a task, those with all labels first.

        If the evaluation of the task fails, its message is added to `problems` and the results
        until then are returned.
        """
        results: list[Result] = []
        try:
            for result in self._evaluate(task):
                results.append(result)
        except UserError as error:
            self.problems.append(f"The task {task.name} was not finished. {error}")
        return results

    def check(self) -> None:
        """Raises UserError if a model lacks the layer, or no model can have any of the probes."""
        for model in self.models if self.config.layer != BEST else ():
            encoder_lib.layer_slice(model, _single_layer(model, self.config.layer))
        if set(self.config.methods) == {ATTENTION}:
            fits = [isinstance(model, time_steps.HasTimeSteps) for model in self.models]
            if not any(fits):
                time_steps.check(self.models[0])

    def _evaluate(self, task: Task) -> Iterator[Result]:
        if self.config.preset == LEAD_I:
            for model in self.models:
                yield from self._evaluate_lead_one(task, model)
            return
        for fraction in sorted(self.config.label_shares, reverse=True):
            for number in range(1 if fraction == 1 else self.config.label_draws):
                yield from self._evaluate_once(task, fraction, self.config.seed + number)

    def _evaluate_once(self, task: Task, label_fraction: float, seed: int) -> Iterator[Result]:
        hold_out = HoldOut.parse(self.config.hold_out) if self.config.hold_out else None
        protocol = Protocol(
            label_fraction=label_fraction,
            hold_out=hold_out,
            cross_validate=self.config.cross_validate,
            seed=seed,
        )
        splits: dict[str, Embedded] = {}
        for model in self.models:
            model = _as_released(model, task) if self.config.preset == "released" else model
            model = self._adapted(model, task.dataset, task.lead)
            splits = self._embed(task, model)
            for method in self.config.methods:
                setup = self._set_up(task, model, method, splits, protocol)
                if setup is None:
                    continue
                for result in self._results(task, model.name, method, splits, *setup):
                    if self.config.keep_heads and label_fraction == 1:
                        self._keep_head(task, model, splits, result, *setup)
                    yield result
        known = _first_split(splits)
        targets = tasks.targets(task, _metadata(splits), known.metadata)
        leaking = clinical_baseline.leaking(known, targets)
        if set(leaking) != set(clinical_baseline.COLUMNS):
            layers = {_METADATA_LAYER: lambda split: clinical_baseline.features(split, leaking)}
            yield from self._results(task, CLINICAL_BASELINE, "linear", splits, layers, protocol)

    def _evaluate_lead_one(self, task: Task, model: Model) -> Iterator[Result]:
        start, config = time.monotonic(), self.config
        model = self._adapted(model, task.dataset, task.lead)
        splits, layers = self._embed(task, model), layers_of(model, BEST)
        for method, predictions in lead_one.predict(task, splits, layers, config.seed):
            scores = lead_one.scores(
                task, predictions, num_resamples=config.num_resamples, seed=config.seed
            )
            yield self._result(
                task, model.name, method, 1.0, config.seed, predictions, scores, start
            )
            start = time.monotonic()

    def _set_up(
        self,
        task: Task,
        model: Model,
        method: str,
        splits: Mapping[str, Embedded],
        protocol: Protocol,
    ) -> tuple[Layers, Protocol] | None:
        """Returns the layers that a method uses, and the protocol with the method's fit.

        It is None if the method does not apply to the model: baselines without weights cannot be
        fine-tuned.
        """
        if method == ATTENTION:
            return self._set_up_attention(task, model, splits, protocol)
        if method != FINETUNE:
            widths = model.widths if isinstance(model, FeatureSource) else ()
            fit = functools.partial(probe.fit, method=method, widths=widths)
            layers = layers_of(model, self.config.layer)
            return layers, dataclasses.replace(protocol, fit=fit)
        if not isinstance(model, Embedder | ForeignEncoder):
            return None
        released = self.config.preset == "released"
        tuned = finetune.Config(rates=self.config.finetune_rates)
        settings = finetune.RELEASED if released else tuned
        names = tasks.outputs_of(task, _metadata(splits))
        keeper = Keeper(model, self.config.folder / "fine_tuned" / task.name, names)
        fit = finetune.make_fit(model, splits, settings, keeper)
        return finetune.locations(splits), dataclasses.replace(protocol, fit=fit)

    def _set_up_attention(
        self, task: Task, model: Model, splits: Mapping[str, Embedded], protocol: Protocol
    ) -> tuple[Layers, Protocol] | None:
        """Returns what `_set_up` does; None, with a remark, if the model gives no time steps."""
        layer = _single_layer(model, self.config.layer)
        try:
            source = time_steps.check(model)
            steps = [
                time_steps.embed(source, split.index, task.lead, layer, self._cache, self.console)
                for split in splits.values()
            ]
        except UserError as error:
            if error.problem != time_steps.NO_TIME_STEPS:
                raise
            if str(error) not in self.remarks:
                self.remarks.append(str(error))
                self.console.print(str(error), soft_wrap=True, markup=False)
            return None
        protocol = dataclasses.replace(protocol, fit=attention.make_fit(steps))
        return finetune.locations(splits, layer), protocol

    def _keep_head(
        self,
        task: Task,
        model: Model,
        splits: Mapping[str, Embedded],
        result: Result,
        layers: Layers,
        protocol: Protocol,
    ) -> None:
        """Writes encoder and head of a result as a model folder, where they have that form."""
        is_head = result.method in (LINEAR, ATTENTION)
        if not is_head or not isinstance(model, Embedder | ForeignEncoder):
            return
        folder = self.config.folder / "heads" / task.name / result.method
        division = prediction.divide(task, splits, layers, protocol)
        path = head_keeper.keep(model, task, division, protocol, result.predictions, folder)
        self.console.print(f"{task.name}: head kept in {path}", soft_wrap=True, markup=False)

    def _adapted(self, model: Model, dataset: str, lead: str) -> Model:
        """Returns the model for one lead of a data set."""
        hold_out = HoldOut.parse(self.config.hold_out) if self.config.hold_out else None
        folder, cache = index_lib.find(self.config.data_dir, dataset), self._cache
        return adaptation.adapt(model, folder, lead, hold_out, cache)

    @property
    def _cache(self) -> pathlib.Path:
        return self.config.folder / "embeddings"

    def _embed(self, task: Task, model: Model) -> dict[str, Embedded]:
        """Returns the embedded splits of a task's data set."""
        folder = index_lib.find(self.config.data_dir, task.dataset)
        splits = {
            name: feature_source.embed(
                model, index_lib.load(folder, name), task.lead, self._cache, self.console
            )
            for name in index_lib.splits(folder)
        }
        self._windows_per_second[model.name] = max(
            split.windows_per_second for split in splits.values()
        )
        return splits

    def _results(
        self,
        task: Task,
        model: str,
        method: str,
        splits: Mapping[str, Embedded],
        layers: Layers,
        protocol: Protocol,
    ) -> Iterator[Result]:
        """Yields the result of one model and method, or nothing if a fraction of the labels is too
        small to fit a probe."""
        start = time.monotonic()
        try:
            predictions = prediction.predict(task, splits, layers, protocol)
        except UserError as error:
            if protocol.label_fraction == 1:
                raise
            message = f"{task.name} with {protocol.label_fraction:.0%} of the labels: {error}"
            self.console.print(message, soft_wrap=True)
            return
        scores = score.compute(
            task, predictions, num_resamples=self.config.num_resamples, seed=self.config.seed
        )
        fraction, seed = protocol.label_fraction, protocol.seed
        yield self._result(task, model, method, fraction, seed, predictions, scores, start)

    def _result(
        self,
        task: Task,
        model: str,
        method: str,
        fraction: float,
        seed: int,
        predictions: Predictions,
        scores: Iterator[Scored],
        start: float,
    ) -> Result:
        """Returns a result, and prints its primary score; the time began at `start`."""
        computed = tuple(scores)
        seconds = time.monotonic() - start
        self._seconds[model] = self._seconds.get(model, 0.0) + seconds
        result = Result(task, model, method, fraction, seed, predictions, computed, seconds)
        primary, labels = result.primary(), "" if fraction == 1 else f", {fraction:.3g} of labels"
        self.console.print(
            f"{task.name}: {result.row}{labels}: {primary.name} {primary}, {seconds:.0f} s",
            soft_wrap=True,
            markup=False,
        )
        return result

    def measure_geometry(self) -> Iterator[geometry.Geometry]:
        """Yields the geometry of every model's embeddings; a failure is added to `problems`."""
        config = self.config
        try:
            folder = index_lib.find(config.data_dir, config.geometry_dataset)
            splits = {split: index_lib.load(folder, split) for split in index_lib.splits(folder)}
            lead = config.lead or "I"
            for model in self.models:
                model = self._adapted(model, config.geometry_dataset, lead)
                yield geometry.measure(
                    model,
                    splits,
                    lead,
                    encoder_lib.layer_slice(model, _single_layer(model, config.layer)),
                    num_permutations=config.num_resamples - 1,
                    seed=config.seed,
                    cache_dir=config.folder / "embeddings",
                )
                self.console.print(f"geometry: {model.name}", soft_wrap=True, markup=False)
        except UserError as error:
            self.problems.append(f"The geometry was not measured. {error}")

    def costs(self) -> dict[str, dict[str, float]]:
        """Returns the costs of each model, as far as they are known.

        They are the number of parameters, the FLOPs per window, the windows embedded per second,
        and the seconds spent on probes and intervals.
        """
        costs: dict[str, dict[str, float]] = {
            model.name: dict(model.costs) for model in self.models
        }
        for name, speed in self._windows_per_second.items():
            if not np.isfinite(speed):
                continue  # stored embeddings took an unknown time
            costs[name]["windows_per_second"] = round(speed, 1)
        for name, seconds in self._seconds.items():
            costs.setdefault(name, {})["seconds_asked"] = round(seconds, 1)
        return costs


def _first_split(splits: Mapping[str, Embedded]) -> Embedded:
    """Returns the training split, or the first split if there is no training split."""
    return splits["train"] if "train" in splits else next(iter(splits.values()))


def _metadata(splits: Mapping[str, Embedded]) -> Mapping[str, Any]:
    return index_lib.read_metadata(_first_split(splits).index.version_dir)


def layers_of(model: Model, layer: str) -> Layers:
    """Returns functions that select a layer's features, by the layer's name; all with `best`."""
    names = tuple(model.layers) if layer == BEST else (_single_layer(model, layer),)

    def read(columns: slice):
        return lambda split: split.features[:, columns]

    return {name: read(encoder_lib.layer_slice(model, name)) for name in names}


def _single_layer(model: Model, layer: str) -> str:
    """Returns the layer to evaluate; `last` for `best` or a model of one layer."""
    return LAST if layer == BEST or len(model.layers) == 1 else layer


def _as_released(model: Model, task: Task) -> Model:
    """Returns the encoder with the public reference's preprocessing for a task."""
    assert task.released is not None  # the command selects only such tasks
    if not isinstance(model, Embedder):
        return model
    own = model.recipe.without_variant()
    band_hz = own.band_hz if task.released.filtered else None
    recipe = dataclasses.replace(own, band_hz=band_hz, zscored=task.released.zscored)
    return dataclasses.replace(model, recipe=recipe)
