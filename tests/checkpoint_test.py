import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from clef_jax import checkpoint, mesh as mesh_lib
from clef_jax.config import TrainConfig, saved
from clef_jax.errors import UserError
from clef_jax.update import TrainState

RUN = {"config": saved(TrainConfig(data_dir="a", workdir="b")), "data": {"data set": "1"}}


def make_state(value=1.0):
    params = nnx.State({"kernel": nnx.Param(jnp.full((3, 4), value))})
    count = jnp.asarray(7, jnp.int32)
    return TrainState(count, params, optax.adam(1e-3).init(params), count, count)


def abstract(state):
    return checkpoint.abstract_state(lambda: state, mesh_lib.make_mesh())


def test_what_was_saved_comes_back(tmp_path):
    state = make_state()
    with checkpoint.Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(state, 7, RUN | {"position": {"next_step": 7}})
    with checkpoint.Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.latest_step == 7
        assert checkpoints.run(7) == RUN | {"position": {"next_step": 7}}
        back = checkpoints.restore(7, abstract(state))
    assert jax.tree.structure(back) == jax.tree.structure(state)
    for got, want in zip(jax.tree.leaves(back), jax.tree.leaves(state), strict=True):
        np.testing.assert_array_equal(got, want)
        assert got.dtype == want.dtype
        assert got.sharding.is_equivalent_to(mesh_lib.everywhere(mesh_lib.make_mesh()), got.ndim)


def test_only_the_newest_are_kept(tmp_path):
    with checkpoint.Checkpoints(tmp_path, keep=2) as checkpoints:
        for step in (1, 2, 3):
            checkpoints.save(make_state(step), step, RUN)
    kept = sorted(int(p.name) for p in (tmp_path / checkpoint.FOLDER).iterdir() if p.is_dir())
    assert kept == [2, 3]


def test_a_save_that_was_killed_does_not_count(tmp_path):
    with checkpoint.Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(make_state(), 1, RUN)
    (tmp_path / checkpoint.FOLDER / "2.orbax-checkpoint-tmp").mkdir()
    with checkpoint.Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.latest_step == 1
        checkpoints.save(make_state(2.0), 2, RUN)
    with checkpoint.Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.latest_step == 2


def test_another_encoder_is_refused(tmp_path):
    other = RUN | {"config": saved(TrainConfig(data_dir="a", workdir="b", size="medium"))}
    with pytest.raises(UserError, match="size was 'small', now 'medium'"):
        checkpoint.refuse_changes(RUN, other, tmp_path)


def test_changed_data_is_refused_and_a_moved_folder_is_not(tmp_path):
    moved = RUN | {"config": saved(TrainConfig(data_dir="elsewhere", workdir="b"))}
    checkpoint.refuse_changes(RUN, moved, tmp_path)
    with pytest.raises(UserError, match="the data set changed"):
        checkpoint.refuse_changes(RUN, RUN | {"data": {"data set": "2"}}, tmp_path)


def test_parameters_of_no_run_are_refused(tmp_path):
    with pytest.raises(UserError, match="no checkpoint"):
        checkpoint.restore_params(tmp_path, lambda: make_state(), mesh_lib.make_mesh())
