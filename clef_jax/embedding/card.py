"""The model card of a model folder: use, preprocessing, origin, limits and licence."""

from collections.abc import Mapping
from typing import Any

from clef_jax.answers import intended_use
from clef_jax.embedding import window
from clef_jax.embedding.encoder import Embedder
from clef_jax.embedding.head import Head
from clef_jax.embedding.recipe import Recipe
from clef_jax.errors import listed
from clef_jax.models import cost, size as size_lib

ORIGIN = "origin"
"""Metadata of a model whose weights others trained: who, and under which licence."""
PATH = "PATH/TO/THIS/FOLDER"
NO_LICENCE = "State the licence of the weights here; the terms of the training data limit it."
"""Placeholders, which `push` replaces."""
_MOST_OUTPUTS = 20
"""Most outputs of a head that the card names."""
_CARD_METADATA = """---
library_name: clef_jax
pipeline_tag: feature-extraction
tags:
- ecg
- electrocardiogram
- time-series
- contrastive-learning
---
"""
"""Metadata at the top of the model card, which model hubs read."""


def _origin(run: Mapping[str, Any]) -> str:
    """Returns the rows of the model card about the training run."""
    rows = [f"| {name} | {value} |" for name, value in run.items()]
    return "\n".join(rows) or "| training run | none: converted or randomly initialised weights |"


def _limits(recipe: Recipe) -> str:
    """Returns the table of the model card about short signals and low sampling rates."""
    least, least_hz, low_hz = window.MIN_SECONDS, window.MIN_RATE_HZ, window.LOW_RATE_HZ
    return f"""| signal | result |
|---|---|
| below {least:g} s or {least_hz:g} Hz | no embedding, but a reason |
| {least:g} s to below {recipe.window_seconds:g} s | flag `short`; continued by its mirror image |
| {least_hz:g} Hz to below {low_hz:g} Hz | flag `low_rate`; narrow waves are lost |"""


def _steps(recipe: Recipe) -> str:
    """Returns the table of the model card about the preprocessing."""
    rate = f"| sampling rate | resampled to {recipe.sample_rate_hz:g} Hz |"
    if recipe.preparation is not None:
        return f"""| step | value |
|---|---|
| unit | mV |
{rate}
| variant `{recipe.variant}` | {recipe.preparation.sentence} |"""
    band = "none" if recipe.band_hz is None else f"{recipe.band_hz[0]}-{recipe.band_hz[1]} Hz"
    scale = "mean 0 and standard deviation 1 in each window" if recipe.zscored else "millivolts"
    return f"""| step | value |
|---|---|
| unit | mV; gaps are filled by linear interpolation |
{rate}
| band-pass | {band}, Butterworth of order 5, forwards and backwards |
| scale | {scale} |"""


def head_section(head: Head | None) -> str:
    """Returns the section of the model card about what a head answers; empty without one."""
    if head is None:
        return ""
    limits = "\n".join(f"- {sentence}" for sentence in intended_use.limits(head))
    return f"""
## Answers

A head of the layer {head.layer} answers for: {listed(head.names, _MOST_OUTPUTS)}.
`model.predict(signal_mv, sample_rate_hz=250)` and `clef-jax predict` give its answers.

{intended_use.INTENDED_USE}

{limits}
"""


def render(model: Embedder, run: Mapping[str, Any], head: Head | None = None) -> str:
    """Returns the model card: use, preprocessing, origin, limits and licence.

    Args:
        run: metadata of the training run.
        head: head that the folder holds; by default none.
    """
    recipe, size = model.recipe, size_lib.by_name(model.size)
    flops = model.costs["flops"] / 1e9
    channels = model.in_channels
    num_weights = f"{cost.num_parameters(size, model.in_channels):,}"
    trained = ", as CLEF\n(arXiv 2512.02180) pre-trains it without diagnostic labels"
    licence = NO_LICENCE
    if ORIGIN in run:
        trained, licence = "", f"Of the weights: {run[ORIGIN]}."
    leads = "one ECG lead" if channels == 1 else f"{channels} ECG leads"
    return f"""{_CARD_METADATA}
# ECG encoder, {model.size}

Embeds {recipe.window_seconds:g} seconds of {leads} as {size.embedding_width} numbers. The network
is a ResNeXt-1D with {num_weights} weights and {flops:.2g} GFLOP per window{trained}.

```python
import clef_jax

model = clef_jax.load("{PATH}")
embedding = model.embed(signal_mv, sample_rate_hz=250)  # any rate, any length, NaN = missing
```

`clef-jax embed --model={PATH} --input=RECORDINGS --out=FILE.parquet`
embeds files. Without this package, `pytorch_encoder.py` in this folder runs the model in PyTorch,
and `transformers.AutoModel.from_pretrained` loads the encoder with `trust_remote_code=True`.

## Preprocessing

The calls above preprocess the signal. Other code that uses the network must do the same.

{_steps(recipe)}
{head_section(head)}
## Origin

| | |
|---|---|
{_origin(run)}
| fingerprint | `{model.fingerprint}` |

## Limits

Embeddings are features for research, not findings about a patient. A diagnosis, a risk or a
treatment decision needs a further model that was trained and evaluated for that purpose on people
like those it is used for. Check the quality flags of each window: flat or mostly missing signals
have embeddings, too.

{_limits(recipe)}

## Licence

{licence}
"""
