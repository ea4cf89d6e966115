import jax

from clef_jax import versions


def test_packages_that_are_not_installed_are_left_out():
    assert versions.installed(["jax", "no-such-package"]) == {"jax": jax.__version__}
