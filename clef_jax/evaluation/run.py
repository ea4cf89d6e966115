"""Evaluates every encoder on every task; writes the results after each task and each geometry, and
a page at the end."""

import dataclasses
import shlex
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import rich.console
import rich.table

from clef_jax import files, mesh as mesh_lib, plugin, tasks
from clef_jax.data import index as index_lib
from clef_jax.errors import UserError, WrongArgument, invocation
from clef_jax.evaluation import (
    best,
    geometry,
    lead_one,
    models as models_lib,
    page,
    prediction,
    published_models,
    result as result_lib,
)
from clef_jax.evaluation.bench import Bench
from clef_jax.evaluation.feature_source import Model
from clef_jax.evaluation.geometry import Geometry
from clef_jax.evaluation.result import Comparison, Result
from clef_jax.evaluation.settings import ALL, LEAD_I, PAPER, Config
from clef_jax.tasks import Task


def run(config: Config, argv: Sequence[str] | None = None) -> list[Result]:
    """Evaluates all models on all tasks, writes the results and the page, and returns the results.

    Raises:
        UserError: no model or no task can be evaluated, or a file in the folder is not a result; or
            a task failed, in which case the other results are written first.
    """
    console = rich.console.Console(highlight=False)
    path = config.folder / "report.html"
    result_lib.check_outputs(config.folder, overwrite=config.overwrite)
    files.check_output(path, page.is_page, overwrite=config.overwrite)
    selected = check(config, console)
    mesh = mesh_lib.make_mesh(jax.local_devices())
    models = models_lib.collect(
        (*config.model, *config.compare),
        config.baselines,
        mesh,
        weights=config.weights,
        size=config.size,
        num_seeds=config.random_encoders,
        seed=config.seed,
        layer=config.layer,
        variants=config.variant,
    )
    bench = Bench(config, models, console)
    bench.check()
    about = _about(config, models, argv)
    results: list[Result] = []
    for task in selected:
        of_task = bench.evaluate(task)
        if of_task:
            console.print(result_lib.console_table(of_task))
            for note in result_lib.notes(of_task):
                console.print(note, soft_wrap=True)
        results += of_task
        # After each task and geometry, so that an interrupted run leaves its results.
        result_lib.write(results, config.folder, about)
    comparisons = result_lib.compare(results, num_resamples=config.num_resamples, seed=config.seed)
    geometries: list[Geometry] = []
    for measured in bench.measure_geometry() if config.geometry else ():
        geometries.append(measured)
        result_lib.write(results, config.folder, about, comparisons, geometries)
    about |= {"costs": bench.costs(), "remarks": bench.remarks}
    result_lib.write(results, config.folder, about, comparisons, geometries)
    _print_summary(comparisons, geometries, console)
    standings = best.by_task(results, num_resamples=config.num_resamples, seed=config.seed)
    shown = page.render(about, results, comparisons, geometries, bench.problems, standings)
    files.write_text(path, shown)
    console.print(
        f"The report is {path}; results.json, .csv and .parquet are in the same folder.",
        soft_wrap=True,
    )
    if bench.problems:
        raise UserError("\n".join(bench.problems))
    return results


def check(config: Config, console: rich.console.Console) -> list[Task]:
    """Returns the tasks to evaluate, after checks that need no model and no embedding.

    Args:
        config: Settings of the evaluation.
        console: Receives the names of skipped tasks.

    Raises:
        UserError: nothing can be evaluated, or a setting names something that does not exist.
    """
    selected = list(_select_tasks(config, console))
    if not selected and not config.geometry:
        raise UserError(
            f"No data set of the tasks is prepared in {config.data_dir}; prepare one with "
            f"{invocation('prepare')}, or set --data-dir.",
            problem="no_tasks",
        )
    if not selected:
        index_lib.find(config.data_dir, config.geometry_dataset)
    if config.hold_out:
        prediction.HoldOut.parse(config.hold_out)
    return selected


def _select_tasks(config: Config, console: rich.console.Console) -> Iterator[Task]:
    """Yields the named tasks, or all tasks whose data set is prepared.

    Raises:
        UserError: a named task is unknown, not part of the released protocol, or its data set is
            not prepared.
    """
    wanted = config.tasks.strip()
    if config.preset == LEAD_I:
        yield from _lead_one_tasks(config, wanted)
        return
    if wanted not in (ALL, PAPER):
        for name in wanted.split(","):
            task = tasks.find(name.strip())
            index_lib.find(config.data_dir, task.dataset)
            if config.preset == "released" and task.released is None:
                raise UserError(f"The public reference has no protocol for the task {task.name}.")
            yield _on_lead(task, config)
        return
    skipped = []
    for name, task in tasks.load().items():
        lacks_protocol = config.preset == "released" and task.released is None
        if (wanted == PAPER and not task.in_paper) or lacks_protocol:
            continue
        try:
            index_lib.find(config.data_dir, task.dataset)
        except UserError:
            skipped.append(name)
        else:
            yield _on_lead(task, config)
    if skipped:
        words = f"Skipped tasks without prepared data: {', '.join(skipped)}."
        console.print(words, soft_wrap=True)


def _lead_one_tasks(config: Config, wanted: str) -> Iterator[Task]:
    """Yields the tasks of the lead-I protocol, or those of them that are named."""
    known = lead_one.TASKS
    for name in known if wanted in (ALL, PAPER) else wanted.split(","):
        if name.strip() not in known:
            raise WrongArgument(plugin.unknown("task of the lead-I protocol", name, known))
        task = known[name.strip()]
        index_lib.find(config.data_dir, task.dataset)
        yield _on_lead(task, config)


def _on_lead(task: Task, config: Config) -> Task:
    """Returns the task on the lead that the settings name, with the protocol's caveats."""
    lead = config.lead
    if config.preset == "released" and task.released is not None:
        lead = lead or task.released.lead
        splits = f"The reference's splits: {task.released.splits}; here: as prepared."
        caveats = (*task.caveats, splits, *task.released.caveats)
        task = dataclasses.replace(task, caveats=caveats)
    return task if lead is None else dataclasses.replace(task, lead=lead)


def _about(config: Config, models: Sequence[Model], argv: Sequence[str] | None) -> dict[str, Any]:
    arguments = sys.argv[1:] if argv is None else argv
    return {
        "command": shlex.join(["python", "-m", "clef_jax.evaluate", *arguments]),
        "settings": dataclasses.asdict(config),
        "models": {model.name: model.fingerprint for model in models},
        "inputs": published_models.inputs_of(models),
    }


def _print_summary(
    comparisons: Sequence[Comparison],
    geometries: Sequence[Geometry],
    console: rich.console.Console,
) -> None:
    if geometries:
        table = rich.table.Table("measure", *(item.model for item in geometries), "")
        for row in geometry.side_by_side(geometries):
            table.add_row(*row)
        console.print(table)
    for comparison in comparisons:
        if comparison.is_significant:
            console.print(
                f"{comparison.task}: {comparison.first} and {comparison.second} differ by "
                f"{comparison.difference.value:+.3g} in {comparison.score} "
                f"(p = {comparison.p_holm:.3g} after Holm's correction).",
                soft_wrap=True,
            )
