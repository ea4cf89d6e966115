"""Processes that cannot train together say so; none of them compiles anything."""

import json

import jax
import pytest
from train_command import WITHIN_SECONDS, fail, start_together

from clef_jax.config import TrainConfig
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
    assert "Process 1 differs from process 0 in --seed (7, there 42). Start all" in told
    assert "Process 1 failed: Process 1 differs" in fail(zero, WITHIN_SECONDS)


def test_other_software_on_one_host_is_told(data_dir, tmp_path):
    older = (
        "from clef_jax.processes import agreement; real = agreement.software; "
        "agreement.software = lambda: real() | {'jax': '0.4.1'}"
    )
    _, one = together = start_together(data_dir, tmp_path, each={1: {"before": older}})
    assert f"differs from process 0 in jax ('0.4.1', there '{jax.__version__}')" in fail(
        one, WITHIN_SECONDS
    )
    fail(together[0], WITHIN_SECONDS)


def test_other_data_on_one_host_is_told(data_dir, tmp_path):
    other = {1: {"dataset": "mimic_iv_ecg/all_records"}}
    zero, one = start_together(data_dir, tmp_path, each=other)
    assert "the data set" in fail(one, WITHIN_SECONDS)
    fail(zero, WITHIN_SECONDS)


def test_data_that_one_host_lacks_is_told_by_all(data_dir, tmp_path):
    zero, one = start_together(data_dir, tmp_path, each={1: {"data_dir": tmp_path / "none"}})
    assert "does not exist" in fail(one, WITHIN_SECONDS)
    assert "Process 1 failed: The data folder" in fail(zero, WITHIN_SECONDS)


def test_a_workdir_that_is_not_shared_is_told(data_dir, tmp_path):
    hurry = "from clef_jax.processes import agreement; agreement.SHARED_FOLDER_SECONDS = 1.0"
    each = {1: {"workdir": tmp_path / "b", "before": hurry}}
    zero, one = start_together(data_dir, tmp_path / "a", each=each)
    told = fail(one, WITHIN_SECONDS)
    assert f"Process 1 finds another folder at {tmp_path / 'b'} than process 0 does" in told
    fail(zero, WITHIN_SECONDS)


def test_a_checkpoint_that_one_host_does_not_see_is_told(data_dir, tmp_path):
    (tmp_path / "b" / "checkpoints" / "500").mkdir(parents=True)
    zero, one = start_together(data_dir, tmp_path / "a", each={1: {"workdir": tmp_path / "b"}})
    assert "the newest checkpoint in its workdir (step 500, there None)" in fail(
        one, WITHIN_SECONDS
    )
    fail(zero, WITHIN_SECONDS)


def test_settings_of_the_machine_may_differ():
    mine = {"config": {"read_threads": 8, "workdir": "a", "seed": 1}, "data": {}, "software": {}}
    theirs = {"config": {"read_threads": 2, "workdir": "b", "seed": 1}, "data": {}, "software": {}}
    agreement.refuse_differences(3, mine, json.loads(json.dumps(theirs)))
    names = set(TrainConfig.__dataclass_fields__)
    assert names >= agreement.OWN
