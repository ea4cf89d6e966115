"""Imports weights from PyTorch, and exports models with their heads to PyTorch, ONNX, StableHLO.

`python -m clef_jax.convert to-onnx --model=MODEL --out=FILE.onnx`; others are from-torch,
to-torch and to-stablehlo.
"""

import dataclasses
import pathlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Literal

import rich.console
import tyro

from clef_jax import command_line, files
from clef_jax.convert import PLATFORMS
from clef_jax.errors import UserError, WrongArgument, counted, exit_on_user_error

if TYPE_CHECKING:
    import numpy as np

    from clef_jax.convert.onnx_quantised import Quantised
    from clef_jax.embedding.encoder import Embedder
    from clef_jax.embedding.foreign import ForeignEncoder
    from clef_jax.embedding.head import Head
    from clef_jax.embedding.trainable import Trainable

_STANDALONE = pathlib.Path(__file__).with_name("pytorch_encoder.py")
_HEAD = 100
"""Number of characters by which a copy of that module is recognised: its licence and title."""
_CONSOLE = rich.console.Console(highlight=False, soft_wrap=True)


@dataclasses.dataclass(frozen=True, kw_only=True)
class FromTorch:
    """Makes a model folder from PyTorch weights of CLEF, of a published encoder or of your own such
    network."""

    input: str
    """Lightning .ckpt, PyTorch .pt or .pth, or .safetensors, with the reference's names."""
    out: str
    """Folder to write; a model folder in its place is replaced."""
    batch_norm: bool | None = None
    """Whether a network with a classifier applies its batch norms; by default inferred from the
    weights."""
    variant: str | None = None
    """Preprocessing of a published encoder: prescribed by its authors, as_reference, or another
    that it has; by default the first."""

    def run(self) -> None:
        import jax

        from clef_jax import mesh as mesh_lib
        from clef_jax.embedding import folder as model_folder, foreign_folder, weight_file
        from clef_jax.embedding.foreign import ForeignEncoder

        path = pathlib.Path(self.input).expanduser()
        if not path.is_file():
            raise UserError(f"The file {path} does not exist.")
        model_folder.check_output(pathlib.Path(self.out).expanduser())
        mesh = mesh_lib.make_mesh(jax.local_devices())
        loaded = weight_file.read(path, mesh, batch_norm=self.batch_norm, variant=self.variant)
        for note in loaded.notes:
            _CONSOLE.print(note)
        folder, model = (
            foreign_folder.save_any(loaded.model, self.out, head=loaded.head),
            loaded.model,
        )
        kind = model.published.title if isinstance(model, ForeignEncoder) else model.size
        _CONSOLE.print(
            f"Wrote a {kind} encoder to {folder}; its {model_folder.CARD} describes how to use the "
            "model."
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class ToTorch:
    """Writes weights for PyTorch, in the format that the suffix of --out names."""

    model: command_line.Model
    """Workdir of a training run, a model folder, a file of weights, or hf:ORG/NAME@COMMIT."""
    out: str
    """.ckpt (Lightning), .pt or .pth (state dict), .safetensors, or a new folder with card and
    configuration."""
    standalone: bool = False
    """Add a module file that needs PyTorch alone; only if --out is a folder."""
    head: bool = True
    """Whether a folder also holds the model's head, if it has one; files hold the encoder alone."""
    overwrite: bool = False
    """Replace a file that this command did not write; otherwise it is an error."""

    def run(self) -> None:
        from clef_jax.embedding import pretrained, weight_file

        out = pathlib.Path(self.out).expanduser()
        if self.standalone and out.suffix in weight_file.SUFFIXES:
            raise WrongArgument(f"--standalone adds a file to a folder, but --out={out} is a file.")
        _check(out, standalone=self.standalone, overwrite=self.overwrite)
        model = pretrained.load(self.model)
        head = model.head if self.head else None
        if self.standalone:
            _check_ours(model.embedder, "a module that needs PyTorch alone")
            _require_exportable(head)
        files.make_folder(out.parent)
        _write(model.embedder, out, head)
        if self.standalone:
            files.write_bytes(out / _STANDALONE.name, _STANDALONE.read_bytes())
        alone = head is not None and out.suffix in weight_file.SUFFIXES
        note = " It holds the encoder alone; a folder also holds the head." if alone else ""
        _CONSOLE.print(f"Wrote {out}.{note}")


def _require_exportable(head: "Head | None") -> None:
    """Raises UserError if a head reads what exported files do not compute."""
    from clef_jax.convert import exported_head

    if head is not None:
        exported_head.require_exportable(head)


def _check(out: pathlib.Path, *, standalone: bool, overwrite: bool) -> None:
    """Raises UserError if `to-torch` must not or cannot write its files."""
    from clef_jax.convert import safetensors_file, torch_archive, torch_file
    from clef_jax.embedding import folder as model_folder

    if out.suffix in (".pt", ".pth", ".ckpt"):
        torch_archive.import_torch()  # before the model is loaded
        files.check_output(out, torch_file.was_written_here, overwrite=overwrite)
    elif out.suffix == ".safetensors":
        files.check_output(
            out,
            lambda path: "fingerprint" in safetensors_file.read_metadata(path),
            overwrite=overwrite,
        )
    else:
        model_folder.check_output(out)
    if standalone:
        head, module = _STANDALONE.read_text(encoding="utf-8")[:_HEAD], out / _STANDALONE.name
        files.check_output(module, lambda p: files.starts_with(p, head), overwrite=overwrite)


def _check_ours(model: "Trainable", what: str) -> "Embedder":
    """Returns a model of our architecture; raises UserError for others.

    Args:
        what: what is written only for our architecture.
    """
    from clef_jax.embedding.foreign import ForeignEncoder

    if isinstance(model, ForeignEncoder):
        raise UserError(
            f"{model.published.title} cannot be written as {what}: only encoders of CLEF's "
            "architecture can. Write it with to-stablehlo, or use its authors' code in PyTorch.",
            problem="not_exportable",
        )
    return model


def _write_published(model: "ForeignEncoder", out: pathlib.Path, head: "Head | None") -> None:
    """Writes the weights of a published encoder under its authors' names."""
    from clef_jax.convert import torch_file
    from clef_jax.embedding import foreign_folder

    if out.suffix == ".ckpt":
        _check_ours(model, "a Lightning checkpoint of CLEF's training module")
    elif out.suffix in (".pt", ".pth"):
        torch_file.write_arrays(out, model.published.to_torch(model.network))
    elif out.suffix == ".safetensors":
        about = {"format": "pt", "fingerprint": model.fingerprint}
        torch_file.write_safetensors(out, model.published.to_torch(model.network), about)
    else:
        foreign_folder.save(model, out, head=head)


def _write(model: "Trainable", out: pathlib.Path, head: "Head | None") -> None:
    from clef_jax.convert import torch_file
    from clef_jax.embedding import folder as model_folder
    from clef_jax.embedding.foreign import ForeignEncoder

    if isinstance(model, ForeignEncoder):
        _write_published(model, out, head)
    elif out.suffix in (".pt", ".pth"):
        torch_file.write_state_dict(out, model.encoder)
    elif out.suffix == ".ckpt":
        torch_file.write_lightning(out, model.encoder)
    elif out.suffix == ".safetensors":
        model_folder.write_weights(out, model)
    else:
        model_folder.save(model, out, head=head)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ToOnnx:
    """Writes an ONNX file that maps raw millivolts to embeddings and answers, and verifies it."""

    model: command_line.Model
    """Workdir of a training run, a model folder, a file of weights, or hf:ORG/NAME@COMMIT."""
    out: str
    """File to write: .onnx."""
    sample_rate_hz: float | None = None
    """Sampling rate in Hz of the recordings that the file will receive; by default the encoder's
    own rate."""
    preprocessing: bool = True
    """Whether the file also fills gaps, resamples, filters and scales."""
    window_seconds: float | None = None
    """Length in seconds of the windows that the file will receive; by default the encoder's own
    window."""
    layers: bool = False
    """Whether the file also returns the output of every stage."""
    head: bool = True
    """Whether the file also returns the answers of the model's head, if it has one."""
    int8: Literal["no", "weights"] = "no"
    """weights: also write FILE.int8.onnx, with 8-bit weights; it is smaller, and as fast as with
    32-bit weights."""
    float16: Literal["no", "weights", "network"] = "no"
    """weights: also write FILE.float16.onnx, with 16-bit weights; network: this file also computes
    in 16 bits, on processors that can."""
    recordings: tuple[str, ...] = ()
    """Files, folders or prepared data sets on which files of 8 and 16 bits are compared with that
    of 32 bits; by default simulated recordings. A file that disagrees is not written."""
    overwrite: bool = False
    """Replace files that this command did not write; otherwise they are an error."""

    def run(self) -> None:
        from clef_jax.convert import onnx_file
        from clef_jax.embedding import pretrained

        out = _out(self.out, ".onnx")
        forms = self._forms(out)
        if self.recordings and not forms:
            raise WrongArgument("--recordings checks the files of --int8 and --float16 alone.")
        if self.recordings:
            from clef_jax.embedding import inputs

            list(inputs.files(self.recordings))  # a missing path is an error before any file
        for path in (out, *forms.values()):
            files.check_output(path, onnx_file.was_written_here, overwrite=self.overwrite)
        files.make_folder(out.parent)
        loaded = pretrained.load(self.model)
        model = _check_ours(loaded.embedder, "an ONNX file")
        written = onnx_file.write(
            model,
            out,
            sample_rate_hz=self.sample_rate_hz,
            window_seconds=self.window_seconds,
            preprocessing=self.preprocessing,
            layers=self.layers,
            head=loaded.head if self.head else None,
        )
        _CONSOLE.print(
            f"Wrote {written.path}, {written.num_bytes / 1e6:.1f} MB. Its features differ from "
            f"the model's by at most {written.largest_difference:.1e}"
            f"{_and_answers(written.largest_answer_difference)}; one window takes "
            f"{1e3 * written.latency_seconds:.1f} ms on one thread."
        )
        for form, path in forms.items():
            self._quantise(model, out, path, form)

    def _forms(self, out: pathlib.Path) -> dict[str, pathlib.Path]:
        """Returns the path of each file with fewer bits, by form."""
        forms = {}
        if self.int8 != "no":
            forms["int8 weights"] = out.with_suffix(".int8.onnx")
        if self.float16 != "no":
            forms[f"float16 {self.float16}"] = out.with_suffix(".float16.onnx")
        return forms

    def _quantise(
        self, model: "Embedder", exact: pathlib.Path, out: pathlib.Path, form: str
    ) -> None:
        from clef_jax.convert import onnx_quantised

        windows = self._windows(model) if self.recordings else None
        small = onnx_quantised.quantise(exact, out, form, windows=windows)
        _CONSOLE.print(_describe(small, form, "" if self.recordings else "simulated "))

    def _windows(self, model: "Embedder") -> "Iterator[np.ndarray]":
        """Yields windows of the recordings, as the file takes them."""
        from clef_jax.convert import check_windows, verify
        from clef_jax.formats import Hints

        recipe = model.recipe
        if self.window_seconds is not None:
            recipe = dataclasses.replace(recipe, window_seconds=self.window_seconds)
            model = dataclasses.replace(model, recipe=recipe)
        rate_hz = self.sample_rate_hz or recipe.sample_rate_hz
        windows = check_windows.of_recordings(
            self.recordings, recipe, model.in_channels, rate_hz, Hints()
        )
        for signal_mv in windows:
            yield signal_mv if self.preprocessing else verify.prepared(model, signal_mv)


def _and_answers(difference: float | None) -> str:
    return "" if difference is None else f", its answers by at most {difference:.1e}"


def _describe(small: "Quantised", form: str, kind: str) -> str:
    """Returns the sentences about a file with fewer bits, compared on windows of a kind."""
    found, decisions = small.agreement, ""
    if found.flipped is not None:
        decisions = f", and {100 * found.flipped:.2f} % of the decisions differ"
    return (
        f"Wrote {small.path}, {form}, {small.num_bytes / 1e6:.1f} MB. On "
        f"{counted(found.num_windows, f'{kind}window')} the smallest cosine between its embeddings "
        f"and the 32-bit ones is {found.smallest_cosine:.6f}, and "
        f"{found.smallest_centred_cosine:.4f} after their mean is subtracted{decisions}; one "
        f"window takes {1e3 * small.latency_seconds:.1f} ms on one thread."
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class ToStablehlo:
    """Writes a file that maps raw millivolts to embeddings and answers, for jax alone."""

    model: command_line.Model
    """Workdir of a training run, a model folder, a file of weights, or hf:ORG/NAME@COMMIT."""
    out: str
    """File to write: .stablehlo; a .json file beside it describes input and output."""
    platforms: tuple[str, ...] = PLATFORMS
    """Target platforms: cpu, cuda, tpu."""
    sample_rate_hz: float | None = None
    """Sampling rate in Hz of the recordings that the file will receive; by default the encoder's
    own rate."""
    preprocessing: bool = True
    """Whether the file also fills gaps, resamples, filters and scales."""
    variant: str | None = None
    """Preprocessing of a published encoder; by default what its authors prescribe."""
    head: bool = True
    """Whether the file also returns the answers of the model's head, if it has one."""
    overwrite: bool = False
    """Replace files that this command did not write; otherwise they are an error."""

    def run(self) -> None:
        from clef_jax.convert import stablehlo
        from clef_jax.embedding import pretrained

        out = _out(self.out, ".stablehlo")
        stablehlo.check_outputs(out, overwrite=self.overwrite)
        files.make_folder(out.parent)
        model = pretrained.load(self.model, variant=self.variant)
        written = stablehlo.write(
            model.embedder,
            out,
            platforms=self.platforms,
            sample_rate_hz=self.sample_rate_hz,
            preprocessing=self.preprocessing,
            head=model.head if self.head else None,
        )
        _CONSOLE.print(
            f"Wrote {written.path}, {written.num_bytes / 1e6:.1f} MB. Its features differ from "
            f"the model's by at most {written.difference:.1e}"
            f"{_and_answers(written.answer_difference)}; one window takes "
            f"{1e3 * written.seconds_per_window:.1f} ms."
        )


def _out(name: str, suffix: str) -> pathlib.Path:
    path = pathlib.Path(name).expanduser()
    if path.suffix != suffix:
        raise WrongArgument(f"--out={name} must end in {suffix}.")
    return path


SETTINGS = (
    Annotated[FromTorch, tyro.conf.subcommand("from-torch", prefix_name=False)]
    | Annotated[ToTorch, tyro.conf.subcommand("to-torch", prefix_name=False)]
    | Annotated[ToOnnx, tyro.conf.subcommand("to-onnx", prefix_name=False)]
    | Annotated[ToStablehlo, tyro.conf.subcommand("to-stablehlo", prefix_name=False)]
)


def main(argv: Sequence[str] | None = None) -> None:
    with exit_on_user_error():
        command_line.parse(SETTINGS, argv, "convert").run()


if __name__ == "__main__":
    main()
