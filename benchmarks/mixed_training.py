"""Asks what training on several data sets brings, compared with one of them alone.

    python benchmarks/mixed_training.py --data-dir=DATA --out=DIR --processes=2

The same encoder is trained for the same number of steps on PTB-XL, on PTB-XL, CPSC 2018 (in the
layout of Chapman) and CinC 2017 mixed in every batch, and on the same three with each batch from
one of them. All are evaluated on PTB-XL's fold 8, whose patients are excluded from training, and on
the test split of CinC 2017. CPSC 2018 is trained on, so it is no test here.

DATA holds `ptb_xl`, `chapman` and `cinc2017`. The runs resume: the same command goes on where it
was stopped. DIR then holds mixed.md, with the shares of the patients that were drawn.
"""

import argparse
import pathlib

import bench_process
import markdown_table
import numpy as np
import trainings
from trainings import FIRST_SEED, OTHER_SECONDS, Training

from clef_jax.config import TrainConfig
from clef_jax.data import pipeline, training_data

WEIGHTS = {"ptb_xl": 0.5, "chapman": 0.2, "cinc2017": 0.3}
MIXED = " ".join(f"{name}:{weight}" for name, weight in WEIGHTS.items())
DATA = {
    "PTB-XL": {"dataset": "ptb_xl"},
    "mixed": {"dataset": MIXED},
    "mixed, a batch from one": {"dataset": MIXED, "batch_from": "one_data_set"},
}
TASKS = ("ptb_xl_superdiagnostic", "ptb_xl_af", "ptb_xl_sex", "ptb_xl_age", "cinc2017_af")
EXCLUDED = "strat_fold=8"
SHARES_OF_STEPS = 1000


def all_trainings(args) -> list[Training]:
    """Returns all trainings, one seed of each before the next seed."""
    return [
        Training(
            name=name,
            seed=seed,
            flags=(
                *(f"--objective={args.objective}", f"--exclude={EXCLUDED}", *OTHER_SECONDS),
                *bench_process.flags(own),
            ),
            data_dir=args.data_dir,
        )
        for seed in range(FIRST_SEED, FIRST_SEED + args.seeds)
        for name, own in DATA.items()
    ]


def shares(args) -> str:
    """Returns the shares of the data sets in the draws of 1,000 steps, beside the weights."""
    rows = []
    for name, own in DATA.items():
        if own["dataset"] != MIXED:
            continue
        config = TrainConfig(
            data_dir=str(args.data_dir),
            workdir="",
            exclude=EXCLUDED,
            global_batch_size=args.batch_size,
            **own,
        )
        sampler = pipeline.make_sampler(training_data.load(config), config)
        sources = [sampler.sample(step).source for step in range(SHARES_OF_STEPS)]
        counts = np.bincount(np.concatenate(sources), minlength=len(WEIGHTS))
        rows.append((name, *(f"{share:.4f}" for share in counts / counts.sum())))
    columns = (f"share of {SHARES_OF_STEPS:,} steps", *MIXED.split())
    return markdown_table.table(columns, rows)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data-dir", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--objective", default="clef")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--processes", type=int, default=1, help="trainings at a time")
    args = parser.parse_args()
    workdirs = trainings.train_all(
        all_trainings(args),
        args.out,
        processes=args.processes,
        steps=args.steps,
        batch_size=args.batch_size,
    )
    results = trainings.evaluate(
        workdirs,
        f"--hold-out={EXCLUDED}",
        f"--tasks={','.join(TASKS)}",
        data_dir=args.data_dir,
        out=args.out / "evaluation",
    )
    (args.out / "mixed.md").write_text(f"{shares(args)}\n{trainings.summary(results)}")


if __name__ == "__main__":
    main()
