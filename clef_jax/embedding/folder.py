"""Saves and loads model folders: weights, configuration, preprocessing and card of a model.

The layout is that of a Hugging Face repository, so that uploading the folder publishes the model:
`model.safetensors` under the public reference's names (without its unused batch-norm tensors),
`config.json`, `preprocessor_config.json` and `README.md`; with a head also `head.safetensors`. The
modules of `auto_map` let the library `transformers` load it.
"""

import contextlib
import dataclasses
import math
import pathlib
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any

from jax.sharding import Mesh

from clef_jax import convert, files
from clef_jax.convert import safetensors_file
from clef_jax.embedding import (
    auto_map,
    card,
    config_file,
    encoder as encoder_lib,
    head as head_lib,
)
from clef_jax.embedding.config_file import CONFIG
from clef_jax.embedding.encoder import Embedder
from clef_jax.embedding.head import Head
from clef_jax.embedding.preparation import PREPARATIONS
from clef_jax.embedding.recipe import Recipe
from clef_jax.errors import UserError
from clef_jax.models import Net1D, size as size_lib
from clef_jax.training import EMA

FORMAT, FORMAT_WITH_VARIANT = 1, 2
"""Versions of the layout; earlier versions of this package, which know no variants of the
preprocessing, reject the second."""
MODEL_TYPE, PUBLISHED_TYPE = "clef-net1d", "published-encoder"
"""Types of models: ours, and those that `foreign_folder` writes."""
WEIGHTS, PREPROCESSOR, CARD = ("model.safetensors", "preprocessor_config.json", "README.md")
FILES = (CONFIG, WEIGHTS, PREPROCESSOR, CARD)
"""Files that every model folder has."""
_SIGNALS = {"unit": "mV", "missing": "NaN"}
"""Form of the signals that every encoder takes, as the preprocessing of a folder states it."""
_MAX_WINDOW_SAMPLES = 10_000_000
"""Most samples of an encoder's window, so that a damaged configuration does not fill the memory."""
_RUN_SETTINGS = ("objective", "dataset", "leads", "window_start", "global_batch_size", "seed")
"""Settings of the training run that a model folder states; paths are excluded as private."""


def is_model(folder: pathlib.Path) -> bool:
    """Returns whether a folder has the configuration files of a model folder."""
    return (folder / CONFIG).is_file() and (folder / PREPROCESSOR).is_file()


def save(
    model: Embedder,
    folder: str | pathlib.Path,
    *,
    head: Head | None = None,
) -> pathlib.Path:
    """Writes a model folder; replaces the model that the folder holds already, unless an error
    occurs, such as a full disk.

    Args:
        head: head to store with the model; by default none.

    Raises:
        UserError: the folder holds other files or cannot be written, or the head does not fit the
            model.
    """
    folder = pathlib.Path(folder).expanduser()
    check_output(folder)
    if head is not None:
        head_lib.check(folder / head_lib.ARRAYS, head, _config(model))
    files.make_folder(folder)
    config = _config(model)
    with replacing(folder) as new:
        names = write_weights(new / WEIGHTS, model)
        config |= auto_map.config_entries(names)
        if head is not None:
            head_lib.write_arrays(new, head, config)
            config["head"] = head_lib.entry(head)
        entries = _preprocessor(model.recipe) | auto_map.preprocessor_entries()
        config_file.write(new / PREPROCESSOR, entries)
        auto_map.write(new)
        files.write_text(new / CARD, card.render(model, describe_run(model.run), head))
        config_file.write(new / CONFIG, config)
    return folder


