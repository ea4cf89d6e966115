"""Signals of any length are cut into windows, whose problems are detected."""

import numpy as np
import pytest
from culprits import refuses

from clef_jax.embedding import window as window_lib
from clef_jax.embedding.recipe import Recipe
from clef_jax.embedding.window import Windower
from clef_jax.errors import UserError
from clef_jax.signal import reference
from clef_jax.simulation import simulated_ecg

RATE = 100.0


@pytest.mark.parametrize(
    ("num_samples", "stride", "want"),
    [
        (1000, None, [0]),
        (1099, None, [0]),  # too little is left for a window of its own
        (1100, None, [0, 100]),
        (2500, None, [0, 1000, 1500]),
        (3000, None, [0, 1000, 2000]),
        (1600, 300, [0, 300, 600]),
        (1700, 250, [0, 250, 500, 700]),
        (300, None, [0]),
    ],
)
def test_windows_follow_each_other_and_a_rest_is_covered(num_samples, stride, want):
    assert window_lib.starts(num_samples, 1000, stride).tolist() == want


@pytest.mark.parametrize("stride", [0, -1, 1001])
def test_a_stride_that_leaves_samples_out_is_refused(stride):
    with pytest.raises(ValueError, match="stride"):
        window_lib.starts(5000, 1000, stride)


def test_windows_are_cut_along_time_for_any_leading_axes():
    signal = np.arange(2 * 3 * 50).reshape(2, 3, 50)
    cut = window_lib.cut(signal, 20, np.array([0, 20, 30]))
    assert cut.shape == (2, 3, 3, 20)
    np.testing.assert_array_equal(cut[1, 2, 2], signal[1, 2, 30:])


def test_a_short_signal_is_continued_by_its_mirror_image():
    cut = window_lib.cut(np.arange(4), 10, np.array([0]))
    np.testing.assert_array_equal(cut, [[0, 1, 2, 3, 3, 2, 1, 0, 0, 1]])


def looked(*signals, **kwargs):
    return window_lib.assess(np.stack(signals), RATE, **kwargs)


def beats():
    return simulated_ecg.make(1, ("I",), sample_rate_hz=int(RATE), num_samples=1000)[0].astype(
        float
    )


def test_a_sound_window_has_no_problem():
    seen = looked(beats(), beats() + 3)  # an offset is no problem
    assert seen.usable.all()
    assert seen.problems == [(), ()]


def test_each_problem_is_named():
    gap, gone, part, loud = beats(), np.full(1000, np.nan), beats(), beats()
    gap[:100] = np.inf
    part[200:700] = part[200]
    loud[5] = 40.0
    seen = looked(gap, gone, part, loud, np.zeros(1000), 1e-3 * beats())
    assert seen.problems == [
        ("nan_run",),
        ("no_samples",),
        ("flat_run",),
        ("implausible_amplitude",),
        ("flat_lead",),
        ("flat_lead",),  # volts taken for millivolts
    ]
    assert seen.usable.tolist() == [True, False, False, True, False, False]
    np.testing.assert_allclose(seen.missing_fraction[:2], [0.1, 1.0])


def test_too_many_gaps_make_a_window_unusable():
    kept, lost = beats(), beats()
    kept[:200], lost[:210] = np.nan, np.nan
    assert looked(kept, lost).usable.tolist() == [True, False]


def test_without_a_unit_nothing_is_said_of_amplitudes():
    steps = np.rint(1000 * beats())
    flat = np.full(1000, 512.0)
    flat[::7] += 2
    fine = 1e-6 * beats()
    assert looked(steps, flat, unit_known=False).problems == [(), ("flat_lead",)]
    assert looked(fine, np.full(1000, 0.1), unit_known=False).problems == [(), ("flat_lead",)]
    assert looked(fine, flat, unit_known=False).problems == [(), ("flat_lead",)]


def test_the_worst_of_several_leads_counts():
    gone = window_lib.assess(np.full((1, 1000), np.nan), RATE)
    seen = window_lib.worst([looked(beats()), gone])
    assert seen.problems == [("no_samples",)]
    assert not seen.usable.any()


def test_a_window_has_the_recipes_length_at_any_rate():
    windower = Windower(Recipe(), 128.0, stride_seconds=5.0)
    assert windower.num_samples == 1280
    assert windower.starts(2560).tolist() == [0, 640, 1280]
    assert windower.resample(np.zeros((2, 3, 1280))).shape == (2, 3, 5000)


def test_gaps_are_filled_before_the_rate_changes_and_kept_where_it_does_not():
    x = np.sin(np.arange(2500) / 50)
    x[100:200] = np.nan
    want = reference.resample_to_count(reference.fill_gaps(x), 5000)
    np.testing.assert_allclose(Windower(Recipe(), 250.0).resample(x), want, atol=1e-6)
    same = np.resize(x, 5000)
    np.testing.assert_array_equal(
        np.isnan(Windower(Recipe(), 500.0).resample(same)), np.isnan(same)
    )


@pytest.mark.parametrize(
    ("rate", "stride", "words"),
    [
        (0, None, "above 0 Hz"),
        (np.inf, None, "above 0 Hz"),
        (1.0, None, "1 Hz"),
        (500.0, 0.0, "stride"),
        (500.0, 10.5, "stride"),
    ],
)
def test_what_makes_no_sense_is_reported(rate, stride, words):
    with pytest.raises(UserError, match=words):
        Windower(Recipe(), rate, stride)


@pytest.mark.parametrize(
    ("rate", "problem"),
    [
        (49.9, "wrong_rate"),
        (1e9, "wrong_rate"),
        ("500", "not_a_number"),
        (None, "not_a_number"),
        ([500.0], "not_a_number"),
        (True, "not_a_number"),
    ],
)
def test_a_rate_at_which_no_ecg_is_sampled_is_refused(rate, problem):
    with refuses(problem=problem):
        Windower(Recipe(), rate)


@pytest.mark.parametrize("rate", [50, 50.0, np.float32(500), np.int64(1000), 1e5])
def test_any_kind_of_number_is_a_rate(rate):
    assert Windower(Recipe(), rate).sample_rate_hz == float(rate)


@pytest.mark.parametrize(
    ("num_samples", "problem"), [(499, "too_short"), (0, "too_short"), (10**15, "too_long")]
)
def test_a_signal_that_can_hold_no_beat_or_never_ends_has_no_windows(num_samples, problem):
    with refuses(problem=problem):
        Windower(Recipe(), 250.0).starts(num_samples)


def test_an_encoder_of_shorter_windows_takes_shorter_signals():
    windower = Windower(Recipe(window_seconds=1.0), 250.0)
    assert windower.starts(250).tolist() == [0]
    with refuses("1 s", problem="too_short"):
        windower.starts(249)


@pytest.mark.parametrize(
    ("rate", "num_samples", "want"),
    [
        (100, 1000, ()),
        (100, 999, ("short",)),
        (99, 990, ("low_rate",)),
        (50, 100, ("short", "low_rate")),
    ],
)
def test_short_and_slow_signals_are_flagged(rate, num_samples, want):
    windower = Windower(Recipe(), rate)
    assert windower.flags(num_samples) == want
    assert set(want) <= set(window_lib.PROBLEMS)
