"""The command: from prepared data to a table with intervals, and what it says when it cannot."""

import csv
import json
import re

import numpy as np
import pytest
from prepared import build

from clef_jax import catalog, evaluate
from clef_jax.evaluation import embedding


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


def words(text):
    return re.sub(r"[\s│]+", " ", text)


def test_all_tasks_whose_data_is_there(data, tmp_path, capsys):
    main(data, tmp_path, "--random-encoders=2")
    shown = words(capsys.readouterr().out)
    found = json.loads((tmp_path / "results.json").read_text())
    names = {line["task"] for line in found["results"]}
    prepared = {"cinc2017_af", "cinc2017_rhythm", *(f"mc_med_{n}" for n in ("sbp", "dbp"))}
    prepared |= {"mc_med_acuity", "mc_med_ed_disposition", "mc_med_discharge_disposition"}
    assert names == prepared
    assert "Left out, because their data is not prepared: aurora_bp_dbp" in shown
    models = {line["model"] for line in found["results"]}
    assert models == {"random tiny, seed 0", "random tiny, seed 1", evaluate.FORM}
    for line in found["results"]:
        if line["value"] is not None and line["score"] != "r2":
            assert line["low"] <= line["high"]
            assert line["num_resamples"] > 0
    with (tmp_path / "results.csv").open() as stream:
        assert len(list(csv.DictReader(stream))) == len(found["results"])
    assert found["settings"]["num_resamples"] == 100


def test_a_second_run_embeds_nothing_and_says_the_same(data, tmp_path, monkeypatch):
    main(data, tmp_path, "--tasks=cinc2017_rhythm", "--random-encoders=1")
    first = (tmp_path / "results.json").read_text()
    monkeypatch.setattr(embedding, "_write", None)
    main(data, tmp_path, "--tasks=cinc2017_rhythm", "--random-encoders=1")
    assert (tmp_path / "results.json").read_text() == first


def test_the_form_does_not_know_the_answer(data, tmp_path):
    main(data, tmp_path, "--tasks=mc_med_sbp", "--random-encoders=1")
    found = json.loads((tmp_path / "results.json").read_text())["results"]
    form = {line["score"]: line["value"] for line in found if line["model"] == evaluate.FORM}
    assert not form or form["mae"] > 0.5


def test_other_layers_give_other_results(data, tmp_path):
    values = {}
    for layer in ("last", "stage_1"):
        out = tmp_path / layer
        flags = ("--tasks=cinc2017_rhythm", "--random-encoders=1", f"--layer={layer}")
        main(data, out, *flags)
        lines = json.loads((out / "results.json").read_text())["results"]
        values[layer] = [line["value"] for line in lines if "random" in line["model"]]
    assert not np.array_equal(values["last"], values["stage_1"])


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (("--tasks=cinc2017_afib",), "There is no task 'cinc2017_afib'"),
        (("--tasks=ptb_xl_age",), "python -m clef_jax.prepare --dataset=ptb_xl"),
        (("--tasks=cinc2017_af", "--lead=V1"), "has no lead V1; it has I."),
        (("--tasks=cinc2017_af", "--layer=stage_9"), "There is no layer 'stage_9'"),
        (("--checkpoint", "/nowhere", "--tasks=cinc2017_af"), "holds no training run"),
    ],
)
def test_mistakes_are_told_in_a_sentence(more, sentence, data, tmp_path, capsys):
    with pytest.raises(SystemExit) as caught:
        main(data, tmp_path, *more)
    assert caught.value.code == 1
    shown = capsys.readouterr()
    assert sentence in words(shown.err)
    assert "Traceback" not in shown.err


def test_nothing_to_judge_is_refused(data, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(data, tmp_path, "--random-encoders=0")
    assert "There is nothing to judge" in words(capsys.readouterr().err)


def test_no_value_of_a_patient_is_printed(data, tmp_path, capsys):
    main(data, tmp_path, "--tasks=mc_med_sbp", "--random-encoders=1")
    shown = capsys.readouterr().out + (tmp_path / "results.json").read_text()
    assert "waveforms/" not in shown
