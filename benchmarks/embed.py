"""Measures speed and memory of `python -m clef_jax.embed` on a folder of simulated 12-lead records.

The speed is compared with the forward pass alone.

`python benchmarks/embed.py --num-windows 100000`
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
import time

import jax
import numpy as np
import rich.console

from clef_jax import mesh as mesh_lib
from clef_jax.embedding import encoder as encoder_lib, folder as model_folder
from clef_jax.leads import STANDARD_12
from clef_jax.simulation import fixture, simulated_ecg

CONSOLE = rich.console.Console(highlight=False, soft_wrap=True)
RATE_HZ = 500
NUM_RECORDINGS = 50
"""Number of different recordings, which the others repeat."""
RECORDS_PER_FOLDER = 1000
FORWARD_REPETITIONS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", default="small")
    parser.add_argument("--num-windows", type=int, nargs="*", default=[10_000, 100_000])
    arguments = parser.parse_args()
    encoder = encoder_lib.random(arguments.size, mesh_lib.make_mesh(jax.local_devices()), seed=0)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        model = model_folder.save(encoder, folder / "model")
        for num_windows in arguments.num_windows:
            source = folder / f"records_{num_windows}"
            write(source, -(-num_windows // len(STANDARD_12)))
            before = forward_windows_per_second(encoder)
            seconds, peak_gib = embed(model, source, folder / "out.parquet")
            bare = (before + forward_windows_per_second(encoder)) / 2
            CONSOLE.print(
                f"{arguments.size}: {num_windows:,} windows in {seconds:.0f} s, start-up included: "
                f"{num_windows / seconds:.0f} windows/s, {num_windows / seconds / bare:.2f} of the "
                f"forward pass alone; peak memory {peak_gib:.2f} GiB"
            )


def write(folder: pathlib.Path, num_records: int) -> None:
    """Writes WFDB records of twelve leads and ten seconds."""
    made = []
    for number in range(min(NUM_RECORDINGS, num_records)):
        signal_mv = simulated_ecg.make(
            number, STANDARD_12, sample_rate_hz=RATE_HZ, num_samples=10 * RATE_HZ
        )
        made.append(np.rint(200 * signal_mv).astype(np.int16))
    for number in range(num_records):
        stem = folder / str(number // RECORDS_PER_FOLDER) / f"r{number}"
        adc = made[number % len(made)]
        fixture.write_wfdb(stem, adc, leads=STANDARD_12, sample_rate_hz=RATE_HZ, gain="200.0(0)/mV")


def embed(model: pathlib.Path, source: pathlib.Path, out: pathlib.Path) -> tuple[float, float]:
    """Runs the command in a separate process; returns its seconds and peak memory in GiB."""
    command = [
        *(sys.executable, "-c", MEASURED),
        *(f"--model={model}", f"--input={source}", f"--out={out}"),
    ]
    start = time.perf_counter()
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    seconds = time.perf_counter() - start
    return seconds, json.loads(done.stderr.splitlines()[-1]) / 2**20


MEASURED = """
import resource, sys
from clef_jax import embed
try:
    embed.main()
finally:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)
"""


def forward_windows_per_second(encoder: encoder_lib.Embedder) -> float:
    """Returns the speed of preprocessing and network for a batch that is already in memory."""
    batch = 64 * encoder.mesh.size
    signal_mv = np.random.default_rng(0).standard_normal((batch, 10 * RATE_HZ), np.float32)
    jax.block_until_ready(encoder(signal_mv[:, None], RATE_HZ))
    start = time.perf_counter()
    for _ in range(FORWARD_REPETITIONS):
        jax.block_until_ready(encoder(signal_mv[:, None], RATE_HZ))
    return FORWARD_REPETITIONS * batch / (time.perf_counter() - start)


if __name__ == "__main__":
    main()