@contextlib.contextmanager
def replacing(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields a new folder whose files then replace the model of an existing folder."""
    with files.writing(folder), tempfile.TemporaryDirectory(prefix=".half", dir=folder) as half:
        new = pathlib.Path(half)
        yield new
        # Remove the configuration first and add it last: without it, a folder is no model.
        (folder / CONFIG).unlink(missing_ok=True)
        head_lib.remove(folder)
        auto_map.remove(folder)
        for file in sorted(new.iterdir(), key=lambda file: file.name == CONFIG):
            file.replace(folder / file.name)


def needed_files(config: Mapping[str, Any]) -> list[str]:
    """Returns the files from which the model of a configuration is loaded, beside `config.json`."""
    return [WEIGHTS, PREPROCESSOR, *([head_lib.ARRAYS] if config.get("head") else [])]


def check_output(folder: pathlib.Path) -> None:
    """Raises UserError if no model can be written to a folder, or it holds other files."""
    files.check_output_folder(folder)
    if folder.is_dir() and any(folder.iterdir()) and not _is_ours(folder):
        raise UserError(
            f"{folder} is not empty and not a model folder of this package; choose a new folder, "
            "so that a model is not mixed with other files.",
            problem="not_a_model_folder",
        )


def _is_ours(folder: pathlib.Path) -> bool:
    """Returns whether `save` wrote the model of a folder, perhaps interrupted before its end."""
    try:
        return config_file.read(folder / CONFIG).get("model_type") in (MODEL_TYPE, PUBLISHED_TYPE)
    except UserError:
        is_new = not (folder / CONFIG).exists()
        return is_new and "fingerprint" in safetensors_file.read_metadata(folder / WEIGHTS)


def load_head(folder: str | pathlib.Path) -> Head | None:
    """Returns the head of a model folder; None if it has none.

    Raises:
        UserError: the head is damaged, or does not fit the model; the message names the file.
    """
    return head_lib.load(pathlib.Path(folder).expanduser())


def write_weights(path: pathlib.Path, model: Embedder) -> list[str]:
    """Writes the weights alone, without the reference's unused batch-norm tensors; returns their
    names."""
    arrays = convert.to_torch(model.encoder, norms=False)
    about = {"format": "pt", "fingerprint": model.fingerprint}
    safetensors_file.write_safetensors(path, arrays, about)
    return list(arrays)


def load(folder: str | pathlib.Path, mesh: Mesh, *, name: str | None = None) -> Embedder:
    """Loads the model of a folder.

    Raises:
        UserError: the folder is incomplete or of an unknown format, or its weights are not those
            that its configuration was written for.
    """
    folder = pathlib.Path(folder).expanduser().resolve()
    config, recipe = config_file.read(folder / CONFIG), _recipe(folder)
    _check_format(config, folder)
    _check_architecture(config, folder)
    encoder = read_encoder(folder, config)
    model = encoder_lib.of_encoder(encoder, mesh, name=name or folder.name, recipe=recipe)
    _check_network(config, model, folder)
    run = config.get("run")
    model = dataclasses.replace(model, run=run and {"model": run})
    claimed = config.get("fingerprint")
    if claimed is not None and claimed != model.fingerprint:
        raise UserError(
            f"The weights or the preprocessing in {folder} are not those that {CONFIG} was written "
            "for: a file was damaged or replaced. If you replaced it on purpose, delete the line "
            f'"fingerprint" from {CONFIG}.',
            problem="other_fingerprint",
        )
    return model


def read_encoder(folder: pathlib.Path, config: Mapping[str, Any]) -> Net1D:
    """Returns the network of a folder, without its preprocessing."""
    arrays = safetensors_file.read_safetensors(folder / WEIGHTS)
    try:
        return convert.from_torch(arrays, str(config.get("size")))
    except (ValueError, TypeError) as error:
        raise UserError(f"The weights in {folder / WEIGHTS} cannot be used: {error}") from error


def _config(model: Embedder) -> dict[str, Any]:
    size = size_lib.by_name(model.size)
    config = {
        "format": FORMAT_WITH_VARIANT if model.recipe.variant else FORMAT,
        "model_type": MODEL_TYPE,
        "library_name": "clef_jax",
        "size": model.size,
        "in_channels": model.in_channels,
        "architecture": dataclasses.asdict(size),
        "embedding_width": size.embedding_width,
        "layers": {name: part.stop - part.start for name, part in model.layers.items()},
        "fingerprint": model.fingerprint,
    }
    run = describe_run(model.run)
    return {**config, "run": run} if run else config


def describe_run(run: Mapping[str, Any] | None) -> dict[str, Any]:
    """Returns the public metadata of a pre-training run: settings and number of steps, no paths."""
    if run is None:
        return {}
    if "model" in run:
        return dict(run["model"])
    config = run.get("config", {})
    metadata = {name: config[name] for name in _RUN_SETTINGS if name in config}
    if "position" in run:
        metadata["num_steps"] = run["position"]["next_step"]
    if run.get("weights") == EMA:
        metadata["weights"] = f"moving average, decay {config['ema_decay']:g}"
    return metadata


def _preprocessor(recipe: Recipe) -> dict[str, Any]:
    described = {"description": recipe.preparation.sentence} if recipe.preparation else {}
    return {**recipe.settings(), **described, **_SIGNALS}


def _recipe(folder: pathlib.Path) -> Recipe:
    stored = config_file.read(folder / PREPROCESSOR)
    for name, value in _SIGNALS.items():
        if stored.get(name, value) != value:
            raise UserError(
                f"{folder / PREPROCESSOR} states {name} {stored[name]!r}, but encoders take only "
                f"signals with {name} {value!r}; save the model with a supported preprocessing.",
                problem=f"unsupported_{name}",
            )
    stored = {"variant": "", **stored}
    names = {field.name for field in dataclasses.fields(Recipe)}
    lacking = names - set(stored)
    if lacking:
        raise UserError(f"{folder / PREPROCESSOR} lacks {', '.join(sorted(lacking))}.")
    chosen = {name: stored[name] for name in names}
    wrong = [name for name, value in chosen.items() if not _is_supported(name, value)]
    if wrong:
        raise UserError(
            f"{folder / PREPROCESSOR} states {wrong[0]} {chosen[wrong[0]]!r}, which no encoder "
            "supports; save the model again.",
            problem="unsupported_preprocessing",
        )
    if chosen["band_hz"] is not None:
        chosen["band_hz"] = tuple(chosen["band_hz"])
    recipe = Recipe(**chosen)
    if recipe.preparation and (recipe.preparation.band_hz, True) != (
        recipe.band_hz,
        recipe.zscored,
    ):
        raise UserError(
            f"{folder / PREPROCESSOR} states another filter or scale than the variant "
            f"{recipe.variant!r} has; save the model again.",
            problem="unsupported_preprocessing",
        )
    if recipe.num_samples(recipe.sample_rate_hz) > _MAX_WINDOW_SAMPLES:
        raise UserError(
            f"{folder / PREPROCESSOR} states windows of {recipe.window_seconds:g} s at "
            f"{recipe.sample_rate_hz:g} Hz, more samples than an encoder takes.",
            problem="unsupported_preprocessing",
        )
    return recipe


def _is_supported(name: str, value: Any) -> bool:
    """Returns whether a setting of the preprocessing has the right type and a possible value."""
    if name == "variant":
        return isinstance(value, str) and value in ("", *PREPARATIONS)
    if name == "zscored":
        return isinstance(value, bool)
    if name == "band_hz":
        pair = value if isinstance(value, list) and len(value) == 2 else []
        low_high = pair and all(_is_supported("", item) for item in pair) and pair[0] < pair[1]
        return value is None or bool(low_high)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and 0 < value < math.inf


def _check_format(config: Mapping[str, Any], folder: pathlib.Path) -> None:
    if config.get("model_type") != MODEL_TYPE:
        raise UserError(
            f"{folder / CONFIG} states the model type {config.get('model_type')!r} instead of "
            f"{MODEL_TYPE!r}."
        )
    if config.get("format") not in (FORMAT, FORMAT_WITH_VARIANT):
        raise UserError(
            f"{folder} has the model folder format {config.get('format')!r}, but this version "
            f"reads only {FORMAT} and {FORMAT_WITH_VARIANT}; update clef_jax, or save the model "
            "again."
        )


def _check_architecture(config: Mapping[str, Any], folder: pathlib.Path) -> None:
    """Raises UserError if the configuration states a network that its size does not have."""
    stated, size = config.get("architecture", {}), config.get("size")
    if not isinstance(size, str) or size not in size_lib.SIZES:
        return  # the reader of the weights reports it
    _check_stated(stated, dataclasses.asdict(size_lib.by_name(size)), size, folder)


def _check_network(config: Mapping[str, Any], model: Embedder, folder: pathlib.Path) -> None:
    """Raises UserError if the configuration contradicts the network of the weights."""
    names = ("in_channels", "embedding_width", "layers")
    stated = {name: config[name] for name in names if name in config}
    _check_stated(stated, _config(model), model.size, folder)


def _check_stated(stated: Any, actual: Mapping[str, Any], size: str, folder: pathlib.Path) -> None:
    """Raises UserError for the first entry of a stated network that is not the actual one."""
    entries = stated if isinstance(stated, dict) else {"architecture": stated}
    for name, value in entries.items():
        own = actual.get(name)
        own = list(own) if isinstance(own, tuple) else own
        if name not in actual or value != own:
            instead = f" instead of {own!r}" if name in actual else ", which is unknown"
            raise UserError(
                f"{folder / CONFIG} states the network's {name} {value!r}{instead}; this version "
                f"supports no such network of size {size!r}. Update clef_jax, or save the model "
                "again.",
                problem="unsupported_architecture",
            )
