"""A grid of options becomes runs, a table, and nothing twice."""

import csv
import json

import jax
import pytest
from culprits import assert_names, refuses
from prepared import build

from clef_jax import ablate, command_line, folder_lock
from clef_jax.building import catalog
from clef_jax.evaluation import ablation


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
        *("--grid", "global-batch-size=8 4096"),
        *(f"--data-dir={folder}", f"--out={tmp_path / 'out'}", "--processes=2"),
        f"--train=--size=tiny --num-steps=2 --compilation-cache-dir={cache}",
        "--evaluate=--tasks=cinc2017_af --num-resamples=100",
    ]
    for _ in range(2):  # what failed is tried again, what is finished is not
        with pytest.raises(SystemExit):
            ablate.main(flags)
        shown = capsys.readouterr()
        assert_names(shown.err, "1 of 2", "4096")
        with (tmp_path / "out" / "ablation.csv").open() as stream:
            (row,) = csv.DictReader(stream)
        assert row["global-batch-size"] == "8"
        assert 0 <= float(row["cinc2017_af: auroc"]) <= 1
    (good,) = (tmp_path / "out" / "runs").glob("*=8_*")
    (bad,) = (tmp_path / "out" / "runs").glob("*=4096_*")
    assert (good / "ablate.log").read_text().count("The report is") == 1
    assert (bad / "ablate.log").read_text().count("4096") >= 2
    assert "<h1>Ablation</h1>" in (tmp_path / "out" / "ablation.html").read_text()


def results_of(run, *lines):
    folder = run.workdir / "evaluation"
    folder.mkdir(parents=True)
    keys = ("task", "score", "value", "constant_predictions")
    same = {"label_share": 1, "model": run.workdir.name}
    rows = [{**same, **dict(zip(keys, line, strict=False))} for line in lines]
    (folder / "results.json").write_text(json.dumps({"results": rows}))


def test_scores_that_are_not_defined_or_constant_are_called_so(tmp_path):
    runs = [ablate.Run({"a": "1"}, seed, tmp_path / f"run_{seed}") for seed in (1, 2)]
    first = [("one_class", "auroc", None), ("one_class", "auprc", 1.0)]
    results_of(runs[0], *first, ("t", "auroc", 0.5, True), ("u", "auroc", 0.7))
    results_of(runs[1], *first, ("t", "auroc", 0.6, False), ("u", "auroc", None))
    scores = {run.workdir: ablate.scores_of(run) for run in runs}
    (row,) = ablate.rows_of([{"a": "1"}], runs, scores)
    assert row["one_class: auroc"] == "not defined"
    assert "one_class: auprc" not in row
    assert_names(row["t: auroc"], "0.550", "constant", "1 of 2")
    assert_names(row["u: auroc"], "0.700", "not defined", "1 of 2")


def test_tables_are_replaced_and_other_files_are_not(tmp_path):
    row = {"a": "-1", "b": "=1+1", "seeds": "1", "t: auroc": "0.700"}
    ablation.write(tmp_path, [row], {}, {"run": "no patients"})
    ablation.check_outputs(tmp_path, overwrite=False)
    lines = (tmp_path / "ablation.csv").read_text().splitlines()
    assert lines == ["a,b,seeds,t: auroc", "-1,'=1+1,1,0.700"]
    assert_names((tmp_path / "ablation.html").read_text(), "no patients")
    for name in ("ablation.csv", "ablation.html"):
        kept = (tmp_path / name).read_text()
        (tmp_path / name).write_text("seeds of sunflowers\n")
        with refuses(tmp_path / name, problem="foreign_file"):
            ablation.check_outputs(tmp_path, overwrite=False)
        ablation.check_outputs(tmp_path, overwrite=True)
        (tmp_path / name).write_text(kept)


