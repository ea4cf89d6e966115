"""Times the preparation of every data set per core, and extrapolates it to the complete source.

`python benchmarks/prepare.py [--datasets ptb_xl chapman] [--patients=200]`

The simulated source folder of each data set is prepared in this process, and processor time is
measured. Listing, which is always one process, and shards, which workers prepare in parallel, are
measured separately. Slow disks, above all network disks, can limit the speed instead of the
processors. The simulated patients of Icentia11k have their real size, 50 segments of 70 minutes and
5,000 beats, because most of the time is spent on their annotations.
"""

import dataclasses
import os
import pathlib
import tempfile
import time

import numpy as np
import rich.console
import rich.table
import tensorflow_datasets as tfds
import tyro

from clef_jax.building import builder, catalog, resume, shard
from clef_jax.simulation import fixture

CORES = 16
SEGMENTS, SEGMENT_SAMPLES, SEGMENT_BEATS = 50, 1_048_577, 5_000
"""Segments, samples per segment and beats per segment of a patient of Icentia11k."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arguments:
    """Times the preparation of every data set per core."""

    datasets: tuple[str, ...] = ()
    """Data sets to time; by default all."""
    patients: int = 200
    """Number of patients in each simulated source folder."""


@dataclasses.dataclass(frozen=True)
class Measured:
    """Costs of preparing one source folder."""

    num_listed: int
    num_stored: int
    num_bytes: int
    seconds_in_shards: float
    seconds_elsewhere: float


def main() -> None:
    arguments = tyro.cli(Arguments)
    table = rich.table.Table(
        "data set",
        "listed per s and core",
        "bytes per stored record",
        "recordings in the complete source",
        f"extrapolated to {CORES} cores",
        title=f"Preparing simulated source folders of {arguments.patients} patients",
    )
    for name in arguments.datasets or catalog.names():
        with tempfile.TemporaryDirectory() as scratch:
            # The difference between two sizes does not contain the fixed costs of a build.
            few = _measure(name, pathlib.Path(scratch, "few"), arguments.patients // 3)
            many = _measure(name, pathlib.Path(scratch, "many"), arguments.patients)
        table.add_row(*_row(name, few, many))
    rich.console.Console(highlight=False).print(table)


def _measure(name: str, scratch: pathlib.Path, patients: int) -> Measured:
    write = _write_icentia if name == "icentia11k" else catalog.simulated(name).write
    made = write(scratch / "source", patients)
    dataset = f"{name}/{made.config}" if made.config else name
    seconds = []

    def timed(task: shard.Task) -> shard.Summary:
        start = time.process_time()
        summary = original_write(task)
        seconds.append(time.process_time() - start)
        return summary

    original_write, resume.write = resume.write, timed
    try:
        dataset_builder = catalog.builder(
            dataset, data_dir=scratch / "data", options=builder.Options(**made.options)
        )
        start = time.process_time()
        download = tfds.download.DownloadConfig(manual_dir=str(made.source))
        dataset_builder.download_and_prepare(download_config=download)
        whole = time.process_time() - start
    finally:
        resume.write = original_write
    summary = dataset_builder.summary
    assert summary is not None
    # The slowest shard, which includes imports, is not counted.
    per_shard = sorted(seconds)[: max(1, len(seconds) - 1)]
    in_shards = sum(per_shard) * len(seconds) / len(per_shard)
    return Measured(
        summary.num_listed, summary.num_stored, summary.num_bytes, in_shards, whole - sum(seconds)
    )


def _write_icentia(source: pathlib.Path, patients: int) -> fixture.Fixture:
    """Writes patients whose segments share the same samples on disk."""
    rng = np.random.default_rng(0)
    adc = rng.integers(-300, 300, (1, SEGMENT_SAMPLES)).astype(np.int16)
    samples = np.sort(rng.choice(SEGMENT_SAMPLES, SEGMENT_BEATS, replace=False)).tolist()
    symbols = rng.choice(["N", "Q", "S", "V"], SEGMENT_BEATS, p=[0.74, 0.24, 0.01, 0.01]).tolist()
    beats = [(sample, symbol, "") for sample, symbol in zip(samples, symbols, strict=True)]
    beats[0] = (samples[0], "+", "(N")
    first = source / "p00/p00000/p00000_s00"
    first.parent.mkdir(parents=True)
    gain = "74.365(0)/mV"
    fixture.write_wfdb(first, adc, leads=("ecg",), sample_rate_hz=250, gain=gain)
    fixture.write_annotations(first, beats)
    header = first.with_suffix(".hea").read_text()
    for patient in range(max(1, patients // SEGMENTS)):
        for segment in range(SEGMENTS):
            name = f"p{patient:05d}_s{segment:02d}"
            path = source / f"p00/p{patient:05d}/{name}"
            path.parent.mkdir(exist_ok=True)
            if path != first:
                path.with_suffix(".hea").write_text(header.replace(first.name, name))
                os.link(first.with_suffix(".dat"), path.with_suffix(".dat"))
                os.link(first.with_suffix(".atr"), path.with_suffix(".atr"))
    return fixture.Fixture(source=source)


def _row(name: str, few: Measured, many: Measured) -> list[str]:
    total = catalog.builder_class(name).SOURCE_RECORDINGS or 0
    in_shards = many.seconds_in_shards / many.num_listed
    difference = max(many.seconds_elsewhere - few.seconds_elsewhere, 0.0)
    listing = difference / max(many.num_listed - few.num_listed, 1)
    minutes = total * (in_shards / CORES + listing) / 60
    size = total * many.num_bytes / many.num_listed
    return [
        name,
        f"{1 / in_shards:,.0f}",
        f"{many.num_bytes / max(many.num_stored, 1):,.0f}",
        f"{total:,}" if total else "not published",
        f"{minutes:,.1f} min, {size / 1e9:,.2f} GB" if total else "",
    ]


if __name__ == "__main__":
    main()
