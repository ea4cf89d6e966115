"""Training stops after epochs without improvement, and keeps the best parameters."""

import types

import pytest

from clef_jax.evaluation import early_stopping


@pytest.mark.parametrize(
    ("losses", "patience", "expected"),
    [
        ([5, 4, 3, 2], 1, (3, 2, 3)),  # the last epoch is the best
        ([5, 4, 4, 4, 1], 2, (1, 4, 3)),  # stops before the better epoch
        ([5, 6, 7], 2, (0, 5, 2)),  # the start is kept
        ([5, 6, 4.95, 4], 3, (3, 4, 3)),  # an improvement of .05 does not count
    ],
)
def test_the_best_parameters_are_kept(losses, patience, expected):
    settings = types.SimpleNamespace(
        max_epochs=len(losses) - 1, patience_epochs=patience, min_improvement=0.1
    )
    found = early_stopping.train(0, lambda n: n + 1, losses.__getitem__, settings)
    assert found == expected
