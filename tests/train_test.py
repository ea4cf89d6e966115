"""From prepared data to a checkpoint and on: the run that users start and resume."""

import json
import signal

import numpy as np
import pytest
from culprits import assert_names
from train_command import (
    STEPS,
    assert_same_bits,
    assert_same_params,
    final_params,
    finish,
    flags,
    kill_after,
    num_repeated_steps,
    start,
)

from clef_jax import train
from clef_jax.training import checkpoint, logs, loop, saved_run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def undisturbed(data_dir, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("undisturbed")
    finish(start(data_dir, workdir))
    return workdir


def test_a_run_leaves_metrics_looks_and_its_settings(undisturbed):
    lines = logs.read(undisturbed)
    trained = [line for line in lines if "loss" in line]
    assert [line["step"] for line in trained] == list(range(1, STEPS + 1))
    for line in trained:
        assert line["loss"] == pytest.approx(line["nce"] + line["alignment"], rel=1e-5)
        assert line["pairs_per_second"] > 0 or line["step"] == 1
    looks = [line for line in lines if any("effective_rank" in name for name in line)]
    assert [line["step"] for line in looks] == [10, 20, STEPS]
    with checkpoint.Checkpoints(undisturbed) as checkpoints:
        saved = checkpoints.run(STEPS)
    assert saved["position"] == {"next_step": STEPS, "pairs_seen": 8 * STEPS}
    assert saved["config"]["objective_config"]["temperature"] == 0.07
    assert len(saved["data"]["data set"]) == 64


def test_sigterm_saves_and_the_next_start_goes_on_at_the_very_next_step(
    data_dir, undisturbed, tmp_path
):
    rare = {"checkpoint_every_steps": STEPS + 1}  # so that the signal alone makes it save
    output = kill_after(start(data_dir, tmp_path, **rare), tmp_path, 12, signal.SIGTERM)
    stopped = logs.read(tmp_path)[-1]["step"]
    assert_names(output, f"saved after step {stopped}")
    assert_names(finish(start(data_dir, tmp_path)), f"after step {stopped}")
    assert_same_bits(tmp_path, undisturbed)
    assert num_repeated_steps(tmp_path) == 0


def test_resuming_on_other_devices_goes_on_with_the_same_examples(data_dir, undisturbed, tmp_path):
    divided = {"shard_optimizer": True, "num_microbatches": 2}
    kill_after(start(data_dir, tmp_path, num_devices=4, **divided), tmp_path, 12, signal.SIGTERM)
    finish(start(data_dir, tmp_path))
    assert_same_params(tmp_path, undisturbed)
    assert num_repeated_steps(tmp_path) == 0


@pytest.mark.faults
def test_a_batch_that_is_not_finite_is_skipped_and_its_records_named(data_dir, tmp_path, fault_log):
    broken = """
import numpy as np
from clef_jax.data import pipeline
read = pipeline._Batches.__getitem__
def read_with_nan(self, step):
    batch = read(self, step)
    if step == 6:
        batch["gain_per_mv"] = np.full_like(batch["gain_per_mv"], np.nan)
    return batch
pipeline._Batches.__getitem__ = read_with_nan
"""
    output = finish(start(data_dir, tmp_path, before=broken))
    assert_names(output, "Step 7")
    lines = [line for line in logs.read(tmp_path) if "loss" in line]
    assert [line["step"] for line in lines if line["loss"] is None] == [7]
    assert lines[-1]["num_skipped"] == 1
    kept = [json.loads(x) for x in (tmp_path / loop.NONFINITE_FILE).read_text().splitlines()]
    assert [line["step"] for line in kept] == [7]
    assert len(kept[0]["record_ids"]) == 8
    fault_log(repeated=0)


def test_the_sentence_names_what_changed(data_dir, undisturbed, capsys):
    with pytest.raises(SystemExit) as error:
        train.main(flags(data_dir, undisturbed, seed=7, preset="released"))
    assert error.value.code == 1
    shown = capsys.readouterr().err
    assert_names(shown, "seed", "42", "7", "objective_config.nce_weight", "1.0", "0.5")
    assert_names(shown, undisturbed, "--workdir")


def test_other_data_is_refused(data_dir, undisturbed, capsys):
    changed = flags(data_dir, undisturbed, dataset="mimic_iv_ecg/all_records")
    with pytest.raises(SystemExit):
        train.main(changed)
    assert_names(capsys.readouterr().err, undisturbed, "data set", "--workdir")


def test_a_finished_run_says_so_and_does_nothing(data_dir, undisturbed, capsys):
    before = final_params(undisturbed)
    train.main(flags(data_dir, undisturbed))
    assert_names(capsys.readouterr().out, f"step {STEPS}")
    for a, b in zip(final_params(undisturbed), before, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_run_of_steps_that_are_not_finite_ends_with_record_ids(data_dir, tmp_path, capsys):
    exploding = [*flags(data_dir, tmp_path, max_nonfinite_steps=3), "--clef.nce-weight=1e38"]
    with pytest.raises(SystemExit):
        train.main([*exploding, "--clef.alignment-weight=1e38"])
    assert_names(capsys.readouterr().err, "3 steps", "step 3", loop.NONFINITE_FILE)
    kept = [json.loads(x) for x in (tmp_path / loop.NONFINITE_FILE).read_text().splitlines()]
    assert [line["step"] for line in kept] == [1, 2, 3]
    assert all(len(line["record_ids"]) == 8 for line in kept)
    assert kept[0]["record_ids"][0].startswith("files/p")


def test_data_that_is_not_prepared_is_told(tmp_path, capsys):
    with pytest.raises(SystemExit):
        train.main(flags(tmp_path, tmp_path / "run"))
    assert_names(capsys.readouterr().err, tmp_path, "clef-jax prepare")


def test_a_run_on_several_data_sets_that_was_killed_ends_with_the_same_bits(mixed_dir, tmp_path):
    several = {
        "dataset": "mimic_iv_ecg:0.75 any_rate:0.25",
        "window_start": "random",
        "cheap_seconds": 0.0,
    }
    finish(start(mixed_dir, tmp_path / "straight", **several))
    slow, killed = several | {"cheap_seconds": 0.2}, tmp_path / "killed"
    kill_after(start(mixed_dir, killed, **slow), killed, 12, saved=True)
    output = finish(start(mixed_dir, killed, read_threads=1, **several))
    assert_names(output, "any_rate/1.0.0", "25.0%", "resampled to 500 Hz", "Resuming after step")
    assert_same_bits(killed, tmp_path / "straight")
    run = saved_run.read_run(killed)
    assert [x["weight"] for x in run["datasets"]] == [0.75, 0.25]
    assert run["sample_rate_hz"] == 500


def test_labels_that_a_data_set_lacks_are_refused(mixed_dir, tmp_path, capsys):
    both = flags(mixed_dir, tmp_path, dataset="mimic_iv_ecg any_rate", objective="supervised")
    with pytest.raises(SystemExit):
        train.main([*both, "--supervised.labels", "rhythm"])
    assert_names(capsys.readouterr().err, "'rhythm'", "mimic_iv_ecg")
