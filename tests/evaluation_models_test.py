"""The encoders to evaluate, and their names."""

import jax
import pytest
from culprits import refuses

from clef_jax import mesh as mesh_lib
from clef_jax.evaluation import models

pytestmark = pytest.mark.usefixtures("quick_compiler")

ONE = mesh_lib.make_mesh(jax.devices()[:1])


def names(checkpoints=(), baselines="none", num_seeds=2):
    found = models.collect(checkpoints, baselines, ONE, size="tiny", num_seeds=num_seeds, seed=0)
    return [one.name for one in found]


def test_all_baselines_or_those_named():
    assert names(baselines="all") == [
        "rhythm and spectrum",
        "random tiny, seed 0",
        "random tiny, seed 1",
    ]
    assert names(baselines="untrained", num_seeds=1) == ["random tiny, seed 0"]


def test_a_baseline_among_the_checkpoints_occurs_once():
    found = names(["untrained", "classical"], baselines="classical", num_seeds=1)
    assert found == ["random tiny, seed 0", "rhythm and spectrum"]


@pytest.mark.parametrize(
    ("checkpoints", "baselines", "culprits"),
    [
        ((), "none", ("--model", "--baselines")),
        (("/nowhere",), "none", ("/nowhere",)),
        ((), "untrianed", ("'untrianed'", "untrained")),
    ],
)
def test_names_that_are_no_model_are_rejected(checkpoints, baselines, culprits):
    with refuses(*culprits):
        names(checkpoints, baselines)
