"""Reads an encoder and its head from a training run, a model folder or a file of weights."""

import dataclasses
import pathlib
from typing import NamedTuple

from jax.sharding import Mesh

from clef_jax import plugin
from clef_jax.embedding import (
    card,
    folder as model_folder,
    foreign_folder,
    published as published_lib,
    recipe as recipe_lib,
)
from clef_jax.embedding.encoder import Embedder
from clef_jax.embedding.foreign import ForeignEncoder
from clef_jax.embedding.head import Head
from clef_jax.errors import UserError
from clef_jax.hub import address as hub_address
from clef_jax.training import CHECKPOINTS_FOLDER, EMA, Weights


class LoadedModel(NamedTuple):
    """An encoder, and its head if it has one."""

    encoder: Embedder | ForeignEncoder
    head: Head | None


def read(
    path: str | pathlib.Path, mesh: Mesh, *, weights: Weights, variant: str | None
) -> LoadedModel:
    """Returns the model at a path; see `pretrained.load`, which describes the arguments.

    Raises:
        UserError: the path does not exist, or holds no model or no moving average, the variant is
            unknown, or the head is damaged.
    """
    if hub_address.is_address(path):
        return _of_hub(path, mesh, weights, variant)
    where = pathlib.Path(path).expanduser()
    if where.is_dir() and (where / CHECKPOINTS_FOLDER).is_dir():
        published_lib.check_no_variant(where, variant)
        from clef_jax.embedding import checkpoint  # imports Orbax, which takes a second

        return LoadedModel(checkpoint.load(where, mesh, weights=weights), None)
    if weights == EMA and where.exists():
        raise UserError(
            f"{where} is no training run and has one set of weights; omit --weights=ema.",
            problem="no_average",
        )
    if where.is_dir():
        return LoadedModel(_of_folder(where, mesh, variant), model_folder.load_head(where))
    if where.is_file():
        from clef_jax.embedding import weight_file  # needed only for files of weights

        loaded = weight_file.read(where, mesh, variant=variant)
        return LoadedModel(loaded.model, loaded.head)
    raise UserError(f"No model found at {path}.{_nearby(where)}")


def _of_hub(
    path: str | pathlib.Path, mesh: Mesh, weights: Weights, variant: str | None
) -> LoadedModel:
    """Returns a model of a hub; its name and its origin are the address with the commit."""
    from clef_jax.hub import download  # needed only for models of a hub

    types = (model_folder.MODEL_TYPE, model_folder.PUBLISHED_TYPE)
    folder, address = download.fetch(path, model_folder.needed_files, types)
    model = read(folder, mesh, weights=weights, variant=variant)
    about = {**model_folder.describe_run(model.encoder.run), "loaded_from": str(address)}
    name = model.encoder.name.replace(folder.name, str(address), 1)
    encoder = dataclasses.replace(model.encoder, name=name, run={"model": about})
    return model._replace(encoder=encoder)


def _of_folder(folder: pathlib.Path, mesh: Mesh, variant: str | None) -> Embedder | ForeignEncoder:
    if (folder / model_folder.CONFIG).is_file():
        if foreign_folder.is_model(folder):
            return foreign_folder.load(folder, mesh, variant=variant)
        model = model_folder.load(folder, mesh)
        return model if variant is None else _with_variant(model, folder, variant)
    for parent in (folder, folder.parent):
        if parent.name == CHECKPOINTS_FOLDER:
            raise UserError(
                f"{folder} is inside a training run; give the folder of the run: {parent.parent}."
            )
    raise UserError(
        f"{folder} holds no model: neither {CHECKPOINTS_FOLDER}/ of a training run nor "
        f"{model_folder.CONFIG} of a model folder."
    )


def _with_variant(model: Embedder, folder: pathlib.Path, variant: str) -> Embedder:
    """Returns ECGFounder's model of a folder with another preprocessing."""
    about = model_folder.describe_run(model.run)
    if card.ORIGIN not in about:
        published_lib.check_no_variant(folder, variant)
    name, recipe = recipe_lib.of_ecgfounder(variant)
    run = {"model": {**about, "preprocessing": name}}
    return dataclasses.replace(model, name=f"{model.name}, {name}", recipe=recipe, run=run)


def _nearby(path: pathlib.Path) -> str:
    if not path.parent.is_dir():
        on_hub = f" A model on a hub is named {hub_address.PREFIX}ORG/NAME@COMMIT."
        is_name = len(path.parts) == 2 and not path.is_absolute()
        return f" The folder {path.parent} does not exist.{on_hub if is_name else ''}"
    names = [entry.name for entry in path.parent.iterdir()]
    return plugin.did_you_mean(path.name, names) or " Check the path."
