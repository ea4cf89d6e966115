"""Maps name their classes and colours below."""

import numpy as np
from culprits import assert_names

from clef_jax.page import maps

POSITION = np.random.default_rng(0).normal(size=(50, 2))
VARIANCE = np.array([0.5, 0.2])


def test_rare_classes_are_others():
    names = np.array([f"class {n}" for n in range(10)] * 5)
    drawn = maps.by_class(POSITION, VARIANCE, names, "label", "a map")
    assert_names(drawn, ">class 0<", ">others<", "50% of variance")
    assert ">class 9<" not in drawn


def test_a_quantity_of_one_value_is_one_colour():
    drawn = maps.by_number(POSITION, VARIANCE, np.full(50, 3.0), "age, years", "a map")
    assert drawn.count("<li>") == 1
    drawn = maps.by_number(POSITION, VARIANCE, np.full(50, np.nan), "age, years", "a map")
    assert_names(drawn, ">unknown<")
