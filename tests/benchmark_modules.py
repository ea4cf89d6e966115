"""The programs in benchmarks/ as modules: they are no package and import each other by name."""

import importlib
import pathlib
import sys
import types

FOLDER = pathlib.Path(__file__).parents[1] / "benchmarks"


def load(name: str) -> types.ModuleType:
    """The module that is the file NAME.py."""
    if str(FOLDER) not in sys.path:
        sys.path.append(str(FOLDER))
    return importlib.import_module(name)
