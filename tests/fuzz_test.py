"""Tests that damaged recordings of every format give a recording or a refusal, and nothing else."""

import pathlib
import sys

import benchmark_modules
import pytest

from clef_jax import formats

pytest.importorskip("pydicom")
fuzz = benchmark_modules.load("fuzz")
seeds = benchmark_modules.load("fuzz_seeds")
OURS = sorted(path.stem for path in pathlib.Path(formats.__file__).parent.glob("[!_]*.py"))


@pytest.mark.parametrize("name", OURS)
def test_whole_recordings_are_read(name, tmp_path):
    hints = formats.Hints(sample_rate_hz=500, units="mV")
    for number, seed in enumerate(seeds.write(name)):
        folder = tmp_path / str(number)
        folder.mkdir()
        for file, content in seed.files.items():
            (folder / file).write_bytes(content)
        assert fuzz.read(folder / seed.opened, hints) == "reading"


@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited with Linux's means")
@pytest.mark.parametrize("name", OURS)
def test_damaged_recordings_are_read_or_refused(name):
    config = fuzz.Config(formats=(name,), mutations=150, seed=16)
    rows = fuzz.supervise(config, name)
    assert len(rows) == config.mutations
    assert [row for row in rows if row[1].startswith("failure")] == []
    assert {row[1].partition(":")[0] for row in rows} == {"reading", "refusal"}
