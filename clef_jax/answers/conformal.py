"""Conformal intervals: half-widths with a stated coverage for the values of a regression.

Shapes: N recordings, K outputs, P patients.
"""

import math

import numpy as np


def half_width(error: np.ndarray, patient: np.ndarray, coverage: float) -> np.ndarray:
    """Returns half the width of the interval around each value, [K].

    The interval holds the true value of a recording of a new patient with at least the stated
    probability, if the patient is like those here. Every patient has the same weight, whatever the
    number of recordings (Lee, Barber and Willett 2023); with one recording per patient, this is
    split conformal prediction.

    Args:
        error: differences between predicted and true values of recordings that the head was not
            fitted to, [N, K].
        patient: number of each recording's patient, int [N].
        coverage: probability, above 0 and below 1.

    Returns:
        The half-widths; infinite with fewer than `least_patients(coverage)` patients.
    """
    _, number, count = np.unique(patient, return_inverse=True, return_counts=True)
    num_patients = len(count)
    weight = 1 / (count[number] * (num_patients + 1.0))
    return np.array([_quantile(np.abs(column), weight, coverage) for column in np.asarray(error).T])


def least_patients(coverage: float) -> int:
    """Returns the smallest number of patients with which an interval is finite."""
    return math.ceil(coverage / (1 - coverage) - 1e-9)


def covered(error: np.ndarray, patient: np.ndarray, width: np.ndarray) -> np.ndarray:
    """Returns the fraction of recordings whose intervals hold the true value, [K].

    It is the mean over patients of each patient's fraction.

    Args:
        error: differences between predicted and true values, [N, K].
        patient: number of each recording's patient, int [N].
        width: half-widths of the intervals, [K].
    """
    _, number, count = np.unique(patient, return_inverse=True, return_counts=True)
    weight = 1 / (count[number] * float(len(count)))
    return weight @ (np.abs(error) <= width)


def _quantile(value: np.ndarray, weight: np.ndarray, level: float) -> float:
    """Returns the smallest value up to which the weights sum to a level; infinite if they sum to
    less."""
    order = np.argsort(value, kind="stable")
    total = np.cumsum(weight[order])
    reached = np.searchsorted(total, level - 1e-12, side="left")
    return float(value[order][reached]) if reached < len(value) else math.inf
