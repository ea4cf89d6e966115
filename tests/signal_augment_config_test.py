import pytest
from culprits import refuses

from clef_jax.signal.augment_config import AugmentConfig


def test_the_defaults_are_the_paper_s():
    assert AugmentConfig() == AugmentConfig.PAPER
    assert AugmentConfig.PAPER.noise_probability == 0.8


@pytest.mark.parametrize(
    ("settings", "culprits"),
    [
        ({"noise_probability": 1.5}, ("noise_probability=1.5", "[0, 1]")),
        ({"noise_std_mv": -0.1}, ("noise_std_mv=-0.1", "0 mV")),
        ({"mask_fraction_min": 0.5}, ("mask_fraction_min=0.5", "mask_fraction_max=0.3")),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, culprits):
    with refuses(*culprits, error=ValueError):
        AugmentConfig(**settings)
