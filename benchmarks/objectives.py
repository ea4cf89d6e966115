"""Trains every objective alike and compares them on patients whom no training saw.

    python benchmarks/objectives.py --data-dir=DATA --choice-data-dir=CHOICE --out=DIR

Each objective is trained with the paper's views at a rate of 1e-4 and with views of other seconds
at 1e-3, from one seed. The better of the two on PTB-XL's fold 7 is chosen, alike for all, and
trained from further seeds. Then the models of the further seeds, which no choice has seen, are
evaluated once on fold 8 and on the test splits of Chapman and CinC 2017. The runs resume: the same
command goes on where it was stopped. `--views=other` omits the choice.

DATA holds `mimic_iv_ecg`, without patients of the tests and with risks that carry no label
(`prepare --score=age_sex`), `ptb_xl`, `chapman` and `cinc2017`. CHOICE holds `ptb_xl` without
fold 8. RISK (optional) holds `mimic_iv_ecg` with a risk that may carry labels, for a further row.
"""

import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
from collections.abc import Sequence
from concurrent import futures

VIEWS = {
    "same": ["--learning-rate=1e-4"],
    "other": ["--learning-rate=1e-3", "--window-start=random", "--window-seconds=5"],
}
OBJECTIVES = {
    "clef": [],
    "simclr": [],
    "moco": [],
    "moco_1024": ["--objective=moco", "--moco.queue-size=1024"],
    "byol": [],
    "vicreg": [],
    "sigmoid": [],
    "supervised": ["--dataset=ptb_xl", "--exclude=strat_fold=7,8"],
}
SEEDS = {"clef": 3, "simclr": 3}
"""Numbers of further seeds of the chosen views; two of the other objectives."""
FIRST_SEED = 42
CHOICE_TASK = "ptb_xl_superdiagnostic"
FINAL_TASKS = "ptb_xl_superdiagnostic,ptb_xl_af,ptb_xl_sex,ptb_xl_age,chapman_diagnoses,cinc2017_af"


def command(verb: str, **flags) -> list[str]:
    given = [f"--{name.replace('_', '-')}={value}" for name, value in flags.items()]
    return [sys.executable, "-m", f"clef_jax.{verb}", *given]


def name_of(objective: str, views: str, seed: int) -> str:
    return f"{objective}_{views}_{seed}"


_cores: list[set[int]] = []
"""Sets of cores that no training uses now."""


def train_all(args, runs: Sequence[tuple]) -> list[pathlib.Path]:
    """Trains encoders, `args.processes` at a time on cores of their own; returns the workdirs."""
    cores = sorted(os.sched_getaffinity(0))
    _cores[:] = [set(cores[k :: args.processes]) for k in range(args.processes)]
    with futures.ThreadPoolExecutor(args.processes) as pool:
        return list(pool.map(lambda run: train(args, *run), runs))


def train(args, objective: str, views: str, seed: int, data_dir=None) -> pathlib.Path:
    """Trains one encoder, unless that was done, and returns its workdir."""
    prefix = "" if data_dir is None else "risk_carries_label_"
    workdir = args.out / "runs" / (prefix + name_of(objective, views, seed))
    done = workdir.with_suffix(".done")
    if not done.exists():
        workdir.parent.mkdir(parents=True, exist_ok=True)
        own = _cores.pop()

        def pin() -> None:
            os.sched_setaffinity(0, own)

        with workdir.with_suffix(".log").open("a") as log:
            subprocess.run(
                [
                    *command(
                        "train",
                        data_dir=data_dir or args.data_dir,
                        workdir=workdir,
                        num_steps=args.steps,
                        global_batch_size=args.batch_size,
                        objective=objective.split("_")[0],
                        schedule="cosine",
                        warmup_steps=args.steps // 20,
                        health_every_steps=0,
                        checkpoint_every_steps=100,
                        keep_checkpoints=1,
                        seed=seed,
                    ),
                    *VIEWS[views],
                    *OBJECTIVES[objective],
                ],
                check=True,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=pin,
            )
        _cores.append(own)
        done.touch()
        print(f"trained {workdir.name}", flush=True)  # noqa: T201
    return workdir


def evaluate(workdirs: list[pathlib.Path], *flags: str, data_dir, out: pathlib.Path) -> None:
    """Evaluates encoders: `out` then holds the page and the results."""
    subprocess.run(
        [*command("evaluate", data_dir=data_dir, out=out), "--model", *map(str, workdirs), *flags],
        check=True,
    )


