"""A scored run trains without the test patients, adds one row, resumes, and can be repeated."""

import dataclasses
import json
import types

import numpy as np
import pytest
from culprits import assert_names, refuses
from prepared import build
from speedrunning_record_test import SETTINGS

from clef_jax import folder_lock, speedrun
from clef_jax.building import catalog
from clef_jax.data import metadata, training_data as data_lib
from clef_jax.evaluation import finetune, probe
from clef_jax.speedrunning import (
    panel as panel_lib,
    pretrain,
    record,
    run as run_lib,
    score,
    scored_model,
    settings,
    supervised,
    training_data,
)
from clef_jax.training import run as training_run

pytestmark = pytest.mark.usefixtures("quick_compiler")


FOLDS = (7, 9, 10)
"""Folds of the simulated PTB-XL with both outcomes of each task."""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder with PTB-XL and the CinC Challenge 2017, simulated and prepared."""
    folder = tmp_path_factory.mktemp("speedrun")
    for name, num_patients in (("ptb_xl", 60), ("cinc2017", 32)):
        module = catalog.simulated(name)
        tree = module.write(folder / name, num_patients)
        build(name, tree.source, folder / "data", **tree.options)
    return folder / "data"


def config_of(data, out, **more):
    usual = {"data_dir": str(data), "out": str(out), "size": "tiny", "num_resamples": 100}
    usual |= {"test_folds": FOLDS, "records": str(out.parent / "records.jsonl")}
    return settings.Config(**(usual | more))


def rows_of(folder):
    return record.read(folder / "records.jsonl")


STEPS = {"num_steps": 2, "dataset": ("ptb_xl",), "train": "--window-seconds=2"}
"""Settings of a short pre-training."""
OTHER_SETTINGS = SETTINGS["trained"] | {"objective": "clef", "no_such_setting": 1}
"""Settings of a row of another version."""


def test_an_encoder_is_trained_scored_and_added_once(data, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(score, "NUM_DRAWS", 1)
    flags = [f"--data-dir={data}", f"--out={tmp_path / 'out'}", "--size=tiny", "--num-steps=2"]
    flags += [f"--records={tmp_path / 'records.jsonl'}", "--num-resamples=100", "--dataset=ptb_xl"]
    flags += ["--train=--window-seconds=2", "--price-per-hour=60", "--test-folds", "7", "9", "10"]
    speedrun.main(flags)
    monkeypatch.setattr(training_run, "run", None)  # the training is finished
    speedrun.main(flags)
    (row,) = rows_of(tmp_path)
    assert row["kind"] == "trained"
    assert row["settings"]["num_steps"] == 2
    assert row["settings"]["schedule"] == "cosine"
    assert row["dollars"] == pytest.approx(row["minutes"], abs=1e-3)
    assert row["risk"] is not None
    tested = row["panel"]["tested"]
    assert set(tested) == {*panel_lib.SCORED, panel_lib.BESIDE} - {"chapman_diagnoses"}
    assert row["panel"]["missing"] == ["chapman_diagnoses"]
    values = [row["tasks"][name]["value"] for name in panel_lib.SCORED if name in tested]
    assert row["score"]["value"] == pytest.approx(np.mean(values))
    assert row["score"]["low"] <= row["score"]["value"] <= row["score"]["high"]
    assert str(tmp_path) not in json.dumps(row)
    assert (tmp_path / "records.svg").exists()
    assert row["name"] in (tmp_path / "records.md").read_text()
    assert_names(capsys.readouterr().out, "1", str(tmp_path / "records.svg"))


@pytest.fixture
def quick(monkeypatch):
    """Trains and scores without computing: a training writes the folder of its last checkpoint."""

    def train(config, _settle):
        (config.folder / "checkpoints" / str(config.num_steps)).mkdir(parents=True)
        log = {"step": config.num_steps, "pairs_per_second": 2.0 * config.global_batch_size}
        (config.folder / "metrics.jsonl").write_text(json.dumps(log) + "\n")
        return types.SimpleNamespace(step=config.num_steps)

    task = {"value": 0.8, "low": 0.7, "high": 0.9, "num_patients": 9, "tested": "test split"}
    scores = score.PanelScores(score.Scored(0.8, 0.7, 0.9), {"ptb_xl_sex": task}, None)
    monkeypatch.setattr(training_run, "run", train)
    monkeypatch.setattr(score, "compute", lambda *_, **__: scores)
    monkeypatch.setattr(scored_model, "score_path", lambda *_: (scores, "weights"))
    monkeypatch.setattr(panel_lib, "check_folds", lambda *_: None)


def test_a_killed_run_resumes_with_what_it_decided(data, tmp_path, monkeypatch, quick):
    def killed(*_):
        raise KeyboardInterrupt

    config = config_of(data, tmp_path / "out", **STEPS)
    with monkeypatch.context() as patch:
        patch.setattr(scored_model, "score_path", killed)
        with pytest.raises(KeyboardInterrupt):
            run_lib.run(config)
    assert not (tmp_path / "records.jsonl").exists()
    with refuses("--seed", problem="changed_run"):
        run_lib.run(dataclasses.replace(config, seed=1))
    monkeypatch.setattr(training_run, "run", None)
    for _ in range(2):
        run_lib.run(config)
    assert len(rows_of(tmp_path)) == 1


def test_a_stopped_run_makes_no_row(data, tmp_path, monkeypatch, quick):
    stopped = types.SimpleNamespace(step=1)
    monkeypatch.setattr(training_run, "run", lambda *_: stopped)
    with refuses("1", problem="stopped"):
        run_lib.run(config_of(data, tmp_path / "out", **STEPS))
    assert not (tmp_path / "records.jsonl").exists()


def test_a_row_is_repeated_with_its_settings(data, tmp_path, quick):
    run_lib.run(config_of(data, tmp_path / "out", seed=7, **STEPS))
    row = json.loads((tmp_path / "records.jsonl").read_text())
    # An older version made it, which did not have these settings yet.
    del row["settings"]["own_kernels"], row["settings"]["ema_decay"]
    del row["settings"]["objective_config"]["projection_width"]
    before = json.dumps(row) + "\n"
    (tmp_path / "records.jsonl").write_text(before)
    config = config_of(data, tmp_path / "again", check=1)
    run_lib.run(config)
    assert (tmp_path / "records.jsonl").read_text() == before
    again = json.loads((tmp_path / "again" / "speedrun.json").read_text())
    assert again["settings"]["seed"] == 7
    with refuses("2", problem="no_such_row"):
        run_lib.run(dataclasses.replace(config, check=2))
    with refuses(str(tmp_path / "out"), problem="changed_run"):
        run_lib.run(dataclasses.replace(config, out=str(tmp_path / "out")))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"score": {"value": 0.9, "low": 0.88, "high": 0.92}}, "not_repeated"),
        ({"panel": {"digest": "other", "data": {}}}, "changed_data"),
        ({"panel": {"digest": "other", "data": {"chapman": "f"}}}, "missing_data"),
        ({"training_data": {}}, "changed_data"),
        ({"settings": OTHER_SETTINGS}, "other_version"),
    ],
)
def test_a_row_that_cannot_be_repeated_is_refused(change, problem, data, tmp_path, quick):
    run_lib.run(config_of(data, tmp_path / "out", **STEPS))
    path = tmp_path / "records.jsonl"
    path.write_text(json.dumps(json.loads(path.read_text()) | change) + "\n")
    with refuses(problem=problem):
        run_lib.run(config_of(data, tmp_path / "again", check=1, table=str(tmp_path / "no.md")))


def test_a_model_is_scored_without_training_and_once(data, tmp_path, monkeypatch, quick):
    monkeypatch.setattr(training_run, "run", None)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "untrained").mkdir()  # a folder of this name is not the model
    for _ in range(2):
        run_lib.run(config_of(data, tmp_path / "out", model="untrained"))
    (row,) = rows_of(tmp_path)
    assert (row["kind"], row["minutes"]) == ("scored", 0)
    run_lib.run(config_of(data, tmp_path / "again", check=1))


def test_a_table_that_does_not_exist_is_not_drawn(tmp_path):
    config = settings.Config(render=True, records=str(tmp_path / "no_such.jsonl"))
    with refuses(str(tmp_path / "no_such.jsonl"), problem="no_records"):
        run_lib.run(config)
    assert not list(tmp_path.iterdir())


def test_a_second_process_is_refused(data, tmp_path):
    out = tmp_path / "out"
    with folder_lock.FolderLock(out / run_lib.LOCK_FILE), refuses(str(out), problem="in_use"):
        run_lib.run(config_of(data, out, model="untrained"))


def test_no_row_is_made_from_a_folder_without_data(tmp_path):
    config = config_of(tmp_path, tmp_path / "out")
    with refuses(str(tmp_path), problem="no_tasks"):
        run_lib.run(config)


def test_the_minutes_decide_the_steps(data, tmp_path, monkeypatch):
    speed = pretrain.Speed(start_seconds=6.0, step_seconds=0.5)
    monkeypatch.setattr(pretrain, "_measure", lambda config: speed)
    config = config_of(data, tmp_path, minutes=2.0, dataset=("ptb_xl",))
    panel = panel_lib.make(data, config.test_folds)
    trained, choice = pretrain.make_config(config, panel, _Silent())
    assert trained.num_steps == choice.num_steps == int((120 * 0.95 - 6) / 0.5)
    assert (trained.window_start, trained.window_seconds) == ("random", 5.0)
    same = config_of(data, tmp_path, minutes=2.0, dataset=("ptb_xl",), views="same")
    trained, _ = pretrain.make_config(same, panel, _Silent())
    assert (trained.window_start, trained.learning_rate) == ("record_start", 1e-4)
    own = config_of(data, tmp_path, minutes=2.0, dataset=("ptb_xl",), train="--learning-rate 3e-4")
    assert pretrain.make_config(own, panel, _Silent())[0].learning_rate == 3e-4


def test_the_speed_is_measured_by_a_training_that_leaves_nothing(data, tmp_path, quick):
    config = config_of(data, tmp_path, **STEPS)
    trained, _ = pretrain.make_config(config, panel_lib.make(data, FOLDS), _Silent())
    speed = pretrain._measure(trained)
    assert speed.step_seconds == 0.5
    assert speed.start_seconds == 0.0  # this training took no time
    assert not trained.folder.exists()


class _Silent:
    def print(self, *_, **__):
        pass


def test_training_never_sees_a_patient_of_the_test_folds(data, tmp_path):
    for test_folds in (FOLDS, (9, 10)):
        config = config_of(data, tmp_path, test_folds=test_folds, dataset=("ptb_xl",), num_steps=2)
        panel = panel_lib.make(data, test_folds)
        trained, _ = pretrain.make_config(config, panel, _Silent())
        (index,) = data_lib.load(trained).indexes
        records = metadata.read_records(index, np.arange(index.num_records))
        folds = {int(values["strat_fold"]) for values in records}
        assert folds == set(range(1, 9)) - set(test_folds)


def test_a_model_that_saw_test_patients_is_known(data, tmp_path):
    config = config_of(data, tmp_path, test_folds=(8,))
    panel = panel_lib.make(data, (8,))
    for run, kept in (
        ({"dataset": "ptb_xl", "exclude": "strat_fold=7,8"}, True),
        ({"dataset": "ptb_xl", "exclude": "strat_fold=7"}, False),
        ({"dataset": "ptb_xl"}, False),
        ({"dataset": "mimic_iv_ecg"}, True),
        ({"dataset": "cinc2017"}, False),  # few patients: all of them are tested
        ({}, True),
    ):
        assert training_data.keeps_test_patients(run, config, panel) == kept


def test_a_data_set_whose_patients_are_all_tested_is_not_trained_on(data, tmp_path):
    config = config_of(data, tmp_path, dataset=("cinc2017",), num_steps=2, train="--leads=I")
    panel = panel_lib.make(data, config.test_folds)
    with refuses("cinc2017", problem="tested_data"):
        pretrain.make_config(config, panel, _Silent())
    config = config_of(data, tmp_path, num_steps=2)
    assert pretrain.make_config(config, panel, _Silent())[0].dataset == "ptb_xl"


def test_a_fold_without_recordings_is_named(data, tmp_path):
    panel = panel_lib.make(data, (9, 10))
    panel_lib.check_folds(panel, tmp_path)
    empty = panel_lib.make(data, (9, 11))
    with refuses("11", problem="missing_fold"):
        panel_lib.check_folds(empty, tmp_path)


def test_tasks_on_the_same_patients_share_their_resamples(data, tmp_path):
    panel = panel_lib.make(data, (9, 10))

    def predict(part, fraction, seed):
        return score.prediction.Predictions(
            outputs=("x",),
            target=np.tile([[0.0], [1.0]], (20, 1)),
            predicted=np.random.default_rng(0).random((40, 1)),
            decided=np.zeros((40, 1)),
            patient=np.arange(40),
            age_years=np.full(40, np.nan),
            male=np.full(40, np.nan),
            strength=np.zeros(1),
            layer="last",
            num_train=9,
            cross_validated=False,
            num_excluded=0,
        )

    weights = score._weights(panel, {p.task.name: predict(p, 1, 0) for p in panel.tasks}, 100)
    np.testing.assert_array_equal(weights["ptb_xl_sex"], weights["ptb_xl_af"])
    assert weights["ptb_xl_sex"].shape == (100, 40)


def test_networks_are_trained_once(data, tmp_path, monkeypatch):
    panel = panel_lib.make(data, FOLDS)
    part = next(part for part in panel.tasks if part.task.name == "ptb_xl_sex")
    chosen = supervised.Settings(size="tiny", seed=0, num_epochs=1)

    def fit(kind, train, validation=None, *, seed=0):
        return supervised_probe(train)

    monkeypatch.setattr(finetune, "make_fit", lambda *_: fit)
    networks = supervised.Networks(chosen, tmp_path)
    first = networks(part, 1.0, 0)
    monkeypatch.setattr(finetune, "make_fit", None)
    again = supervised.Networks(chosen, tmp_path)
    np.testing.assert_array_equal(first.predicted, again(part, 1.0, 0).predicted)
    assert again(part, 1.0, 0).outputs == first.outputs == part.task.outputs
    assert again.fingerprint == networks.fingerprint
    assert again.minutes == networks.minutes > 0


def supervised_probe(train):
    """A network that predicts the mean of its targets."""
    heads = (lambda locations: np.tile(train.target.mean(axis=0), (len(locations), 1)),)
    one = np.zeros(train.target.shape[1], int)
    return probe.Probe(heads, one, one.astype(float), one + 0.5, 0.0)


def test_the_epochs_of_networks_follow_from_the_minutes(data, monkeypatch):
    panel = panel_lib.make(data, (9, 10))
    monkeypatch.setattr(supervised, "_measure", lambda embedder: (0.01, 0.01, 1.0))
    few = supervised.choose(panel, size="tiny", seed=0, minutes=0.5, console=_Silent())
    many = supervised.choose(panel, size="tiny", seed=0, minutes=60, console=_Silent())
    assert 1 <= few.num_epochs < many.num_epochs <= finetune.Config().max_epochs
    with refuses("--minutes=0.01", problem="too_few_minutes"):
        supervised.choose(panel, size="tiny", seed=0, minutes=0.01, console=_Silent())
