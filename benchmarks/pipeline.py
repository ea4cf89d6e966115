"""Times the input pipeline from prepared records to host batches, and a plain SciPy loader.

`python benchmarks/pipeline.py [--source=RAW --data-dir=PREPARED]`

Without folders it first simulates and prepares a cohort. Both loaders alternate in this process,
and processor time is measured, so the results are per core. For each pair the plain loader does the
same as the public PyTorch reference: it reads the 12-lead record with wfdb for each of two views,
interpolates gaps, filters forwards and backwards, and z-scores. The pipeline reads int16; the
jitted step does the rest, which `--device` times as well.
"""

import dataclasses
import functools
import json
import pathlib
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import rich.console
import rich.table
import scipy.signal
import tyro
import wfdb

from clef_jax import files, mesh as mesh_lib, prepare, simulate
from clef_jax.config import TrainConfig
from clef_jax.data import index as index_lib, pipeline, raw
from clef_jax.errors import UserError
from clef_jax.signal import reference
from clef_jax.training import state as state_lib, step as step_lib

DATASET = "mimic_iv_ecg/all_records"
PLAIN_PAIRS = 48


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arguments:
    """Times the input pipeline per core, and a plain loader of the raw files."""

    source: pathlib.Path | None = None
    """Source folder of MIMIC-IV-ECG; by default it is simulated."""
    data_dir: pathlib.Path | None = None
    """Folder with mimic_iv_ecg/all_records prepared from it; by default it is prepared."""
    compression: str = "none"
    """Compression of records that this command prepares: none or zstd."""
    batch_size: int = 64
    """Pairs per batch."""
    batches: int = 20
    """Batches per repetition."""
    repeats: int = 7
    """Repetitions; medians are printed."""
    device: bool = True
    """Also time the part of the training step that makes the views."""
    json: pathlib.Path | None = None
    """JSON file for the results; by default none is written."""


def main() -> None:
    arguments = tyro.cli(Arguments)
    console = rich.console.Console(highlight=False)
    with tempfile.TemporaryDirectory() as scratch:
        source, data_dir = _folders(arguments, pathlib.Path(scratch))
        index = index_lib.load(index_lib.find(data_dir, DATASET), "train")
        config = TrainConfig(
            data_dir=str(data_dir),
            workdir=scratch,
            dataset=DATASET,
            global_batch_size=arguments.batch_size,
        )
        sampler = pipeline.make_sampler(index, config)
        ours, plain, shares = _alternate(arguments, sampler, source)
        console.print(_table(arguments, ours, plain, shares))
        if arguments.json is not None:
            files.write_text(arguments.json, json.dumps(_values(ours, plain, shares), indent=2))
        if arguments.device:
            console.print(
                f"Making views on {jax.devices()[0].device_kind}: {_views(sampler, config)}"
            )


def _folders(arguments: Arguments, scratch: pathlib.Path) -> tuple[pathlib.Path, pathlib.Path]:
    source = arguments.source or scratch / "raw"
    data_dir = arguments.data_dir or scratch / "data"
    if arguments.source is None:
        if arguments.data_dir is not None:
            raise UserError("Give --source, too: the plain loader reads the raw recordings.")
        simulate.main([f"--out={source}", "--patients=256"])
    if arguments.data_dir is None:
        flags = [f"--dataset={DATASET}", f"--source={source}", f"--data-dir={data_dir}"]
        prepare.main([*flags, f"--compression={arguments.compression}"])
    return source, data_dir


