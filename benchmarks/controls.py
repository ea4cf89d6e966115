"""Asks what the risk in the objective `clef` brings, by controls.

    python benchmarks/controls.py --data-dir=DATA --out=DIR --processes=2

The same encoder is trained with the risk of age and sex, with that risk shuffled among the patients
(so that only the weights remain), with age alone, with sex alone, with a stand-in for an acute
score that this program measures in the ECG (rate, QRS and QT; it is no clinical score), and without
a risk (simclr); and over some values of alpha (`min_distance`), tau (`temperature`) and the mix of
the two losses. All are evaluated on PTB-XL's fold 8, with myocardial infarction also among patients
of similar age, and by the correlation of distance with risk.

DATA holds `mimic_iv_ecg`, without patients of the tests and prepared with `--score=age_sex`, and
`ptb_xl`. The runs resume: the same command goes on where it was stopped. DIR then holds
controls.md, controls.json and sensitivity.svg.
"""

import argparse
import csv
import dataclasses
import json
import pathlib
import re
import statistics
from collections.abc import Iterator, Sequence

import ecg_intervals
import markdown_table
import numpy as np
import scipy.stats
import trainings
from ecg_intervals import Intervals
from matplotlib.figure import Figure
from trainings import FIRST_SEED, OTHER_SECONDS, Training

from clef_jax import evaluate
from clef_jax.data import index as index_lib, metadata
from clef_jax.embedding import inputs
from clef_jax.evaluation import run as evaluation_run
from clef_jax.evaluation.prediction import Predictions
from clef_jax.evaluation.result import Result
from clef_jax.speedrunning import plot
from clef_jax.statistics import bootstrap, classification

DATASET = "mimic_iv_ecg"
BASE = "age and sex"
SUPER, MI = "ptb_xl_superdiagnostic", "MI"
TASKS = (SUPER, "ptb_xl_af", "ptb_xl_sex", "ptb_xl_age")
SIMILAR_AGE_YEARS = 2.5
NUM_RESAMPLES = 1000
SENSITIVITY = {
    "alpha": ("clef.min-distance", 0.2, (0.0, 0.2, 0.5, 0.8)),
    "tau": ("clef.temperature", 0.07, (0.03, 0.07, 0.2, 0.5)),
    "weight of the alignment": ("clef.alignment-weight", 1.0, (0.0, 0.25, 1.0, 4.0)),
}
"""Flag, value of the paper, and values of each setting."""


def risks(data_dir: pathlib.Path) -> dict[str, dict[str, float]]:
    """Returns the risk of every recording by its id, for each control that replaces it."""
    ids, ages, males, stored, measured = [], [], [], [], []
    folder = index_lib.find(data_dir, DATASET)
    for split in index_lib.splits(folder):
        index = index_lib.load(folder, split)
        positions = np.arange(index.num_records)
        for record in metadata.read_records(index, positions):
            ids.append(record["record_id"].decode())
            ages.append(float(record["age_years"]))
            males.append(float(record["male"]))
            stored.append(float(record["risk"]))
        for opened in inputs.stored(index, positions):
            signal_mv = opened.read(0, opened.num_samples)
            measured.append(ecg_intervals.measure(signal_mv, opened.sample_rate_hz))
    shuffled = np.array(stored)
    known = np.flatnonzero(np.isfinite(shuffled))
    shuffled[known] = shuffled[np.random.default_rng(0).permutation(known)]
    columns = {
        "shuffled": shuffled,
        "age alone": np.array(ages),
        "sex alone": np.array(males),
        "ECG stand-in": acute_score(measured),
    }
    return {name: dict(zip(ids, values, strict=True)) for name, values in columns.items()}


def acute_score(measured: Sequence[Intervals]) -> np.ndarray:
    """Returns the mean rank of rate, QRS duration and corrected QT interval, from 0 to 1; NaN where
    one of them could not be measured. It is a stand-in, not a clinical score."""
    values = np.array([(x.rate_per_minute, x.qrs_ms, x.qtc_ms) for x in measured])
    known = np.isfinite(values).all(axis=1)
    score = np.full(len(values), np.nan)
    score[known] = scipy.stats.rankdata(values[known], axis=0).mean(axis=1) / known.sum()
    return score


