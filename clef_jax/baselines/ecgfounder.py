"""ECGFounder's weights: our encoder at medium size, and a dense layer that classifies.

ECGFounder (arXiv 2410.04133) publishes weights for 1 and for 12 leads, with the keys of CLEF's
medium encoder and `dense.weight`, `dense.bias`. Its files hold batch-norm tensors, but its network
is built without batch norm, as CLEF's is: our stored outputs of the public code agree with the
forms below only where those tensors are ignored. So that is what happens by default.

A network of the same body that does use batch norm converts too (`batch_norm=True`). In inference
batch norm is a scale and a shift of each channel. After a convolution they become part of its
weights, which is exact: `first_bn` of the stem, `bn2` of `conv1`, `bn3` of `conv2`. `bn1` acts on
a block's input, which the shortcut needs as it is, so it stays a scale and a shift of the block
(`models.layer.Affine`). The first block's `bn1` is never applied, in either network.

Preprocessing. Known: 10 seconds at 500 Hz, each window z-scored; the public CLEF code feeds it so,
with the same band-pass as CLEF in some tasks and with none in others. Not known to us: which
filters its own pre-training used, and the order of leads that the 12-lead file expects. Its authors
ask to follow their `dataset.py` strictly; compare with it before you trust a result.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from clef_jax.baselines import Context
from clef_jax.convert import weights
from clef_jax.embedding.encoder import Encoder
from clef_jax.embedding.weight_file import Foreign
from clef_jax.errors import UserError
from clef_jax.models import Net1D

SIZE = "medium"
HEAD_WEIGHT, HEAD_BIAS = "dense.weight", "dense.bias"
_NOTE = (
    "Windows are prepared for it as for CLEF (500 Hz, 10 s, 0.67-40 Hz, scaled); which filter "
    "ECGFounder learned with is not known here, so compare before you rely on it."
)
EPSILON = 1e-5
"""PyTorch's default in `BatchNorm1d`, which the public code leaves as it is."""


class Head(NamedTuple):
    """The classifier: `embedding @ weight.T + bias` are logits."""

    weight: np.ndarray
    """[classes, D]."""
    bias: np.ndarray
    """[classes]."""


def make(context: Context) -> Iterator[Encoder]:
    """Yields nothing: ECGFounder is its file of weights, which `--checkpoint` takes."""
    del context
    yield from ()


def recognises(state_dict: Mapping[str, Any]) -> bool:
    """Returns whether weights have ECGFounder's dense layer, which CLEF's never have."""
    keys = weights.without_prefix(state_dict)
    return HEAD_WEIGHT in keys or HEAD_BIAS in keys


def read_weights(state_dict: Mapping[str, Any], *, batch_norm: bool | None = None) -> Foreign:
    """Returns the encoder and the classifier of a file; arguments and errors as `from_torch`."""
    encoder, head = from_torch(state_dict, batch_norm=batch_norm)
    return Foreign(encoder, head.weight, head.bias, _NOTE)


def from_torch(
    state_dict: Mapping[str, Any], *, batch_norm: bool | None = None, size: str = SIZE
) -> tuple[Net1D, Head]:
    """The encoder and the classifier of ECGFounder, or of a network like it.

    Args:
        state_dict: its key names to arrays, with or without `backbone.`.
        batch_norm: whether the network applies its batch norms, in inference form; None: no, as
            long as they have counted no batch, that is, were never used in training.
        size: of the body.

    Raises:
        UserError: a key is unknown, missing or misshapen; or it is unclear whether batch norms
            are used. Names them.
    """
    arrays = weights.without_prefix(state_dict)
    head = _head(arrays, size)
    body = {k: np.asarray(v) for k, v in arrays.items() if k not in (HEAD_WEIGHT, HEAD_BIAS)}
    try:
        weights.check(body, size)
        if batch_norm is None:
            _check_unused(body)
        return weights.from_torch(_fold(body) if batch_norm else body, size), head
    except UserError:
        raise
    except (ValueError, TypeError) as error:
        raise UserError(str(error)) from error


def _head(arrays: Mapping[str, Any], size: str) -> Head:
    missing = [key for key in (HEAD_WEIGHT, HEAD_BIAS) if key not in arrays]
    if missing:
        raise UserError(
            f"These weights lack {' and '.join(missing)}, ECGFounder's classifier. If they are an "
            "encoder alone, convert them as CLEF's weights.",
            problem="no_classifier",
        )
    head = Head(np.asarray(arrays[HEAD_WEIGHT]), np.asarray(arrays[HEAD_BIAS]))
    width = weights.size_lib.by_name(size).embedding_width
    if head.weight.ndim != 2 or head.weight.shape[1] != width or head.bias.shape != (len(head[0]),):
        raise UserError(
            f"ECGFounder's classifier maps {width} features to classes, but {HEAD_WEIGHT} is "
            f"{list(head.weight.shape)} and {HEAD_BIAS} {list(head.bias.shape)}.",
            problem="wrong_classifier",
        )
    return head


def _check_unused(arrays: Mapping[str, np.ndarray]) -> None:
    counted = [k for k, v in arrays.items() if k.endswith(f".{weights.COUNT}") and v.any()]
    if counted:
        raise UserError(
            f"{len(counted)} batch norms have counted batches ({counted[0]} and others), so they "
            "were used in training, while the published ECGFounder does without. Say "
            "batch_norm=True (--batch-norm) if this network applies them, else batch_norm=False "
            "(--no-batch-norm).",
            problem="undecided_batch_norm",
        )


def _fold(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays without batch norms: in the convolution before them, or as input affines."""
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
    """A batch norm in inference form, float64 [C] each."""
    names = [f"{norm}.{name}" for name in ("weight", "bias", "running_mean", "running_var")]
    missing = [name for name in names if name not in arrays]
    if missing:
        raise UserError(
            f"Batch norm needs {', '.join(missing)}, which these weights lack.",
            problem="missing_batch_norm",
        )
    weight, bias, mean, variance = (arrays[name].astype(np.float64) for name in names)
    if (variance < 0).any():
        raise UserError(
            f"{names[-1]} has negative numbers, which no variance is.", problem="negative_variance"
        )
    scale = weight / np.sqrt(variance + EPSILON)
    return scale, bias - mean * scale
