"""Model folders: weights, shape, preprocessing, fingerprint and model card of one model.

The layout is that of a Hugging Face repository, so that uploading the folder publishes the model:
`model.safetensors` under the public reference's names (without its unused batch-norm tensors),
`config.json`, `preprocessor_config.json` and `README.md`; with a head also `head.safetensors`.
"""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

from jax.sharding import Mesh

from clef_jax import convert, files
from clef_jax.convert import safetensors_file
from clef_jax.embedding import config_file, encoder as encoder_lib, head as head_lib
from clef_jax.embedding.config_file import CONFIG
from clef_jax.embedding.encoder import Embedder
from clef_jax.embedding.head import Head
from clef_jax.embedding.recipe import Recipe
from clef_jax.errors import UserError
from clef_jax.models import Net1D, cost, size as size_lib

FORMAT = 1
MODEL_TYPE = "clef-net1d"
WEIGHTS, PREPROCESSOR, CARD = ("model.safetensors", "preprocessor_config.json", "README.md")
_RUN_SETTINGS = ("objective", "dataset", "leads", "window_start", "global_batch_size", "seed")
"""Settings of the training run that a model folder states; paths are private and excluded."""


def is_model(folder: pathlib.Path) -> bool:
    """Returns whether a folder has the configuration files of a model folder."""
    return (folder / CONFIG).is_file() and (folder / PREPROCESSOR).is_file()


def save(
    model: Embedder,
    folder: str | pathlib.Path,
    *,
    head: Head | None = None,
) -> pathlib.Path:
    """Writes a model folder; replaces the model that the folder holds already.

    Args:
        head: the head of the model, if it has one.

    Raises:
        UserError: the folder holds something else, or the head does not fit the model.
    """
    folder = pathlib.Path(folder).expanduser()
    if folder.is_dir() and any(folder.iterdir()) and not is_model(folder):
        raise UserError(
            f"{folder} holds other files than a model. Name a new folder, so that nothing is "
            "mixed.",
            problem="not_a_model_folder",
        )
    folder.mkdir(parents=True, exist_ok=True)
    # Remove the configuration first and write it last: without it, a folder is no model.
    (folder / CONFIG).unlink(missing_ok=True)
    write_weights(folder / WEIGHTS, model)
    config = _config(model)
    head_lib.remove(folder)
    if head is not None:
        head_lib.write_arrays(folder, head, config)
        config["head"] = head_lib.entry(head)
    config_file.write(folder / PREPROCESSOR, _preprocessor(model.recipe))
    files.write_text(folder / CARD, _card(model))
    config_file.write(folder / CONFIG, config)
    return folder


def load_head(folder: str | pathlib.Path) -> Head | None:
    """Returns the head of a model folder; None if it has none.

    Raises:
        UserError: the head is damaged, or does not fit the model; the message names the file.
    """
    return head_lib.load(pathlib.Path(folder).expanduser())


def write_weights(path: pathlib.Path, model: Embedder) -> None:
    """Writes the weights alone, without the reference's unused batch-norm tensors."""
    arrays = convert.to_torch(model.encoder, norms=False)
    about = {"format": "pt", "fingerprint": model.fingerprint}
    safetensors_file.write_safetensors(path, arrays, about)


