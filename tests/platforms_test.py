"""What a program is traced for can be said, and holds where it was said."""

import jax

from clef_jax import platforms
from clef_jax.models import grouped_conv


def test_the_platform_is_the_machines_unless_said_otherwise():
    assert platforms.current() == jax.default_backend() == "cpu"
    with platforms.use_platform("tpu"):
        assert platforms.current() == "tpu"
        with platforms.use_platform("gpu"):
            assert platforms.current() == "gpu"
        assert platforms.current() == "tpu"
    assert platforms.current() == "cpu"


def test_convolutions_go_by_the_same_platform():
    assert grouped_conv.use_platform is platforms.use_platform
