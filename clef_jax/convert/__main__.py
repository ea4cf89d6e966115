"""Weights in and out: `python -m clef_jax.convert COMMAND`, of which there are four: from-torch,
to-torch, to-onnx and to-stablehlo.
"""

import dataclasses
import pathlib
import shutil
from collections.abc import Sequence
from typing import Literal

import jax
import rich.console
import tyro

from clef_jax import mesh as mesh_lib
from clef_jax.convert import stablehlo, torch_file
from clef_jax.embedding import folder as model_folder, pretrained, weight_file
from clef_jax.embedding.encoder import Embedder
from clef_jax.errors import UserError, exit_on_user_error

_STANDALONE = pathlib.Path(__file__).with_name("pytorch_encoder.py")
_CONSOLE = rich.console.Console(highlight=False, soft_wrap=True)


@dataclasses.dataclass(frozen=True, kw_only=True)
class FromTorch:
    """Makes a model folder of PyTorch weights: CLEF's, ECGFounder's or your own of that network."""

    input: str
    """Lightning .ckpt, PyTorch .pt or .pth, or .safetensors, with the reference's names."""
    out: str
    """Folder to write."""
    batch_norm: bool | None = None
    """Whether a network with a classifier applies its batch norms; told from them if not said."""

    def run(self) -> None:
        path = pathlib.Path(self.input).expanduser()
        if not path.is_file():
            raise UserError(f"There is no file {path}.")
        mesh = mesh_lib.make_mesh(jax.local_devices())
        found = weight_file.read(path, mesh, batch_norm=self.batch_norm)
        for note in found.notes:
            _CONSOLE.print(note)
        folder = model_folder.save(found.model, self.out, head=found.head)
        _CONSOLE.print(
            f"A {found.model.size} encoder is in {folder}; its {model_folder.CARD} says how to use "
            "it."
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class ToTorch:
    """Writes weights for PyTorch: what the file's name ends in decides the form."""

    checkpoint: str
    """Workdir of a training run, a model folder, or a file of weights."""
    out: str
    """.ckpt (Lightning), .pt or .pth (state dict), .safetensors, or a new folder with card and
    configuration."""
    standalone: bool = False
    """Add a module file that needs PyTorch alone; for a folder."""

    def run(self) -> None:
        out = pathlib.Path(self.out).expanduser()
        if self.standalone and out.suffix in weight_file.SUFFIXES:
            raise UserError(f"--standalone adds a file to a folder, and --out={out} is a file.")
        model = pretrained.load(self.checkpoint)
        out.parent.mkdir(parents=True, exist_ok=True)
        _write(model.embedder, out)
        if self.standalone:
            shutil.copyfile(_STANDALONE, out / _STANDALONE.name)
        _CONSOLE.print(f"Wrote {out}.")


def _write(model: Embedder, out: pathlib.Path) -> None:
    if out.suffix in (".pt", ".pth"):
        torch_file.write_state_dict(out, model.encoder)
    elif out.suffix == ".ckpt":
        torch_file.write_lightning(out, model.encoder)
    elif out.suffix == ".safetensors":
        model_folder.write_weights(out, model)
    else:
        model_folder.save(model, out)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ToOnnx:
    """Writes an ONNX file, from raw millivolts to embedding, and tries it."""

    checkpoint: str
    """Workdir of a training run, a model folder, or a file of weights."""
    out: str
    """File to write: .onnx."""
    sample_rate_hz: float | None = None
    """Of the recordings that it will be given; the encoder's own if not said."""
    preprocessing: bool = True
    """Whether the file also fills gaps, resamples, filters and scales."""
    window_seconds: float | None = None
    """Of the recordings that it will be given; the encoder's own if not said."""
    layers: bool = False
    """Whether it also gives every stage."""
    int8: Literal["no", "weights"] = "no"
    """Also write a file with 8-bit weights beside it, as fast as 32 bits and close, and report its
    error."""

    def run(self) -> None:
        from clef_jax.convert import onnx_file, onnx_quantised

        out = _out(self.out, ".onnx")
        model = pretrained.load(self.checkpoint).embedder
        found = onnx_file.write(
            model,
            out,
            sample_rate_hz=self.sample_rate_hz,
            window_seconds=self.window_seconds,
            preprocessing=self.preprocessing,
            layers=self.layers,
        )
        _CONSOLE.print(
            f"Wrote {found.path}, {found.num_bytes / 1e6:.1f} MB; it differs from the model by "
            f"{found.largest_difference:.1e}. One window takes "
            f"{1e3 * found.latency_seconds:.1f} ms on one thread."
        )
        if self.int8 != "no":
            small = onnx_quantised.quantise(out, out.with_suffix(".int8.onnx"))
            _CONSOLE.print(
                f"Wrote {small.path}, {small.num_bytes / 1e6:.1f} MB; the least cosine to the "
                f"embeddings before is {small.smallest_cosine:.6f}, and "
                f"{small.smallest_centred_cosine:.4f} once their mean is taken off. One window "
                f"takes {1e3 * small.latency_seconds:.1f} ms on one thread."
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class ToStablehlo:
    """Writes a file that jax alone runs on CPU, GPU and TPU, from raw millivolts to embedding."""

    checkpoint: str
    """Workdir of a training run, a model folder, or a file of weights."""
    out: str
    """File to write: .stablehlo; facts about it go beside it, .json."""
    platforms: tuple[str, ...] = stablehlo.PLATFORMS
    """Where it shall run."""
    sample_rate_hz: float | None = None
    """Of the recordings that it will be given; the encoder's own if not said."""
    preprocessing: bool = True
    """Whether the file also fills gaps, resamples, filters and scales."""

    def run(self) -> None:
        out = _out(self.out, ".stablehlo")
        found = stablehlo.write(
            pretrained.load(self.checkpoint).embedder,
            out,
            platforms=self.platforms,
            sample_rate_hz=self.sample_rate_hz,
            preprocessing=self.preprocessing,
        )
        _CONSOLE.print(
            f"Wrote {found.path}, {found.num_bytes / 1e6:.1f} MB; it differs from the model by "
            f"{found.difference:.1e}. One window takes {1e3 * found.seconds_per_window:.1f} ms."
        )


def _out(name: str, suffix: str) -> pathlib.Path:
    path = pathlib.Path(name).expanduser()
    if path.suffix != suffix:
        raise UserError(f"--out={name} should end in {suffix}.")
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def main(argv: Sequence[str] | None = None) -> None:
    commands = {
        "from-torch": FromTorch,
        "to-torch": ToTorch,
        "to-onnx": ToOnnx,
        "to-stablehlo": ToStablehlo,
    }
    with exit_on_user_error():
        tyro.extras.subcommand_cli_from_dict(
            commands, args=argv, prog="python -m clef_jax.convert"
        ).run()


if __name__ == "__main__":
    main()
