"""Encoders of single-lead ECGs."""

from typing import TYPE_CHECKING, Any

from clef_jax.models.size import SIZES, EncoderSize

if TYPE_CHECKING:
    from clef_jax.models.net1d import Net1D, abstract_encoder, create_encoder

__all__ = ["SIZES", "EncoderSize", "Net1D", "abstract_encoder", "create_encoder"]


def __getattr__(name: str) -> Any:
    """Imports the network at its first use, because the command lines need the sizes only."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from clef_jax.models import net1d

    return getattr(net1d, name)
