"""Judges encoders: `python -m clef_jax.evaluate --checkpoint=RUN --data-dir=DIR --out=DIR`.

Every task is asked of every encoder, beside encoders that learned nothing, beside rhythm and
spectrum, and beside what age and sex alone tell. Features are computed once and kept.
"""

import dataclasses
import functools
import pathlib
import shlex
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import jax
import numpy as np
import rich.console
import rich.table
import tyro

from clef_jax import files, mesh as mesh_lib, plugin, tasks
from clef_jax.data import index as index_lib
from clef_jax.embedding import encoder as encoder_lib, prepared
from clef_jax.embedding.encoder import Embedder, Encoder
from clef_jax.embedding.prepared import Embedded
from clef_jax.errors import UserError, exit_on_user_error
from clef_jax.evaluation import (
    clinical_baseline,
    finetune,
    geometry,
    models as models_lib,
    page,
    prediction,
    probe,
    result as result_lib,
    score,
)
from clef_jax.evaluation.prediction import HoldOut, Layers, Protocol
from clef_jax.evaluation.result import Compared, Result
from clef_jax.tasks import Task

ALL = "all"
PAPER = "paper"
FORM = "age, sex, pressure"
"""The model that knows no signal."""
LAST, BEST = "last", "best"
FINETUNE = "finetune"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Judges pre-trained encoders by what can be read from their features, beside floors."""

    checkpoint: tuple[str, ...] = ()
    """Workdirs of training runs, model folders or files of weights; the first is compared with
    every other one."""
    compare: tuple[str, ...] = ()
    """More workdirs, or names of baselines, to put beside them."""
    data_dir: str
    """Folder that `python -m clef_jax.prepare` wrote to."""
    out: str
    """Folder for the page, the results and cached embeddings."""
    tasks: str = ALL
    """Names separated by commas; all, or paper for the paper's 18. Tasks whose data set is not
    prepared are left out, and told, unless they are named."""
    preset: Literal["paper", "released"] = "paper"
    """released: lead, scaling and fine-tuning as the public PyTorch reference does each task."""
    probes: str = "linear"
    """How questions are put, separated by commas: linear, knn, finetune."""
    lead: str | None = None
    """Another lead than each task's own."""
    layer: str = LAST
    """Which features: last, a stage such as stage_5, or best, chosen on validation data."""
    label_shares: tuple[float, ...] = (1.0,)
    """Shares of the training patients whose labels are known, for example 0.01 0.1 1."""
    label_draws: int = 3
    """How often a share below 1 is drawn."""
    hold_out: str | None = None
    """LABEL=NUMBER, for example strat_fold=8: tests on these recordings whatever their split."""
    cross_validate: bool = False
    """Predict every patient of all splits by cross-validation instead of testing on the test
    split: for small data sets. Where something is held out it stays the test."""
    baselines: str = models_lib.ALL
    """What to stand beside: all, none, or names of clef_jax.baselines."""
    random_encoders: int = 3
    """Untrained encoders of the same size to stand beside, of as many seeds."""
    size: str = "small"
    """Of the untrained encoders, if no checkpoint is given."""
    geometry: bool = False
    """Also look at the space of the embeddings: does it follow clinical risk?"""
    geometry_dataset: str = "mimic_iv_ecg"
    """The prepared data set to look at, NAME or NAME/CONFIG."""
    num_resamples: int = 1000
    """Resamples of the patients for each interval, and permutations for each test."""
    seed: int = 0

    def __post_init__(self):
        if self.num_resamples < 100:
            raise UserError(f"--num-resamples={self.num_resamples} must be at least 100.")
        if self.random_encoders < 0:
            raise UserError("--random-encoders must not be negative.")
        if self.label_draws < 1:
            raise UserError("--label-draws must be at least 1.")
        if not self.label_shares or not all(0 < share <= 1 for share in self.label_shares):
            raise UserError("--label-shares are shares above 0 and up to 1.")
        for name in self.methods:
            if name not in (*probe.METHODS, FINETUNE):
                unknown = plugin.unknown("probe", name, (*probe.METHODS, FINETUNE))
                raise UserError(f"--probes: {unknown}")

    @property
    def methods(self) -> tuple[str, ...]:
        """The probes; the released protocol fine-tunes."""
        if self.preset == "released":
            return (FINETUNE,)
        return tuple(name.strip() for name in self.probes.split(","))

    @property
    def folder(self) -> pathlib.Path:
        return pathlib.Path(self.out).expanduser().resolve()


