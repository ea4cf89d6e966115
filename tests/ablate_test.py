"""A grid of options becomes runs, a table, and nothing twice."""

import csv

import jax
import pytest
from culprits import assert_names, refuses
from prepared import build

from clef_jax import ablate
from clef_jax.building import catalog


def config(*grid, **settings):
    return ablate.Config(grid=grid, data_dir="data", out="out", **settings)


def test_every_combination_is_a_point():
    found = list(ablate.points_of(config("clef.temperature=0.05 0.1", "--leads=random I,II")))
    assert found == [
        {"clef.temperature": "0.05", "leads": "random"},
        {"clef.temperature": "0.05", "leads": "I,II"},
        {"clef.temperature": "0.1", "leads": "random"},
        {"clef.temperature": "0.1", "leads": "I,II"},
    ]
    assert len({ablate.name_of(point) for point in found}) == 4


def test_one_at_a_time_changes_one():
    grid = config("a=1 2 3", "b=x y", design="one_at_a_time")
    found = list(ablate.points_of(grid))
    assert found == [
        {"a": "1", "b": "x"},
        {"a": "2", "b": "x"},
        {"a": "3", "b": "x"},
        {"a": "1", "b": "y"},
    ]


@pytest.mark.parametrize(
    ("grid", "culprits", "problem"),
    [
        (("leads",), ("--grid", "'leads'"), "unreadable_grid"),
        (("a=1", "a=2"), ("--grid", "a"), "duplicate_flag"),
        (("=1",), ("--grid", "'=1'"), "unreadable_grid"),
    ],
)
def test_a_grid_that_cannot_be_read_is_told(grid, culprits, problem):
    with refuses(*culprits, problem=problem):
        list(ablate.points_of(config(*grid)))


def test_seeds_become_mean_and_deviation(tmp_path):
    points = [{"a": "1"}, {"a": "2"}]
    trials = [
        ablate.Run(point, seed, tmp_path / f"{point['a']}_{seed}")
        for point in points
        for seed in (1, 2)
    ]
    values = {trial.workdir: {"t": ("auroc", 0.1 * n)} for n, trial in enumerate(trials[:3], 5)}
    rows = ablate.rows_of(points, trials, values)
    assert rows == [
        {"a": "1", "seeds": "2", "t: auroc": "0.550 ± 0.071"},
        {"a": "2", "seeds": "1", "t: auroc": "0.700"},
    ]


@pytest.mark.slow
def test_trains_evaluates_tabulates_and_goes_on(data_dir, tmp_path, capsys):
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "mimic_iv_ecg").symlink_to(data_dir / "mimic_iv_ecg")
    build("cinc2017", catalog.simulated("cinc2017").write(tmp_path / "cinc").source, folder)
    cache = jax.config.jax_compilation_cache_dir
    flags = [
        *("--grid", "clef.min_distance=0 7"),
        *(f"--data-dir={folder}", f"--out={tmp_path / 'out'}", "--processes=2"),
        f"--train=--size=tiny --num-steps=2 --global-batch-size=8 --compilation-cache-dir={cache}",
        "--evaluate=--tasks=cinc2017_af --num-resamples=100",
    ]
    for _ in range(2):  # what failed is tried again, what is finished is not
        with pytest.raises(SystemExit):
            ablate.main(flags)
        shown = capsys.readouterr()
        assert_names(shown.err, "1 of 2")
        with (tmp_path / "out" / "ablation.csv").open() as stream:
            (row,) = csv.DictReader(stream)
        assert row["clef.min-distance"] == "0"
        assert 0 <= float(row["cinc2017_af: auroc"]) <= 1
    (good,) = (tmp_path / "out" / "runs").glob("*=0_*")
    (bad,) = (tmp_path / "out" / "runs").glob("*=7_*")
    assert (good / "ablate.log").read_text().count("The report is") == 1
    assert (bad / "ablate.log").read_text().count("min_distance=7.0 must be in [0, 1]") == 2
    assert "Which options matter?" in (tmp_path / "out" / "ablation.html").read_text()