def write_table(path: pathlib.Path, risk: dict[str, float]) -> pathlib.Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("record_id", "risk"))
        writer.writerows((name, "" if np.isnan(x) else repr(float(x))) for name, x in risk.items())
    return path


def control_trainings(args) -> list[Training]:
    """Returns the trainings of the controls, one seed of all before the next seed."""
    tables = args.out / "tables"
    if not (tables / "done").exists():
        for name, risk in risks(args.data_dir).items():
            write_table(tables / f"{name}.csv", risk)
        (tables / "done").touch()
    flags: dict[str, tuple[str, ...]] = {BASE: ()}
    for path in sorted(tables.glob("*.csv")):
        flags[path.stem] = (f"--risk-table={path}",)
    flags["no risk (simclr)"] = ("--objective=simclr",)
    return [
        Training(name=name, seed=seed, flags=OTHER_SECONDS + own, data_dir=args.data_dir)
        for seed in range(FIRST_SEED + 1, FIRST_SEED + 1 + args.seeds)
        for name, own in flags.items()
    ]


def sensitivity_trainings(args) -> list[Training]:
    """Returns the trainings of one setting at a time, without the paper's, which is a control."""
    return [
        Training(
            name=f"{name} {value:g}",
            seed=FIRST_SEED + 1,
            flags=(*OTHER_SECONDS, f"--{flag}={value}"),
            data_dir=args.data_dir,
        )
        for name, (flag, usual, values) in SENSITIVITY.items()
        for value in values
        if value != usual
    ]


@dataclasses.dataclass(frozen=True)
class Score:
    """A score with its 95 % interval over patients."""

    value: float
    low: float
    high: float


def matched_auroc(predictions: Predictions, output: str) -> Score:
    """Returns the AUROC of an output over pairs of patients of similar age.

    It is the fraction of pairs with and without the finding, at most 2.5 years apart, in which the
    first one has the larger probability; equal ones count half.
    """
    k = predictions.outputs.index(output)
    target, score = predictions.target[:, k], predictions.predicted[:, k]
    known = np.isfinite(predictions.age_years) & np.isfinite(target)
    first = np.flatnonzero(known & (target == 1))
    second = np.flatnonzero(known & (target == 0))
    age = predictions.age_years
    similar = np.abs(age[first][:, None] - age[second][None]) <= SIMILAR_AGE_YEARS
    gap = score[first][:, None] - score[second][None]
    right = similar * ((gap > 0) + 0.5 * (gap == 0))
    weight = bootstrap.patient_weights(predictions.patient, NUM_RESAMPLES, 0).astype(float)
    rows, columns = weight[:, first], weight[:, second]
    values = ((rows @ right) * columns).sum(axis=1)
    values /= np.maximum(((rows @ similar) * columns).sum(axis=1), 1e-12)
    found = bootstrap.interval(values, len(np.unique(predictions.patient)))
    return Score(float(right.sum() / similar.sum()), found.low, found.high)


def auroc(predictions: Predictions, output: str) -> Score:
    """Returns the AUROC of an output."""
    k = predictions.outputs.index(output)
    target, score = predictions.target[:, k], predictions.predicted[:, k]
    weight = bootstrap.patient_weights(predictions.patient, NUM_RESAMPLES, 0)
    found = bootstrap.interval(
        classification.auroc(target, score, weight), len(np.unique(predictions.patient))
    )
    return Score(float(classification.auroc(target, score)), found.low, found.high)


def scores_of(results: Sequence[Result]) -> Iterator[tuple[str, str, Score]]:
    """Yields model, name of the score, and score of each result."""
    for result in results:
        primary = result.primary()
        score = Score(primary.value, primary.interval.low, primary.interval.high)
        yield result.model, f"{result.task.name}: {primary.name}", score
        if result.task.name == SUPER:
            yield result.model, "MI", auroc(result.predictions, MI)
            yield result.model, "MI, similar age", matched_auroc(result.predictions, MI)


def without_seed(model: str) -> str:
    """Returns what trainings or random encoders that differ by their seed alone share of their
    names."""
    return re.sub(r", seed \d+$", "", trainings.without_seed(model))


