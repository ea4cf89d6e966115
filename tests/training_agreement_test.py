"""Processes that cannot train together end with an error, before any compilation."""

import json

import jax
import pytest
from culprits import assert_names
from train_command import WITHIN_SECONDS, fail, start_together

from clef_jax.training import agreement

pytestmark = pytest.mark.slow


def test_versions_of_what_computes_are_told():
    found = agreement.software()
    assert found["jax"] == jax.__version__
    assert {"Python", "jaxlib", "flax", "numpy", "clef_jax"} <= set(found)


def test_other_settings_on_one_host_are_told_by_all(data_dir, tmp_path):
    each = {1: {"seed": 7, "read_threads": 1}}
    zero, one = start_together(data_dir, tmp_path, each=each)
    told = fail(one, WITHIN_SECONDS)
    assert_names(told, "Process 1", "process 0", "--seed", "7", "42")
    assert "--read-threads" not in told
    assert_names(fail(zero, WITHIN_SECONDS), "Process 1", "--seed")


def test_other_software_on_one_host_is_told(data_dir, tmp_path):
    older = (
        "from clef_jax.training import agreement; real = agreement.software; "
        "agreement.software = lambda: real() | {'jax': '0.4.1'}"
    )
    _, one = together = start_together(data_dir, tmp_path, each={1: {"before": older}})
    assert_names(fail(one, WITHIN_SECONDS), "process 0", "jax", "'0.4.1'", f"'{jax.__version__}'")
    fail(together[0], WITHIN_SECONDS)


def test_other_data_on_one_host_is_told(data_dir, tmp_path):
    other = {1: {"dataset": "mimic_iv_ecg/all_records"}}
    zero, one = start_together(data_dir, tmp_path, each=other)
    assert_names(fail(one, WITHIN_SECONDS), "Process 1", "process 0", "data set")
    fail(zero, WITHIN_SECONDS)


def test_data_that_one_host_lacks_is_told_by_all(data_dir, tmp_path):
    zero, one = start_together(data_dir, tmp_path, each={1: {"data_dir": tmp_path / "none"}})
    assert_names(fail(one, WITHIN_SECONDS), tmp_path / "none", "python -m clef_jax.prepare")
    assert_names(fail(zero, WITHIN_SECONDS), "Process 1", tmp_path / "none")


def test_a_workdir_that_is_not_shared_is_told(data_dir, tmp_path):
    hurry = "from clef_jax.training import agreement; agreement.SHARED_FOLDER_SECONDS = 1.0"
    each = {1: {"workdir": tmp_path / "b", "before": hurry}}
    zero, one = start_together(data_dir, tmp_path / "a", each=each)
    told = fail(one, WITHIN_SECONDS)
    assert_names(told, "process 1", tmp_path / "b", "process 0")
    fail(zero, WITHIN_SECONDS)


def test_a_checkpoint_that_one_host_does_not_see_is_told(data_dir, tmp_path):
    (tmp_path / "b" / "checkpoints" / "500").mkdir(parents=True)
    zero, one = start_together(data_dir, tmp_path / "a", each={1: {"workdir": tmp_path / "b"}})
    assert_names(fail(one, WITHIN_SECONDS), "Process 1", "workdir", "step 500", "None")
    fail(zero, WITHIN_SECONDS)


def test_settings_of_the_machine_may_differ():
    mine = {"config": {"read_threads": 8, "workdir": "a", "seed": 1}, "data": {}, "software": {}}
    theirs = {"config": {"read_threads": 2, "workdir": "b", "seed": 1}, "data": {}, "software": {}}
    agreement.refuse_differences(3, mine, json.loads(json.dumps(theirs)))
