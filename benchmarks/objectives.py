"""Trains every objective alike and compares them on patients whom no training saw.

    python benchmarks/objectives.py --data-dir=DATA --choice-data-dir=CHOICE --out=DIR

Each objective is trained with the paper's views at a rate of 1e-4 and with views of other seconds
at 1e-3, from one seed. The better of the two on PTB-XL's fold 7 is chosen, alike for all, and
trained from further seeds. Then the models of the further seeds, which no choice has seen, are
evaluated once on fold 8 and on the test splits of Chapman and CinC 2017. The runs resume: the same
command goes on where it was stopped. `--views=other` omits the choice.

DATA holds `mimic_iv_ecg`, without patients of the tests and with risks that carry no label
(`prepare --score=age_sex`), `ptb_xl`, `chapman` and `cinc2017`. CHOICE holds `ptb_xl` without
fold 8. The optional folder of --risk-data-dir holds `mimic_iv_ecg` with a risk that may carry
labels, for a further row of clef.
"""

import argparse
import json
import pathlib

import trainings
from trainings import FIRST_SEED, OTHER_SECONDS, Training

VIEWS = {
    "same": ("--learning-rate=1e-4",),
    "other": OTHER_SECONDS,
}
OBJECTIVES: dict[str, tuple[str, ...]] = {
    "clef": (),
    "simclr": (),
    "moco": (),
    "moco_1024": ("--moco.queue-size=1024",),
    "byol": (),
    "vicreg": (),
    "sigmoid": (),
    "supervised": ("--dataset=ptb_xl", "--exclude=strat_fold=7,8"),
}
SEEDS = {"clef": 3, "simclr": 3}
"""Numbers of further seeds of the chosen views; two of the other objectives."""
CHOICE_TASK = "ptb_xl_superdiagnostic"
FINAL_TASKS = "ptb_xl_superdiagnostic,ptb_xl_af,ptb_xl_sex,ptb_xl_age,chapman_diagnoses,cinc2017_af"


RISK_CARRIES_LABEL = "risk_carries_label"


def training(args, objective: str, views: str, seed: int, data_dir=None) -> Training:
    """Returns the training of an objective; `data_dir` has a risk that carries labels."""
    prefix = "" if data_dir is None else f"{RISK_CARRIES_LABEL}_"
    return Training(
        name=f"{prefix}{objective}_{views}",
        seed=seed,
        flags=(f"--objective={objective.split('_')[0]}", *VIEWS[views], *OBJECTIVES[objective]),
        data_dir=data_dir or args.data_dir,
    )


def train_all(args, runs: list[Training]) -> list[pathlib.Path]:
    return trainings.train_all(
        runs, args.out, processes=args.processes, steps=args.steps, batch_size=args.batch_size
    )


def choose(args, objectives: list[str]) -> dict[str, str]:
    """Returns the views of each objective that are better on fold 7."""
    runs = [training(args, o, v, FIRST_SEED) for v in reversed(VIEWS) for o in objectives]
    results = trainings.evaluate(
        train_all(args, runs),
        "--hold-out=strat_fold=7",
        f"--tasks={CHOICE_TASK}",
        "--baselines=none",
        "--random-encoders=0",
        data_dir=args.choice_data_dir,
        out=args.out / "choice",
    )
    scores = {r["model"]: r["value"] for r in results if r["score"] == "macro auroc"}
    chosen = {}
    for objective in objectives:
        of = {v: scores[training(args, objective, v, FIRST_SEED).folder] for v in VIEWS}
        chosen[objective] = max(of, key=of.__getitem__)
        print(objective, of, "chosen:", chosen[objective], flush=True)  # noqa: T201
    (args.out / "chosen.json").write_text(json.dumps({"views": chosen, "scores": scores}, indent=1))
    return chosen


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
        chosen = {objective: str(args.views) for objective in args.objectives}
    else:
        chosen = choose(args, args.objectives)
    seeds = [
        (seed, objective)
        for objective in chosen
        for seed in range(
            FIRST_SEED + 1, FIRST_SEED + 1 + SEEDS.get(objective, 2) + args.more_seeds
        )
    ]
    # One seed of all objectives before the next seed.
    runs = [training(args, o, chosen[o], seed) for seed, o in sorted(seeds, key=lambda x: x[0])]
    if args.risk_data_dir and "clef" in chosen:
        runs.append(training(args, "clef", chosen["clef"], FIRST_SEED + 1, args.risk_data_dir))
    results = trainings.evaluate(
        train_all(args, runs),
        "--hold-out=strat_fold=8",
        f"--tasks={FINAL_TASKS}",
        f"--probes={args.probes}",
        data_dir=args.data_dir,
        out=args.out / "final",
    )
    (args.out / "summary.md").write_text(trainings.summary(results))


if __name__ == "__main__":
    main()
