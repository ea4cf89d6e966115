"""Tests that leads are found by name, and aVL and aVF by what I and II imply."""

import numpy as np
import pytest
from culprits import refuses

from clef_jax import lead_order, leads
from clef_jax.simulation import simulated_ecg

MIMIC = ("I", "II", "III", "aVR", "aVF", "aVL", "V1", "V2", "V3", "V4", "V5", "V6")


def twelve(order):
    """[12, T]: simulated beats; limb leads follow from I and II, and each drifts on its own."""
    by_name = dict(
        zip(
            leads.STANDARD_12,
            simulated_ecg.make(3, leads.STANDARD_12, sample_rate_hz=250, num_samples=2500).astype(
                float
            ),
            strict=True,
        )
    )
    first, second = by_name["I"], by_name["II"]
    by_name["III"] = second - first
    by_name["aVL"], by_name["aVF"] = first - second / 2, second - first / 2
    drift = np.cumsum(np.random.default_rng(0).standard_normal((12, 2500)), axis=1) / 400
    return np.stack([by_name[name] for name in order]) + drift


def test_names_are_found_in_any_spelling():
    assert lead_order.find("avl", ["I", "AVL", "V1"]) == 1
    assert lead_order.find("II", ["MLII", "V5"]) == 0  # stands in for it
    assert lead_order.find("II", ["MLII", "II"]) == 1  # the lead itself comes first


@pytest.mark.parametrize(
    ("names", "problem", "culprits"),
    [
        (["I", "V1"], "missing_lead", ("'II'", "I, V1")),
        (["ii", "II"], "duplicate_lead", ("2", "'II'")),
    ],
)
def test_a_missing_or_duplicate_lead_is_refused(names, problem, culprits):
    with refuses(*culprits, problem=problem):
        lead_order.find("II", names)


@pytest.mark.parametrize("order", [leads.STANDARD_12, MIMIC])
def test_avl_and_avf_are_found_by_the_signal(order):
    signal = twelve(order)
    for name in order:
        assert lead_order.find_unnamed(name, signal) == order.index(name)
    signal[3, :100] = np.nan
    assert lead_order.find_unnamed("aVL", signal[None]) == order.index("aVL")


def test_an_ambiguous_order_is_refused():
    noise = np.random.default_rng(1).standard_normal((12, 2500))
    assert lead_order.find_unnamed("V6", noise) == 11
    for signal in (noise, np.zeros((12, 2500)), np.full((12, 2500), np.nan)):
        with refuses("aVF", problem="ambiguous_order"):
            lead_order.find_unnamed("aVF", signal)
    with refuses("[3, 2500]", "II", problem="unnamed_rows"):
        lead_order.find_unnamed("II", noise[:3])
    with refuses("'V9'", problem="missing_lead"):
        lead_order.find_unnamed("V9", noise)
