import json

from culprits import assert_names

from clef_jax.training import timeline


def write(folder, *events):
    lines = [
        {"event": kind, "step": step, "unix_seconds": seconds, "busy_seconds": busy}
        for kind, step, seconds, busy in events
    ]
    path = folder / timeline.TIMELINE_FILE
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_a_run_without_a_timeline_has_no_summary(tmp_path):
    assert timeline.summary(tmp_path) is None


def test_goodput_is_the_share_of_time_in_steps_that_were_kept(tmp_path):
    write(
        tmp_path,
        ("start", 0, 1000.0, 0),
        ("reached", 100, 1100.0, 80.0),  # killed here; the newest checkpoint is of step 75
        ("start", 75, 1200.0, 0),
        ("reached", 100, 1240.0, 20.0),
        ("reached", 200, 1400.0, 140.0),
    )
    found = timeline.summary(tmp_path)
    assert found is not None
    assert (found.num_starts, found.num_steps, found.num_repeated_steps) == (2, 200, 25)
    assert found.useful_seconds == 60 + 140
    assert found.total_seconds == 400
    assert found.goodput == 0.5
    assert_names(str(found), "50%", "6.7 min", "2 starts", "25 steps")


def test_what_a_start_appends_is_read_back_even_after_a_kill_in_a_write(tmp_path):
    first = timeline.Timeline(tmp_path, 0)
    first.reached(10, 5.0)
    first.close()
    with (tmp_path / timeline.TIMELINE_FILE).open("a") as file:
        file.write('{"event": "rea')
    second = timeline.Timeline(tmp_path, 5)
    second.reached(20, 7.5)
    second.close()
    found = timeline.summary(tmp_path)
    assert found is not None
    assert (found.num_starts, found.num_steps, found.num_repeated_steps) == (2, 20, 5)
    assert found.useful_seconds == 2.5 + 7.5


def test_a_clock_that_jumps_back_makes_no_nonsense(tmp_path):
    write(tmp_path, ("start", 0, 1000.0, 0), ("reached", 10, 400.0, 5.0))
    found = timeline.summary(tmp_path)
    assert found is not None
    assert found.goodput == 0.0
