"""Machines, versions and commits are described correctly."""

import pathlib
import subprocess

import benchmark_modules

facts = benchmark_modules.load("bench_facts")


def test_machines_are_named_by_their_devices_and_processors_by_their_cores(monkeypatch):
    gpu = {"platform": "gpu", "device_kind": "NVIDIA H200", "num_devices": 1, "num_cores": 16}
    assert facts.machine_name(gpu) == "NVIDIA H200"
    assert facts.machine_name(gpu | {"num_devices": 8}) == "8 x NVIDIA H200"
    monkeypatch.setattr(facts, "processor", lambda: "A Processor")
    cpu = {"platform": "cpu", "device_kind": "cpu", "num_devices": 8, "num_cores": 2}
    assert facts.machine_name(cpu) == "A Processor, 2 cores"


def test_a_processor_is_called_as_the_system_calls_it(tmp_path):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nmodel name\t: AMD EPYC 9R14\nmodel name\t: other\n")
    assert facts.processor(cpuinfo) == "AMD EPYC 9R14"
    cpuinfo.write_text("processor\t: 0\n")
    assert facts.processor(cpuinfo) == facts.processor(tmp_path / "nothing") != ""


def test_file_names_are_plain():
    assert facts.file_name("8 x NVIDIA H100 80GB HBM3") == "8_x_nvidia_h100_80gb_hbm3.json"
    assert facts.file_name("AMD EPYC, 2 cores") == "amd_epyc_2_cores.json"


def test_versions_are_those_that_are_installed():
    found = facts.versions()
    assert {"python", "jax", "jaxlib", "numpy"} <= set(found)
    assert all(found.values())


def test_a_commit_is_reported_where_there_is_one_and_changes_are_marked(tmp_path):
    assert facts.commit(tmp_path) is None

    def git(*words):
        who = ("-c", "user.name=a", "-c", "user.email=a@b")
        subprocess.run(["git", *who, *words], cwd=tmp_path, check=True, capture_output=True)

    git("init")
    (tmp_path / "file").write_text("one")
    git("add", "file")
    git("commit", "-m", "first")
    clean = facts.commit(tmp_path)
    assert len(clean) == 12
    (tmp_path / "other").write_text("not in git")
    assert facts.commit(tmp_path) == clean
    (tmp_path / "file").write_text("two")
    assert facts.commit(tmp_path) == clean + "+"


def test_without_git_there_is_no_commit(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert facts.commit(pathlib.Path(".")) is None


def test_the_load_is_reported_where_the_system_states_it(monkeypatch):
    monkeypatch.setattr(facts.os, "getloadavg", lambda: (1.5, 1.0, 0.5), raising=False)
    assert facts.load_average() == 1.5
    monkeypatch.delattr(facts.os, "getloadavg")
    assert facts.load_average() is None
