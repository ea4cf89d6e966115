"""Fits a head of a loaded model to labelled recordings: what the command and `.fit` share."""

import contextlib
import dataclasses
import pathlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import rich.console
import rich.progress

from clef_jax import baselines, plugin
from clef_jax.baselines import Context
from clef_jax.csv_file import Note
from clef_jax.embedding import (
    encoder as encoder_lib,
    folder as model_folder,
    foreign,
    foreign_folder,
)
from clef_jax.embedding.encoder import Embedder, Encoder
from clef_jax.embedding.foreign import ForeignEncoder
from clef_jax.embedding.head import CLASSICAL, EMBEDDING, Head
from clef_jax.embedding.pretrained import Pretrained
from clef_jax.errors import UserError, WrongArgument
from clef_jax.evaluation import finetune, time_steps
from clef_jax.fitting import (
    dataset as dataset_lib,
    features as features_lib,
    fitted_head,
    method as method_lib,
    page,
    row_table,
    seen,
    stored_windows,
)
from clef_jax.fitting.dataset import Dataset
from clef_jax.fitting.fitted_head import FittedHead, Options, Row
from clef_jax.fitting.labels import Labels
from clef_jax.fitting.method import ATTENTION, FINETUNE, LINEAR, METHODS, Method
from clef_jax.fitting.source import Source
from clef_jax.formats import Opened

UNTRAINED = "untrained"
RHYTHM = "rhythm and spectrum"
LOCATIONS = "locations"
"""Name of the features that say where a method finds a recording."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
    """Head to fit."""

    layer: str = "last"
    """Layer that the head reads."""
    lead: str | None = None
    """Lead to use; by default the only one, or lead I."""
    with_classical: bool = False
    """Whether the head also reads rhythm and spectrum."""
    compare: bool = True
    """Whether to fit the labels to rhythm and spectrum and to an untrained encoder, too, and a
    linear head to the frozen features, if the method is another one."""
    method: str = LINEAR
    """`linear` or `attention` on frozen features, or `finetune` to train the encoder, too."""
    tuning: finetune.Config = finetune.Config()
    """Settings of fine-tuning."""
    options: Options = Options()

    def __post_init__(self):
        if self.method not in METHODS:
            raise WrongArgument(plugin.unknown("method", self.method, METHODS))
        if self.method != LINEAR and self.with_classical:
            raise WrongArgument(
                "Rhythm and spectrum stand beside the embedding in a linear head only; omit them, "
                f"or the method {self.method}."
            )
        if self.method == FINETUNE and self.layer != "last":
            raise WrongArgument(
                f"Fine-tuning trains a head of the last layer, not of {self.layer}; omit the layer."
            )


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class LabelledModel:
    """A model with a head that was fitted to labels, as `.fit` of a loaded model returns it."""

    embedder: Embedder | ForeignEncoder
    """The encoder of the head: the given one, or the fine-tuned one."""
    dataset: Dataset
    fitted: FittedHead

    @property
    def head(self) -> Head:
        """The head that is fitted to all recordings."""
        return self.fitted.head

    @property
    def model(self) -> Pretrained:
        """The model with its head, which predicts."""
        return Pretrained(self.embedder, self.head)

    @property
    def scores(self) -> dict[str, float]:
        """Cross-validated scores of the head by name."""
        return {scored.name: scored.value for scored in self.fitted.results[0].scores}

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences about the labels that the user should know."""
        return tuple(note.detail for note in self.dataset.notes)

    def save(self, folder: str | pathlib.Path) -> pathlib.Path:
        """Writes a model folder with the head; it holds no value of a single patient.

        Raises:
            UserError: the folder holds other files, or cannot be written.
        """
        return foreign_folder.save_any(self.embedder, folder, head=self.head)

    def report(self) -> str:
        """Returns the page about the head as HTML."""
        return page.render(self.embedder.name, self.embedder.fingerprint, self.dataset, self.fitted)

    def write_rows(self, path: pathlib.Path) -> None:
        """Writes the table that says which row was used, and why not."""
        row_table.write(path, self.dataset.rows)


def fit(
    embedder: Embedder | ForeignEncoder,
    source: Source,
    labels: Labels,
    request: Request,
    *,
    root: pathlib.Path | None = None,
    console: rich.console.Console | None = None,
) -> LabelledModel:
    """Returns the model with a head that is fitted to labels of recordings.

    Args:
        embedder: encoder whose features the head reads, or which is fine-tuned; it is not
            changed.
        source: recordings.
        labels: labels of recordings.
        request: what to fit.
        root: folder of the recordings, for absolute paths in the labels.
        console: shows progress if it is a terminal.

    Raises:
        UserError: the labels do not allow a fit; the message says why.
    """
    layer = list(embedder.layers)[-1] if request.layer == "last" else request.layer
    if request.method == ATTENTION:
        time_steps.check(embedder)
    encoders: dict[str, tuple[Encoder, slice]] = {
        EMBEDDING: (embedder, encoder_lib.layer_slice(embedder, layer))
    }
    if request.with_classical or (request.compare and embedder.in_channels == 1):
        encoders[CLASSICAL] = _whole(_classical(embedder))
    notes: list[Note] = []
    if request.compare:
        try:
            untrained = _untrained(embedder, request.options.seed)
        except UserError as error:
            notes.append(Note(problem="no_untrained", detail=str(error)))
        else:
            encoders[UNTRAINED] = untrained, encoder_lib.layer_slice(untrained, layer)
    dataset = dataset_lib.build(
        source, labels, encoders, root=root, lead=request.lead, console=console
    )
    notes += seen.notes(embedder.run, root, dataset.rows)
    dataset = dataclasses.replace(dataset, notes=(*dataset.notes, *notes))
    features = (EMBEDDING, CLASSICAL) if request.with_classical else (EMBEDDING,)
    rows = _rows(embedder.name, encoders, features)
    with contextlib.ExitStack() as stack:
        if request.method != LINEAR:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="clef_jax_"))
            stored = _Stored(embedder, source, request, pathlib.Path(folder), console)
            dataset, own = stored.prepare(dataset, layer)
            rows = [own, *rows] if request.compare else [own]
        fitted = fitted_head.fit(
            dataset, rows, layer=layer, head_features=features, options=request.options
        )
    return LabelledModel(embedder=fitted.encoder or embedder, dataset=dataset, fitted=fitted)


