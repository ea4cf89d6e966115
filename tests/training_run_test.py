"""A run on several data sets; train_test.py has the runs on one."""

import numpy as np
import pytest
from train_command import assert_same_bits, finish, flags, kill_after, start

from clef_jax import train
from clef_jax.training import logs

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick_compiler")]


def test_batches_of_one_data_set_each_train_and_a_check_takes_both(mixed_dir, tmp_path, capsys):
    settings = {
        "dataset": "mimic_iv_ecg any_rate",
        "batch_from": "one_data_set",
        "num_steps": 3,
        "window_seconds": 1.0,
        "health_every_steps": 3,
    }
    train.main(flags(mixed_dir, tmp_path, **settings))
    output = " ".join(capsys.readouterr().out.split())
    assert "any_rate/1.0.0: 50.0%" in output
    assert "age_sex known of 95%" in output
    lines = logs.read(tmp_path)
    trained = [line for line in lines if "loss" in line]
    assert len(trained) == 3
    assert np.isfinite([line["loss"] for line in trained]).all()
    (check,) = [line for line in lines if "train/retrieval" in line]
    assert 0 <= check["train/retrieval"] <= 1


@pytest.mark.parametrize("batch_from", ["mixture", "one_data_set"])
def test_kill_9_changes_no_bit_of_a_run_on_two_data_sets(mixed_dir, tmp_path, batch_from):
    """With cheap steps, which change every parameter by every value of the batch."""
    settings = {"dataset": "mimic_iv_ecg:0.7 any_rate:0.3", "batch_from": batch_from}
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    finish(start(mixed_dir, straight, cheap_seconds=0.0, **settings))
    kill_after(start(mixed_dir, killed, cheap_seconds=0.2, **settings), killed, 8, saved=True)
    assert "after step 5" in finish(start(mixed_dir, killed, cheap_seconds=0.0, **settings))
    assert_same_bits(killed, straight)