def scores_by_model(out: pathlib.Path) -> dict[str, float]:
    """Returns the macro AUROC of each model in an evaluation of one task."""
    results = json.loads((out / "results.json").read_text())["results"]
    return {r["model"]: r["value"] for r in results if r["score"] == "macro auroc"}


def choose(args, objectives: list[str]) -> dict[str, str]:
    """Returns the views of each objective that are better on fold 7."""
    runs = train_all(args, [(o, v, FIRST_SEED) for v in reversed(VIEWS) for o in objectives])
    out = args.out / "choice"
    if not (out / "results.json").exists():
        evaluate(
            runs,
            "--hold-out=strat_fold=7",
            f"--tasks={CHOICE_TASK}",
            "--baselines=none",
            "--random-encoders=0",
            data_dir=args.choice_data_dir,
            out=out,
        )
    scores = scores_by_model(out)
    chosen = {}
    for objective in objectives:
        of = {views: scores[name_of(objective, views, FIRST_SEED)] for views in VIEWS}
        chosen[objective] = max(of, key=of.__getitem__)
        print(objective, of, "chosen:", chosen[objective], flush=True)  # noqa: T201
    (args.out / "chosen.json").write_text(json.dumps({"views": chosen, "scores": scores}, indent=1))
    return chosen


def summary(out: pathlib.Path) -> str:
    """Returns the evaluation as a Markdown table: a row for each objective and probe.

    A cell has the mean over seeds of the main score, and means of the ends of its intervals.
    """
    results = json.loads((out / "results.json").read_text())["results"]
    main_scores = ("auroc", "macro auroc", "mae")
    cells: dict[tuple[str, str], dict[str, list]] = {}
    for result in results:
        if result["score"] in main_scores and result["label_share"] == 1:
            row = (re.sub(r"_\d\d$", "", result["model"]), result["method"])
            cells.setdefault(row, {}).setdefault(result["task"], []).append(result)
    names = list(dict.fromkeys(result["task"] for result in results))
    lines = [
        f"| row | probe | seeds | {' | '.join(names)} |",
        "|---|---|---|" + "---|" * len(names),
    ]
    for (name, probe), of_task in cells.items():
        seeds = max(len(found) for found in of_task.values())
        shown = [_cell(of_task.get(task, [])) for task in names]
        lines.append(f"| {name} | {probe} | {seeds} | {' | '.join(shown)} |")
    return "\n".join(lines)


def _cell(found: list) -> str:
    if not found:
        return ""
    digits = 2 if found[0]["score"] == "mae" else 3
    means = []
    for name in ("value", "low", "high"):
        numbers = [result[name] for result in found if result[name] is not None]
        text = f"{sum(numbers) / len(numbers):.{digits}f}" if numbers else "not defined"
        means.append(text.removeprefix("0"))
    return f"{means[0]} [{means[1]}, {means[2]}]"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data-dir", type=pathlib.Path, required=True)
    parser.add_argument("--choice-data-dir", type=pathlib.Path)
    parser.add_argument("--risk-data-dir", type=pathlib.Path)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--objectives", nargs="+", default=list(OBJECTIVES))
    parser.add_argument("--views", choices=list(VIEWS), help="views that were chosen before")
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--processes", type=int, default=1, help="trainings at a time")
    parser.add_argument("--more-seeds", type=int, default=0, help="seeds beyond those of SEEDS")
    parser.add_argument("--probes", default="linear,attention")
    args = parser.parse_args()
    if not (args.views or args.choice_data_dir):
        parser.error("--choice-data-dir is needed to choose the views, or --views")
    if args.views:
        chosen = dict.fromkeys(args.objectives, args.views)
    else:
        chosen = choose(args, args.objectives)
    more = [
        (o, chosen[o], FIRST_SEED + 1 + number)
        for o in chosen
        for number in range(SEEDS.get(o, 2) + args.more_seeds)
    ]
    more.sort(key=lambda run: run[2])  # one seed of all objectives before the next seed
    if args.risk_data_dir:
        more.append(("clef", chosen["clef"], FIRST_SEED + 1, args.risk_data_dir))
    runs = train_all(args, more)
    evaluate(
        runs,
        "--hold-out=strat_fold=8",
        f"--tasks={FINAL_TASKS}",
        f"--probes={args.probes}",
        data_dir=args.data_dir,
        out=args.out / "final",
    )
    (args.out / "summary.md").write_text(summary(args.out / "final") + "\n")


if __name__ == "__main__":
    main()
