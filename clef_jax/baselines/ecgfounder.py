"""Reads ECGFounder's weights: the encoder at medium size, and a dense layer as classifier.

ECGFounder (arXiv 2410.04133) publishes weights for 1 and for 12 leads, with the keys of CLEF's
medium encoder and `dense.weight`, `dense.bias`. Its files hold batch-norm tensors, but its authors
evaluate and fine-tune the network without batch norm: outputs stored from the public code agree
with the networks below only if those tensors are ignored. So they are ignored by default.

A network of the same architecture that does use batch norm can be converted too
(`batch_norm=True`). In inference, batch norm is a scale and a shift of each channel. After a
convolution they become part of its weights, which is exact: `first_bn` of the stem, `bn2` of
`conv1`, `bn3` of `conv2`. `bn1` acts on a block's input, which the shortcut needs unchanged, so it
stays a scale and a shift of the block (`models.layer.Affine`). The first block's `bn1` is never
applied, in either network.

Windows last 10 seconds at 500 Hz. `embedding.preparation` describes the published ways
to preprocess them. The 12-lead network takes the leads in the standard order.
"""

import warnings
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from clef_jax.baselines import Context, _network
from clef_jax.convert import weights
from clef_jax.embedding import recipe as recipe_lib
from clef_jax.embedding.card import ORIGIN
from clef_jax.embedding.encoder import Encoder
from clef_jax.embedding.weight_file import Foreign
from clef_jax.errors import UserError
from clef_jax.models import Net1D, size as size_lib

TITLE = "ECGFounder"
SIZE = "medium"
HEAD_WEIGHT, HEAD_BIAS = "dense.weight", "dense.bias"
EPSILON = 1e-5
"""PyTorch's default in `BatchNorm1d`, which the public code uses."""
_CLASS_NAMES = ("class_names", "classes", "label_names", "labels", "names")
"""Entries beside the weights under which training programs keep the names of the classes."""
_NUM_LEADS = (1, 12)
"""Numbers of leads of the published networks."""
_STEM = "first_conv.conv.weight"
"""Key that identifies the network in a file."""


class Head(NamedTuple):
    """Dense layer of the classifier: its logits are `embedding @ weight.T + bias`."""

    weight: np.ndarray
    """[classes, D]."""
    bias: np.ndarray
    """[classes]."""


def make(context: Context) -> Iterator[Encoder]:
    """Yields nothing: ECGFounder is evaluated from its weight file with `--model`."""
    del context
    yield from ()


def recognises(state_dict: Mapping[str, Any]) -> bool:
    """Returns whether weights have ECGFounder's dense layer, which CLEF's never have.

    Args:
        state_dict: contents of a file, mappings within mappings.
    """
    holds = _network.holds
    has_head = holds(state_dict, HEAD_WEIGHT) or holds(state_dict, HEAD_BIAS)
    return has_head and holds(state_dict, "first_conv.conv.bias")


def read_weights(
    state_dict: Mapping[str, Any], *, batch_norm: bool | None = None, variant: str | None = None
) -> Foreign:
    """Returns the encoder, the classifier and the preprocessing.

    Args:
        state_dict, batch_norm: as in `from_torch`.
        variant: name of the preprocessing in `recipe.ECGFOUNDER`; by default what the authors
            prescribe.

    Raises:
        UserError: as `from_torch`, or the variant is unknown.
    """
    name, recipe = recipe_lib.of_ecgfounder(variant)
    encoder, classifier = from_torch(state_dict, batch_norm=batch_norm), head(state_dict)
    return Foreign(
        encoder,
        classifier.weight,
        classifier.bias,
        f"{TITLE}'s windows are preprocessed by the variant {name}: {recipe.sentence}",
        recipe,
        {ORIGIN: f"{TITLE} (arXiv 2410.04133), MIT", "preprocessing": name},
        "" if name == next(iter(recipe_lib.ECGFOUNDER)) else f", {name}",
        _class_names(state_dict, len(classifier.bias)),
    )


def _class_names(content: Mapping[str, Any], count: int) -> tuple[str, ...] | None:
    """Returns the names of the classes if a file states as many different ones; None otherwise."""
    for key in _CLASS_NAMES:
        stated = content.get(key)
        names = stated if isinstance(stated, list | tuple) else ()
        are_texts = all(isinstance(name, str) and name for name in names)
        if are_texts and len(names) == len(set(names)) == count:
            return tuple(names)
    return None


def from_torch(
    state_dict: Mapping[str, Any], *, batch_norm: bool | None = None, size: str = SIZE
) -> Net1D:
    """Returns the network of ECGFounder, or of a similar one, without its classifier.

    Args:
        state_dict: contents of a file: arrays by key, all after one prefix or none, possibly in
            mappings within mappings.
        batch_norm: whether the network applies its batch norms; by default it does not, and a
            warning says so if they were used in training, that is, have counted batches.
        size: size of the network.

    Raises:
        UserError: keys are unknown, missing or misshapen; the message names them.

    Warns:
        UserWarning: batch norms that were used in training are ignored.
    """
    arrays = _arrays(state_dict, size, batch_norm=batch_norm)
    body = {key: value for key, value in arrays.items() if key not in (HEAD_WEIGHT, HEAD_BIAS)}
    return weights.from_torch(_fold(body) if batch_norm else body, size)


