"""Arrays are signals with time as the last axis; what is masked is missing."""

import numpy as np
import pytest
from culprits import refuses

from clef_jax.embedding import array
from clef_jax.errors import UserError


@pytest.mark.parametrize("shape", [(5000,), (12, 5000), (3, 12, 5000), (2, 3, 12, 5000)])
def test_time_is_the_last_axis(shape):
    signal = np.arange(np.prod(shape), dtype=float).reshape(shape)
    np.testing.assert_array_equal(array.rows(signal, None), signal)
    if len(shape) > 1:
        np.testing.assert_array_equal(array.rows(signal.swapaxes(-1, -2), None), signal)


def test_names_tell_the_axis_of_leads():
    signal, names = np.zeros((300, 20)), [str(number) for number in range(20)]
    assert array.rows(signal, names).shape == (20, 300)
    assert array.rows(signal.T, names).shape == (20, 300)
    assert array.rows(np.zeros((5, 300, 20)), names).shape == (5, 20, 300)


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int16, np.int32, np.uint8])
def test_masked_values_are_missing(kind):
    values = (np.arange(200) % 100).astype(kind)
    masked = np.ma.masked_array(values, mask=np.arange(200) % 7 == 0)
    want = np.where(np.arange(200) % 7 == 0, np.nan, values.astype(float))
    got, known = array.to_mv(array.rows(masked, None), None)
    np.testing.assert_array_equal(got, want)
    assert known == (np.dtype(kind).kind == "f")
    pair, _ = array.to_mv(array.rows([masked, masked[::-1]], None), None)
    np.testing.assert_array_equal(pair, [want, want[::-1]])


def test_a_masked_array_without_a_mask_is_an_array():
    got = array.rows(np.ma.masked_array(np.arange(100.0)), None)
    assert type(got) is np.ndarray
    np.testing.assert_array_equal(got, np.arange(100.0))


@pytest.mark.parametrize(
    "signal", [[[1.0, 2.0], [3.0]], ["a"] * 50, [1.0, None] * 50, np.ma.array([True] * 50)]
)
def test_what_is_no_array_of_numbers_is_refused(signal):
    with pytest.raises(UserError, match="number"):
        array.rows(signal, None)


def test_a_lead_is_a_name_or_a_number():
    with refuses("1.5"):
        array.one_lead(np.zeros((2, 100)), 1.5, None)
    assert array.one_lead(np.zeros((2, 100)), np.int64(1), None).shape == (100,)
