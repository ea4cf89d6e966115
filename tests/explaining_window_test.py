"""The window to explain is found, read, and refused if there is no answer about it."""

import dataclasses
import functools

import explained
import numpy as np
import pytest

from clef_jax.embedding import batch
from clef_jax.embedding.lead_selection import Lead
from clef_jax.errors import UserError
from clef_jax.explaining import window as window_lib
from clef_jax.formats import Opened

ENCODER = explained.Listening()
LEAD = Lead("II", (1,))


def opened(signal, rate=explained.RATE):
    return Opened(
        name="a.npy",
        lead_names=("I", "II"),
        sample_rate_hz=rate,
        num_samples=signal.shape[1],
        unit_known=True,
        read=functools.partial(lambda start, count: signal[:, start : start + count]),
    )


def windower():
    return batch.make_windower(ENCODER, explained.RATE)


def scan(signal, start_seconds=None):
    first = window_lib.starts(windower(), opened(signal), start_seconds)
    return window_lib.scan(ENCODER, slice(0, 1), windower(), opened(signal), LEAD, first)


def test_recording_is_scanned_window_by_window():
    signal = explained.signal(25)
    signal[1, : 10 * explained.RATE] = 0
    found = scan(signal)
    assert found.first.tolist() == [0, 2500, 3750]
    assert found.usable.tolist() == [False, True, True]
    assert found.problems[0] == ("flat_lead",)
    np.testing.assert_allclose(found.mean, found.features[1:].mean(axis=0))


def test_window_may_start_anywhere_within_the_recording():
    signal = explained.signal(25)
    assert scan(signal, 3.3).first.tolist() == [825]
    assert scan(explained.signal(5), 0).first.tolist() == [0]
    for start in (15.1, -1, np.nan, np.inf):
        with pytest.raises(UserError) as raised:
            scan(signal, start)
        assert raised.value.problem == "window_outside_recording"
    with pytest.raises(UserError) as raised:
        scan(signal, "soon")
    assert raised.value.problem == "not_a_number"


def test_recording_without_a_usable_window_has_no_answer():
    with pytest.raises(UserError) as raised:
        scan(np.zeros((2, 5000)))
    assert raised.value.problem == "no_answer"
    assert "II" in str(raised.value)


def test_gaps_and_what_follows_a_short_recording_were_not_recorded():
    signal = explained.signal(6)
    signal[1, 250:500] = np.nan
    window = window_lib.read(windower(), opened(signal), LEAD, 0, ())
    assert window.recorded_mv.shape == (1, 2500)
    assert window.encoder_mv.shape == (1, 1000)
    assert window.seconds == 10
    assert window.is_recorded(10).tolist() == [True, False, *[True] * 4, *[False] * 4]
    late = window_lib.read(windower(), opened(explained.signal(25)), LEAD, 1250, ("nan_run",))
    assert (late.start_seconds, late.problems) == (5.0, ("nan_run",))
    assert dataclasses.replace(late).is_recorded(7).all()
