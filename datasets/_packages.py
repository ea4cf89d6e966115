"""Installs `datasets/` as the package `clef_datasets`, and each of its folders as a package in it.

Setuptools finds packages by itself, but not under another name than their folder's; a list of them
in pyproject.toml would need a line for each new data set.
"""

from setuptools import find_packages
from setuptools.command import build_py


class BuildPy(build_py.build_py):
    """Adds the data sets to the packages that setuptools found."""

    def finalize_options(self) -> None:
        names = [f"clef_datasets.{name}" for name in find_packages("datasets")]
        found = self.distribution.packages or []
        self.distribution.packages = [*found, "clef_datasets", *names]
        super().finalize_options()
