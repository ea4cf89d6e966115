"""Evaluates models on tasks: embeds the data, fits probes, scores the predictions.

Features are computed once for all tasks, and kept on disk.
"""

import dataclasses
import functools
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import rich.console

from clef_jax import tasks
from clef_jax.data import index as index_lib
from clef_jax.embedding import encoder as encoder_lib, prepared
from clef_jax.embedding.encoder import Embedder, Encoder
from clef_jax.embedding.prepared import Embedded
from clef_jax.errors import UserError
from clef_jax.evaluation import clinical_baseline, finetune, geometry, prediction, probe, score
from clef_jax.evaluation.keeper import Keeper
from clef_jax.evaluation.prediction import HoldOut, Layers, Protocol
from clef_jax.evaluation.result import Result
from clef_jax.evaluation.settings import BEST, FINETUNE, LAST, Config
from clef_jax.tasks import Task

CLINICAL_BASELINE = "age, sex, pressure"
"""Name of the model that predicts from the patient's metadata, without a signal."""
_METADATA_LAYER = "facts"
"""What the results call the features of the clinical baseline."""


class Bench:
    """Evaluates models on tasks."""

    def __init__(self, config: Config, models: Sequence[Encoder], console: rich.console.Console):
        self.config, self.models, self.console = config, models, console
        self.problems: list[str] = []
        """Sentences that say what could not be evaluated."""
        self._windows_per_second: dict[str, float] = {}
        self._seconds: dict[str, float] = {}

    def evaluate(self, task: Task) -> list[Result]:
        """Returns the results of every model on a task, those with all labels first.

        A task that cannot be finished adds to `problems`; its results until then are returned.
        """
        results: list[Result] = []
        try:
            for result in self._evaluate(task):
                results.append(result)
        except UserError as error:
            self.problems.append(f"The task {task.name} was not finished. {error}")
        return results

    def _evaluate(self, task: Task) -> Iterator[Result]:
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
            splits = self._embed(task, model)
            for method in self.config.methods:
                setup = self._set_up(task, model, method, splits, protocol)
                if setup is not None:
                    yield from self._results(task, model.name, method, splits, *setup)
        known = _first_split(splits)
        targets = tasks.targets(task, _metadata(splits), known.facts)
        leaking = clinical_baseline.leaking(known, targets)
        if set(leaking) != set(clinical_baseline.COLUMNS):
            layers = {_METADATA_LAYER: lambda split: clinical_baseline.features(split, leaking)}
            yield from self._results(task, CLINICAL_BASELINE, "linear", splits, layers, protocol)

    def _set_up(
        self,
        task: Task,
        model: Encoder,
        method: str,
        splits: Mapping[str, Embedded],
        protocol: Protocol,
    ) -> tuple[Layers, Protocol] | None:
        """Returns the layers that a method reads and the protocol that fits it.

        None if the method does not apply to the model: baselines without weights are not
        fine-tuned.
        """
        if method != FINETUNE:
            fit = functools.partial(probe.fit, method=method)
            layers = layers_of(model, self.config.layer)
            return layers, dataclasses.replace(protocol, fit=fit)
        if not isinstance(model, Embedder):
            return None
        released = self.config.preset == "released"
        settings = finetune.RELEASED if released else finetune.Config()
        names = tasks.outputs_of(task, _metadata(splits))
        keeper = Keeper(model, self.config.folder / "fine_tuned" / task.name, names)
        fit = finetune.make_fit(model, splits, settings, keeper)
        return finetune.places_of(splits), dataclasses.replace(protocol, fit=fit)

    def _embed(self, task: Task, model: Encoder) -> dict[str, Embedded]:
        folder = index_lib.find(self.config.data_dir, task.dataset)
        cache = self.config.folder / "embeddings"
        splits = {
            name: prepared.embed(
                model, index_lib.load(folder, name), task.lead, cache, self.console
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
        """Yields the result of one model and method; none where a few labels are not enough."""
        start = time.monotonic()
        try:
            predictions = prediction.predict(task, splits, layers, protocol)
        except UserError as error:
            if protocol.label_fraction == 1:
                raise
            words = f"{task.name} with {protocol.label_fraction:.0%} of the labels: {error}"
            self.console.print(words, soft_wrap=True)
            return
        scores = score.compute(
            task, predictions, num_resamples=self.config.num_resamples, seed=self.config.seed
        )
        seconds = time.monotonic() - start
        self._seconds[model] = self._seconds.get(model, 0.0) + seconds
        fraction, seed = protocol.label_fraction, protocol.seed
        yield Result(task, model, method, fraction, seed, predictions, tuple(scores), seconds)

    def measure_geometry(self) -> list[geometry.Geometry]:
        """Returns the geometry of every model's embeddings; a failure adds to `problems`."""
        config, geometries = self.config, []
        try:
            folder = index_lib.find(config.data_dir, config.geometry_dataset)
            splits = {split: index_lib.load(folder, split) for split in index_lib.splits(folder)}
            for model in self.models:
                measured = geometry.measure(
                    model,
                    splits,
                    config.lead or "I",
                    encoder_lib.layer_slice(model, _single_layer(model, config.layer)),
                    num_permutations=config.num_resamples - 1,
                    seed=config.seed,
                )
                geometries.append(measured)
        except UserError as error:
            self.problems.append(f"The geometry was not measured. {error}")
        return geometries

    def costs(self) -> dict[str, dict[str, float]]:
        """Returns the costs of each model.

        They are the number of parameters, FLOPs per window, windows embedded per second, and
        seconds of probes and intervals; each only where it is known.
        """
        costs: dict[str, dict[str, float]] = {
            model.name: dict(model.costs) for model in self.models
        }
        for name, speed in self._windows_per_second.items():
            costs[name]["windows_per_second"] = round(speed, 1)
        for name, seconds in self._seconds.items():
            costs.setdefault(name, {})["seconds_asked"] = round(seconds, 1)
        return costs


def _first_split(splits: Mapping[str, Embedded]) -> Embedded:
    """Returns the training split, or the first one where there is none."""
    return splits["train"] if "train" in splits else next(iter(splits.values()))


def _metadata(splits: Mapping[str, Embedded]) -> Mapping[str, Any]:
    return index_lib.read_metadata(_first_split(splits).index.version_dir)


def layers_of(model: Encoder, layer: str) -> Layers:
    """Returns the features of a layer, or with `best` of all layers, by the layer's name."""
    names = tuple(model.layers) if layer == BEST else (_single_layer(model, layer),)

    def read(columns: slice):
        return lambda split: split.features[:, columns]

    return {name: read(encoder_lib.layer_slice(model, name)) for name in names}


def _single_layer(model: Encoder, layer: str) -> str:
    """Returns the layer to evaluate; `last` for `best` or a model of one layer."""
    return LAST if layer == BEST or len(model.layers) == 1 else layer


def _as_released(model: Encoder, task: Task) -> Encoder:
    """Returns the encoder with the preprocessing that the public reference has for a task."""
    assert task.released is not None  # the command selects no other tasks
    if not isinstance(model, Embedder):
        return model
    band_hz = model.recipe.band_hz if task.released.filtered else None
    recipe = dataclasses.replace(model.recipe, band_hz=band_hz, zscored=task.released.zscored)
    return dataclasses.replace(model, recipe=recipe)
