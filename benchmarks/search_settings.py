"""Searches settings that are better than the paper's, choosing on PTB-XL's fold 7 alone.

    python benchmarks/search_settings.py --data-dir=CHOICE --out=DIR --processes=2

Every setting is varied alone around the paper's objective with views of other seconds, by
`clef-jax ablate`, with two seeds. Then the two, three and four settings whose mean score gains most
are combined and trained from the same seeds. The best point (also with averaged weights), the base,
and simclr with the views, rate, temperature and projector of both are trained from further seeds.

CHOICE holds `mimic_iv_ecg`, without patients of the tests and prepared with `--score=age_sex`, and
`ptb_xl` without fold 8. The runs resume: the same command goes on where it was stopped. DIR then
holds search.md and search.json, with all scores.
"""

import argparse
import dataclasses
import itertools
import json
import pathlib
import re
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence

import bench_process
import markdown_table
import trainings

from clef_jax.evaluation import ablation

GRID = {
    "window-seconds": ("5", "3", "8"),
    "learning-rate": ("1e-3", "3e-3"),
    "leads": ("random", "I"),
    "same-lead-fraction": ("0.8", "1", "0.3"),
    "augment.noise-std-mv": ("0.1", "0.03", "0.3"),
    "augment.mask-probability": ("0.2", "0.6"),
    "clef.negative-weights": ("softmax", "mean_one", "raw"),
    "clef.risk-distance": ("batch_minmax", "rank"),
    "clef.alignment-weight": ("1", "0", "0.25"),
    "clef.min-distance": ("0.2", "0.8"),
    "clef.temperature": ("0.07", "0.2", "0.03"),
    "clef.projection-width": ("0", "128"),
}
"""Values of each setting, the first one of the base. `clef.missing` is not varied: age and sex are
known of all patients, so that nothing is missing."""
TASKS = ("ptb_xl_superdiagnostic", "ptb_xl_af", "ptb_xl_sex")
"""Tasks whose mean AUROC on fold 7 chooses."""
NUM_COMBINED = 4
"""Most settings that are combined, if so many gain."""
EMA_DECAY = 0.99
"""Decay of the averaged weights of a finalist; the paper keeps none."""
Point = tuple[tuple[str, str], ...]
"""Flags of a point of the grid with their values."""
Scores = dict[Point, list[float]]
"""Mean score of each seed by point."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Search:
    """What all trainings of a search share."""

    data_dir: pathlib.Path
    out: pathlib.Path
    steps: int
    processes: int
    """Runs at a time."""

    def scores(
        self,
        name: str,
        grid: Mapping[str, Sequence[str]],
        seeds: Sequence[int],
        *,
        train: str = "",
        evaluate: str = "",
    ) -> Scores:
        """Trains and evaluates a grid, one setting at a time.

        Args:
            name: folder of the grid.
            grid: values of each flag.
            seeds: seeds of every point.
            train: further flags of the training.
            evaluate: further flags of the evaluation.

        Returns:
            The mean score of each seed by point, the base first.
        """
        out = self.out / name
        shared = bench_process.flags(trainings.shared_settings(self.steps))
        train = " ".join([train, "--window-start=random", *shared])
        evaluate += f" --hold-out=strat_fold=7 --tasks={','.join(TASKS)} --random-encoders=0"
        command = [sys.executable, "-m", "clef_jax.ablate", f"--data-dir={self.data_dir}"]
        command += [f"--out={out}", f"--train={train}", f"--evaluate={evaluate}"]
        command += ["--design=one_at_a_time", "--grid"]
        command += [f"{flag}={' '.join(values)}" for flag, values in grid.items()]
        command += [f"--processes={self.processes}", "--seeds", *map(str, seeds)]
        subprocess.run(command, check=True)
        return read(out, list(grid), seeds)


def read(out: pathlib.Path, flags: Sequence[str], seeds: Sequence[int]) -> Scores:
    """Returns the mean score of each seed by point, from the folder of a grid."""
    of_seed: dict[Point, dict[int, float]] = {}
    for path in sorted(out.glob("runs/*/evaluation/results.json")):
        settings = json.loads((path.parents[1] / "finished.json").read_text())[0]
        values = dict(text[2:].split("=", 1) for text in settings if re.match("--.*=", text))
        of_task = ablation.main_scores(path, path.parents[1].name)
        mean = sum(of_task[task].value for task in TASKS) / len(TASKS)
        point = tuple((flag, values[flag]) for flag in flags)
        of_seed.setdefault(point, {})[int(values["seed"])] = mean
    return {point: [scores[seed] for seed in seeds] for point, scores in of_seed.items()}


def point_of(changes: Mapping[str, str]) -> Point:
    """Returns the base with some settings changed."""
    return tuple((flag, changes.get(flag, values[0])) for flag, values in GRID.items())


BASE = point_of({})


def changed(point: Point) -> dict[str, str]:
    """Returns the settings of a point that are not those of the base."""
    return {flag: value for flag, value in point if value != GRID[flag][0]}


def gains(scores: Scores) -> dict[str, tuple[str, float]]:
    """Returns, for each setting that gains alone, its best value and the mean gain over the base.

    The largest gain comes first.
    """
    base = statistics.mean(scores[BASE])
    best: dict[str, tuple[str, float]] = {}
    for point, values in scores.items():
        changes, gain = changed(point), statistics.mean(values) - base
        if len(changes) != 1:
            continue
        ((flag, value),) = changes.items()
        if gain > best.get(flag, ("", 0.0))[1]:
            best[flag] = (value, gain)
    return dict(sorted(best.items(), key=lambda item: -item[1][1]))


def as_simclr(point: Point) -> dict[str, str]:
    """Returns the flags of simclr with the views, rate, temperature and projector of a point."""
    own = ("clef.temperature", "clef.projection-width")
    return {
        flag.replace("clef.", "simclr."): value
        for flag, value in point
        if flag in own or not flag.startswith("clef.")
    }


def finalists(search: Search, winner: Point, seeds: Sequence[int]) -> dict[str, list[float]]:
    """Returns the scores of new seeds.

    Base, winner, the winner's averaged weights, and simclr at the settings of both.
    """

    def scores(name: str, point: Mapping[str, str], **flags: str) -> list[float]:
        grid = {flag: (value,) for flag, value in point.items()}
        (values,) = search.scores(f"finalists_{name}", grid, seeds, **flags).values()
        return values

    averaged = {"train": f"--ema-decay={EMA_DECAY}", "evaluate": "--weights=ema"}
    simclr = {"train": "--objective=simclr"}
    return {
        "clef, winner": scores("winner", dict(winner)),
        "simclr, winner": scores("winner_simclr", as_simclr(winner), **simclr),
        "clef, base": scores("base", dict(BASE)),
        "simclr, base": scores("base_simclr", as_simclr(BASE), **simclr),
        "clef, winner, averaged weights": scores("winner_averaged", dict(winner), **averaged),
    }


def table(scores: Scores, seeds: Sequence[int]) -> str:
    """Returns all points in Markdown, by their mean gain over the base."""
    rows = []
    for point, values in sorted(scores.items(), key=lambda item: -statistics.mean(item[1])):
        settings = ", ".join(f"{flag} {value}" for flag, value in changed(point).items())
        differences = [x - y for x, y in zip(values, scores[BASE], strict=True)]
        gain = f"{statistics.mean(differences):+.3f}"
        rows.append((settings or "base", *(trainings.digits(x, 3) for x in values), gain))
    return markdown_table.table(("changed", *(f"seed {seed}" for seed in seeds), "gain"), rows)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data-dir", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[42, 43])
    parser.add_argument("--final-seeds", type=int, nargs="+", default=[44, 45])
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--processes", type=int, default=1, help="runs at a time")
    args = parser.parse_args()
    search = Search(
        data_dir=args.data_dir, out=args.out, steps=args.steps, processes=args.processes
    )
    scores = search.scores("alone", GRID, args.seeds)
    best = gains(scores)
    for number in range(2, min(NUM_COMBINED, len(best)) + 1):
        changes = {flag: value for flag, (value, _) in itertools.islice(best.items(), number)}
        grid = {flag: (value,) for flag, value in point_of(changes)}
        scores |= search.scores(f"combined_{number}", grid, args.seeds)
    winner = max(scores, key=lambda point: statistics.mean(scores[point]))
    final = finalists(search, winner, args.final_seeds)
    rows = [(name, *(trainings.digits(x, 3) for x in values)) for name, values in final.items()]
    columns = ("finalist", *(f"seed {seed}" for seed in args.final_seeds))
    (args.out / "search.md").write_text(
        f"{table(scores, args.seeds)}\n{markdown_table.table(columns, rows)}"
    )
    found = {
        "searched": [{"changed": changed(point), "scores": s} for point, s in scores.items()],
        "winner": changed(winner),
        "finalists": final,
    }
    (args.out / "search.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
