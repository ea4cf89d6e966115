"""Measures speed and memory of every encoder: ours, and published ones with random weights.

`python benchmarks/encoders.py` writes a table to standard output.

Each encoder runs in a process of its own, one after the other, on one lead of ten seconds: from
millivolts to the features of all layers, with the preprocessing that its authors prescribe. Peak
memory is that of the process while it embeds, with Python and JAX; on systems other than Linux, it
is that of the whole process. "core ms" is the processor time of all threads, which hardly depends
on other load; "windows/s" does. ECGFounder has the network of our medium size.
"""

import dataclasses
import json
import pathlib
import resource
import statistics
import subprocess
import sys
import time

import markdown_table
import tyro

_OURS = ("small", "medium", "large")
_RATE_HZ, _LEAD = 500, "II"
_COLUMNS = (
    *("encoder", "parameters", "GFLOP per window", "windows/s", "core ms per window"),
    "peak memory (MiB)",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Measures speed and memory of every encoder."""

    encoders: tuple[str, ...] = ()
    """Sizes of our encoder, and names of published ones; by default all."""
    batch_size: int = 16
    """Number of windows that are encoded together."""
    repeats: int = 5
    """Number of timed batches, of which the median is written; one more is not counted."""
    worker: str = ""
    """Internal: encoder that a process of this program measures."""


def names() -> list[str]:
    """Returns the sizes of our encoder and the names of published ones."""
    from clef_jax.embedding import published

    known = [n for n, module in published.modules() if hasattr(module, "PUBLISHED")]
    return [*_OURS, *known]


def make(name: str):
    """Returns an encoder with random weights, for one lead, and its name in the table."""
    import jax

    from clef_jax import mesh as mesh_lib
    from clef_jax.embedding import encoder as encoder_lib, foreign

    mesh = mesh_lib.make_mesh(jax.devices()[:1])
    if name in _OURS:
        return encoder_lib.random(name, mesh, seed=0), f"CLEF {name}"
    model = foreign.untrained(name, mesh, seed=0).for_lead(_LEAD)
    return model, model.published.title


def reset_peak() -> None:
    """Makes the peak of the process's memory its current memory, on Linux."""
    path = pathlib.Path("/proc/self/clear_refs")
    if path.exists():
        path.write_text("5")


def peak_bytes() -> int:
    """Returns the peak of the process's memory."""
    path = pathlib.Path("/proc/self/status")
    if path.exists():
        (line,) = (x for x in path.read_text().splitlines() if x.startswith("VmHWM:"))
        return 1024 * int(line.split()[1])
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def measure(name: str, config: Config) -> dict[str, float | str]:
    """Returns the measurements of an encoder."""
    import gc

    import numpy as np

    from clef_jax.embedding import batch
    from clef_jax.simulation import simulated_ecg

    model, title = make(name)
    gc.collect()
    reset_peak()
    count = _RATE_HZ * round(model.recipe.window_seconds)
    signals = [
        simulated_ecg.make(n, (_LEAD,), sample_rate_hz=_RATE_HZ, num_samples=count)
        for n in range(config.batch_size)
    ]
    windower = batch.make_windower(model, _RATE_HZ)
    windows_mv = windower.resample(np.stack(signals).astype(np.float32))
    seconds, core_seconds = [], []
    for _ in range(config.repeats + 1):
        start, core_start = time.perf_counter(), time.process_time()
        features = np.asarray(model(windows_mv, windower.window_rate_hz))
        core_seconds.append(time.process_time() - core_start)
        seconds.append(time.perf_counter() - start)
    assert np.isfinite(features).all()
    return {
        "title": title,
        "windows_per_second": config.batch_size / statistics.median(seconds[1:]),
        "core_ms": 1e3 * statistics.median(core_seconds[1:]) / config.batch_size,
        "peak_bytes": peak_bytes(),
        **model.costs,
    }


def main() -> None:
    config = tyro.cli(Config)
    if config.worker:
        sys.stdout.write(json.dumps(measure(config.worker, config)))
        return
    sys.stdout.write(f"{markdown_table.head(_COLUMNS)}\n")
    for name in config.encoders or names():
        options = [f"--batch-size={config.batch_size}", f"--repeats={config.repeats}"]
        command = [sys.executable, __file__, f"--worker={name}", *options]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
        found = json.loads(done.stdout.splitlines()[-1])
        cells = (
            *(found["title"], f"{found['parameters']:,}", f"{found['flops'] / 1e9:.2g}"),
            *(f"{found['windows_per_second']:.2g}", f"{found['core_ms']:,.0f}"),
            f"{found['peak_bytes'] / 2**20:,.0f}",
        )
        sys.stdout.write(f"{markdown_table.line(cells)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
