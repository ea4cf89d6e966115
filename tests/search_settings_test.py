"""The choice of settings, by scores as the runs of a search leave them."""

import json

import benchmark_modules
import pytest

search = benchmark_modules.load("search_settings")

WINDOW, TEMPERATURE = {"window-seconds": "3"}, {"clef.temperature": "0.2"}


def write_run(folder, point, seed, of_task):
    folder.mkdir(parents=True)
    flags = [f"--{flag}={value}" for flag, value in point]
    command = ["python", "-m", "clef_jax.train", f"--seed={seed}", *flags]
    (folder / "finished.json").write_text(json.dumps([command, []]))
    lines = [
        {"model": model, "task": task, "score": "auroc", "value": value, "label_share": 1}
        for task, score in of_task.items()
        for model, value in ((folder.name, score), ("age, sex, pressure", 0.5))
    ]
    (folder / "evaluation").mkdir()
    (folder / "evaluation" / "results.json").write_text(json.dumps({"results": lines}))


def test_scores_are_those_of_the_encoder_in_the_order_of_the_seeds(tmp_path):
    for seed, gain in ((43, 0.0), (42, 0.1)):
        of_task = dict(zip(search.TASKS, (0.6 + gain, 0.7, 0.8), strict=True))
        write_run(tmp_path / "runs" / f"base_{seed}", search.BASE, seed, of_task)
    scores = search.read(tmp_path, list(search.GRID), [42, 43])
    assert list(scores) == [search.BASE]
    assert scores[search.BASE] == pytest.approx([2.2 / 3, 2.1 / 3])


def test_the_best_value_of_each_setting_that_gains_alone():
    scores = {
        search.BASE: [0.80, 0.82],
        search.point_of(WINDOW): [0.82, 0.82],
        search.point_of({"window-seconds": "8"}): [0.83, 0.82],
        search.point_of(TEMPERATURE): [0.85, 0.83],
        search.point_of({"learning-rate": "3e-3"}): [0.85, 0.70],
        search.point_of(WINDOW | TEMPERATURE): [0.99, 0.99],
    }
    assert {flag: value for flag, (value, _) in search.gains(scores).items()} == {
        "clef.temperature": "0.2",
        "window-seconds": "8",
    }
    first, *_, last = search.table(scores, [1, 2]).splitlines()[2:]
    assert first == "| window-seconds 3, clef.temperature 0.2 | .990 | .990 | +0.180 |"
    assert last == "| learning-rate 3e-3 | .850 | .700 | -0.035 |"


def test_simclr_has_the_views_rate_temperature_and_projector_of_a_point():
    changes = WINDOW | TEMPERATURE | {"clef.projection-width": "128", "clef.alignment-weight": "0"}
    flags = search.as_simclr(search.point_of(changes))
    assert flags["window-seconds"] == "3"
    assert flags["simclr.temperature"] == "0.2"
    assert flags["simclr.projection-width"] == "128"
    assert not any(flag.startswith("clef.") for flag in flags)
