import os
import sys

import pytest

from clef_jax import cores


@pytest.mark.parametrize(
    ("number", "parts"),
    [
        (1, [{0, 1, 2}]),
        (2, [{0, 2}, {1}]),
        (3, [{0}, {1}, {2}]),
        (4, [{0}, {1}, {2}, {0}]),
    ],
)
def test_programs_divide_the_cores(number, parts, monkeypatch):
    monkeypatch.setattr(cores, "own", lambda: [0, 1, 2])
    assert cores.shares(number) == parts


@pytest.mark.skipif(not cores.CAN_BIND, reason="this system cannot bind a process to cores")
def test_a_program_runs_on_its_cores_alone_and_gives_its_exit_code(tmp_path):
    some = cores.own()[-1:]
    out = tmp_path / "out"
    # The program waits for its cores, which it has moments after its start.
    text = (
        f"import os, time\nwhile os.sched_getaffinity(0) != {set(some)}: time.sleep(0.01)\n"
        "raise SystemExit(3)"
    )
    with out.open("w") as file:
        assert cores.run([sys.executable, "-c", text], some, stdout=file) == 3
    assert sorted(os.sched_getaffinity(0)) == cores.own()
