"""The command evaluates prepared data, writes tables and a page, and names what it cannot do."""

import csv
import dataclasses
import json
import re

import numpy as np
import pytest
from culprits import assert_names
from prepared import build, build_simulated

from clef_jax import evaluate, tasks
from clef_jax.building import catalog
from clef_jax.embedding import prepared
from clef_jax.evaluation import finetune, prediction
from clef_jax.evaluation.bench import CLINICAL_BASELINE

pytestmark = pytest.mark.usefixtures("quick_compiler")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder with two prepared data sets."""
    folder = tmp_path_factory.mktemp("evaluate")
    for name in ("cinc2017", "mc_med"):
        tree = catalog.simulated(name).write(folder / name)
        build(name, tree.source, folder / "data")
    return folder / "data"


def main(data, out, *more):
    flags = [f"--data-dir={data}", f"--out={out}", "--size=tiny", "--num-resamples=100"]
    evaluate.main([*flags, *more])


def test_all_tasks_with_prepared_data_are_evaluated(data, tmp_path, capsys):
    main(data, tmp_path, "--random-encoders=2")
    shown = capsys.readouterr().out
    found = json.loads((tmp_path / "results.json").read_text())
    names = {line["task"] for line in found["results"]}
    prepared = {"cinc2017_af", "cinc2017_rhythm", *(f"mc_med_{n}" for n in ("sbp", "dbp"))}
    prepared |= {"mc_med_acuity", "mc_med_ed_disposition", "mc_med_discharge_disposition"}
    assert names == prepared
    assert_names(shown, *(set(tasks.load()) - prepared))
    models = {line["model"] for line in found["results"]}
    untrained = {"random tiny, seed 0", "random tiny, seed 1"}
    assert models == {*untrained, "rhythm and spectrum", CLINICAL_BASELINE}
    for line in found["results"]:
        if line["value"] is not None and line["num_resamples"]:
            assert line["low"] <= line["high"]
    with (tmp_path / "results.csv").open() as stream:
        assert len(list(csv.DictReader(stream))) == len(found["results"])
    assert found["settings"]["num_resamples"] == 100


def test_a_second_run_embeds_nothing_and_has_the_same_results(data, tmp_path, monkeypatch):
    main(data, tmp_path, "--tasks=cinc2017_rhythm", "--random-encoders=1")
    first = json.loads((tmp_path / "results.json").read_text())
    monkeypatch.setattr(prepared, "_write", None)
    main(data, tmp_path, "--tasks=cinc2017_rhythm", "--random-encoders=1")
    again = json.loads((tmp_path / "results.json").read_text())
    for part in ("results", "comparisons", "models", "settings"):
        assert again[part] == first[part]


@pytest.mark.parametrize(
    ("more", "culprits"),
    [
        (("--tasks=cinc2017_afib",), ("'cinc2017_afib'", "cinc2017_af")),
        (("--tasks=ptb_xl_age",), ("clef-jax prepare", "--dataset=ptb_xl")),
        (("--tasks=cinc2017_af", "--lead=V1"), ("V1", "I")),
        (("--tasks=cinc2017_af", "--layer=stage_9"), ("'stage_9'", "stage_1")),
        (("--model", "/nowhere", "--tasks=cinc2017_af"), ("/nowhere",)),
    ],
)
def test_mistakes_are_named(more, culprits, data, tmp_path, capsys):
    with pytest.raises(SystemExit) as caught:
        main(data, tmp_path, *more)
    is_wrong_by_itself = more[-1] in ("--tasks=cinc2017_afib", "--layer=stage_9")
    assert caught.value.code == (2 if is_wrong_by_itself else 1)
    shown = capsys.readouterr()
    assert_names(shown.err, *culprits)
    assert "Traceback" not in shown.err


def test_an_evaluation_without_a_model_is_rejected(data, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(data, tmp_path, "--random-encoders=0", "--baselines=untrained")
    assert_names(capsys.readouterr().err, "--model", "--baselines")


def test_no_value_of_a_patient_is_printed(data, tmp_path, capsys):
    main(data, tmp_path, "--tasks=mc_med_sbp", "--random-encoders=1")
    shown = capsys.readouterr().out + (tmp_path / "results.json").read_text()
    assert "waveforms/" not in shown


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    """A folder with the data sets of all tasks."""
    folder = tmp_path_factory.mktemp("everything")
    for dataset in sorted({task.dataset for task in tasks.load().values()}):
        build_simulated(dataset, folder)
    return folder / "data"


@pytest.mark.slow
def test_the_paper_s_eighteen_tasks_end_to_end(everything, tmp_path, capsys):
    flags = ("--tasks=paper", "--random-encoders=1", "--probes=linear,knn", "--layer=best")
    main(everything, tmp_path, *flags, "--label-shares", "0.5", "1", "--label-draws=2")
    shown = capsys.readouterr().out
    found = json.loads((tmp_path / "results.json").read_text())["results"]
    assert len({line["task"] for line in found}) == 18
    assert {line["method"] for line in found} == {"linear", "knn"}
    assert {line["seed"] for line in found if line["label_share"] == 0.5} == {0, 1}
    unscored = {line["task"] for line in found if line["value"] is None}
    assert unscored
    assert_names(shown, "0.5", *unscored)
    page = (tmp_path / "report.html").read_text()
    assert 'id="label_shares"' in page
    assert 'id="costs"' in page
    assert len(re.findall('role="img"', page)) > 60
    assert 'src="http' not in page


def test_geometry_and_comparisons_are_on_the_page(data, data_dir, tmp_path, capsys):
    if not (data / "mimic_iv_ecg").exists():
        (data / "mimic_iv_ecg").symlink_to(data_dir / "mimic_iv_ecg")
    flags = ("--geometry", "--geometry-dataset=mimic_iv_ecg/all_records", "--baselines=untrained")
    main(data, tmp_path, "--tasks=cinc2017_af", *flags, "--random-encoders=2")
    assert_names(capsys.readouterr().out, "effective rank")
    page = (tmp_path / "report.html").read_text()
    assert 'id="geometry"' in page
    assert_names(page, "distance and risk, matched")
    assert 'id="comparisons"' in page
    assert "rhythm and spectrum" not in page


def test_results_are_written_if_the_data_of_the_geometry_is_missing(data, tmp_path, capsys):
    flags = ("--tasks=cinc2017_af", "--geometry", "--geometry-dataset=aurora_bp")
    with pytest.raises(SystemExit):
        main(data, tmp_path, *flags, "--random-encoders=1")
    page = (tmp_path / "report.html").read_text()
    assert_names(capsys.readouterr().err, "geometry", "--dataset=aurora_bp")
    assert_names(page, "geometry", "--dataset=aurora_bp")
    assert 'id="geometry"' not in page
    assert json.loads((tmp_path / "results.json").read_text())["results"]


def test_compared_models_can_be_baselines(data, tmp_path):
    flags = ("--baselines=none", "--compare", "classical", "untrained", "--random-encoders=1")
    main(data, tmp_path, "--tasks=cinc2017_af", *flags)
    found = json.loads((tmp_path / "results.json").read_text())
    assert list(found["models"]) == ["rhythm and spectrum", "random tiny, seed 0"]
    assert found["comparisons"][0]["first"] == "rhythm and spectrum"


@pytest.mark.slow
def test_the_released_protocol_fine_tunes(data, tmp_path, monkeypatch):
    few = dataclasses.replace(finetune.RELEASED, max_epochs=1, batch_size=16)
    monkeypatch.setattr(finetune, "RELEASED", few)
    flags = ("--preset=released", "--tasks=mc_med_acuity", "--random-encoders=1")
    main(data, tmp_path, *flags)
    found = json.loads((tmp_path / "results.json").read_text())["results"]
    lines = [line for line in found if line["model"] == "random tiny, seed 0"]
    assert {line["method"] for line in lines} == {"finetune"}
    assert {line["lead"] for line in lines} == {tasks.find("mc_med_acuity").released.lead}
    assert list((tmp_path / "fine_tuned" / "mc_med_acuity").glob("*/1/head.safetensors"))
    assert "The reference&#x27;s splits" in (tmp_path / "report.html").read_text()


def test_a_task_in_a_new_file_is_evaluated(data, tmp_path, monkeypatch):
    (tmp_path / "cinc2017_noise.py").write_text(
        "import numpy as np\n"
        "from clef_jax.tasks import Task, text\n"
        "def target(e):\n"
        "    return np.array([text(e['rhythm']) == '~'], np.float32)\n"
        "TASK = Task(dataset='cinc2017', kind='binary', outputs=('noise',), target=target,\n"
        "            description='Whether it is noise.')\n"
    )
    monkeypatch.setattr(tasks, "__path__", [*tasks.__path__, str(tmp_path)])
    main(data, tmp_path / "out", "--random-encoders=1", "--tasks=cinc2017_noise")
    found = json.loads((tmp_path / "out" / "results.json").read_text())["results"]
    assert {line["task"] for line in found} == {"cinc2017_noise"}


@pytest.mark.parametrize(
    ("target", "culprits"),
    [
        ("np.nan", ("target",)),
        ("1.0", ("same class",)),
        ("2.0", ("2", "binary")),
    ],
)
def test_tasks_with_unusable_targets_are_named(
    target, culprits, data, tmp_path, monkeypatch, capsys
):
    name = f"cinc2017_wrong_{abs(hash(target))}"
    (tmp_path / f"{name}.py").write_text(
        "import numpy as np\n"
        "from clef_jax.tasks import Task\n"
        f"TASK = Task(dataset='cinc2017', kind='binary', outputs=('x',),\n"
        f"            target=lambda e: np.array([{target}], np.float32))\n"
    )
    monkeypatch.setattr(tasks, "__path__", [*tasks.__path__, str(tmp_path)])
    with pytest.raises(SystemExit):
        main(data, tmp_path / "out", f"--tasks=cinc2017_af,{name}", "--random-encoders=1")
    assert_names(capsys.readouterr().err, name, *culprits)
    found = json.loads((tmp_path / "out" / "results.json").read_text())["results"]
    assert {line["task"] for line in found} == {"cinc2017_af"}


def test_the_geometry_is_measured_and_kept_without_any_task(data_dir, tmp_path, capsys):
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "mimic_iv_ecg").symlink_to(data_dir / "mimic_iv_ecg")
    flags = ("--geometry", "--geometry-dataset=mimic_iv_ecg/all_records", "--baselines=untrained")
    main(folder, tmp_path / "out", "--tasks=paper", *flags, "--random-encoders=1")
    assert_names(capsys.readouterr().out, "effective rank", "geometry: random tiny")
    found = json.loads((tmp_path / "out" / "results.json").read_text())
    assert found["results"] == []
    assert {line["measure"] for line in found["geometry"]} >= {"effective rank", "uniformity"}
    assert 'id="geometry"' in (tmp_path / "out" / "report.html").read_text()


def test_without_prepared_data_nothing_is_evaluated(tmp_path, capsys):
    with pytest.raises(SystemExit) as caught:
        main(tmp_path, tmp_path / "out", "--random-encoders=1")
    assert caught.value.code == 1
    assert_names(capsys.readouterr().err, tmp_path, "prepare")
    assert not (tmp_path / "out" / "report.html").exists()


def test_a_line_is_printed_for_each_task_and_model(data, tmp_path, capsys):
    main(data, tmp_path, "--tasks=cinc2017_af,mc_med_sbp", "--random-encoders=2")
    lines = capsys.readouterr().out.splitlines()
    for task in ("cinc2017_af", "mc_med_sbp"):
        for model in ("random tiny, seed 0", "random tiny, seed 1", CLINICAL_BASELINE):
            assert any(line.startswith(f"{task}: {model}: ") for line in lines)
    assert any("embedding cinc2017" in line for line in lines)


def test_files_of_another_origin_are_refused(data, tmp_path, capsys):
    for name in ("results.json", "results.csv", "results.parquet", "report.html"):
        out = tmp_path / name.replace(".", "_")
        out.mkdir()
        (out / name).write_text("mine")
        with pytest.raises(SystemExit):
            main(data, out, "--tasks=cinc2017_af", "--random-encoders=1")
        assert_names(capsys.readouterr().err, out / name, "--overwrite")
        assert [path.name for path in out.iterdir()] == [name]
        assert (out / name).read_text() == "mine"
    main(data, out, "--tasks=cinc2017_af", "--random-encoders=1", "--overwrite")
    main(data, out, "--tasks=cinc2017_af", "--random-encoders=1")
    assert (out / "report.html").read_text().startswith("<!doctype html>")


def test_a_test_set_of_one_class_has_no_number_anywhere(data, tmp_path, monkeypatch, capsys):
    """Test patients of one class, of a task whose training patients have both."""
    original = prediction.predict

    def predict(*arguments):
        found = original(*arguments)
        return dataclasses.replace(found, target=np.ones_like(found.target))

    monkeypatch.setattr(prediction, "predict", predict)
    main(data, tmp_path, "--tasks=cinc2017_af", "--random-encoders=1")
    shown = capsys.readouterr().out
    assert_names(shown, "not defined")
    assert "[1, 1]" not in shown
    found = json.loads((tmp_path / "results.json").read_text())
    assert {line["value"] for line in found["results"]} == {None}
    assert found["comparisons"] == []
    page = (tmp_path / "report.html").read_text()
    assert_names(page, "not defined")
    assert not re.search(r">1(\.0*)? <span", page)
