"""Evaluates encoders: `python -m clef_jax.evaluate --checkpoint=RUN --data-dir=DIR --out=DIR`.

Every encoder is evaluated on every task, and compared with randomly initialised encoders, with
rhythm and spectrum, and with what age, sex and pressure alone predict.
"""

import dataclasses
import shlex
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import rich.console
import rich.table
import tyro

from clef_jax import files, mesh as mesh_lib, tasks
from clef_jax.data import index as index_lib
from clef_jax.embedding.encoder import Encoder
from clef_jax.errors import UserError, exit_on_user_error
from clef_jax.evaluation import geometry, models as models_lib, page, result as result_lib
from clef_jax.evaluation.bench import Bench
from clef_jax.evaluation.geometry import Geometry
from clef_jax.evaluation.result import Comparison, Result
from clef_jax.evaluation.settings import ALL, PAPER, Config
from clef_jax.tasks import Task


def main(argv: Sequence[str] | None = None) -> None:
    with exit_on_user_error():
        run(tyro.cli(Config, args=argv, prog="python -m clef_jax.evaluate"), argv)


def run(config: Config, argv: Sequence[str] | None = None) -> list[Result]:
    """Evaluates all models on all tasks, and writes the results and the page.

    Raises:
        UserError: no model or task can be evaluated; or, after everything is written, a task was
            not finished.
    """
    console = rich.console.Console(highlight=False)
    try:
        config.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        words = f"--out={config.folder} cannot be made: {error.strerror}."
        raise UserError(words, problem="out_unwritable") from error
    mesh = mesh_lib.make_mesh(jax.local_devices())
    selected = list(_select_tasks(config, console))
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
    for task in selected:
        of_task = bench.evaluate(task)
        if of_task:
            console.print(result_lib.console_table(of_task))
            for note in result_lib.notes(of_task):
                console.print(note, soft_wrap=True)
        results += of_task
        if results:  # after each task, so that an interrupted run leaves its results
            result_lib.write(results, config.folder, about)
    comparisons = result_lib.compare(results, num_resamples=config.num_resamples, seed=config.seed)
    geometries = bench.measure_geometry() if config.geometry else []
    about["costs"] = bench.costs()
    if results:
        result_lib.write(results, config.folder, about, comparisons)
    _print_summary(comparisons, geometries, console)
    path = config.folder / "report.html"
    files.write_text(path, page.render(about, results, comparisons, geometries, bench.problems))
    beside = "; results.json, .csv and .parquet are beside it" if results else ""
    console.print(f"The report is {path}{beside}.")
    if bench.problems:
        raise UserError("\n".join(bench.problems))
    return results


def _select_tasks(config: Config, console: rich.console.Console) -> Iterator[Task]:
    """Yields the tasks that are named, or all whose data set is prepared.

    Raises:
        UserError: a named task is unknown, not part of the released protocol, or its data set is
            not prepared.
    """
    wanted = config.tasks.strip()
    if wanted not in (ALL, PAPER):
        for name in wanted.split(","):
            task = tasks.find(name.strip())
            index_lib.find(config.data_dir, task.dataset)
            if config.preset == "released" and task.released is None:
                raise UserError(f"The public reference does not have the task {task.name}.")
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


def _on_lead(task: Task, config: Config) -> Task:
    """Returns the task on the lead that the settings name, with the protocol's caveats."""
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


if __name__ == "__main__":
    main()
