"""Tests of what is read from the workdirs of runs."""

import jax
import numpy as np
from culprits import refuses
from small_state import RUN, abstract, make_state

from clef_jax.config import TrainConfig, saved
from clef_jax.training import checkpoint, digest, saved_run


def test_another_encoder_is_refused(tmp_path):
    other = RUN | {"config": saved(TrainConfig(data_dir="a", workdir="b", size="medium"))}
    with refuses("size", "'small'", "'medium'", problem="changed_run"):
        saved_run.refuse_changes(RUN, other, tmp_path)


def test_changed_data_is_refused_and_a_moved_folder_is_not(tmp_path):
    moved = RUN | {"config": saved(TrainConfig(data_dir="elsewhere", workdir="b"))}
    saved_run.refuse_changes(RUN, moved, tmp_path)
    with refuses("data set", problem="changed_run"):
        saved_run.refuse_changes(RUN, RUN | {"data": {"data set": "2"}}, tmp_path)


def test_parameters_of_no_run_are_refused(tmp_path):
    params = abstract(make_state()).params
    with refuses(tmp_path, problem="no_run"):
        saved_run.restore_params(tmp_path, params)
    checkpoint.Checkpoints(tmp_path, keep=1).__exit__(None)
    with refuses(tmp_path, problem="no_checkpoint"):
        saved_run.restore_params(tmp_path, params)


def test_parameters_are_restored_alone(tmp_path, monkeypatch):
    state = make_state(3.0)
    with checkpoint.Checkpoints(tmp_path, keep=1) as checkpoints:
        checkpoints.save(state, 2, RUN)
    params = saved_run.restore_params(tmp_path, abstract(state).params)
    for got, want in zip(jax.tree.leaves(params), jax.tree.leaves(state.params), strict=True):
        np.testing.assert_array_equal(got, want)
    # Arrays that are not those of the digest are refused.
    monkeypatch.setattr(digest, "compute", lambda tree: [0] * len(jax.tree.leaves(tree)))
    with refuses("2", tmp_path):
        saved_run.restore_params(tmp_path, abstract(state).params)