def main(argv: Sequence[str] | None = None) -> None:
    with exit_on_user_error():
        run(tyro.cli(Config, args=argv, prog="python -m clef_jax.evaluate"), argv)


def run(config: Config, argv: Sequence[str] | None = None) -> list[Result]:
    """Asks all tasks of all models, and writes what came of it."""
    console = rich.console.Console(highlight=False)
    mesh = mesh_lib.make_mesh(jax.local_devices())
    chosen = list(_chosen(config, console))
    models = models_lib.collect(
        (*config.checkpoint, *config.compare),
        config.baselines,
        mesh,
        size=config.size,
        num_seeds=config.random_encoders,
        seed=config.seed,
    )
    bench = Bench(config, models, console)
    about = _about(config, models, argv)
    results: list[Result] = []
    for task in chosen:
        found = bench.ask(task)
        if found:
            console.print(_table(task, found))
            for note in result_lib.notes(found):
                console.print(note, soft_wrap=True)
        results += found
        if results:  # after each task, so that a long run leaves what it has
            result_lib.write(results, config.folder, about)
    compared = result_lib.compare(results, num_resamples=config.num_resamples, seed=config.seed)
    spaces = bench.spaces() if config.geometry else []
    about["costs"] = bench.costs()
    if results:
        result_lib.write(results, config.folder, about, compared)
    _tell(compared, spaces, console)
    path = config.folder / "report.html"
    files.write_text(path, page.render(about, results, compared, spaces, bench.problems))
    console.print(f"The report is {path}; results.json, .csv and .parquet are beside it.")
    if bench.problems:
        raise UserError("\n".join(bench.problems))
    return results


