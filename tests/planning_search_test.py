import pytest

from clef_jax.planning import search

LIMIT = 16_000


def machine(fixed, per_row, *, told=True, wiggle=0):
    """A machine whose memory grows linearly, and the rows that were tried."""
    asked = []

    def attempt(rows):
        asked.append(rows)
        used = fixed + per_row * rows + wiggle * (rows % 3)
        return search.Trial(rows, used <= LIMIT, used if told else None, LIMIT if told else None)

    return attempt, asked


@pytest.mark.parametrize("first_rows", [1, 8, 100, 5000])
@pytest.mark.parametrize(("fixed", "per_row"), [(100, 7), (12_000, 100), (0, 3000)])
def test_largest_is_found_within_a_sixteenth(first_rows, fixed, per_row):
    attempt, asked = machine(fixed, per_row)
    found = search.largest(attempt, first_rows=first_rows)
    best = (LIMIT - fixed) // per_row
    assert best * 15 / 16 - 1 <= found.rows <= best
    assert found.is_close
    assert [x.rows for x in found.trials] == asked
    assert len(set(asked)) == len(asked) <= 8


def test_a_line_is_enough_for_few_trials():
    attempt, asked = machine(1000, 10)
    assert search.largest(attempt, first_rows=400).rows >= 1400
    assert len(asked) <= 5


def test_without_figures_the_search_halves():
    attempt, _ = machine(0, 100, told=False)
    found = search.largest(attempt, first_rows=32, max_trials=20)
    assert 150 <= found.rows <= 160
    assert found.is_close


def test_memory_that_is_not_quite_a_line_is_no_trouble():
    attempt, _ = machine(500, 50, wiggle=300)
    found = search.largest(attempt, first_rows=10)
    assert 270 <= found.rows <= 310


def test_nothing_fits():
    attempt, asked = machine(20_000, 1)
    found = search.largest(attempt, first_rows=16)
    assert found.rows == 0
    assert 1 in asked
    assert found.is_close


def test_search_that_is_cut_short_says_so():
    attempt, asked = machine(0, 1, told=False)
    found = search.largest(attempt, first_rows=1, max_trials=3)
    assert (found.rows, found.is_close, asked) == (4, False, [1, 2, 4])
