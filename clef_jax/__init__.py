"""Clinically-guided contrastive pre-training of single-lead ECG foundation models, in JAX."""

import typing

if typing.TYPE_CHECKING:
    import pathlib

    from clef_jax.embedding.pretrained import Pretrained

    __version__: str

__all__ = ["__version__", "load"]


def load(
    path: "str | pathlib.Path",
    *,
    weights: typing.Literal["trained", "ema"] = "trained",
    variant: str | None = None,
) -> "Pretrained":
    """Returns a model that embeds recordings: `load(path).embed(signal, sample_rate_hz)`.

    Args:
        path: the workdir of a training run, a model folder, a file of weights, or the address of a
            model on a hub, `hf:ORG/NAME@REVISION`; see `clef_jax.embedding.pretrained`.
        weights: `trained`, or `ema` for the moving average that a training run may keep.
        variant: preprocessing of a published encoder, such as `as_reference`; by default what its
            authors prescribe.

    Raises:
        UserError: the path does not exist, or holds no model or no moving average, or the variant
            is unknown.
    """
    from clef_jax.embedding import pretrained

    return pretrained.load(path, weights=weights, variant=variant)


def __getattr__(name: str) -> str:
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import metadata

    return metadata.version("clef_jax")