class Bench:
    """Puts tasks to models."""

    def __init__(self, config: Config, models: Sequence[Encoder], console: rich.console.Console):
        self.config, self.models, self.console = config, models, console
        self.problems: list[str] = []
        """What could not be asked, as sentences."""
        self._speed: dict[str, float] = {}
        self._seconds: dict[str, float] = {}

    def ask(self, task: Task) -> list[Result]:
        """The results of every model on a task, all labels first."""
        found: list[Result] = []
        try:
            for result in self._ask(task):
                found.append(result)
        except UserError as error:
            self.problems.append(f"The task {task.name} was not finished. {error}")
        return found

    def _ask(self, task: Task) -> Iterator[Result]:
        for share in sorted(self.config.label_shares, reverse=True):
            for draw in range(1 if share == 1 else self.config.label_draws):
                yield from self._ask_once(task, share, self.config.seed + draw)

    def _ask_once(self, task: Task, share: float, seed: int) -> Iterator[Result]:
        hold_out = HoldOut.parse(self.config.hold_out) if self.config.hold_out else None
        protocol = Protocol(
            label_share=share,
            hold_out=hold_out,
            cross_validate=self.config.cross_validate,
            seed=seed,
        )
        splits: dict[str, Embedded] = {}
        for model in self.models:
            model = _as_released(model, task) if self.config.preset == "released" else model
            splits = self._embed(task, model)
            for method in self.config.methods:
                asked = self._way(task, model, method, splits, protocol)
                if asked is not None:
                    yield from self._result(task, model.name, method, splits, *asked)
        known, metadata = _known(splits), _metadata(splits)
        away = clinical_baseline.giving_away(known, tasks.targets(task, metadata, known.facts))
        if set(away) != set(clinical_baseline.FACTS):
            layers = {"facts": lambda one: clinical_baseline.features_of(one, away)}
            yield from self._result(task, FORM, "linear", splits, layers, protocol)

    def _way(
        self,
        task: Task,
        model: Encoder,
        method: str,
        splits: Mapping[str, Embedded],
        protocol: Protocol,
    ) -> tuple[Layers, Protocol] | None:
        """What a method reads, and how it fits; None if the model cannot be asked so."""
        if method != FINETUNE:
            fit = functools.partial(probe.fit, method=method)
            layers = layers_of(model, self.config.layer)
            return layers, dataclasses.replace(protocol, fit=fit)
        if not isinstance(model, Embedder):
            return None
        released = self.config.preset == "released"
        settings = finetune.RELEASED if released else finetune.Config()
        names = tasks.outputs_of(task, _metadata(splits))
        keeper = finetune.Keeper(model, self.config.folder / "fine_tuned" / task.name, names)
        fit = finetune.make_fit(model, splits, settings, keeper)
        return finetune.places_of(splits), dataclasses.replace(protocol, fit=fit)

    def _embed(self, task: Task, model: Encoder) -> dict[str, Embedded]:
        folder = index_lib.find(self.config.data_dir, task.dataset)
        cache = self.config.folder / "embeddings"
        found = {
            split: prepared.embed(
                model, index_lib.load(folder, split), task.lead, cache, self.console
            )
            for split in index_lib.splits(folder)
        }
        self._speed[model.name] = max(one.windows_per_second for one in found.values())
        return found

    def _result(
        self,
        task: Task,
        model: str,
        method: str,
        splits: Mapping[str, Embedded],
        layers: Layers,
        protocol: Protocol,
    ) -> Iterator[Result]:
        start = time.monotonic()
        try:
            answers = prediction.predict(task, splits, layers, protocol)
        except UserError as error:
            if protocol.label_share == 1:
                raise
            words = f"{task.name} with {protocol.label_share:.0%} of the labels: {error}"
            self.console.print(words, soft_wrap=True)
            return
        scores = score.compute(
            task, answers, num_resamples=self.config.num_resamples, seed=self.config.seed
        )
        seconds = time.monotonic() - start
        self._seconds[model] = self._seconds.get(model, 0.0) + seconds
        share, seed = protocol.label_share, protocol.seed
        yield Result(task, model, method, share, seed, answers, tuple(scores), seconds)

    def spaces(self) -> list[geometry.Geometry]:
        """What is found about the space of every model."""
        config, found = self.config, []
        try:
            folder = index_lib.find(config.data_dir, config.geometry_dataset)
            splits = {split: index_lib.load(folder, split) for split in index_lib.splits(folder)}
            for model in self.models:
                one = geometry.measure(
                    model,
                    splits,
                    config.lead or "I",
                    encoder_lib.layer_slice(model, _one_layer(model, config.layer)),
                    num_permutations=config.num_resamples - 1,
                    seed=config.seed,
                )
                found.append(one)
        except UserError as error:
            self.problems.append(f"The geometry was not measured. {error}")
        return found

    def costs(self) -> dict[str, dict[str, float]]:
        """Of each model: parameters, FLOPs of a window, windows/s when embedding, seconds asked."""
        found: dict[str, dict[str, float]] = {
            model.name: dict(model.costs) for model in self.models
        }
        for name, speed in self._speed.items():
            found[name]["windows_per_second"] = round(speed, 1)
        for name, seconds in self._seconds.items():
            found.setdefault(name, {})["seconds_asked"] = round(seconds, 1)
        return found


def _known(splits: Mapping[str, Embedded]) -> Embedded:
    """Returns the training split, or the first one where there is none."""
    return splits["train"] if "train" in splits else next(iter(splits.values()))


def _metadata(splits: Mapping[str, Embedded]) -> Mapping[str, Any]:
    return index_lib.read_metadata(_known(splits).index.version_dir)


def layers_of(model: Encoder, layer: str) -> Layers:
    """What a probe may read of a model: one layer, or all, of which the best answers."""
    names = tuple(model.layers) if layer == BEST else (_one_layer(model, layer),)

    def part(at: slice):
        return lambda one: one.features[:, at]

    return {name: part(encoder_lib.layer_slice(model, name)) for name in names}


def _one_layer(model: Encoder, layer: str) -> str:
    """The layer to look at; a formula has no stages, and of many none is best for no task."""
    return LAST if layer == BEST or len(model.layers) == 1 else layer


