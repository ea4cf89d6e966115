"""The benchmark runs as a whole, with fake processes and once with real ones."""

import json
import types

import bench_results
import benchmark_modules
import pytest
import rich.console
from culprits import refuses

bench = benchmark_modules.load("bench")
train_step = benchmark_modules.load("train_step")


class Processes:
    """Answers as the processes on a GPU with room for `most` patients of any size."""

    def __init__(self, platform="gpu", most=1000):
        self.most, self.asked = most, []
        self.machine = bench_results.machine(platform)

    def step(self, *, environment=None, describe=False, **settings):
        if describe:
            return self.machine
        self.asked.append(settings | {"environment": environment})
        found = bench_results.outcome(self.machine, settings["global_batch_size"], self.most)
        return found | {"kernels": bench_results.kernels() if settings.get("kernels") else None}

    def pipeline(self, out):
        return {"pairs_per_second_and_core": 5000.0, "times_plain": 60.0, "shares": {}}


def compare(settings, size, frameworks):
    if size == "large":
        raise train_step.WorkerEnded("A worker ended.")
    others = [name for name in frameworks if name != "jax"]
    return [
        train_step.Comparison(
            size, program, settings.batch_size, settings.precision,
            dict.fromkeys(frameworks, 0.2),
            dict.fromkeys(others, (1.5, 1.4, 1.6)),
            dict.fromkeys(frameworks, 3.0),
        )
        for program in train_step.PROGRAMS
    ]  # fmt: skip


@pytest.fixture
def processes(monkeypatch):
    found = Processes()
    install(found, monkeypatch)
    return found


def install(processes, monkeypatch):
    fake = types.SimpleNamespace(step=processes.step, pipeline=processes.pipeline)
    monkeypatch.setattr(bench, "bench_process", fake)
    monkeypatch.setattr(train_step, "compare", compare)
    monkeypatch.setattr(train_step, "available", lambda s: (list(s.frameworks), []))


def settings(folder, **changes):
    return bench.Settings(out=folder / "results", page=folder / "page.md", **changes)


def test_a_gpu_is_measured_in_every_way_and_written(processes, tmp_path):
    bench.main(settings(tmp_path))
    (path,) = (tmp_path / "results").iterdir()
    assert path.name == "nvidia_h200.json"
    result = json.loads(path.read_text())
    sizes_and_forms = [(one["size"], one["own_kernels"]) for one in result["steps"]]
    every = [(size, own) for size in ("small", "medium", "large") for own in (False, True)]
    assert sizes_and_forms == every
    assert [(one["size"], one["own_kernels"]) for one in result["kernels"]] == every
    assert all(0 < one["model_flops_utilization"] < 1 for one in result["steps"])
    found = {one["size"]: one for one in result["largest_batches"]}
    assert all(900 <= one["rows"] <= 1000 and one["is_close"] for one in found.values())
    assert found["large"]["figures"]["global_batch_size"] == found["large"]["rows"]
    assert {one["size"] for one in result["against_torch"]} == {"small", "medium"}, "large ended"
    assert set(result["against_torch"][0]["seconds"]) == {"jax", "torch", "torch_compile"}
    assert result["against_torch"][0]["precision"] == "bfloat16"
    cores = {one["size"]: one["cores"] for one in result["pipeline"]["appetite"]}
    assert cores["medium"] == pytest.approx(21_700 / 5000, rel=0.01)
    assert {"date", "load_average", "commit", "versions", "measured_seconds"} <= set(result)
    page = (tmp_path / "page.md").read_text()
    assert "| NVIDIA H200 | medium |" in page
    (row,) = [line for line in page.splitlines() if "medium, own kernels | fusion" in line]
    assert row.strip("| ").endswith("1.50")


def test_a_step_has_the_gpu_to_itself(processes, tmp_path):
    bench.main(settings(tmp_path, sizes=("small",), torch=False, pipeline=False))
    assert all(
        one["environment"]["XLA_PYTHON_CLIENT_MEM_FRACTION"] == "0.92" for one in processes.asked
    )
    assert {one["seconds"] for one in processes.asked} == {15.0, 2.0, 0.0}
    profiled = [one for one in processes.asked if one.get("kernels")]
    flags = [one["environment"]["XLA_FLAGS"] for one in profiled]
    assert [flag.rpartition("/")[2] for flag in flags] == [
        "nvidia_h200_small.textproto",
        "nvidia_h200_small_own.textproto",
    ]


def test_a_cpu_is_not_searched_and_compiles_with_pytorch_only_small(tmp_path, monkeypatch):
    processes = Processes("cpu", most=10**9)
    install(processes, monkeypatch)
    bench.main(settings(tmp_path))
    (path,) = (tmp_path / "results").iterdir()
    result = json.loads(path.read_text())
    assert result["name"].endswith(", 2 cores")
    assert "largest_batches" not in result
    assert [one["size"] for one in result["steps"]] == ["small", "medium"]
    assert all(one["model_flops_utilization"] is None for one in result["steps"])
    compiled = {one["size"]: "torch_compile" in one["seconds"] for one in result["against_torch"]}
    assert compiled == {"small": True, "medium": False}
    assert len(processes.asked) == 2


def test_a_size_that_does_not_fit_is_skipped(tmp_path, monkeypatch):
    processes = Processes(most=100)
    install(processes, monkeypatch)
    bench.main(settings(tmp_path))
    (path,) = (tmp_path / "results").iterdir()
    result = json.loads(path.read_text())
    assert {one["size"] for one in result["steps"]} == {"large"}
    assert all(90 <= one["rows"] <= 100 for one in result["largest_batches"])


def test_without_time_nothing_is_searched(processes, tmp_path):
    one = bench.Bench(settings(tmp_path, budget_seconds=0.0), rich.console.Console())
    result = one.run()
    assert len(processes.asked) == 6, "each size once in each form"
    assert {x["rows"] for x in result["largest_batches"]} == {0}


def test_the_table_alone_measures_nothing(processes, tmp_path):
    bench.main(settings(tmp_path))
    count, page = len(processes.asked), tmp_path / "page.md"
    text = page.read_text()
    page.unlink()
    bench.main(settings(tmp_path, table_only=True))
    assert page.read_text() == text
    assert len(processes.asked) == count


def test_an_unknown_size_is_reported():
    with refuses("'big'", "small"):
        bench.Settings(sizes=("big",))


@pytest.mark.slow
def test_a_real_measurement_of_the_tiny_encoder(tmp_path):
    chosen = settings(tmp_path, sizes=("tiny",), seconds=0.1, repeats=1, pipeline=False)
    bench.main(chosen)
    (path,) = (tmp_path / "results").iterdir()
    result = json.loads(path.read_text())
    (step,) = result["steps"]
    assert step["num_steps"] >= 3
    assert step["pairs_per_second"] == pytest.approx(64 / step["step_seconds"])
    assert step["precision"] == "float32"
    assert {one["program"] for one in result["against_torch"]} == {"step", "forward"}
    assert "| tiny |" in (tmp_path / "page.md").read_text()