def evaluate_all(args, workdirs: Sequence[pathlib.Path]) -> dict[str, dict[str, list[Score]]]:
    """Evaluates all runs; returns the scores of each row (seeds together), by name."""
    config = evaluate.SETTINGS(
        model=tuple(map(str, workdirs)),
        data_dir=str(args.data_dir),
        out=str(args.out / "evaluation"),
        tasks=",".join(TASKS),
        hold_out="strat_fold=8",
        geometry=True,
        geometry_dataset=DATASET,
    )
    rows: dict[str, dict[str, list[Score]]] = {}
    for model, name, score in scores_of(evaluation_run.run(config)):
        rows.setdefault(without_seed(model), {}).setdefault(name, []).append(score)
    written = json.loads((args.out / "evaluation" / "results.json").read_text())
    for measure in written["geometry"]:
        if not measure["measure"].startswith("distance and") or measure["value"] is None:
            continue
        row, p = rows[without_seed(measure["model"])], measure["p_value"]
        row.setdefault(measure["measure"], []).append(Score(measure["value"], p, p))
    return rows


def table(rows: dict[str, dict[str, list[Score]]]) -> str:
    """Returns all scores as Markdown: means over seeds, and of the ends of the intervals.

    A correlation has the p-value of each seed instead.
    """
    names = list(dict.fromkeys(name for scores in rows.values() for name in scores))
    lines = [
        (
            row,
            max(len(of) for of in scores.values()),
            *(_cell(name, scores.get(name, [])) for name in names),
        )
        for row, scores in rows.items()
    ]
    return markdown_table.table(("row", "seeds", *names), lines)


def _cell(name: str, scores: Sequence[Score]) -> str:
    if not scores:
        return ""
    decimals = 2 if name.endswith("mae") else 3
    if name.startswith("distance"):  # a p-value of each seed stands where others have an interval
        value = statistics.mean(score.value for score in scores)
        p_values = ", ".join(trainings.digits(score.low, decimals) for score in scores)
        return f"{trainings.digits(value, decimals)} (p {p_values})"
    return trainings.mean_interval([dataclasses.astuple(score) for score in scores], decimals)


def draw(rows: dict[str, dict[str, list[Score]]]) -> Figure:
    """Returns a panel for each setting: main scores by its values."""
    figure = Figure(figsize=(9.6, 2.8), layout="constrained")
    panels = figure.subplots(1, len(SENSITIVITY), sharey=True)
    shown = {
        "super-classes": f"{SUPER}: macro auroc",
        "AF": "ptb_xl_af: auroc",
        "sex": "ptb_xl_sex: auroc",
    }
    for panel, (name, (_, usual, values)) in zip(panels, SENSITIVITY.items(), strict=True):
        of = {x: rows[BASE if x == usual else f"{name} {x:g}"] for x in values}
        for label, score in shown.items():
            points = [of[x][score][0] for x in values]
            at = range(len(values))
            panel.plot(at, [p.value for p in points], marker="o", ms=4, label=label)
            panel.fill_between(at, [p.low for p in points], [p.high for p in points], alpha=0.15)
        panel.set_xticks(range(len(values)), [f"{x:g}" for x in values])
        panel.set_xlabel(f"{name} (paper: {usual:g})", fontsize=8)
        panel.tick_params(labelsize=8)
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("AUROC on fold 8", fontsize=8)
    lines = panels[0].get_lines()
    figure.legend(handles=lines, loc="outside upper center", ncols=len(lines), fontsize=8)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data-dir", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--seeds", type=int, default=2, help="seeds of each control")
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--processes", type=int, default=1, help="trainings at a time")
    args = parser.parse_args()
    workdirs = trainings.train_all(
        [*control_trainings(args), *sensitivity_trainings(args)],
        args.out,
        processes=args.processes,
        steps=args.steps,
        batch_size=args.batch_size,
    )
    rows = evaluate_all(args, workdirs)
    as_json = {
        row: {name: [dataclasses.asdict(score) for score in of] for name, of in scores.items()}
        for row, scores in rows.items()
    }
    (args.out / "controls.json").write_text(json.dumps(as_json, indent=1) + "\n")
    (args.out / "controls.md").write_text(table(rows))
    figure = plot.as_svg(draw(rows), creator="benchmarks/controls.py")
    (args.out / "sensitivity.svg").write_text(figure)


if __name__ == "__main__":
    main()
