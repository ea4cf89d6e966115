"""Times the embedding of one ten-second lead on one CPU core, in every exported format.

`python benchmarks/latency.py --sizes small medium`

JAX, ONNX in float32 and with fewer bits (extra `onnx`) and PyTorch (extra `torch`) run in separate
processes on the same core and alternate, so that other load affects all of them. "whole" is from
raw millivolts to the embedding: compiled by JAX, inside the ONNX graph, and with SciPy before
PyTorch. "network" is the encoder alone. "packet" is a packet of a chest strap at 130 Hz that
completes a window, from the packet to the embedding (see `clef_jax.embedding.streaming`), and
"packet part" is a packet that completes none. "core ms" is the processor time, which is the latency
of an idle core; "wall ms" includes the time of other programs.
"""

import dataclasses
import importlib.util
import json
import os
import pathlib
import runpy
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

import tyro
from rich.console import Console
from rich.table import Table

_SMALLER = ("int8 weights", "float16 weights", "float16 network")
_FORMS = ("jax", "onnx", *_SMALLER, "torch")
_PROGRAMS = ("whole", "network", "packet", "packet part")
_FILES = ("whole", "network")
"""Programs that are an ONNX file each; packets go to that of the whole."""
_HEADINGS = ("size", "program", "format", "core ms", "wall ms", "times faster than JAX", "file MB")
_RATE_HZ, _SECONDS = 500, 10
_STRAP_RATE_HZ = 130
_UNCOUNTED = 3
"""Number of first repetitions that are not counted."""

Program = Callable[[], object]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of the measurement."""

    sizes: tuple[str, ...] = ("small",)
    """Encoder sizes."""
    repeats: int = 41
    """Timed repetitions, after three that are not counted."""
    worker: str = ""
    """Internal: role of a process that this program starts: write, or a format."""
    folder: str = ""
    """Internal: folder of the ONNX files."""


def make_model(size: str):
    """Returns a randomly initialised encoder with its preprocessing, on one CPU device."""
    import jax

    from clef_jax import mesh
    from clef_jax.embedding import encoder as encoder_lib

    return encoder_lib.random(size, mesh.make_mesh(jax.devices()[:1]), seed=0)


def make_signal(rate_hz: int = _RATE_HZ):
    """Returns a simulated lead I of one window in raw millivolts, float32 [1, T]."""
    import numpy as np

    from clef_jax.simulation import simulated_ecg

    length = rate_hz * _SECONDS
    return simulated_ecg.make(0, ("I",), sample_rate_hz=rate_hz, num_samples=length).astype(
        np.float32
    )


def write_files(size: str, folder: pathlib.Path) -> dict[str, Program]:
    """Writes the ONNX files of all formats and programs."""
    from clef_jax.convert import onnx_file, onnx_quantised

    model = make_model(size)
    for program in _FILES:
        exact = folder / f"onnx {program}.onnx"
        onnx_file.write(model, exact, preprocessing=program == "whole")
        for form in _SMALLER:
            smaller = onnx_quantised.with_fewer_bits(onnx_quantised.load(exact), form)
            onnx_quantised.save(smaller, folder / f"{form} {program}.onnx")
    return {}


def make_jax(size: str) -> dict[str, Program]:
    """Returns the programs in JAX."""
    import jax
    import numpy as np
    from flax import nnx

    model, signal_mv = make_model(size), make_signal()
    embed = jax.jit(lambda params, x: nnx.merge(model.graph, params)(x))
    return {
        "whole": lambda: np.asarray(model(signal_mv[:, None], _RATE_HZ)),
        "network": lambda: np.asarray(embed(model.params, signal_mv[..., None])),
        **make_packets(model),
    }


def make_packets(encoder) -> dict[str, Program]:
    """Returns the programs that push packets into streams at 130 Hz.

    Each packet of a second completes a window that overlaps the previous one by nine seconds.
    """
    from clef_jax.embedding import encoder as encoder_lib, streaming, window

    def stream(stride_seconds: float) -> streaming.PacketStream:
        windower = window.Windower(encoder.recipe, _STRAP_RATE_HZ, stride_seconds)
        return streaming.PacketStream(encoder, encoder_lib.layer_slice(encoder, "last"), windower)

    signal_mv = make_signal(_STRAP_RATE_HZ)[0]
    packet, part = signal_mv[:_STRAP_RATE_HZ], signal_mv[: _STRAP_RATE_HZ // 10]
    complete, partial = stream(stride_seconds=1.0), stream(stride_seconds=10.0)
    complete.push(signal_mv)
    return {"packet": lambda: complete.push(packet), "packet part": lambda: partial.push(part)}


class OnnxEncoder:
    """An ONNX file from raw millivolts as an encoder of streams."""

    def __init__(self, session):
        import jax

        from clef_jax import mesh
        from clef_jax.embedding.recipe import Recipe

        self._session = session
        self.recipe, self.in_channels = Recipe(), 1
        self.mesh = mesh.make_mesh(jax.devices()[:1])
        self.num_features = session.get_outputs()[0].shape[-1]
        self.layers = {"embedding": slice(0, self.num_features)}

    def __call__(self, signal_mv, sample_rate_hz: float):
        return self._session.run(["embedding"], {"signal_mv": signal_mv[:, 0]})[0]


def make_onnx(form: str, folder: pathlib.Path) -> dict[str, Program]:
    """Returns the programs of the ONNX files in a folder."""
    from clef_jax.convert import onnx_session

    given = {"signal_mv": make_signal()}

    def program(name: str) -> Program:
        session = onnx_session.session(folder / f"{form} {name}.onnx", num_threads=1)
        return lambda: session.run(["embedding"], given)

    whole = onnx_session.session(folder / f"{form} whole.onnx", num_threads=1)
    return {name: program(name) for name in _FILES} | make_packets(OnnxEncoder(whole))


def make_torch(size: str) -> dict[str, Program]:
    """Returns the programs in PyTorch."""
    import numpy as np
    import torch

    from clef_jax.signal import reference

    torch.set_num_threads(1)
    network_path = pathlib.Path(__file__).with_name("torch_net1d.py")
    encoder = runpy.run_path(str(network_path))["TorchNet1D"](size)
    signal_mv = make_signal()

    @torch.inference_mode()
    def network(signal=signal_mv):
        return encoder(torch.from_numpy(signal)[None]).numpy()

    def whole():
        signal = reference.bandpass(reference.fill_gaps(signal_mv), _RATE_HZ)
        return network(reference.zscore(signal).astype(np.float32))

    return {"whole": whole, "network": network}


def work(config: Config) -> None:
    """Runs a worker: prepares its programs, runs one per input line, and prints its seconds."""
    if hasattr(os, "sched_setaffinity"):
        # Set before a library chooses its number of threads.
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])
    size, folder = config.sizes[0], pathlib.Path(config.folder)
    if config.worker == "write":
        programs = write_files(size, folder)
    elif config.worker == "jax":
        programs = make_jax(size)
    elif config.worker == "torch":
        programs = make_torch(size)
    else:
        programs = make_onnx(config.worker, folder)
    report_seconds(0, 0)
    for line in sys.stdin:
        core, wall = time.process_time(), time.perf_counter()
        programs[line.strip()]()
        report_seconds(time.process_time() - core, time.perf_counter() - wall)


def report_seconds(core_seconds: float, wall_seconds: float) -> None:
    """Prints processor and wall time for the parent process."""
    sys.stdout.write(f"{json.dumps([core_seconds, wall_seconds])}\n")
    sys.stdout.flush()


class Worker:
    """Process that times one format of one size."""

    def __init__(self, form: str, size: str, folder: str):
        command = [sys.executable, __file__, "--worker", form, "--sizes", size, "--folder", folder]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1", "JAX_PLATFORMS": "cpu"},
        )
        self._read()

    def run(self, program: str) -> tuple[float, float]:
        """Runs a program once, and returns its processor and wall time in seconds."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{program}\n")
        self._process.stdin.flush()
        return self._read()

    def close(self) -> None:
        self._process.communicate()

    def _read(self) -> tuple[float, float]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("A worker of the benchmark ended early; see its message above.")
        core_seconds, wall_seconds = json.loads(line)
        return core_seconds, wall_seconds


