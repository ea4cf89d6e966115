import dataclasses
import shutil

import jax
import numpy as np
import pytest
from culprits import refuses
from flax import nnx
from full_disk import no_file_above
from small_state import RUN, abstract, make_state

from clef_jax import mesh as mesh_lib
from clef_jax.errors import UserError
from clef_jax.training import CHECKPOINTS_FOLDER, checkpoint, digest

failures_of_orbax = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
"""Orbax does not await tasks that fail after the first one."""


def take_any(run):
    del run


@pytest.fixture(scope="module")
def two_saves(tmp_path_factory):
    """A workdir with checkpoints of steps 1 and 2."""
    workdir = tmp_path_factory.mktemp("saves")
    with checkpoint.Checkpoints(workdir, keep=3) as checkpoints:
        for step in (1, 2):
            checkpoints.save(make_state(float(step)), step, RUN)
    return workdir


def test_what_was_saved_comes_back(tmp_path):
    state = make_state()
    with checkpoint.Checkpoints(tmp_path, keep=3) as checkpoints:
        checkpoints.save(state, 7, RUN | {"position": {"next_step": 7}})
    with checkpoint.Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.latest_step == 7
        run = checkpoints.run(7)
        assert run.pop(checkpoint.DIGEST) == digest.compute(state)
        assert run == RUN | {"position": {"next_step": 7}}
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
    kept = sorted(int(p.name) for p in (tmp_path / CHECKPOINTS_FOLDER).iterdir() if p.is_dir())
    assert kept == [2, 3]


def test_a_save_that_was_killed_does_not_count(tmp_path):
    with checkpoint.Checkpoints(tmp_path, keep=3) as checkpoints:
        checkpoints.save(make_state(), 1, RUN)
    (tmp_path / CHECKPOINTS_FOLDER / "2.orbax-checkpoint-tmp").mkdir()
    with checkpoint.Checkpoints(tmp_path) as visitor:
        assert visitor.latest_step == 1
    assert (tmp_path / CHECKPOINTS_FOLDER / "2.orbax-checkpoint-tmp").exists()
    with checkpoint.Checkpoints(tmp_path, keep=3) as checkpoints:
        assert checkpoints.latest_step == 1
        checkpoints.save(make_state(2.0), 2, RUN)
    with checkpoint.Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.latest_step == 2


def test_what_an_objective_owns_is_kept_with_the_state(tmp_path):
    owned = {"queue": jax.numpy.arange(6, dtype=jax.numpy.int16), "full": jax.numpy.array(True)}
    state = dataclasses.replace(make_state(), objective_state=owned)
    with checkpoint.Checkpoints(tmp_path, keep=1) as checkpoints:
        checkpoints.save(state, 1, RUN)
        back = checkpoints.restore(1, abstract(state))
    assert back.objective_params is None
    for name, want in owned.items():
        np.testing.assert_array_equal(back.objective_state[name], want)
        assert back.objective_state[name].dtype == want.dtype
    changed = dataclasses.replace(state, objective_state=owned | {"full": jax.numpy.array(False)})
    assert digest.compute(changed) != digest.compute(state)


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@failures_of_orbax
@pytest.mark.parametrize("damage", [flip, cut, lambda path: path.unlink()])
def test_whatever_file_is_damaged_what_comes_back_is_what_was_saved(damage, two_saves, tmp_path):
    names = [p.relative_to(two_saves) for p in two_saves.rglob("2/**/*") if p.is_file()]
    assert names
    steps = []
    for number, name in enumerate(names):
        workdir = tmp_path / str(number)
        shutil.copytree(two_saves, workdir)
        damage(workdir / name)
        with checkpoint.Checkpoints(workdir, keep=3) as checkpoints:
            back = checkpoints.restore_newest(abstract(make_state()), take_any)
        assert back is not None
        steps.append(back.step)
        assert set(back.damaged) == ({2} if back.step == 1 else set())
        for got, want in zip(
            jax.tree.leaves(back.state), jax.tree.leaves(make_state(float(back.step))), strict=True
        ):
            np.testing.assert_array_equal(got, want)
    assert 1 in steps


@failures_of_orbax
def test_a_damaged_checkpoint_moves_aside_and_its_step_can_be_saved_again(two_saves, tmp_path):
    workdir = tmp_path / "run"
    shutil.copytree(two_saves, workdir)
    (workdir / CHECKPOINTS_FOLDER / "2" / "state" / "_METADATA").unlink()
    with checkpoint.Checkpoints(workdir, keep=3) as checkpoints:
        back = checkpoints.restore_newest(abstract(make_state()), take_any)
        assert back is not None
        folder = checkpoints.quarantine(list(back.damaged))
        assert [path.name for path in folder.iterdir()] == ["2_0"]
        assert checkpoints.latest_step == 1
        checkpoints.save(make_state(5.0), 2, RUN)
    with checkpoint.Checkpoints(workdir) as checkpoints:
        params = checkpoints.restore(2, abstract(make_state())).params
    np.testing.assert_array_equal(jax.tree.leaves(params)[0], np.full((3, 4), 5.0))


@failures_of_orbax
def test_a_run_without_any_whole_checkpoint_is_refused(two_saves, tmp_path):
    workdir = tmp_path / "run"
    shutil.copytree(two_saves, workdir)
    for step in ("1", "2"):
        shutil.rmtree(workdir / CHECKPOINTS_FOLDER / step / "state")
    with (
        checkpoint.Checkpoints(workdir, keep=3) as checkpoints,
        refuses("Step 2:", "Step 1:", problem="no_whole_checkpoint"),
    ):
        checkpoints.restore_newest(abstract(make_state()), take_any)


def test_refusing_a_run_is_not_taken_for_damage(two_saves):
    def refuse(run):
        raise UserError("Not so.", problem="other_settings")

    with (
        checkpoint.Checkpoints(two_saves) as checkpoints,
        refuses(problem="other_settings"),
    ):
        checkpoints.restore_newest(abstract(make_state()), refuse)


@failures_of_orbax
def test_a_save_that_fails_is_told_and_the_one_before_it_stays(tmp_path):
    noise = jax.random.normal(jax.random.key(0), (100_000,))
    large = dataclasses.replace(make_state(), params=nnx.State({"kernel": noise}))

    def save_both():
        with checkpoint.Checkpoints(tmp_path, keep=3) as checkpoints:
            checkpoints.save(make_state(), 1, RUN)
            with no_file_above(50_000):
                checkpoints.save(large, 2, RUN)
                checkpoints.wait()

    with refuses("step 2", "step 1", problem="save_failed"):
        save_both()
    with checkpoint.Checkpoints(tmp_path, keep=3) as checkpoints:
        assert checkpoints.latest_step == 1
        checkpoints.save(large, 2, RUN)
    with checkpoint.Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.latest_step == 2