@dataclasses.dataclass(frozen=True, eq=False)
class _Stored:
    """Stores what attention and fine-tuning read of the labelled recordings."""

    embedder: Embedder | ForeignEncoder
    source: Source
    request: Request
    folder: pathlib.Path
    console: rich.console.Console | None

    def prepare(self, dataset: Dataset, layer: str) -> tuple[Dataset, Row]:
        """Returns the labelled recordings with their locations, and the row of the head."""
        wanted = [str(row.recording) for row in dataset.rows if row.used]
        order: list[str] = []
        recordings = self._selected(wanted, order)
        method: Method
        if self.request.method == ATTENTION:
            encoder = time_steps.check(self.embedder)
            steps = time_steps.store(encoder, recordings, layer, self.folder)
            method = method_lib.on_time_steps(steps)
        else:
            windows = stored_windows.store(self.embedder, recordings, self.folder)
            method = method_lib.fine_tuning(self.embedder, windows, self.request.tuning)
        position = {name: number for number, name in enumerate(order)}
        locations = np.array([[0, position[name]] for name in wanted], np.float32)
        features = {**dataset.features, LOCATIONS: locations}
        row = Row(
            name=self.embedder.name,
            features=(LOCATIONS,),
            method=self.request.method,
            fit=method,
        )
        return dataclasses.replace(dataset, features=features), row

    def _selected(self, wanted: Sequence[str], order: list[str]) -> Iterator[Opened]:
        """Yields the recordings, and adds their names to `order`."""
        what = {ATTENTION: "time steps", FINETUNE: "windows"}[self.request.method]
        selected = features_lib.selected(self.source, wanted, self.request.lead, self.embedder)
        tracked = rich.progress.track(
            selected,
            f"Storing {what}",
            total=len(wanted),
            console=self.console,
            disable=self.console is None or not self.console.is_terminal,
            transient=True,
        )
        for opened in tracked:
            order.append(opened.name)
            yield opened


def _rows(name: str, encoders: Mapping[str, object], features: tuple[str, ...]) -> list[Row]:
    """Returns the rows of the comparison; the first is that of a linear head."""
    rows = [Row(name=name, features=(EMBEDDING,))]
    if CLASSICAL in features:
        rows.insert(0, Row(name=f"{name} + {RHYTHM}", features=features))
    if CLASSICAL in encoders:
        rows.append(Row(name=RHYTHM, features=(CLASSICAL,)))
    if UNTRAINED in encoders:
        rows.append(Row(name="randomly initialised encoder", features=(UNTRAINED,)))
    return rows


def _whole(encoder: Encoder) -> tuple[Encoder, slice]:
    return encoder, slice(0, encoder.num_features)


def _classical(embedder: Embedder | ForeignEncoder) -> Encoder:
    if embedder.in_channels > 1:
        raise UserError(
            f"{embedder.name} takes several leads, but rhythm and spectrum are of one; omit "
            "--with=classical.",
            problem="several_leads",
        )
    size = getattr(embedder, "size", "small")
    context = Context(mesh=embedder.mesh, size=size, recipe=embedder.recipe)
    return next(iter(baselines.make("classical", context)))


def _untrained(embedder: Embedder | ForeignEncoder, seed: int) -> Embedder | ForeignEncoder:
    """Returns an encoder like the model, with random weights."""
    if isinstance(embedder, ForeignEncoder):
        return foreign.untrained(
            embedder.key, embedder.mesh, seed=seed, variant=embedder.variant_name
        )
    return encoder_lib.random(embedder.size, embedder.mesh, seed=seed, recipe=embedder.recipe)


def check_folder(folder: pathlib.Path, *, overwrite: bool) -> None:
    """Raises UserError unless a fitted model may be written to a folder.

    A folder that holds other files than a model is never replaced, and one whose model was not
    fitted here only with `overwrite`.
    """
    model_folder.check_output(folder)
    if overwrite or not folder.is_dir() or not any(folder.iterdir()):
        return
    try:
        head = model_folder.load_head(folder)
    except UserError:
        head = None
    if head is None or head.fitted is None:
        raise UserError(
            f"{folder} holds a model that this command did not write; choose another --out, or "
            "replace it with --overwrite.",
            problem="foreign_file",
        )
