"""Tuning results replace default rules only where they are requested and applicable."""

import jax
import jax.numpy as jnp
import pytest

from clef_jax.convolution.grouped import grouped_conv, use_implementation
from clef_jax.convolution.rules import (
    Choice,
    ConvShape,
    TuningResult,
    TuningResults,
    choose,
    default_choice,
    use_tuning,
)

LAYER = ConvShape(length=64, taps=16, group_channels=4, channels=8, groups=2, stride=1)
TAPS, DENSE = Choice("taps"), Choice("dense")
CHOICES = TuningResults(
    "cpu",
    "cpu",
    (
        TuningResult(LAYER, "float32", TAPS),
        TuningResult(LAYER._replace(length=200), "float32", DENSE),
    ),
)


def operations(implementation=None, dtype=jnp.float32, length=64):
    x, kernel = jnp.zeros((2, length, 8), dtype), jnp.zeros((16, 4, 8), dtype)
    return str(
        jax.make_jaxpr(
            lambda x: grouped_conv(x, kernel, stride=1, groups=2, implementation=implementation)
        )(x)
    )


def test_without_being_asked_the_table_decides():
    assert choose("cpu", LAYER, "float32") == default_choice("cpu", 4)
    with use_tuning(CHOICES):
        assert choose("cpu", LAYER, "float32") == TAPS
        with use_tuning(None):
            assert choose("cpu", LAYER, "float32") == default_choice("cpu", 4)
    assert choose("cpu", LAYER, "float32") == default_choice("cpu", 4)


@pytest.mark.parametrize(
    ("length", "want"), [(64, TAPS), (50, TAPS), (100, TAPS), (150, DENSE), (399, DENSE)]
)
def test_other_lengths_go_by_the_nearest_one(length, want):
    assert CHOICES.find(LAYER._replace(length=length), "float32") == want


def test_what_is_unlike_anything_measured_goes_by_the_table():
    unlike = [{"length": 31}, {"length": 500}, {"stride": 2}, {"groups": 4}, {"taps": 8}]
    unlike += [{"group_channels": 8}, {"channels": 16}]
    for change in unlike:
        assert CHOICES.find(LAYER._replace(**change), "float32") is None, change
    assert CHOICES.find(LAYER, "bfloat16") is None
    with use_tuning(CHOICES):
        assert choose("cpu", LAYER, "bfloat16") == default_choice("cpu", 4)
        assert choose("tpu", LAYER, "float32") == default_choice("tpu", 4)


def test_what_is_traced_inside_the_block_goes_by_the_choices():
    with use_tuning(CHOICES):
        assert operations() == operations("taps")
        assert operations(length=210) == operations("dense", length=210)
        assert operations(dtype=jnp.bfloat16) == operations("toeplitz", dtype=jnp.bfloat16)
        with use_implementation("lax"):
            assert operations() == operations("lax")
    assert operations() == operations("toeplitz")
