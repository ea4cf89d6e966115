"""Fits a head to a folder of recordings and a table of labels; writes model, report and table."""

import pathlib

import rich.console
import rich.table

from clef_jax import csv_file, files
from clef_jax.answers import intended_use
from clef_jax.answers.threshold import SENSITIVITY, SPECIFICITY, Rule
from clef_jax.embedding import pretrained
from clef_jax.errors import UserError, counted, printable
from clef_jax.evaluation import finetune
from clef_jax.fitting import (
    labelled_model,
    labels as labels_lib,
    matching,
    page,
    row_table,
)
from clef_jax.fitting.fitted_head import Options
from clef_jax.fitting.labelled_model import LabelledModel, Request
from clef_jax.fitting.labels import Choice
from clef_jax.fitting.settings import CLASSICAL, NOT_ALL_USED, Config
from clef_jax.fitting.source import Folder


def run(config: Config) -> int:
    """Fits the head; returns 0, or `NOT_ALL_USED` if a row of the labels was not used.

    Raises:
        UserError: nothing can be fitted or written; the message says why.
    """
    console = rich.console.Console(highlight=False, markup=False, soft_wrap=True)
    labelled_model.check_folder(config.folder, overwrite=config.overwrite)
    files.check_output(config.report, page.is_page, overwrite=config.overwrite)
    files.check_output(config.table, row_table.is_table, overwrite=config.overwrite)
    table = csv_file.read(pathlib.Path(config.labels).expanduser())
    choice = Choice(
        id_column=config.id_column,
        patient_column=config.patient_column,
        targets=config.targets,
        classes=config.classes,
        positive=config.positives,
    )
    labels = labels_lib.interpret(table, choice)
    root = pathlib.Path(config.input).expanduser()
    if not root.exists():
        raise UserError(f"--input={config.input} does not exist.", problem="missing_input")
    model = pretrained.load(config.model, weights=config.weights)
    fitted = labelled_model.fit(
        model.embedder,
        Folder(path=config.input, hints=config.hints),
        labels,
        request(config),
        root=root.resolve(),
        console=console,
    )
    fitted.save(config.folder)
    fitted.write_rows(config.table)
    files.write_text(config.report, fitted.report())
    _summarise(config, fitted, console)
    return NOT_ALL_USED if _num_unused(fitted) else 0


def request(config: Config) -> Request:
    """Returns what the settings ask for."""
    rule = Rule()
    if config.sensitivity is not None:
        rule = Rule(SENSITIVITY, config.sensitivity)
    elif config.specificity is not None:
        rule = Rule(SPECIFICITY, config.specificity)
    options = Options(
        rule=rule, coverage=config.coverage, num_resamples=config.num_resamples, seed=config.seed
    )
    return Request(
        layer=config.layer,
        lead=config.lead,
        with_classical=CLASSICAL in config.with_features,
        compare=config.compare,
        method=config.method,
        tuning=finetune.Config(
            max_epochs=config.finetune_epochs,
            learning_rate=config.finetune_rates[0],
            rates=config.finetune_rates if len(config.finetune_rates) > 1 else (),
        ),
        options=options,
    )


def _num_unused(fitted: LabelledModel) -> int:
    return sum(row.line is not None and not row.used for row in fitted.dataset.rows)


def _summarise(config: Config, fitted: LabelledModel, console: rich.console.Console) -> None:
    dataset = fitted.dataset
    for note in dataset.notes:
        console.print(f"Note: {note.problem}: {printable(note.detail)}", soft_wrap=True)
    counts = matching.counts(dataset.rows)
    for problem, count in counts.items():
        first = next(row for row in dataset.rows if row.problem == problem)
        example = printable(f"{first.id or first.recording}: {first.detail}")
        console.print(f"Not used: {count:,} x {problem}, for example {example}", soft_wrap=True)
    console.print(_table(fitted))
    console.print(page.trust(dataset, fitted.fitted), soft_wrap=True)
    console.print(
        f"{printable(str(config.folder))} answers for {', '.join(dataset.outputs[:12])}; "
        f"{printable(config.report.name)} and {printable(config.table.name)} "
        f"({counted(len(dataset.rows), 'row')}) are beside it. {intended_use.SHORT}",
        soft_wrap=True,
    )


def _table(fitted: LabelledModel) -> rich.table.Table:
    """Returns the cross-validated scores of the head and of what it is compared with."""
    results = fitted.fitted.results
    names = list(dict.fromkeys(s.name for result in results for s in result.scores if s.in_table))
    table = rich.table.Table("features", *names)
    for result in results:
        cells = {scored.name: str(scored) for scored in result.scores}
        table.add_row(result.row, *(cells.get(name, "") for name in names))
    return table
