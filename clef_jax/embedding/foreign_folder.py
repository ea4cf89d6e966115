"""Model folders of published encoders: weights under their authors' names, and the preprocessing.

A folder holds `model.safetensors`, `config.json` and `README.md`, and with a head also
`head.safetensors`. The licence of the weights stands in the last two.
"""

import dataclasses
import math
import pathlib
from typing import Any

from jax.sharding import Mesh

from clef_jax import files
from clef_jax.convert import safetensors_file
from clef_jax.embedding import (
    card,
    config_file,
    folder as model_folder,
    foreign,
    head as head_lib,
    published as published_lib,
)
from clef_jax.embedding.config_file import CONFIG
from clef_jax.embedding.encoder import Embedder
from clef_jax.embedding.folder import CARD, PREPROCESSOR, PUBLISHED_TYPE, WEIGHTS
from clef_jax.embedding.foreign import ForeignEncoder
from clef_jax.embedding.head import Head
from clef_jax.embedding.published import Published
from clef_jax.errors import UserError

FORMAT = 1


def save_any(
    model: Embedder | ForeignEncoder, folder: str | pathlib.Path, *, head: Head | None = None
) -> pathlib.Path:
    """Writes the folder of any encoder; see `save` and `folder.save`."""
    if isinstance(model, ForeignEncoder):
        return save(model, folder, head=head)
    return model_folder.save(model, folder, head=head)


def is_model(folder: pathlib.Path) -> bool:
    """Returns whether the configuration in a folder is that of a published encoder.

    Raises:
        UserError: the folder has no configuration, or it cannot be read.
    """
    return config_file.read(folder / CONFIG).get("model_type") == PUBLISHED_TYPE


def save(
    model: ForeignEncoder, folder: str | pathlib.Path, *, head: Head | None = None
) -> pathlib.Path:
    """Writes a model folder; replaces the model that the folder holds already, unless an error
    occurs, such as a full disk.

    Raises:
        UserError: the folder holds other files or cannot be written, or the head does not fit the
            model.
    """
    folder, config = pathlib.Path(folder).expanduser(), _config(model)
    model_folder.check_output(folder)
    if head is not None:
        head_lib.check(folder / head_lib.ARRAYS, head, config)
    files.make_folder(folder)
    with model_folder.replacing(folder) as new:
        about = {"format": "pt", "fingerprint": model.fingerprint}
        arrays = dict(model.published.to_torch(model.network))
        safetensors_file.write_safetensors(new / WEIGHTS, arrays, about)
        if head is not None:
            head_lib.write_arrays(new, head, config)
            config["head"] = head_lib.entry(head)
        config_file.write(new / PREPROCESSOR, _preprocessor(model))
        files.write_text(new / CARD, _card(model, head))
        config_file.write(new / CONFIG, config)
    return folder


def load(
    folder: str | pathlib.Path, mesh: Mesh, *, name: str | None = None, variant: str | None = None
) -> ForeignEncoder:
    """Loads the model of a folder.

    Args:
        variant: preprocessing; by default that of the folder.

    Raises:
        UserError: the folder is incomplete or of an unknown format, or its weights are not those
            that its configuration was written for.
    """
    folder = pathlib.Path(folder).expanduser().resolve()
    config = config_file.read(folder / CONFIG)
    if config.get("format") != FORMAT:
        raise UserError(
            f"{folder} has the model folder format {config.get('format')!r}, but this version "
            f"reads only {FORMAT}; update clef_jax, or save the model again.",
            problem="unknown_format",
        )
    key, stored = str(config.get("published")), str(config.get("variant"))
    published = published_lib.describe(key)
    published.variant(variant or stored)  # rejects an unknown one before the weights are read
    network = published.from_torch(safetensors_file.read_safetensors(folder / WEIGHTS))
    model = foreign.of_network(
        network,
        mesh,
        name=name or folder.name,
        key=key,
        published=published,
        variant=variant or stored,
    )
    run = config.get("run")
    own = (variant or stored) == stored
    model = dataclasses.replace(
        model,
        lead=config.get("lead"),
        statistics=_statistics(config.get("statistics"), folder) if own else None,
        run=run and {"model": run},
    )
    if own and config.get("fingerprint") not in (None, model.fingerprint):
        raise UserError(
            f"The weights in {folder} or their preprocessing are not those that {CONFIG} was "
            "written for: a file was damaged or replaced. If you replaced it on purpose, delete "
            f'the line "fingerprint" from {CONFIG}.',
            problem="other_fingerprint",
        )
    return model


def _statistics(value: Any, folder: pathlib.Path) -> tuple[float, float] | None:
    """Returns the mean and the standard deviation that a configuration states."""
    if value is None:
        return None
    numbers = value if isinstance(value, list) and len(value) == 2 else ["?"]
    if not all(isinstance(x, int | float) and math.isfinite(x) for x in numbers):
        raise UserError(
            f'"statistics" in {folder / CONFIG} must be a mean and a standard deviation in mV, not '
            f"{value!r}.",
            problem="wrong_statistics",
        )
    return (float(numbers[0]), float(numbers[1]))


def _config(model: ForeignEncoder) -> dict[str, Any]:
    config = {
        "format": FORMAT,
        "model_type": PUBLISHED_TYPE,
        "library_name": "clef_jax",
        "published": model.key,
        "title": model.published.title,
        "licence_of_the_weights": model.published.licence,
        "variant": model.variant_name,
        "in_channels": model.in_channels,
        "lead": model.lead,
        "statistics": model.statistics and list(model.statistics),
        "layers": {name: part.stop - part.start for name, part in model.layers.items()},
        "fingerprint": model.fingerprint,
    }
    run = model_folder.describe_run(model.run)
    return {**config, "run": run} if run else config


def _preprocessor(model: ForeignEncoder) -> dict[str, Any]:
    recipe = model.recipe
    return {
        "variant": model.variant_name,
        "description": model.variant.sentence,
        "sample_rate_hz": recipe.sample_rate_hz,
        "window_seconds": recipe.window_seconds,
        "unit": "mV",
        "missing": "NaN",
    }


def _card(model: ForeignEncoder, head: Head | None) -> str:
    published: Published = model.published
    rows = [f"| {name} | {value} |" for name, value in model_folder.describe_run(model.run).items()]
    lead = f" It takes lead {model.lead} alone." if model.lead else ""
    return f"""# {published.title}

Weights of an encoder that others published, in their own names: {published.paper}. The original
weights are at {published.weights}.{lead}

```python
import clef_jax

model = clef_jax.load("{card.PATH}")
embedding = model.embed(signal_mv, sample_rate_hz=250)  # any rate, NaN = missing
```

| | |
|---|---|
| preprocessing | {model.variant_name}: {model.variant.sentence} |
| weights | {model.costs["parameters"]:,} |
| fingerprint | `{model.fingerprint}` |
{chr(10).join(rows)}
{card.head_section(head)}
## Licence

Of the weights: {published.licence}. Their authors' terms apply to this folder, too; do not pass it
on unless they allow it.
"""
