"""Searches settings that are better than the paper's, choosing on PTB-XL's fold 7 alone.

    python benchmarks/search_settings.py --data-dir=CHOICE --out=DIR --processes=2

Every setting is varied alone around the paper's objective with views of other seconds, by
`clef-jax ablate`, with two seeds. Then the two, three and four settings whose mean score gains most
are combined and trained from the same seeds. CHOICE holds `mimic_iv_ecg`, without patients of the
tests and prepared with `--score=age_sex`, and `ptb_xl` without fold 8. The runs resume: the same
command goes on where it was stopped. DIR then holds search.json, with every point by its score.
"""

import argparse
import itertools
import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence

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
SEEDS = (42, 43)
TASKS = ("ptb_xl_superdiagnostic", "ptb_xl_af", "ptb_xl_sex")
"""Tasks whose mean AUROC on fold 7 chooses."""
NUM_COMBINED = 4
"""Most settings that are combined, if so many gain."""
Point = dict[str, str]


def train_flags(args) -> str:
    return (
        f"--window-start=random --num-steps={args.steps} --warmup-steps={args.steps // 20} "
        "--schedule=cosine --health-every-steps=0 --keep-checkpoints=1 --global-batch-size=64"
    )


def ablate(args, out: pathlib.Path, grid: Mapping[str, Sequence[str]]) -> dict[str, list[float]]:
    """Trains and evaluates a grid, one setting at a time and each seed on cores of its own.

    Returns:
        The mean score of each seed by point, which is a text of JSON.
    """
    evaluate = f"--hold-out=strat_fold=7 --tasks={','.join(TASKS)} --random-encoders=0"
    command = [sys.executable, "-m", "clef_jax.ablate", f"--data-dir={args.data_dir}"]
    command += [f"--out={out}", f"--train={train_flags(args)}", f"--evaluate={evaluate}"]
    command += ["--design=one_at_a_time", "--grid"]
    command += [f"{flag}={' '.join(values)}" for flag, values in grid.items()]

    def run(seed: int, cores: set[int]) -> None:
        subprocess.run(
            [*command, f"--seeds={seed}"],
            check=True,
            preexec_fn=lambda: os.sched_setaffinity(0, cores),
        )

    trainings.on_own_cores(run, args.seeds, args.processes)
    subprocess.run([*command, "--seeds", *map(str, args.seeds)], check=True)  # the common table
    return dict(_scores(out))


def _scores(out: pathlib.Path) -> Iterator[tuple[str, list[float]]]:
    """Yields each point of a grid with the mean score of each seed."""
    points: dict[str, list[float]] = {}
    for path in sorted(out.glob("runs/*/evaluation/results.json")):
        settings = json.loads((path.parents[1] / "finished.json").read_text())[0]
        point = {
            flag: next(x.partition("=")[2] for x in settings if x.startswith(f"--{flag}="))
            for flag in GRID
            if any(x.startswith(f"--{flag}=") for x in settings)
        }
        of_task = ablation.main_scores(path, path.parents[1].name)
        mean = sum(of_task[task].value for task in TASKS) / len(TASKS)
        points.setdefault(json.dumps(point), []).append(mean)
    yield from points.items()


def gains(scores: dict[str, list[float]]) -> dict[str, tuple[str, float]]:
    """Returns, for each setting that gains, its best value and the mean gain over the base."""
    base = {flag: values[0] for flag, values in GRID.items()}
    means = {text: sum(values) / len(values) for text, values in scores.items()}
    best: dict[str, tuple[str, float]] = {}
    for text, mean in means.items():
        point = json.loads(text)
        changed = [flag for flag in base if point.get(flag) != base[flag]]
        if len(changed) != 1:
            continue
        gain = mean - means[json.dumps(base)]
        flag = changed[0]
        if gain > best.get(flag, ("", 0.0))[1]:
            best[flag] = (point[flag], gain)
    return dict(sorted(best.items(), key=lambda item: -item[1][1]))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data-dir", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--processes", type=int, default=1, help="seeds at a time")
    args = parser.parse_args()
    alone = ablate(args, args.out / "alone", GRID)
    best = gains(alone)
    combined: dict[str, list[float]] = {}
    for number in range(2, min(NUM_COMBINED, len(best)) + 1):
        grid = {flag: values[:1] for flag, values in GRID.items()}
        grid |= {flag: (value,) for flag, (value, _) in itertools.islice(best.items(), number)}
        combined |= ablate(args, args.out / f"combined_{number}", grid)
    found = {"alone": alone, "gains": best, "combined": combined}
    (args.out / "search.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