def _alternate(arguments: Arguments, sampler: pipeline.BatchSampler, source: pathlib.Path):
    """Returns processor seconds per pair and repetition of both loaders, and the stages of ours."""
    reader = raw.Reader(sampler.index)
    ids = reader.texts(np.arange(sampler.index.num_records))
    ours, plain, stages = [], [], []
    for repetition in range(arguments.repeats + 1):
        first = repetition * arguments.batches
        stage = _time_stages(sampler, reader, range(first, first + arguments.batches))
        pairs = arguments.batches * arguments.batch_size
        rows = sampler.sample(first).row[:PLAIN_PAIRS]
        seconds = _cpu_seconds(lambda rows=rows: [_plain_pair(source / ids[r]) for r in rows])
        if repetition:  # the first one opens files and fills caches
            ours.append(sum(stage.values()) / pairs)
            stages.append(stage)
            plain.append(seconds / len(rows))
    shares = {name: statistics.median(s[name] / sum(s.values()) for s in stages) for name in stage}
    return ours, plain, shares


def _time_stages(
    sampler: pipeline.BatchSampler, reader: raw.Reader, steps: range
) -> dict[str, float]:
    """Returns the processor seconds of the pipeline for some steps, by stage."""
    sampled: list[pipeline.BatchIndices] = []
    stage = {
        "draw patients, records, leads": _cpu_seconds(
            lambda: sampled.extend(map(sampler.sample, steps))
        )
    }
    stored: list[list[bytes]] = []
    stage["read and decompress"] = _cpu_seconds(
        lambda: stored.extend(reader.records(indices.row) for indices in sampled)
    )
    shape = (len(sampler.index.lead_names), int(sampler.index.num_samples[0]))

    def slice_leads() -> None:
        for indices, records in zip(sampled, stored, strict=True):
            raw.slice_leads(records, indices.lead, shape)

    stage["slice two leads"] = _cpu_seconds(slice_leads)
    return stage


def _plain_pair(path: pathlib.Path) -> None:
    for lead in (0, 1):
        signal = wfdb.rdrecord(str(path)).p_signal[:, lead]
        signal = reference.fill_gaps(signal)
        numerator, denominator = _polynomial_filter()
        reference.zscore(scipy.signal.filtfilt(numerator, denominator, signal)).astype(np.float32)


@functools.cache
def _polynomial_filter():
    return scipy.signal.butter(5, [0.67, 40.0], "bandpass", fs=500.0)


def _cpu_seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def _views(sampler: pipeline.BatchSampler, config: TrainConfig) -> str:
    """Returns the signals per second of filter, augmentation and z-score on all devices."""
    mesh = mesh_lib.make_mesh()
    trainer = state_lib.make_trainer(config, lambda _: 0.0, mesh)
    constants = step_lib.make_constants(config, sampler.index.common_rate_hz, mesh)
    batch = mesh_lib.to_devices(next(pipeline.make_batches(sampler, config, first_step=0)), mesh)
    make = jax.jit(step_lib.make_views, static_argnums=(0, 4))
    seconds = []
    for step in range(8):
        start = time.perf_counter()
        make(trainer, batch, constants, np.int32(step), config.augment).block_until_ready()
        seconds.append(time.perf_counter() - start)
    rate = 2 * config.global_batch_size / statistics.median(seconds[1:])
    return f"{rate:,.0f} signals/s (wall time)"


def _values(ours: list[float], plain: list[float], shares: dict[str, float]) -> dict[str, Any]:
    return {
        "pairs_per_second_and_core": 1 / statistics.median(ours),
        "plain_pairs_per_second_and_core": 1 / statistics.median(plain),
        "times_plain": statistics.median(p / o for o, p in zip(ours, plain, strict=True)),
        "shares": shares,
    }


def _table(arguments: Arguments, ours, plain, shares) -> rich.table.Table:
    table = rich.table.Table(title=f"Batches of {arguments.batch_size} pairs, per core")
    for column in ("loader", "pairs/s", "times faster than plain", "stages"):
        table.add_column(column)
    ratio = statistics.median(p / o for o, p in zip(ours, plain, strict=True))
    stages = ", ".join(f"{name} {share:.0%}" for name, share in shares.items())
    table.add_row("clef_jax", f"{1 / statistics.median(ours):,.0f}", f"{ratio:.0f}", stages)
    table.add_row("wfdb + scipy", f"{1 / statistics.median(plain):,.0f}", "1", "")
    return table


if __name__ == "__main__":
    main()
