"""The search finds the largest batch that a device can run."""

import benchmark_modules
import pytest

search = benchmark_modules.load("bench_search")

LIMIT = 80_000


class Device:
    """Runs up to `most` rows; each try takes a minute of its own clock."""

    def __init__(self, most, *, tells=True):
        self.most, self.tells, self.now, self.tried = most, tells, 0.0, []

    def clock(self):
        return self.now

    def step(self, rows):
        self.tried.append(rows)
        self.now += 60
        fits = rows <= self.most
        used = rows * LIMIT // self.most if fits and self.tells else None
        return {"fits": fits, "peak_bytes": used, "available_bytes": LIMIT if self.tells else None}


def find(device, first_rows, deadline=1e9):
    first = device.step(first_rows)
    device.tried.clear()
    return search.largest(
        device.step, first_rows=first_rows, first=first, deadline=deadline, clock=device.clock
    )


@pytest.mark.parametrize("tells", [True, False])
@pytest.mark.parametrize(("most", "first_rows"), [(3000, 512), (700, 512), (100, 64), (40, 64)])
def test_the_largest_batch_is_found_within_a_sixteenth(most, first_rows, tells):
    device = Device(most, tells=tells)
    largest = find(device, first_rows)
    assert most * 0.9 <= largest.result.rows <= most
    assert largest.result.is_close
    assert largest.outcome["fits"]
    assert first_rows not in device.tried, "it was run before"
    assert len(device.tried) <= 8


def test_a_search_that_runs_out_of_time_keeps_what_it_has():
    device = Device(10_000, tells=False)
    largest = find(device, 64, deadline=60 + 3 * 60)
    assert device.tried == [128, 256, 512]
    assert largest.result.rows == 512
    assert not largest.result.is_close
    assert largest.outcome["fits"]


def test_where_nothing_fits_there_is_no_outcome():
    largest = find(Device(0.5), 8)
    assert largest.result.rows == 0
    assert largest.outcome is None