@pytest.mark.parametrize(
    ("flags", "culprit"),
    [
        ("--tasks=cinc2017_afib", "cinc2017_afib"),
        ("--tasks=cinc2017_af", "--dataset=cinc2017"),
        ("--num-resamples=1", "--num-resamples=1"),
        ("--tasks=all", "prepare"),
        ("--no-such-flag", "--no-such-flag"),
        ("--tasks='", "--evaluate"),
        ("--layer=stage_7", "stage_6"),  # the last one of the size
        ("--layer=first", "best"),
    ],
)
def test_flags_of_the_evaluation_are_checked_before_the_training(
    flags, culprit, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(ablate, "run_one", None)
    with pytest.raises(SystemExit):
        ablate.main(
            ["--grid=a=1", f"--data-dir={tmp_path}", f"--out={tmp_path}", f"--evaluate={flags}"]
        )
    shown = capsys.readouterr()
    assert_names(shown.err + shown.out, culprit)


@pytest.mark.parametrize(
    ("more", "culprit"),
    [
        (("--grid=leads=random I,IX",), "'IX'"),
        (("--grid=a=1", "--train=--leads I,IX"), "'IX'"),
        (("--grid=a=1", "--train=--size=huge"), "'huge'"),
        (("--grid=a=1", "--train='"), "--train"),
        (("--grid=size=medium small", "--evaluate=--layer=stage_7"), "'stage_7'"),
        (("--grid=a=1", "--evaluate=--geometry --lead=IX"), "IX"),
    ],
)
def test_names_of_leads_and_layers_are_checked_before_the_training(
    more, culprit, data_dir, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(ablate, "run_one", lambda *_: pytest.fail("a run was started"))
    same = (f"--data-dir={data_dir}", f"--out={tmp_path}")
    if not any("--evaluate" in flag for flag in more):
        same = (*same, "--evaluate=--geometry")
    with pytest.raises(SystemExit):
        ablate.main([*more, *same])
    assert_names(capsys.readouterr().err, culprit)


@pytest.mark.parametrize(
    ("more", "culprit"),
    [
        (("--grid=nope=1 2",), "--nope"),
        (("--grid=learning-rate=1e-3 abc",), "abc"),
        (("--grid=window-seconds=2 nan",), "--window-seconds=nan"),
        (("--grid=seed=1 -1",), "--seed=-1"),
        (("--grid=leads=I II", "--train=--workdir=x"), "--workdir"),
    ],
)
def test_flags_of_all_trainings_are_checked_before_the_first(
    more, culprit, data_dir, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(ablate, "run_one", lambda *_: pytest.fail("a run was started"))
    same = (f"--data-dir={data_dir}", f"--out={tmp_path}", "--evaluate=--geometry")
    with pytest.raises(SystemExit) as ended:
        ablate.main([*more, *same])
    assert ended.value.code == 2
    shown = capsys.readouterr()
    assert_names(shown.err + shown.out, culprit)


def test_names_that_exist_start_the_runs(data_dir, tmp_path, monkeypatch):
    started = []
    monkeypatch.setattr(ablate, "run_one", lambda config, run, device: started.append(run))
    flags = [f"--data-dir={data_dir}", f"--out={tmp_path}", "--train=--leads=V1 --size large"]
    ablate.main([*flags, "--grid=leads=I II,V2", "--evaluate=--geometry --lead=V6 --layer=stage_9"])
    assert len(started) == 2


def test_the_reason_of_a_failure_is_the_last_error_of_its_log(tmp_path):
    log = tmp_path / "ablate.log"
    log.write_text("Error: an earlier run.\n")
    start = log.stat().st_size
    with log.open("a") as file:
        file.write("step 1\nError: There are no patients\n  in the folder.\n")
    reason = ablate._reason(log, start, 1)
    assert_names(reason, "no patients in the", log)
    assert "earlier" not in reason
    with log.open("a") as file:
        start = file.tell()
        file.write("Traceback\nKeyError: 'x'\n\n")
    assert_names(ablate._reason(log, start, 1), "KeyError: 'x'")
    assert_names(ablate._reason(log, log.stat().st_size, -9), "-9")
    with log.open("a") as file:
        start = file.tell()
        file.write("╭─ Value error ────╮\n│ 7.0 is too large │\n│ ──────────────── │\n")
        file.write("│ See --help       │\n╰──────────────────╯\n")
    reason = ablate._reason(log, start, 2)
    assert reason == f"Value error 7.0 is too large See --help (exit code 2; {log})"


def test_a_second_process_in_the_folder_is_refused(data_dir, tmp_path):
    out = tmp_path / "out"
    flags = [f"--data-dir={data_dir}", f"--out={out}", "--evaluate=--geometry"]
    config = command_line.parse(ablate.SETTINGS, [*flags, "--grid=leads=I"], "ablate")
    with folder_lock.FolderLock(out / ablate.LOCK_FILE), refuses(str(out), problem="in_use"):
        ablate.run(config)
