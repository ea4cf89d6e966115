"""Times the preparation of every data set per core, and projects it to the whole source.

`python benchmarks/prepare.py [--datasets ptb_xl chapman] [--patients=200]`

Each data set's own simulated tree is prepared in this process; what counts is processor time. The
listing, which is one process whatever the workers, and the shards, which any number of workers
share, are told apart. Disks, above all network disks, may be slower than the processors: then they
decide.
"""

import dataclasses
import pathlib
import tempfile
import time

import rich.console
import rich.table
import tensorflow_datasets as tfds
import tyro

from clef_jax import catalog
from clef_jax.data import builder, shard, unfinished

CORES = 16


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arguments:
    """Times the preparation of every data set per core."""

    datasets: tuple[str, ...] = ()
    """Which ones; all without."""
    patients: int = 200
    """Size of each simulated tree."""


@dataclasses.dataclass(frozen=True)
class Measured:
    """What preparing one tree took."""

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
        "listed in the whole source",
        f"projected on {CORES} cores",
        title=f"Preparing simulated trees of {arguments.patients} patients",
    )
    for name in arguments.datasets or catalog.names():
        with tempfile.TemporaryDirectory() as scratch:
            table.add_row(*_row(name, _measure(name, pathlib.Path(scratch), arguments.patients)))
    rich.console.Console(highlight=False).print(table)


def _measure(name: str, scratch: pathlib.Path, patients: int) -> Measured:
    made = catalog.simulated(name).write(scratch / "source", patients)
    dataset = f"{name}/{made.config}" if made.config else name
    seconds = []

    def timed(task: shard.Task) -> shard.Summary:
        start = time.process_time()
        summary = unfinished_write(task)
        seconds.append(time.process_time() - start)
        return summary

    unfinished_write, unfinished.write = unfinished.write, timed
    try:
        one = catalog.builder(
            dataset, data_dir=scratch / "data", options=builder.Options(**made.options)
        )
        start = time.process_time()
        download = tfds.download.DownloadConfig(manual_dir=str(made.source))
        one.download_and_prepare(download_config=download)
        whole = time.process_time() - start
    finally:
        unfinished.write = unfinished_write
    report = one.report
    assert report is not None
    # The first shard pays for imports.
    per_shard = sorted(seconds)[: max(1, len(seconds) - 1)]
    in_shards = sum(per_shard) * len(seconds) / len(per_shard)
    return Measured(
        report.num_listed, report.num_stored, report.num_bytes, in_shards, whole - sum(seconds)
    )


def _row(name: str, measured: Measured) -> list[str]:
    total = catalog.builder_class(name).SOURCE_RECORDINGS
    per_listed = measured.seconds_in_shards / measured.num_listed
    listing = measured.seconds_elsewhere / measured.num_listed
    hours = total * (per_listed / CORES + listing) / 3600
    stored = total * measured.num_stored / measured.num_listed
    size = stored * measured.num_bytes / max(measured.num_stored, 1)
    return [
        name,
        f"{1 / per_listed:,.0f}",
        f"{measured.num_bytes / max(measured.num_stored, 1):,.0f}",
        f"{total:,}",
        f"{hours * 60:,.1f} min, {size / 1e9:,.1f} GB",
    ]


if __name__ == "__main__":
    main()
