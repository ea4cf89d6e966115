"""The command as processes: the same bytes, clean ends, constant memory."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import processes
import pytest
from culprits import assert_names, refuses
from mimic_tree import Tree, ecg
from prepare_test import make_source

from clef_jax.data import index


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return make_source(tmp_path_factory.mktemp("prepare"))


def test_workers_write_the_same_as_one_process(source, tmp_path):
    command = [sys.executable, "-m", "clef_jax.prepare", f"--source={source}"]
    for workers in (1, 2):
        more = [f"--data-dir={tmp_path / str(workers)}", f"--workers={workers}"]
        subprocess.run([*command, *more], check=True, capture_output=True)
    one, two = (
        {p.name: p.read_bytes() for p in index.find(tmp_path / n, "mimic_iv_ecg").iterdir()}
        for n in ("1", "2")
    )
    assert one == two


def start(source, data_dir):
    command = [sys.executable, "-m", "clef_jax.prepare", f"--source={source}", "--workers=2"]
    build = processes.start(
        [*command, f"--data-dir={data_dir}", "--dataset=mimic_iv_ecg/all_records"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    deadline = time.monotonic() + 60
    while not list(data_dir.rglob("part-*")):
        assert build.poll() is None, build.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return build


def await_shard(data_dir, more_than=0):
    deadline = time.monotonic() + 60
    while len(list(data_dir.rglob("part-*.npz"))) <= more_than:
        assert time.monotonic() < deadline
        time.sleep(0.01)


NUM_LARGE = 2000


@pytest.fixture(scope="module")
def large_source(tmp_path_factory):
    """Many recordings that share their samples on disk: enough to be caught in the middle."""
    tree = Tree(tmp_path_factory.mktemp("large") / "source")
    fill(tree, NUM_LARGE)
    return tree.write(hosp=False)


def fill(tree, count):
    """Recordings of the same samples, hard-linked."""
    first = tree.source / tree.add(10_000_000, 40_000_000, signal=ecg(0))
    for number in range(1, count):
        subject, study = 10_000_000 + number, 40_000_000
        record_id = f"files/p{subject // 10000}/p{subject}/s{study + number}/{study}"
        path = tree.source / record_id
        path.parent.mkdir(parents=True, exist_ok=True)
        for extension in (".hea", ".dat"):
            os.link(first.with_name(first.name + extension), path.with_name(f"{study}{extension}"))
        tree.rows.append(f"{subject},{study + number},{study},2150-06-01 12:00:00,{record_id}")


def children_of(pid):
    return [int(p) for p in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def alive(pid):
    try:
        state = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def await_end(workers):
    deadline = time.monotonic() + 30
    while any(map(alive, workers)):
        assert time.monotonic() < deadline, "a worker outlives the build"
        time.sleep(0.05)


def with_unknown_risk(source):
    """The tables that the command finds beside the recordings: without rows, risk is unknown."""
    Tree(source).write_tables(source / "hosp")
    return source


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_killed_build_is_not_taken_for_a_finished_one(large_source, tmp_path):
    build = start(with_unknown_risk(large_source), tmp_path)
    workers = children_of(build.pid)
    build.kill()
    build.communicate()
    with refuses("mimic_iv_ecg/all_records", problem="half_built"):
        index.find(tmp_path, "mimic_iv_ecg/all_records")
    await_end(workers)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_build_can_be_gone_on_with(number, large_source, tmp_path):
    build = start(with_unknown_risk(large_source), tmp_path)
    await_shard(tmp_path)
    workers = children_of(build.pid)
    build.send_signal(number)
    _, errors = build.communicate(timeout=60)
    assert build.returncode == 1
    kept = len(list(tmp_path.rglob("part-*.npz")))
    assert kept > 0
    assert_names(errors, kept)
    assert "Traceback" not in errors
    assert not list(tmp_path.rglob("1.0.0"))
    assert not list(tmp_path.rglob("incomplete.*"))
    await_end(workers)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_after_any_kill_the_same_data_set_comes_of_it(large_source, tmp_path):
    """Killed at three moments, without a chance to clean up, and then left alone."""
    source = with_unknown_risk(large_source)
    kept = []
    for _ in range(3):
        build = start(source, tmp_path / "killed")
        before = len(list(tmp_path.rglob("part-*.npz")))
        await_shard(tmp_path, more_than=before)
        workers = children_of(build.pid)
        build.kill()
        build.communicate()
        await_end(workers)
        kept.append(len(list(tmp_path.rglob("part-*.npz"))))
    assert kept == sorted(set(kept))
    dataset = "mimic_iv_ecg/all_records"
    command = [sys.executable, "-m", "clef_jax.prepare", f"--source={source}"]
    command += ["--workers=2", f"--dataset={dataset}"]
    last = subprocess.run(
        [*command, f"--data-dir={tmp_path / 'killed'}"], check=True, capture_output=True, text=True
    )
    assert_names(last.stdout, f"{kept[-1]} shards")
    subprocess.run([*command, f"--data-dir={tmp_path / 'straight'}"], check=True)
    one, two = (index.find(tmp_path / n, dataset) for n in ("killed", "straight"))
    assert {p.name: p.read_bytes() for p in one.iterdir()} == {
        p.name: p.read_bytes() for p in two.iterdir()
    }
    assert [p.name for p in one.parent.iterdir()] == ["1.0.0"]


def peak_kib(source, data_dir):
    """Largest memory of the command's processes, itself and workers, in KiB."""
    code = (
        "import resource, sys; from clef_jax import prepare; prepare.main(sys.argv[1:]);"
        "print('PEAK', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,"
        " resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    more = [f"--source={source}", f"--data-dir={data_dir}", "--workers=2"]
    more += ["--clinical-source=none", "--dataset=mimic_iv_ecg/all_records"]
    run = subprocess.run(
        [sys.executable, "-c", code, *more], check=True, capture_output=True, text=True
    )
    return [int(n) for n in run.stdout.split("PEAK")[1].split()]


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_recordings(large_source, tmp_path):
    tree = Tree(tmp_path / "more")
    fill(tree, 4 * NUM_LARGE)
    few = peak_kib(large_source, tmp_path / "few")
    many = peak_kib(tree.write(hosp=False), tmp_path / "many")
    print(f"KiB with {NUM_LARGE} recordings {few}, with {4 * NUM_LARGE} {many}")  # noqa: T201
    assert many[1] < few[1] + 15_000, f"a worker took {few[1]} KiB, then {many[1]}"
    assert many[0] < few[0] + 60_000, f"the command took {few[0]} KiB, then {many[0]}"
