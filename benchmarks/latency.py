"""Times the embedding of one ten-second lead on one CPU core, in every form a model can have.

`python benchmarks/latency.py --sizes small medium`

JAX, ONNX in float32 and in int8 (extra `onnx`) and PyTorch (extra `torch`) run in processes of
their own on the same core and take turns, so that whatever else the machine does meets all. "whole"
goes from raw millivolts to the embedding: our compiled path, the preprocessing inside the ONNX
graph, and SciPy before PyTorch. "network" is the encoder alone. "core ms" is the time that the core
worked for it, which is the latency of a core with nothing else to do; "wall ms" has what other work
took in between.
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
from typing import Literal

import tyro
from rich.console import Console
from rich.table import Table

_FORMS = ("jax", "onnx", "int8 weights", "torch")
_PROGRAMS = ("whole", "network")
_HEADINGS = ("size", "program", "form", "core ms", "wall ms", "times faster than JAX", "file MB")
_RATE_HZ, _SECONDS = 500, 10
_UNCOUNTED = 3
"""First turns."""

Program = Callable[[], object]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """What to time."""

    sizes: tuple[str, ...] = ("small",)
    repeats: int = 41
    """Timed turns of each, after three that are not counted."""
    worker: Literal["", "write", "jax", "onnx", "int8 weights", "torch"] = ""
    """For the processes that this program starts."""
    folder: str = ""
    """Likewise: where the ONNX files are."""


def make_model(size: str):
    """An untrained encoder with its preprocessing, on one CPU device."""
    import jax

    from clef_jax import mesh
    from clef_jax.embedding import encoder as encoder_lib

    return encoder_lib.random(size, mesh.make_mesh(jax.devices()[:1]), seed=0)


def make_signal():
    """A simulated lead I, float32 [1, T], raw millivolts."""
    import numpy as np

    from clef_jax.simulation import strip

    length = _RATE_HZ * _SECONDS
    return strip.make(0, ("I",), sample_rate_hz=_RATE_HZ, num_samples=length).astype(np.float32)


def write_files(size: str, folder: pathlib.Path) -> dict[str, Program]:
    """The ONNX files of every form."""
    from clef_jax.convert import onnx_file, onnx_quantised

    model = make_model(size)
    for program in _PROGRAMS:
        exact = folder / f"onnx {program}.onnx"
        onnx_file.write(model, exact, preprocessing=program == "whole")
        onnx_quantised.quantise(exact, folder / f"int8 weights {program}.onnx")
    return {}


def make_jax(size: str) -> dict[str, Program]:
    import jax
    import numpy as np
    from flax import nnx

    model, signal_mv = make_model(size), make_signal()
    embed = jax.jit(lambda params, x: nnx.merge(model.graph, params)(x))
    return {
        "whole": lambda: np.asarray(model(signal_mv[:, None], _RATE_HZ)),
        "network": lambda: np.asarray(embed(model.params, signal_mv[..., None])),
    }


def make_onnx(form: str, folder: pathlib.Path) -> dict[str, Program]:
    from clef_jax.convert import onnx_session

    given = {"signal_mv": make_signal()}

    def program(name: str) -> Program:
        session = onnx_session.session(folder / f"{form} {name}.onnx", num_threads=1)
        return lambda: session.run(["embedding"], given)

    return {name: program(name) for name in _PROGRAMS}


def make_torch(size: str) -> dict[str, Program]:
    import numpy as np
    import torch

    from clef_jax.signal import reference

    torch.set_num_threads(1)
    twin_path = pathlib.Path(__file__).with_name("torch_net1d.py")
    encoder = runpy.run_path(str(twin_path))["TorchNet1D"](size)
    signal_mv = make_signal()

    @torch.inference_mode()
    def network(signal=signal_mv):
        return encoder(torch.from_numpy(signal)[None]).numpy()

    def whole():
        signal = reference.bandpass(reference.fill_gaps(signal_mv), _RATE_HZ)
        return network(reference.zscore(signal).astype(np.float32))

    return {"whole": whole, "network": network}


def work(config: Config) -> None:
    """A worker: prepares its programs, then runs one per line that it reads; answers seconds."""
    if hasattr(os, "sched_setaffinity"):
        # Before anything counts the cores to size its threads by.
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
    answer(0, 0)
    for line in sys.stdin:
        core, wall = time.process_time(), time.perf_counter()
        programs[line.strip()]()
        answer(time.process_time() - core, time.perf_counter() - wall)


def answer(core_seconds: float, wall_seconds: float) -> None:
    sys.stdout.write(f"{json.dumps([core_seconds, wall_seconds])}\n")
    sys.stdout.flush()


class Worker:
    """A process that times one form of one size."""

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
        """Seconds of the core and of the clock that one run of the program took."""
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
            raise RuntimeError("A worker of the benchmark ended early; its own message is above.")
        core_seconds, wall_seconds = json.loads(line)
        return core_seconds, wall_seconds


def take_turns(
    workers: dict[str, Worker], program: str, repeats: int
) -> dict[str, list[tuple[float, float]]]:
    """Seconds of the core and of the clock of each turn, by form."""
    taken: dict[str, list[tuple[float, float]]] = {form: [] for form in workers}
    for turn in range(_UNCOUNTED + repeats):
        for form, worker in workers.items():
            seconds = worker.run(program)
            if turn >= _UNCOUNTED:
                taken[form].append(seconds)
    return taken


def cells(taken: list[tuple[float, float]], of_jax: list[tuple[float, float]]) -> list[str]:
    """Medians in milliseconds, and how many times faster than JAX."""
    core, wall = (statistics.median(column) * 1e3 for column in zip(*taken, strict=True))
    ratio = statistics.median(j[0] / t[0] for j, t in zip(of_jax, taken, strict=True))
    return [f"{core:.2f}", f"{wall:.2f}", f"{ratio:.2f}"]


def compare(size: str, forms: list[str], repeats: int, table: Table) -> None:
    """Adds a row for each form and program of one size."""
    with tempfile.TemporaryDirectory() as folder:
        if "onnx" in forms:
            Worker("write", size, folder).close()
        workers = {form: Worker(form, size, folder) for form in forms}
        for program in _PROGRAMS:
            taken = take_turns(workers, program, repeats)
            for form in forms:
                file = pathlib.Path(folder) / f"{form} {program}.onnx"
                size_mb = f"{file.stat().st_size / 1e6:.2f}" if file.exists() else ""
                table.add_row(size, program, form, *cells(taken[form], taken["jax"]), size_mb)
        for worker in workers.values():
            worker.close()


def main(config: Config) -> None:
    if config.worker:
        return work(config)
    console = Console()
    forms: list[str] = list(_FORMS)
    if importlib.util.find_spec("torch") is None:
        console.print("PyTorch is not installed (extra `torch`), and is left out.")
        forms.remove("torch")
    if importlib.util.find_spec("onnxruntime") is None:
        console.print("onnxruntime is not installed (extra `onnx`), and is left out.")
        forms = [form for form in forms if form in ("jax", "torch")]
    table = Table(title=f"one lead of {_SECONDS} s at {_RATE_HZ} Hz on one core")
    for heading in _HEADINGS:
        table.add_column(heading, justify="right")
    for size in config.sizes:
        compare(size, forms, config.repeats, table)
    return console.print(table)


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
