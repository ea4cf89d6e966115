"""Measures ONNX files with fewer bits: error, flipped decisions, size, and latency on one core.

`python benchmarks/exports.py --models MODEL --recordings FOLDER`

Each model, with its head if it has one, is written in float32, with int8 weights, with float16
weights and as a float16 network, and compared with float32 on the same windows, without rejecting
anything. "torch half" is the network of the standalone PyTorch module in float16, whose products
are truly rounded (extra `torch`); onnxruntime computes a float16 network in float32 on processors
without float16 products. The times are processor time on one thread; the forms alternate.
"""

import dataclasses
import importlib.util
import pathlib
import statistics
import tempfile
import time

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

_HEADINGS = (
    *("model", "form", "windows", "error", "smallest cosine", "without the mean"),
    *("flipped decisions", "largest change of an answer", "MB", "core ms"),
)


_MOST_HALF = 64
"""Most windows of PyTorch in float16, which is slow on a CPU."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of the measurement."""

    models: tuple[str, ...]
    """Model folders or training runs; `random:SIZE` is a randomly initialised encoder."""
    recordings: tuple[str, ...] = ()
    """Files or folders; by default simulated recordings."""
    repeats: int = 21
    """Timed repetitions, after two that are not counted."""


def load(name: str):
    """Returns a model, and its head or None."""
    import jax

    from clef_jax import mesh as mesh_lib
    from clef_jax.embedding import encoder as encoder_lib, pretrained

    mesh = mesh_lib.make_mesh(jax.local_devices()[:1])
    if name.startswith("random:"):
        return encoder_lib.random(name.partition(":")[2], mesh, seed=0), None
    model = pretrained.load(name, mesh)
    return model.embedder, model.head


def make_windows(config: Config, model) -> list[np.ndarray]:
    """Returns windows in raw millivolts at the encoder's rate, in batches."""
    from clef_jax.convert import check_windows
    from clef_jax.formats import Hints

    recipe, channels = model.recipe, model.in_channels
    rate_hz = recipe.sample_rate_hz
    if not config.recordings:
        return list(check_windows.simulated(channels, recipe.num_samples(rate_hz), rate_hz))
    return list(check_windows.of_recordings(config.recordings, recipe, channels, rate_hz, Hints()))


def core_seconds(files: dict[str, pathlib.Path], window: np.ndarray, repeats: int):
    """Returns the median processor time of one window in each file; the files alternate."""
    from clef_jax.convert import onnx_session

    sessions = {form: onnx_session.session(path, num_threads=1) for form, path in files.items()}
    times: dict[str, list[float]] = {form: [] for form in files}
    for _ in range(repeats + 2):
        for form, session in sessions.items():
            start = time.process_time()
            session.run(["embedding"], {"signal_mv": window})
            times[form].append(time.process_time() - start)
    return {form: statistics.median(values[2:]) for form, values in times.items()}


def half_in_torch(model, windows: list[np.ndarray]) -> tuple[float, float, float]:
    """Returns error, smallest cosine, and the same without the mean, of a network in float16."""
    import torch

    from clef_jax.convert import pytorch_encoder
    from clef_jax.embedding import folder as model_folder

    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        network = pytorch_encoder.load(model_folder.save(model, pathlib.Path(folder) / "model"))
        signal_mv = np.concatenate(windows)[:_MOST_HALF]
        prepared = pytorch_encoder.preprocess(
            signal_mv, model.recipe.sample_rate_hz, network.preprocessing, model.in_channels
        )
        inputs = prepared.split(8)
        exact = torch.cat([network(x) for x in inputs]).numpy().astype(np.float64)
        network.half()
        rounded = torch.cat([network(x.half()).float() for x in inputs]).numpy().astype(np.float64)
    mean = exact.mean(0)
    error = np.sqrt(np.mean((rounded - exact) ** 2) / np.mean((exact - mean) ** 2))
    return float(error), cosine(exact, rounded), cosine(exact - mean, rounded - mean)


def cosine(some: np.ndarray, others: np.ndarray) -> float:
    """Returns the smallest cosine between rows."""
    norms = np.linalg.norm(some, axis=1) * np.linalg.norm(others, axis=1)
    return float(((some * others).sum(1) / norms).min())


def measure(config: Config, name: str, table: Table) -> None:
    """Adds a row for each form of a model."""
    from clef_jax.convert import onnx_check, onnx_file, onnx_quantised

    model, head = load(name)
    windows = make_windows(config, model)
    short = pathlib.Path(name).name
    with tempfile.TemporaryDirectory() as folder:
        files = {"float32": pathlib.Path(folder) / "float32.onnx"}
        onnx_file.write(model, files["float32"], head=head)
        for form in onnx_quantised.FORMS:
            files[form] = pathlib.Path(folder) / f"{form}.onnx"
            smaller = onnx_quantised.with_fewer_bits(onnx_quantised.load(files["float32"]), form)
            onnx_quantised.save(smaller, files[form])
        window = windows[0][:1] if model.in_channels > 1 else windows[0][:1, 0]
        seconds = core_seconds(files, window, config.repeats)
        for form, path in files.items():
            size, ms = f"{path.stat().st_size / 1e6:.2f}", f"{1e3 * seconds[form]:.2f}"
            if form == "float32":
                table.add_row(short, form, *[""] * 6, size, ms)
                continue
            found = onnx_check.compare(files["float32"], path, windows)
            flipped = "" if found.flipped is None else f"{100 * found.flipped:.2f} %"
            answer = found.largest_answer_difference
            table.add_row(
                *(short, form, str(found.num_windows), f"{found.relative_difference:.4f}"),
                *(f"{found.smallest_cosine:.6f}", f"{found.smallest_centred_cosine:.4f}", flipped),
                *("" if answer is None else f"{answer:.4f}", size, ms),
            )
    if importlib.util.find_spec("torch") is not None:
        error, whole, centred = half_in_torch(model, windows)
        table.add_row(
            *(short, "torch half", str(min(_MOST_HALF, sum(map(len, windows)))), f"{error:.4f}"),
            *(f"{whole:.6f}", f"{centred:.4f}"),
        )


def main(config: Config) -> None:
    for name in config.models:
        table = Table(title=f"on {' '.join(config.recordings) or 'simulated recordings'}")
        for heading in _HEADINGS:
            table.add_column(heading, justify="right")
        measure(config, name, table)
        Console(width=160).print(table)


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
