"""Windows of any rate become windows at the encoder's, and senseless rates and strides are told."""

import numpy as np
import pytest

from clef_jax.embedding.recipe import Recipe
from clef_jax.embedding.window import Windower
from clef_jax.errors import UserError
from clef_jax.signal import reference


def test_a_window_has_the_recipes_length_at_any_rate():
    cutter = Windower(Recipe(), 128.0, stride_seconds=5.0)
    assert cutter.num_samples == 1280
    assert cutter.starts(2560).tolist() == [0, 640, 1280]
    assert cutter.resample(np.zeros((2, 3, 1280))).shape == (2, 3, 5000)


def test_gaps_are_filled_before_the_rate_changes_and_kept_where_it_does_not():
    x = np.sin(np.arange(2500) / 50)
    x[100:200] = np.nan
    want = reference.resample(reference.fill_gaps(x), 250, 500)
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
        (1.0, None, "nothing is left of an ECG"),
        (500.0, 0.0, "stride"),
        (500.0, 10.5, "stride"),
    ],
)
def test_what_makes_no_sense_is_told(rate, stride, words):
    with pytest.raises(UserError, match=words):
        Windower(Recipe(), rate, stride)