def alternate(
    workers: dict[str, Worker], program: str, repeats: int
) -> dict[str, list[tuple[float, float]]]:
    """Returns the processor and wall time of each repetition, by format; the formats alternate."""
    times: dict[str, list[tuple[float, float]]] = {form: [] for form in workers}
    for repetition in range(_UNCOUNTED + repeats):
        for form, worker in workers.items():
            seconds = worker.run(program)
            if repetition >= _UNCOUNTED:
                times[form].append(seconds)
    return times


def cells(times: list[tuple[float, float]], jax_times: list[tuple[float, float]]) -> list[str]:
    """Returns the medians in milliseconds, and the median speed relative to JAX."""
    core, wall = (statistics.median(column) * 1e3 for column in zip(*times, strict=True))
    ratio = statistics.median(j[0] / t[0] for j, t in zip(jax_times, times, strict=True))
    return [f"{core:.2f}", f"{wall:.2f}", f"{ratio:.2f}"]


def compare(size: str, forms: list[str], repeats: int, table: Table) -> None:
    """Adds a row to the table for each format and program of one size."""
    with tempfile.TemporaryDirectory() as folder:
        if "onnx" in forms:
            Worker("write", size, folder).close()
        workers = {form: Worker(form, size, folder) for form in forms}
        for program in _PROGRAMS:
            timed = {k: v for k, v in workers.items() if program in _FILES or k != "torch"}
            times = alternate(timed, program, repeats)
            for form in timed:
                file = pathlib.Path(folder) / f"{form} {program}.onnx"
                size_mb = f"{file.stat().st_size / 1e6:.2f}" if file.exists() else ""
                table.add_row(size, program, form, *cells(times[form], times["jax"]), size_mb)
        for worker in workers.values():
            worker.close()


def main(config: Config) -> None:
    if config.worker:
        return work(config)
    console = Console()
    forms: list[str] = list(_FORMS)
    if importlib.util.find_spec("torch") is None:
        console.print("PyTorch is skipped, because it is not installed (extra `torch`).")
        forms.remove("torch")
    if importlib.util.find_spec("onnxruntime") is None:
        console.print("ONNX is skipped, because onnxruntime is not installed (extra `onnx`).")
        forms = [form for form in forms if form in ("jax", "torch")]
    table = Table(title=f"one lead of {_SECONDS} s at {_RATE_HZ} Hz on one core")
    for heading in _HEADINGS:
        table.add_column(heading, justify="right")
    for size in config.sizes:
        compare(size, forms, config.repeats, table)
    return console.print(table)


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
