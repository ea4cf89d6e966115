"""The page shows the results of all measured machines."""

import dataclasses
import json
import pathlib

import bench_results
import benchmark_modules
from culprits import refuses

from clef_jax.chip import CHIPS

table = benchmark_modules.load("bench_table")
work = benchmark_modules.load("bench_work")


def result(name="NVIDIA H200", **changes):
    machine = bench_results.machine()
    step = dataclasses.asdict(
        work.figures(
            bench_results.outcome(machine, 256, 1000),
            size="medium",
            global_batch_size=256,
            num_samples=5000,
            conv_choices="table",
            chip=CHIPS["h200"],
        )
    )
    compared = {
        "size": "medium",
        "program": "step",
        "batch_size": 256,
        "seconds": {"jax": 0.1, "torch": 0.2},
        "times_faster": {"torch": [2.0, 1.5, 2.25]},
    }
    asked = [{"size": s, "pairs_per_second": 21_700.0, "cores": 4.34} for s in ("small", "medium")]
    asked.append({"size": "large", "pairs_per_second": 4_000.0, "cores": 0.8})
    return {
        "version": table.VERSION,
        "name": name,
        "machine": machine,
        "date": "2030-01-02",
        "load_average": 0.25,
        "commit": None,
        "versions": {"jax": "1.2.3"},
        "steps": [step],
        "against_torch": [compared],
        "pipeline": {
            "pairs_per_second_and_core": 5000.0,
            "times_plain": 60.0,
            "appetite": asked,
        },
        "largest_batches": [
            {"size": "medium", "rows": 1000, "is_close": True, "figures": step},
            {"size": "large", "rows": 512, "is_close": False, "figures": None},
        ],
    } | changes


def rows(page, heading):
    section = page.split(f"## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_every_table_shows_its_figures():
    page = table.page([result()])
    _, _, step = rows(page, "Training step")
    assert step[:6] == ["NVIDIA H200", "medium", "bfloat16", "256", "500.0", "512.0"]
    assert step[7].endswith("%")
    assert step[8].endswith("%")
    _, _, medium, large = rows(page, "Largest batch that fits")
    assert medium[2] == "1,000"
    assert large[2] == "at least 512"
    _, _, compared = rows(page, "Comparison with plain PyTorch")
    assert compared[4:7] == ["100.0", "200.0", "2.00 [1.50 to 2.25]"]
    assert compared[7:] == ["", ""], "torch.compile was not run"
    _, _, pipeline = rows(page, "Input pipeline")
    assert pipeline[1:4] == ["5,000", "60", "4.3 (21,700 pairs/s)"]
    _, _, machine = rows(page, "Machines")
    assert machine == [
        *("NVIDIA H200", "1 x NVIDIA H200", "2", "0.2", "2030-01-02", "", "jax 1.2.3")
    ]


def test_all_rows_of_a_table_have_all_columns():
    page = table.page([result(), result("Other")])
    for heading in ("Training step", "Largest batch that fits", "Comparison with plain PyTorch"):
        assert len({len(row) for row in rows(page, heading)}) == 1


def test_a_section_without_figures_is_skipped():
    page = table.page([result(largest_batches=[], against_torch=[])])
    assert "Largest batch" not in page
    assert "Comparison with plain PyTorch" not in page
    assert "## Training step" in page


def test_results_are_read_by_name_and_other_versions_refused(tmp_path):
    for number, name in enumerate(("B", "A")):
        (tmp_path / f"{number}.json").write_text(json.dumps(result(name)))
    assert [one["name"] for one in table.read(tmp_path)] == ["A", "B"]
    (tmp_path / "3.json").write_text(json.dumps(result(version=0)))
    with refuses("3.json", problem="other_version"):
        table.read(tmp_path)


def test_the_page_in_docs_is_made_from_the_results_in_the_tree():
    root = pathlib.Path(__file__).parents[1]
    results = table.read(root / "benchmarks" / "results")
    assert results
    assert (root / "docs" / "benchmarks.md").read_text() == table.page(results)
