import dataclasses
import json
import re

import pytest
from culprits import assert_names

from clef_jax import chip, plan
from clef_jax.config import TrainConfig
from clef_jax.planning import estimate, topology as topology_lib

TINY = ["--size=tiny", "--window-seconds=1"]


def run(capsys, *flags):
    plan.main([*TINY, *flags])
    return capsys.readouterr().out


def refused(capsys, *flags):
    with pytest.raises(SystemExit) as error:
        plan.main([*TINY, *flags])
    assert error.value.code in (1, 2)  # an argument that is wrong by itself is 2
    return capsys.readouterr().err


def test_a_plan_is_printed_and_written(capsys, tmp_path):
    path = tmp_path / "plan.json"
    text = run(capsys, "--topology=h100:8", "--global-batch-size=32", f"--json={path}")
    assert_names(text, "32 patients", "h100:8")
    values = json.loads(path.read_text())
    assert (values["size"], values["rows"], values["remat"]) == ("tiny", 4, False)
    assert "search" not in values


def test_flags_of_training_change_the_plan(capsys, tmp_path):
    path = tmp_path / "plan.json"
    flags = ("--topology=h100:2", f"--json={path}")
    run(capsys, *flags)
    plain = json.loads(path.read_text())
    run(capsys, *flags, "--remat", "--objective=simclr", "--precision=float32")
    other = json.loads(path.read_text())
    assert (other["objective"], other["precision"], other["remat"]) == ("simclr", "float32", True)
    assert len(other["collectives"]) < len(plain["collectives"])  # no risks are gathered
    run(capsys, *flags, "--sample-rate-hz=250")
    slower = json.loads(path.read_text())
    assert slower["model_flops"] < 0.6 * plain["model_flops"]


def test_the_command_of_a_training_run_can_be_planned(capsys):
    text = run(
        capsys,
        *("--topology=cpu:2", "--data-dir=d", "--workdir=w", "--num-steps=7", "--leads=I"),
        "--schedule=cosine",
    )
    assert_names(text, "cpu:2", "unknown")
    assert re.search(r"\d+ s\b", text)  # how long it took to compile


def test_search_finds_a_batch_close_to_the_limit(capsys, tmp_path, monkeypatch):
    small = dataclasses.replace(chip.CHIPS["h100"], memory_bytes=2**28)
    monkeypatch.setitem(chip.CHIPS, "h100", small)
    path = tmp_path / "plan.json"
    flags = ("--topology=h100:4", "--global-batch-size=64", "--search-batch", f"--json={path}")
    text = run(capsys, *flags)
    found = json.loads(path.read_text())["search"]
    largest = found["largest_global_batch_size"]
    assert_names(text, f"{largest:,}")
    assert largest == 4 * found["rows"]
    assert largest > 64

    def fits(rows):
        config = TrainConfig(
            data_dir="", workdir="", size="tiny", window_seconds=1.0, global_batch_size=4 * rows
        )
        return estimate.make(config, topology_lib.by_name("h100:4")).memory.fits

    assert fits(found["rows"])
    assert not fits(found["rows"] + max(1, found["rows"] // 16))


@pytest.mark.parametrize(
    ("flags", "culprits"),
    [
        (["--topology=v5x:4x4"], ("--topology=v5x:4x4", "'v5x'")),
        (["--topology=h100:8", "--global-batch-size=30"], ("--global-batch-size=30", "24 or 32")),
        (["--topology=h100:8", "--size=smal"], ("'smal'", "'small'")),
        (["--topology=h100:8", "--sample-rate-hz=0"], ("--sample-rate-hz", "0")),
        (
            ["--topology=h100:8", "--json=no/such/folder/plan.json"],
            ("--json=no/such/folder/plan.json", "no/such/folder"),
        ),
        (["--topology=cpu:2", "--search-batch"], ("--search-batch", "cpu:2")),
    ],
)
def test_mistakes_are_named(capsys, flags, culprits):
    assert_names(refused(capsys, *flags), *culprits)


@pytest.mark.slow
@pytest.mark.plan_tpu
def test_what_the_tpu_compiler_refuses_does_not_fit(capsys):
    pytest.importorskip("libtpu")
    text = run(capsys, "--topology=v5e:1x1", "--global-batch-size=1000000")
    assert "15.75 GiB" in text
    assert_names(text, "--remat")
    (smaller,) = re.findall(r"--global-batch-size=(\d+)", text)
    assert 100_000 < int(smaller) < 500_000
    assert "pairs/s" not in text


@pytest.mark.slow
@pytest.mark.plan_tpu
def test_a_tpu_that_is_not_there_is_compiled_for(capsys, tmp_path):
    pytest.importorskip("libtpu")
    path = tmp_path / "plan.json"
    text = run(capsys, "--topology=v5e:2x2", "--global-batch-size=16", f"--json={path}")
    values = json.loads(path.read_text())
    assert values["precision"] == "bfloat16"
    assert values["memory"]["fits"] is True
    assert values["memory"]["temporaries_bytes"] > 2**20
    assert sum(x["cycles"] for x in values["costliest"]) <= values["estimated_cycles"]
    assert 10**5 < values["estimated_cycles"] < 10**8
    assert len(values["costliest"]) == 10
    assert values["costliest"][0]["origin"]
    assert values["num_unknown_loops"] == 0
    largest = max(values["collectives"], key=lambda x: x["num_bytes"])
    params = values["memory"]["parameters_bytes"]
    assert params <= largest["num_bytes"] <= params + 1024  # all gradients in one exchange
    assert {x["group_size"] for x in values["collectives"]} == {4}
    assert values["num_too_large_collectives"] == 0
    assert_names(text, "v5e:2x2", "16 patients", "pairs/s")


def test_a_file_that_is_no_plan_is_refused(capsys, tmp_path):
    path = tmp_path / "settings.json"
    path.write_text('{"mine": 1}')
    flags = ("--topology=h100:2", f"--json={path}")
    assert_names(refused(capsys, *flags), path, "--overwrite")
    assert path.read_text() == '{"mine": 1}'
    run(capsys, *flags, "--overwrite")
    run(capsys, *flags)  # a plan gives way to a plan
    assert json.loads(path.read_text())["size"] == "tiny"