def head(state_dict: Mapping[str, Any], *, size: str = SIZE) -> Head:
    """Returns the classifier of ECGFounder; its number of classes is that of the file.

    Args:
        state_dict, size: as in `from_torch`.

    Raises:
        UserError: the classifier is missing or misshapen; the message names its arrays.
    """
    holder, prefix = _find(state_dict)
    keys = (HEAD_WEIGHT, HEAD_BIAS)
    arrays = {key: holder[prefix + key] for key in keys if prefix + key in holder}
    missing = [key for key in keys if key not in arrays]
    if missing:
        raise UserError(
            f"These weights lack {' and '.join(missing)}, ECGFounder's classifier. If they hold "
            "only an encoder, convert them as CLEF's weights.",
            problem="no_classifier",
        )
    shapes = {key: np.shape(value) for key, value in arrays.items()}
    width, classes = size_lib.by_name(size).embedding_width, shapes[HEAD_WEIGHT][:1]
    if shapes != {HEAD_WEIGHT: (*classes, width), HEAD_BIAS: classes} or 0 in classes:
        stated = " and ".join(f"{key} has the shape {list(shapes[key])}" for key in shapes)
        raise UserError(
            f"ECGFounder's classifier must map {width} features to classes, but {stated}.",
            problem="wrong_classifier",
        )
    taken = _network.take(arrays, shapes, title=TITLE)
    return Head(taken[HEAD_WEIGHT], taken[HEAD_BIAS])


def _find(state_dict: Mapping[str, Any]) -> tuple[Mapping[str, Any], str]:
    """Returns the mapping that holds the network, and what precedes the names of its weights."""
    stem = _network.holds(state_dict, _STEM)
    return _network.select(state_dict, _STEM if stem else "first_conv.conv.bias")


def _arrays(
    state_dict: Mapping[str, Any], size: str, *, batch_norm: bool | None
) -> dict[str, np.ndarray]:
    """Returns the arrays of the network, and those of its batch norms if they are applied."""
    holder, prefix = _find(state_dict)
    classifier = head(holder, size=size)
    bare = {key.removeprefix(prefix): value for key, value in holder.items()}
    channels, affine = weights.in_channels(bare), weights.has_affines(bare)
    channels = channels if channels in _NUM_LEADS else 1
    shapes = {
        **weights.shapes(size_lib.by_name(size), channels, affine),
        HEAD_WEIGHT: classifier.weight.shape,
        HEAD_BIAS: classifier.bias.shape,
    }
    norms = weights.norm_shapes(size_lib.by_name(size), channels, affine)
    kept, ignored = (norms, {}) if batch_norm else ({}, norms)
    arrays = _network.take(
        holder, shapes, title=TITLE, prefix=prefix, optional=kept, ignored=ignored
    )
    counted = [key for key in norms if key.endswith(weights.COUNT) and np.any(bare.get(key, 0))]
    if counted and batch_norm is None:
        warnings.warn(
            f"{len(counted)} batch norms have counted batches ({counted[0]}), so they were used in "
            f"training. They are ignored, as {TITLE}'s authors do. Set batch_norm=True "
            "(--batch-norm) if this network applies them, else batch_norm=False "
            "(--no-batch-norm).",
            stacklevel=3,
        )
    return arrays


def _fold(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns the arrays without batch norms, which become part of the convolution before them or
    an affine of a block's input."""
    folded = {key: value for key, value in arrays.items() if not weights.is_norm(key)}
    _fold_into(folded, "first_conv.conv", arrays, "first_bn")
    blocks = dict.fromkeys(k.removesuffix(".se_fc1.weight") for k in arrays if ".se_fc1.w" in k)
    for number, block in enumerate(blocks):
        _fold_into(folded, f"{block}.conv1.conv", arrays, f"{block}.bn2")
        _fold_into(folded, f"{block}.conv2.conv", arrays, f"{block}.bn3")
        if number:
            dtype = folded[f"{block}.conv1.conv.bias"].dtype
            scale, shift = _scale_and_shift(arrays, f"{block}.bn1")
            folded[f"{block}.{weights.SCALE}"] = scale.astype(dtype)
            folded[f"{block}.{weights.SHIFT}"] = shift.astype(dtype)
    return folded


def _fold_into(
    folded: dict[str, np.ndarray], conv: str, arrays: Mapping[str, np.ndarray], norm: str
) -> None:
    scale, shift = _scale_and_shift(arrays, norm)
    kernel, bias = folded[f"{conv}.weight"], folded[f"{conv}.bias"]
    folded[f"{conv}.weight"] = (kernel * scale[:, None, None]).astype(kernel.dtype)
    folded[f"{conv}.bias"] = (bias * scale + shift).astype(bias.dtype)


def _scale_and_shift(arrays: Mapping[str, np.ndarray], norm: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns the scale and the shift of a batch norm in inference, float64 [C] each."""
    names = [f"{norm}.{name}" for name in ("weight", "bias", "running_mean", "running_var")]
    missing = [name for name in names if name not in arrays]
    if missing:
        raise UserError(
            f"These weights lack {', '.join(missing)}, which applying batch norm needs.",
            problem="missing_batch_norm",
        )
    weight, bias, mean, variance = (arrays[name].astype(np.float64) for name in names)
    if (variance < 0).any():
        raise UserError(
            f"{names[-1]} has negative values, but a variance cannot be negative.",
            problem="negative_variance",
        )
    scale = weight / np.sqrt(variance + EPSILON)
    return scale, bias - mean * scale
