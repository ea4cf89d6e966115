"""Judges encoders: `python -m clef_jax.evaluate --checkpoint=RUN --data-dir=DIR --out=DIR`.

Every task is asked of every encoder by a linear probe on its frozen features, beside encoders that
learned nothing and beside what age and sex alone tell. Features are computed once and kept.
"""

import csv
import dataclasses
import json
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np
import rich.console
import rich.table
import tyro

from clef_jax import embedder as embedder_lib, mesh as mesh_lib, tasks
from clef_jax.data import index as index_lib
from clef_jax.embedder import Embedder
from clef_jax.errors import UserError, told_to_user
from clef_jax.evaluation import embedding, floor, question, score
from clef_jax.evaluation.embedding import Embedded
from clef_jax.evaluation.question import Answers
from clef_jax.tasks import Task

ALL = "all"
PAPER = "paper"
FORM = "age, sex, pressure"
"""The model that knows no signal."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Judges pre-trained encoders by linear probes, beside floors."""

    checkpoint: tuple[str, ...] = ()
    """Workdirs of training runs; several are put side by side."""
    data_dir: str
    """Folder that `python -m clef_jax.prepare` wrote to."""
    out: str
    """Folder for results, predictions and cached embeddings."""
    tasks: str = ALL
    """Names separated by commas; all, or paper for the paper's 18. Tasks whose data set is not
    prepared are left out, and told, unless they are named."""
    lead: str | None = None
    """Another lead than each task's own."""
    layer: str = "last"
    """Which features: last, or a stage such as stage_5."""
    random_encoders: int = 3
    """Untrained encoders of the same size to stand beside, of as many seeds."""
    size: str = "small"
    """Of the untrained encoders, if no checkpoint is given."""
    num_resamples: int = 1000
    """Resamples of the patients for each interval."""
    seed: int = 0

    def __post_init__(self):
        if self.num_resamples < 100:
            raise UserError(f"--num-resamples={self.num_resamples} must be at least 100.")
        if self.random_encoders < 0:
            raise UserError("--random-encoders must not be negative.")
        if not self.checkpoint and not self.random_encoders:
            raise UserError("There is nothing to judge: give --checkpoint or --random-encoders.")


@dataclasses.dataclass(frozen=True)
class Result:
    """One model on one task."""

    task: str
    model: str
    answers: Answers
    scores: tuple[score.Scored, ...]


def main(argv: Sequence[str] | None = None) -> None:
    with told_to_user():
        run(tyro.cli(Config, args=argv, prog="python -m clef_jax.evaluate"))


def run(config: Config) -> list[Result]:
    """Asks all tasks of all models, and writes what came of it."""
    console = rich.console.Console(highlight=False)
    out = pathlib.Path(config.out).expanduser().resolve()
    mesh = mesh_lib.make_mesh(jax.local_devices())
    chosen = list(_chosen(config, console))
    models = list(_models(config, mesh))
    results: list[Result] = []
    for task in chosen:
        asked = list(_ask(task, models, config, out / "embeddings", console))
        console.print(_table(task, asked))
        results += asked
        write(results, config, out)  # after each task, so that a long run leaves what it has
    console.print(f"Results are in {out / 'results.json'} and results.csv.", soft_wrap=True)
    return results


def _chosen(config: Config, console: rich.console.Console) -> Iterator[Task]:
    """The tasks to ask: those named, or all whose data set is prepared."""
    wanted = config.tasks.strip()
    if wanted not in (ALL, PAPER):
        yield from (_on_lead(tasks.find(name.strip()), config) for name in wanted.split(","))
        return
    left_out = []
    for name, task in tasks.load().items():
        if wanted == PAPER and not task.in_paper:
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
    return task if config.lead is None else dataclasses.replace(task, lead=config.lead)


def _models(config: Config, mesh: jax.sharding.Mesh) -> Iterator[Embedder]:
    found = [embedder_lib.from_run(workdir, mesh) for workdir in config.checkpoint]
    names = [one.name for one in found]
    for one in found:
        doubled = names.count(one.name) > 1
        yield dataclasses.replace(one, name=config.checkpoint[found.index(one)]) if doubled else one
    size, recipe = (found[0].size, found[0].recipe) if found else (config.size, None)
    for seed in range(config.random_encoders):
        yield embedder_lib.random(size, mesh, seed=config.seed + seed, recipe=recipe)


def _ask(
    task: Task,
    models: Sequence[Embedder],
    config: Config,
    cache: pathlib.Path,
    console: rich.console.Console,
) -> Iterator[Result]:
    """The results of every model on a task; the last one knows no signal."""
    splits: dict[str, Embedded] = {}
    for model in models:
        layer = embedder_lib.layer_slice(model, config.layer)
        splits = _embed(task, model, config, cache, console)
        yield _result(task, model.name, splits, lambda one, at=layer: one.features[:, at], config)
    known = splits["train"] if "train" in splits else next(iter(splits.values()))
    metadata = index_lib.read_metadata(known.index.version_dir)
    away = floor.giving_away(known, tasks.targets(task, metadata, known.facts))
    if set(away) != set(floor.FACTS):
        yield _result(task, FORM, splits, lambda one: floor.features_of(one, away), config)


def _embed(
    task: Task,
    model: Embedder,
    config: Config,
    cache: pathlib.Path,
    console: rich.console.Console,
) -> dict[str, Embedded]:
    folder = index_lib.find(config.data_dir, task.dataset)
    return {
        split: embedding.embed(model, index_lib.load(folder, split), task.lead, cache, console)
        for split in index_lib.splits(folder)
    }


def _result(
    task: Task,
    model: str,
    splits: dict[str, Embedded],
    features_of: Callable[[Embedded], np.ndarray],
    config: Config,
) -> Result:
    answers = question.ask(task, splits, features_of, seed=config.seed)
    scores = score.of(task, answers, num_resamples=config.num_resamples, seed=config.seed)
    return Result(task.name, model, answers, tuple(scores))


def _table(task: Task, results: Sequence[Result]) -> rich.table.Table:
    shown = [one for result in results for one in result.scores if one.in_table]
    names = list(dict.fromkeys(one.name for one in shown))
    answers = results[0].answers
    how = "cross-validated by patient" if answers.cross_validated else "test split"
    title = (
        f"{task.name}: {len(answers.target):,} recordings of "
        f"{len(np.unique(answers.patient)):,} patients, {how}, lead {task.lead}"
    )
    table = rich.table.Table("model", *names, title=title)
    for result in results:
        cells = {one.name: str(one) for one in result.scores}
        table.add_row(result.model, *(cells.get(name, "") for name in names))
    return table


def write(results: Sequence[Result], config: Config, out: pathlib.Path) -> None:
    """Writes results.json with everything and results.csv with a line for each score."""
    out.mkdir(parents=True, exist_ok=True)
    lines = [line for result in results for line in _lines(result)]
    settings = dataclasses.asdict(config)
    text = json.dumps({"settings": settings, "results": lines}, indent=1, allow_nan=False)
    half = out / "results.json.half"
    half.write_text(text + "\n")
    half.replace(out / "results.json")
    with (out / "results.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(lines[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)


def _lines(result: Result) -> Iterator[dict[str, Any]]:
    answers = result.answers
    for one in result.scores:
        yield {
            "task": result.task,
            "model": result.model,
            **one.to_json(),
            "num_recordings": len(answers.target),
            "num_patients": len(np.unique(answers.patient)),
            "num_left_out": answers.num_left_out,
            "cross_validated": answers.cross_validated,
        }


if __name__ == "__main__":
    main()
