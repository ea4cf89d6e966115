"""Finds data set builders by name in the `clef_datasets` package, the repository's `datasets/`.

A data set is a folder there; nothing lists them.
"""

import difflib
import importlib
import importlib.util
import pkgutil
import types
from typing import TYPE_CHECKING, Any

from clef_jax.errors import UserError

if TYPE_CHECKING:
    from clef_jax.building.builder import RecordingBuilder

_PACKAGE = "clef_datasets"


def names() -> list[str]:
    """The data sets that there are builders for."""
    found = importlib.util.find_spec(_PACKAGE)
    if found is None or found.submodule_search_locations is None:
        raise UserError(f"The package {_PACKAGE} is not installed; run `pip install -e .`.")
    folders = [path for path in found.submodule_search_locations if not path.startswith("__")]
    return sorted(module.name for module in pkgutil.iter_modules(folders) if module.ispkg)


def builder_class(name: str) -> "type[RecordingBuilder]":
    """The class `Builder` in `clef_datasets.<name>.<name>_dataset_builder`.

    Raises:
        UserError: there is no such data set; says which is nearest.
    """
    known = names()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3)
        hint = f" Did you mean {' or '.join(near)}?" if near else ""
        raise UserError(f"There is no data set {name!r}; there are {', '.join(known)}.{hint}")
    return importlib.import_module(f"{_PACKAGE}.{name}.{name}_dataset_builder").Builder


def simulated(name: str) -> types.ModuleType:
    """The module of a data set that writes a small tree in its form.

    Raises:
        UserError: there is no such data set; says which is nearest.
    """
    builder_class(name)
    return importlib.import_module(f"{_PACKAGE}.{name}.simulated")


def builder(dataset: str, **kwargs: Any) -> "RecordingBuilder":
    """A TFDS builder from `name` or `name/config`; further arguments go to its class.

    Raises:
        UserError: the data set or the config does not exist; says which is nearest.
    """
    name, _, config = dataset.strip("/").partition("/")
    cls = builder_class(name)
    known = [known.name for known in cls.BUILDER_CONFIGS]
    if config and config not in known:
        near = difflib.get_close_matches(config, known, n=1)
        hint = f" Did you mean {name}/{near[0]}?" if near else ""
        there = ", ".join(known) if known else "none"
        raise UserError(f"{name} has no config {config!r}; there are {there}.{hint}")
    return cls(config=config or None, **kwargs)