def _as_released(model: Encoder, task: Task) -> Encoder:
    """The same encoder behind the reference's preprocessing of a task."""
    assert task.released is not None  # `_chosen` asks no others
    if not isinstance(model, Embedder):
        return model
    band_hz = model.recipe.band_hz if task.released.filtered else None
    recipe = dataclasses.replace(model.recipe, band_hz=band_hz, zscored=task.released.zscored)
    return dataclasses.replace(model, recipe=recipe)


def _chosen(config: Config, console: rich.console.Console) -> Iterator[Task]:
    """The tasks to ask: those named, or all whose data set is prepared."""
    wanted = config.tasks.strip()
    if wanted not in (ALL, PAPER):
        for name in wanted.split(","):
            task = tasks.find(name.strip())
            index_lib.find(config.data_dir, task.dataset)
            if config.preset == "released" and task.released is None:
                raise UserError(f"The public reference does not have the task {task.name}.")
            yield _on_lead(task, config)
        return
    left_out = []
    for name, task in tasks.load().items():
        outside = (wanted == PAPER and not task.in_paper) or (
            config.preset == "released" and task.released is None
        )
        if outside:
            continue
        try:
            index_lib.find(config.data_dir, task.dataset)
        except UserError:
            left_out.append(name)
        else:
            yield _on_lead(task, config)
    if left_out:
        words = f"Left out, because their data is not prepared: {', '.join(left_out)}."
        console.print(words, soft_wrap=True)


def _on_lead(task: Task, config: Config) -> Task:
    lead = config.lead
    if config.preset == "released" and task.released is not None:
        lead = lead or task.released.lead
        splits = f"The reference's splits: {task.released.splits}; here: as prepared."
        caveats = (*task.caveats, splits, *task.released.caveats)
        task = dataclasses.replace(task, caveats=caveats)
    return task if lead is None else dataclasses.replace(task, lead=lead)


def _about(config: Config, models: Sequence[Encoder], argv: Sequence[str] | None) -> dict[str, Any]:
    arguments = sys.argv[1:] if argv is None else argv
    return {
        "command": shlex.join(["python", "-m", "clef_jax.evaluate", *arguments]),
        "settings": dataclasses.asdict(config),
        "models": {model.name: model.fingerprint for model in models},
    }


def _table(task: Task, results: Sequence[Result]) -> rich.table.Table:
    shown = [one for result in results for one in result.scores if one.in_table]
    names = list(dict.fromkeys(one.name for one in shown))
    answers = results[0].answers
    how = "cross-validated by patient" if answers.cross_validated else "test recordings"
    title = (
        f"{task.name}: {len(answers.target):,} recordings of "
        f"{len(np.unique(answers.patient)):,} patients, {how}, lead {task.lead}"
    )
    table = rich.table.Table("model", *names, title=title)
    draws: dict[str, list[float]] = {}
    for result in results:
        if result.label_share < 1:
            row = f"{result.row}, {result.label_share:.3g} of labels"
            draws.setdefault(row, []).append(result.primary().value)
            continue
        cells = {one.name: str(one) for one in result.scores}
        table.add_row(result.row, *(cells.get(name, "") for name in names))
    for row, values in draws.items():
        known = [value for value in values if np.isfinite(value)]
        table.add_row(
            row, f"{np.mean(known):.3g}, mean of {len(known)}" if known else "not defined"
        )
    return table


def _tell(
    compared: Sequence[Compared],
    spaces: Sequence[geometry.Geometry],
    console: rich.console.Console,
) -> None:
    if spaces:
        table = rich.table.Table("measure", *(one.model for one in spaces), "")
        for row in geometry.side_by_side(spaces):
            table.add_row(*row)
        console.print(table)
    for one in compared:
        if one.is_significant:
            console.print(
                f"{one.task}: {one.first} and {one.second} differ by {one.difference.value:+.3g} "
                f"in {one.score} (p = {one.p_holm:.3g} after Holm's correction).",
                soft_wrap=True,
            )


if __name__ == "__main__":
    main()
