"""Clinically-guided contrastive pre-training of single-lead ECG foundation models, in JAX."""

import pathlib
import typing

if typing.TYPE_CHECKING:
    from clef_jax.embedding.pretrained import Pretrained

__all__ = ["load"]


def load(path: "str | pathlib.Path") -> "Pretrained":
    """A model that is ready to use: `load(path).embed(signal, sample_rate_hz)`.

    `path` is the workdir of a training run, a model folder, or a file of weights; see
    `clef_jax.embedding.pretrained`.

    Raises:
        UserError: nothing is there, or it is no model; says what was found.
    """
    from clef_jax.embedding import pretrained

    return pretrained.load(path)
