"""Encoders of single-lead ECGs."""

from clef_jax.models.net1d import Net1D, abstract_encoder, create_encoder
from clef_jax.models.size import SIZES, EncoderSize

__all__ = ["SIZES", "EncoderSize", "Net1D", "abstract_encoder", "create_encoder"]
