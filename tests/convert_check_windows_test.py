"""Windows for the check of files with fewer bits: of recordings, else of simulated people."""

import numpy as np
import pytest
from culprits import refuses

from clef_jax.convert import check_windows
from clef_jax.embedding.recipe import Recipe
from clef_jax.formats import Hints

HINTS = Hints(sample_rate_hz=250.0, lead_names=("I", "V5"))
RECIPE = Recipe(window_seconds=2.0)


def read(path, **options):
    given = {"num_leads": 1, "sample_rate_hz": 500.0, "hints": HINTS, **options}
    return np.concatenate(list(check_windows.of_recordings([str(path)], RECIPE, **given)))


def test_usable_windows_of_every_lead_are_read_at_the_rate_of_the_file(tmp_path):
    rng = np.random.default_rng(0)
    signal_mv = rng.standard_normal((2, 5000)).astype(np.float32)
    signal_mv[1, :500] = 0
    np.save(tmp_path / "a.npy", signal_mv)
    (tmp_path / "b.npy").write_bytes(b"broken")
    np.save(tmp_path / "short.npy", signal_mv[:, :200])
    windows = read(tmp_path)
    assert windows.shape == (8 + 7, 1, 1000)  # at most 8 of a lead, of which one is flat
    assert windows.dtype == np.float32
    np.testing.assert_array_equal(read(tmp_path, sample_rate_hz=250.0)[0, 0], signal_mv[0, :500])


def test_there_are_no_more_than_needed(tmp_path, monkeypatch):
    monkeypatch.setattr(check_windows, "MOST_WINDOWS", 10)
    signal_mv = np.random.default_rng(0).standard_normal((2, 5000)).astype(np.float32)
    for number in range(3):
        np.save(tmp_path / f"{number}.npy", signal_mv)
    assert len(read(tmp_path)) == 10


def test_without_a_usable_window_nothing_is_checked(tmp_path):
    np.save(tmp_path / "flat.npy", np.zeros((2, 5000), np.float32))
    with refuses(tmp_path, problem="no_windows"):
        read(tmp_path)
    (tmp_path / "flat.npy").write_bytes(b"broken")
    with refuses("flat.npy", problem="no_windows"):
        read(tmp_path)


@pytest.mark.parametrize("num_leads", [1, 2])
def test_simulated_people_are_all_different(num_leads, monkeypatch):
    monkeypatch.setattr(check_windows, "NUM_SIMULATED", 30)
    windows = np.concatenate(list(check_windows.simulated(num_leads, 500, 250.0)))
    assert windows.shape == (30, num_leads, 500)
    assert len(np.unique(windows[:, 0, 100])) == len(windows)
