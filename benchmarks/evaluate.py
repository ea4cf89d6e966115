"""Measures the speed of evaluation: embedding a data set, and all tasks of the paper.

Embedding is compared with the forward pass alone; the tasks use cached embeddings.

`python benchmarks/evaluate.py --sizes small --num-recordings 100000`
"""

import argparse
import dataclasses
import pathlib
import resource
import statistics
import tempfile
import time
from typing import Any

import jax
import numpy as np
import rich.console
import tensorflow_datasets as tfds
from flax import nnx

from clef_jax import mesh as mesh_lib, tasks
from clef_jax.building import builder, catalog
from clef_jax.data import index as index_lib
from clef_jax.embedding import encoder as encoder_lib, prepared
from clef_jax.embedding.prepared import Embedded
from clef_jax.evaluation import prediction, score

CONSOLE = rich.console.Console(highlight=False)
REPETITIONS = 5
EMBEDDED_RECORDINGS = 512
NUM_FEATURES = 256
NUM_OUTPUTS = {
    "chapman_diagnoses": 38,
    "icentia_beat": 3,
    "icentia_rhythm": 3,
    "mc_med_acuity": 5,
    "mc_med_discharge_disposition": 6,
    "mc_med_ed_disposition": 4,
    "music_outcome": 4,
    "ptb_xl_diagnostic": 44,
    "ptb_xl_form": 19,
    "ptb_xl_rhythm": 12,
    "ptb_xl_subdiagnostic": 23,
    "ptb_xl_superdiagnostic": 5,
}
"""Number of classes in the paper; other tasks have one output."""
SPLITS = {"train": 0.8, "validation": 0.1, "test": 0.1}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", nargs="*", default=["small"])
    parser.add_argument("--num-recordings", type=int, default=100_000)
    parser.add_argument("--num-resamples", type=int, default=1000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for size in arguments.sizes:
            throughput(size, pathlib.Path(folder))
        if arguments.num_recordings:
            all_tasks(pathlib.Path(folder), arguments.num_recordings, arguments.num_resamples)


def throughput(size: str, folder: pathlib.Path) -> None:
    """Prints windows per second of `prepared.embed`, reading included, and of the encoder alone."""
    index = index_lib.load(prepare("ptb_xl", folder, EMBEDDED_RECORDINGS), "train")
    encoder = encoder_lib.random(size, mesh_lib.make_mesh(jax.local_devices()), seed=0)
    batch = 64 * encoder.mesh.size
    signal = jax.random.normal(jax.random.key(0), (batch, 5000, 1))
    forward = jax.jit(lambda params, x: nnx.merge(encoder.graph, params)(x))
    forward(encoder.params, signal).block_until_ready()
    prepared.embed(encoder, index, "I", folder / "warm_up")
    plain, whole = [], []
    for repetition in range(REPETITIONS):  # alternating, so that both run under the same load
        start = time.perf_counter()
        for _ in range(-(-index.num_records // batch)):
            forward(encoder.params, signal).block_until_ready()
        # Both encode the same number of padding windows and do not count them.
        plain.append(index.num_records / (time.perf_counter() - start))
        embedded = prepared.embed(encoder, index, "I", folder / f"{size}_{repetition}")
        whole.append(embedded.windows_per_second)
    ratios = [whole_rate / rate for whole_rate, rate in zip(whole, plain, strict=True)]
    CONSOLE.print(
        f"{size}: embedding {statistics.median(whole):.0f} windows/s, forward pass alone "
        f"{statistics.median(plain):.0f}; ratio {statistics.median(ratios):.2f} "
        f"({min(ratios):.2f} to {max(ratios):.2f})"
    )


def all_tasks(folder: pathlib.Path, num_recordings: int, num_resamples: int) -> None:
    """Prints the time of a linear probe with scores and intervals for each task of the paper.

    Features are noise with a weak signal of the targets, which are as many and as rare as in the
    tasks.
    """
    version = prepare("cinc2017", folder, 32)
    index = index_lib.load(version, "train")
    total = 0.0
    for name, task in tasks.load().items():
        if not task.in_paper:
            continue
        synthetic, splits = synthesize(task, index, num_recordings)
        start = time.perf_counter()
        layers = {"last": lambda split: split.features}
        predictions = prediction.predict(synthetic, splits, layers, prediction.Protocol())
        fitted = time.perf_counter()
        scores = list(score.compute(synthetic, predictions, num_resamples=num_resamples, seed=0))
        done = time.perf_counter()
        total += done - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        CONSOLE.print(
            f"{name}: {len(predictions.outputs)} outputs, probe {fitted - start:.1f} s, "
            f"{len(scores)} scores {done - fitted:.1f} s, peak {peak:.1f} GiB",
            soft_wrap=True,
        )
    CONSOLE.print(f"18 tasks on {num_recordings:,} recordings: {total / 60:.1f} min")


def prepare(dataset: str, folder: pathlib.Path, num_patients: int) -> pathlib.Path:
    """Prepares a simulated source folder, and returns the folder of the prepared data."""
    if not (folder / "data" / dataset).exists():
        tree = catalog.simulated(dataset).write(folder / "source" / dataset, num_patients)
        options = builder.Options(**tree.options)
        made = catalog.builder(dataset, data_dir=folder / "data", options=options)
        download = tfds.download.DownloadConfig(manual_dir=str(tree.source))
        made.download_and_prepare(download_config=download)
    return index_lib.find(str(folder / "data"), dataset)


@dataclasses.dataclass(frozen=True, eq=False)
class SyntheticSplit(Embedded):
    """Split whose metadata are synthetic instead of read."""

    metadata: list[dict[str, Any]] = dataclasses.field(default_factory=list)  # pyright: ignore


def synthesize(
    task: tasks.Task, index: index_lib.Index, num_recordings: int
) -> tuple[tasks.Task, dict[str, Embedded]]:
    """Returns a task of the same kind with synthetic targets, and synthetic splits."""
    rng = np.random.default_rng(0)
    num_outputs = NUM_OUTPUTS.get(task.name, 1)
    prevalence = np.geomspace(0.4, 0.002, num_outputs)
    if task.kind == "regression":
        targets = rng.normal(120, 20, (num_recordings, 1))
    elif task.kind == "multiclass":
        targets = np.eye(num_outputs)[
            rng.choice(num_outputs, num_recordings, p=prevalence / prevalence.sum())
        ]
    else:
        targets = (rng.random((num_recordings, num_outputs)) < prevalence).astype(float)
    features = rng.normal(size=(num_recordings, NUM_FEATURES)).astype(np.float32)
    features[:, :num_outputs] += 0.5 * (targets - targets.mean(axis=0)) / targets.std(axis=0)
    synthetic = dataclasses.replace(
        task,
        label=None,
        leave_out_empty=False,
        keep=None,
        outputs=tuple(f"output {k}" for k in range(num_outputs)),
        target=lambda example: targets[example["number"]],
    )
    ages, men = rng.uniform(20, 90, num_recordings), rng.integers(0, 2, num_recordings)
    metadata = [{"number": n, "age_years": ages[n], "male": men[n]} for n in range(num_recordings)]
    ends = np.cumsum([round(part * num_recordings) for part in SPLITS.values()]).tolist()
    splits: dict[str, Embedded] = {}
    for split, first, end in zip(SPLITS, [0, *ends[:-1]], ends, strict=True):
        whole = dataclasses.replace(index, patient=np.arange(end - first))
        part = features[first:end]
        splits[split] = SyntheticSplit(
            whole, task.lead, part, pathlib.Path(), 1.0, metadata[first:end]
        )
    return synthetic, splits


if __name__ == "__main__":
    main()
