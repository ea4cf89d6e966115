"""Finds data set builders by name in the package `clef_datasets`, the repository's `datasets/`.

Each folder of that package is a data set; no list of them exists.
"""

import importlib
import types
from typing import TYPE_CHECKING, Any

from clef_jax import plugin
from clef_jax.errors import WrongArgument

if TYPE_CHECKING:
    from clef_jax.building.builder import RecordingBuilder

_KIND = plugin.Kind(
    label="data set",
    package="clef_datasets",
    attribute="Builder",
    expected=type,
    submodule="{name}_dataset_builder",
)


def names() -> list[str]:
    """Returns the names of the data sets that have a builder, sorted, without importing any.

    Raises:
        UserError: the package of the builders is not installed.
    """
    return _KIND.names()


def builder_class(name: str) -> "type[RecordingBuilder]":
    """Returns the class `Builder` of `clef_datasets.<name>.<name>_dataset_builder`.

    Raises:
        UserError: the data set is unknown; the message proposes the nearest.
    """
    return _KIND.load_one(name)


def simulated(name: str) -> types.ModuleType:
    """Returns the module of a data set that writes a small simulated source folder.

    Raises:
        UserError: the data set is unknown; the message proposes the nearest.
    """
    builder_class(name)
    return importlib.import_module(f"{_KIND.package}.{name}.simulated")


def builder(dataset: str, **kwargs: Any) -> "RecordingBuilder":
    """Returns a TFDS builder for `name` or `name/config`; further arguments go to its class.

    Raises:
        UserError: the data set or the config is unknown; the message proposes the nearest.
    """
    name, _, config = dataset.strip("/").partition("/")
    cls = builder_class(name)
    known = [variant.name for variant in cls.BUILDER_CONFIGS]
    if config and config not in known:
        raise WrongArgument(plugin.unknown(f"config of the data set {name!r}", config, known))
    return cls(config=config or None, **kwargs)
