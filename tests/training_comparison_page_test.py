"""A page compares runs: what differs, and what their logs say."""

import pathlib

from culprits import assert_names, refuses

from clef_jax.training import comparison_page

CONFIG = {"size": "tiny", "objective": "clef", "dataset": "d", "seed": 1, "learning_rate": 1e-4}


def run(**changes):
    return {"config": {**CONFIG, **changes}, "position": {"next_step": 40}}


def lines(fall):
    return [
        {"step": step, "loss": 3 - fall * step / 40 + 0.01 * (step % 2), "pairs_per_second": 9.0}
        for step in range(1, 41)
    ]


def test_the_page_says_what_differs_and_which_loss_fell():
    health = {"step": 40, "health/uniformity": -1.5}
    page = comparison_page.render(
        {"a": run(), "b": run(learning_rate=0.5, seed=2)},
        {"a": [*lines(2), health], "b": lines(0)},
    )
    assert_names(page, ">a<", ">b<", "did NOT fall", "0.5", "health/uniformity", "not measured")
    settings = page.partition('id="settings"')[2]
    assert_names(settings, "learning_rate", "seed")
    assert ">size<" not in settings


def test_settings_of_an_objective_are_compared_one_by_one():
    parts = [{"temperature": t, "nce_weight": 1.0} for t in (0.05, 0.07)]
    runs = {"a": run(objective_config=parts[0]), "b": run(objective_config=parts[1])}
    page = comparison_page.render(runs, {"a": [], "b": []})
    assert_names(page, "objective_config.temperature", "0.07")
    assert "nce_weight" not in page


def test_losses_of_other_objectives_are_not_compared():
    runs = {"a": run(), "b": run(objective="vicreg")}
    assert_names(comparison_page.render(runs, {"a": [], "b": []}), "several objectives")


def test_runs_have_the_shortest_names_that_differ():
    paths = [pathlib.Path(p) for p in ("/x/a/run", "/x/b/run")]
    assert comparison_page._names(paths) == ["a/run", "b/run"]
    assert comparison_page._names([pathlib.Path("/x/a"), pathlib.Path("/x/b")]) == ["a", "b"]


def test_a_run_named_twice_is_refused(tmp_path):
    with refuses(problem="duplicate_run"):
        comparison_page.write([tmp_path, tmp_path], tmp_path / "page.html")


def test_a_folder_without_a_run_is_refused(tmp_path):
    with refuses(tmp_path):
        comparison_page.write([tmp_path / "a", tmp_path / "b"], tmp_path / "page.html")
