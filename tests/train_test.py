"""From prepared data to a checkpoint and on: the run that users start, stop, kill and resume."""

import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from clef_jax import checkpoint, logs, loop, train, update
from clef_jax.config import from_saved

pytestmark = pytest.mark.slow
STEPS = 24


def flags(data_dir, workdir, **settings):
    settings = {
        "data_dir": data_dir,
        "workdir": workdir,
        "size": "tiny",
        "global_batch_size": 8,
        "num_steps": STEPS,
        "window_seconds": 2.0,
        "checkpoint_every_steps": 5,
        "log_every_steps": 1,
        "health_every_steps": 10,
        "learning_rate": 1e-3,
        "compilation_cache_dir": jax.config.jax_compilation_cache_dir,
        **settings,
    }
    return [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]


def start(data_dir, workdir, *, num_devices=1, **settings):
    """The command as a process of its own, with so many simulated devices."""
    code = (
        "import jax; jax.config.update('jax_platforms', 'cpu'); "
        f"jax.config.update('jax_num_cpu_devices', {num_devices}); "
        "jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.0); "
        "from clef_jax import train; train.main()"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code, *flags(data_dir, workdir, **settings)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )


def finish(process):
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    return output


def kill_after(process, workdir, step, which):
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline and process.poll() is None:
        if any(line["step"] >= step for line in logs.read(workdir)):
            break
        time.sleep(0.02)
    process.send_signal(which)
    return process.communicate(timeout=120)[0]


def final_params(workdir) -> list[np.ndarray]:
    with checkpoint.Checkpoints(pathlib.Path(workdir)) as checkpoints:
        step = checkpoints.latest_step
        assert step == STEPS
        config = from_saved(checkpoints.run(step)["config"])
    mesh = train.mesh_lib.make_mesh(jax.devices()[:1])
    trainer = update.make_trainer(config, lambda _: 0.0, mesh)
    return jax.tree.leaves(
        jax.device_get(checkpoint.restore_params(pathlib.Path(workdir), trainer))
    )


def assert_same_bits(left, right):
    for a, b in zip(left, right, strict=True):
        np.testing.assert_array_equal(a, b)


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


def test_kill_9_changes_no_bit(data_dir, undisturbed, tmp_path):
    kill_after(start(data_dir, tmp_path), tmp_path, 13, signal.SIGKILL)
    output = finish(start(data_dir, tmp_path))
    assert "Resuming after step 10" in output or "Resuming after step 5" in output
    assert_same_bits(final_params(tmp_path), final_params(undisturbed))
    losses = [[x["loss"] for x in logs.read(d) if "loss" in x] for d in (tmp_path, undisturbed)]
    assert losses[0] == losses[1]


def test_sigterm_saves_and_the_next_start_goes_on_at_the_very_next_step(
    data_dir, undisturbed, tmp_path
):
    output = kill_after(start(data_dir, tmp_path), tmp_path, 12, signal.SIGTERM)
    assert "Asked to stop; saved after step" in output
    stopped = logs.read(tmp_path)[-1]["step"]
    assert f"saved after step {stopped}." in output
    assert stopped % 5, "a step between two checkpoints, else this shows nothing"
    assert f"Resuming after step {stopped}" in finish(start(data_dir, tmp_path))
    assert_same_bits(final_params(tmp_path), final_params(undisturbed))


def test_resuming_on_other_devices_goes_on_with_the_same_examples(data_dir, undisturbed, tmp_path):
    kill_after(start(data_dir, tmp_path), tmp_path, 12, signal.SIGTERM)
    finish(start(data_dir, tmp_path, num_devices=4))
    for got, want in zip(final_params(tmp_path), final_params(undisturbed), strict=True):
        np.testing.assert_allclose(got, want, atol=1e-3)


def test_two_processes_compute_what_one_does(data_dir, undisturbed, tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    together = [
        start(data_dir, tmp_path, coordinator_address=address, num_processes=2, process_id=i)
        for i in range(2)
    ]
    for process in together:
        finish(process)
    got, want = ([x["loss"] for x in logs.read(d) if "loss" in x] for d in (tmp_path, undisturbed))
    np.testing.assert_allclose(got[:3], want[:3], rtol=1e-5)
    assert len(got) == STEPS


def test_changes_that_matter_are_refused(data_dir, undisturbed):
    with pytest.raises(SystemExit):
        train.main(flags(data_dir, undisturbed, seed=7))


def test_the_sentence_names_what_changed(data_dir, undisturbed, capsys):
    with pytest.raises(SystemExit) as error:
        train.main(flags(data_dir, undisturbed, seed=7, preset="released"))
    assert error.value.code == 1
    told = " ".join(capsys.readouterr().err.split())
    assert "seed was 42, now 7" in told
    assert "objective_config.nce_weight was 1.0, now 0.5" in told


def test_other_data_is_refused(data_dir, undisturbed, capsys):
    changed = flags(data_dir, undisturbed, dataset="mimic_iv_ecg/all_records")
    with pytest.raises(SystemExit):
        train.main(changed)
    assert "the data set changed" in " ".join(capsys.readouterr().err.split())


def test_a_finished_run_says_so_and_does_nothing(data_dir, undisturbed, capsys):
    before = final_params(undisturbed)
    train.main(flags(data_dir, undisturbed))
    assert f"Resuming after step {STEPS}" in capsys.readouterr().out
    assert_same_bits(final_params(undisturbed), before)


def test_a_run_of_steps_that_are_not_finite_ends_with_record_ids(data_dir, tmp_path, capsys):
    exploding = [*flags(data_dir, tmp_path, max_nonfinite_steps=3), "--clef.nce-weight=1e38"]
    with pytest.raises(SystemExit):
        train.main([*exploding, "--clef.alignment-weight=1e38"])
    told = " ".join(capsys.readouterr().err.split())
    assert "3 steps in a row were not finite" in told
    kept = [json.loads(x) for x in (tmp_path / loop.NONFINITE_FILE).read_text().splitlines()]
    assert [line["step"] for line in kept] == [1, 2, 3]
    assert all(len(line["record_ids"]) == 8 for line in kept)
    assert kept[0]["record_ids"][0].startswith("files/p")


def test_data_that_is_not_prepared_is_told(tmp_path, capsys):
    with pytest.raises(SystemExit):
        train.main(flags(tmp_path, tmp_path / "run"))
    assert "clef_jax.prepare" in " ".join(capsys.readouterr().err.split())