def load(folder: str | pathlib.Path, mesh: Mesh, *, name: str | None = None) -> Embedder:
    """Loads the model of a folder.

    Raises:
        UserError: the folder is incomplete or of a later format, or its weights are not those that
            its configuration was written for.
    """
    folder = pathlib.Path(folder).expanduser().resolve()
    config, recipe = config_file.read(folder / CONFIG), _recipe(folder)
    _check_format(config, folder)
    encoder = read_encoder(folder, config)
    model = encoder_lib.of_encoder(encoder, mesh, name=name or folder.name, recipe=recipe)
    run = config.get("run")
    model = dataclasses.replace(model, run=run and {"model": run})
    claimed = config.get("fingerprint")
    if claimed is not None and claimed != model.fingerprint:
        raise UserError(
            f"The weights or the preprocessing in {folder} are not those that {CONFIG} was written "
            "for: a file was damaged or exchanged. If that was on purpose, delete the line "
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
        raise UserError(f"{folder / WEIGHTS} cannot be used: {error}") from error


def _config(model: Embedder) -> dict[str, Any]:
    size = size_lib.by_name(model.size)
    config = {
        "format": FORMAT,
        "model_type": MODEL_TYPE,
        "library_name": "clef_jax",
        "size": model.size,
        "in_channels": model.in_channels,
        "architecture": dataclasses.asdict(size),
        "embedding_width": size.embedding_width,
        "layers": {name: part.stop - part.start for name, part in model.layers.items()},
        "fingerprint": model.fingerprint,
    }
    run = told_of_run(model.run)
    return {**config, "run": run} if run else config


def told_of_run(run: Mapping[str, Any] | None) -> dict[str, Any]:
    """Returns the public facts of a pre-training run: settings and length, but no path."""
    if run is None:
        return {}
    if "model" in run:
        return dict(run["model"])
    config = run.get("config", {})
    facts = {name: config[name] for name in _RUN_SETTINGS if name in config}
    if "position" in run:
        facts["num_steps"] = run["position"]["next_step"]
    return facts


def _preprocessor(recipe: Recipe) -> dict[str, Any]:
    return {**dataclasses.asdict(recipe), "unit": "mV", "missing": "NaN"}


def _recipe(folder: pathlib.Path) -> Recipe:
    stored = config_file.read(folder / PREPROCESSOR)
    names = {field.name for field in dataclasses.fields(Recipe)}
    lacking = names - set(stored)
    if lacking:
        raise UserError(f"{folder / PREPROCESSOR} says nothing of {', '.join(sorted(lacking))}.")
    chosen = {name: stored[name] for name in names}
    if chosen["band_hz"] is not None:
        chosen["band_hz"] = tuple(chosen["band_hz"])
    return Recipe(**chosen)


def _check_format(config: Mapping[str, Any], folder: pathlib.Path) -> None:
    if config.get("model_type") != MODEL_TYPE:
        raise UserError(
            f"{folder / CONFIG} describes a model of the type {config.get('model_type')!r}, not "
            f"{MODEL_TYPE!r}."
        )
    if config.get("format") != FORMAT:
        raise UserError(
            f"{folder} has format {config.get('format')!r} of a model folder, and this version "
            f"reads {FORMAT}; update clef_jax, or save the model again."
        )


def _card(model: Embedder) -> str:
    """Returns the model card: use, preprocessing, origin, limits and licence."""
    recipe, size = model.recipe, size_lib.by_name(model.size)
    flops = model.costs["flops"] / 1e9
    band = "none" if recipe.band_hz is None else f"{recipe.band_hz[0]}-{recipe.band_hz[1]} Hz"
    channels = model.in_channels
    leads = "one ECG lead" if channels == 1 else f"{channels} ECG leads"
    run = told_of_run(model.run)
    origin = (
        "\n".join(f"| {name} | {value} |" for name, value in run.items())
        or "| origin | converted or untrained weights |"
    )
    return f"""---
library_name: clef_jax
pipeline_tag: feature-extraction
tags:
- ecg
- electrocardiogram
- time-series
- contrastive-learning
---

# ECG encoder, {model.size}

Turns {recipe.window_seconds:g} seconds of {leads} into {size.embedding_width} numbers:
a ResNeXt-1D with {cost.num_parameters(size):,} weights and {flops:.2g} GFLOP a window, of the kind
that CLEF (arXiv 2512.02180) pre-trains without diagnoses.

```python
import clef_jax

model = clef_jax.load("PATH/TO/THIS/FOLDER")
embedding = model.embed(signal_mv, sample_rate_hz=250)  # any rate, any length, NaN = missing
```

`python -m clef_jax.embed --checkpoint=PATH/TO/THIS/FOLDER --input=RECORDINGS --out=FILE.parquet`
embeds files. `python -m clef_jax.convert to-torch --standalone` writes a module for PyTorch.

## Preprocessing

Done by the calls above; anything else that feeds the network must do the same.

| step | value |
|---|---|
| unit | mV; gaps are filled by straight lines |
| sampling rate | resampled to {recipe.sample_rate_hz:g} Hz |
| band-pass | {band}, Butterworth of order 5, forwards and backwards |
| scale | {"mean 0 and deviation 1 in each window" if recipe.zscored else "millivolts"} |

## Origin

| | |
|---|---|
{origin}
| fingerprint | `{model.fingerprint}` |

## Limits

Embeddings are features for research, not findings about a patient: no diagnosis, no risk and no
treatment follows from one without a model that was trained and judged for that purpose, on people
like those it is used for. Check each window's quality flags: flat or mostly missing input still
gives numbers.

## Licence

Of the weights: say here which terms the data they were learned from leave you.
"""
