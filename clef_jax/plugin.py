"""Finds plug-ins by name, in this repository and in other installed packages.

A plug-in is a module that defines one known name, for example a task defines `TASK`. Nothing lists
the plug-ins of this repository: every module of the plug-in's package is one, except those with a
leading underscore, which hold code that several plug-ins share. Another package adds plug-ins by
entry points. The group is the name of our package, and each entry names a module:

    [project.entry-points."clef_jax.tasks"]
    my_task = "my_package.my_task"
"""

import dataclasses
import difflib
import functools
import importlib
import importlib.metadata
import pkgutil
import sys
import types
from collections.abc import Iterable
from typing import Generic, TypeVar, cast

from clef_jax.errors import UserError, WrongArgument

T = TypeVar("T")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Kind(Generic[T]):
    """A kind of plug-in: the location of its modules, and the name that each of them defines."""

    label: str
    """Name of such a plug-in in messages, for example "task"."""
    package: str
    """The package whose modules are plug-ins, and the group of other packages' entry points."""
    attribute: str
    """The name that each module defines."""
    expected: type[T] | None
    """The type of the value that each module defines; None for a function."""
    submodule: str | None = None
    """Only for plug-ins that are packages themselves: the module that defines the name, in which
    `{name}` is the name of the plug-in. Entry points cannot add such plug-ins."""

    def names(self) -> list[str]:
        """Returns the sorted names of all plug-ins without importing any of them.

        Raises:
            UserError: two modules have the same name.
        """
        return sorted(self._module_names())

    def module_name(self, name: str) -> str:
        """Returns the full name of a plug-in's module without importing it.

        Raises:
            UserError: the name is unknown; the message suggests the nearest.
        """
        known = self._module_names()
        if name not in known:
            raise WrongArgument(unknown(self.label, name, sorted(known)))
        return known[name]

    def module(self, name: str) -> types.ModuleType:
        """Imports and returns the module of one plug-in.

        Raises:
            UserError: the name is unknown, or the module does not define what it should.
        """
        module_name = self.module_name(name)
        module = self._imported(name, module_name)
        value = getattr(module, self.attribute, None)
        fits = callable(value) if self.expected is None else isinstance(value, self.expected)
        if not fits:
            raise UserError(
                f"The module {module_name} defines no {self._requirement()}, so it is no "
                f"{self.label}. Define it, or begin the module's name with an underscore."
            )
        return module

    def load_one(self, name: str) -> T:
        """Returns the value that one plug-in defines, without importing any other plug-in.

        Raises:
            UserError: the name is unknown, or the module does not define what it should.
        """
        return cast(T, getattr(self.module(name), self.attribute))

    def load(self) -> dict[str, T]:
        """Returns the values that all plug-ins define, sorted by name.

        Raises:
            UserError: two modules have the same name, or one does not define what it should.
        """
        return {name: self.load_one(name) for name in self.names()}

    def _module_names(self) -> dict[str, str]:
        """Returns the full name of each plug-in's module."""
        modules = {name: self._own_module_name(name) for name in self._own_names()}
        if self.submodule:
            return modules
        # The search path is an argument because tests and notebooks may change it.
        for name, module_name in _entry_points(self.package, tuple(sys.path)):
            if name in modules:
                raise UserError(
                    f"Two modules define the {self.label} {name!r}: {modules[name]} and "
                    f"{module_name}. Rename one, or uninstall the package of the other."
                )
            modules[name] = module_name
        return modules

    def _own_names(self) -> list[str]:
        try:
            package = importlib.import_module(self.package)
        except ModuleNotFoundError as error:
            if error.name != self.package:
                raise
            message = f"The package {self.package} is not installed; run `pip install -e .`."
            raise UserError(message) from None
        # An editable installation adds names of its own finders, such as `__editable__`.
        folders = [folder for folder in package.__path__ if not folder.startswith("__")]
        return [
            module.name
            for module in pkgutil.iter_modules(folders)
            if not module.name.startswith("_") and (module.ispkg or not self.submodule)
        ]

    def _own_module_name(self, name: str) -> str:
        module_name = f"{self.package}.{name}"
        return (
            f"{module_name}.{self.submodule.format(name=name)}" if self.submodule else module_name
        )

    def _imported(self, name: str, module_name: str) -> types.ModuleType:
        try:
            return importlib.import_module(module_name)
        except UserError as error:
            message = f"The {self.label} {name!r} cannot be loaded from {module_name}. {error}"
            raise UserError(message) from error
        except Exception as error:  # a module of another package may raise anything
            if module_name == self._own_module_name(name):
                raise
            raise UserError(
                f"The {self.label} {name!r} cannot be imported from {module_name}, which another "
                f"package's entry point names as its module: {type(error).__name__}: {error}. "
                "Repair or uninstall it."
            ) from error

    def _requirement(self) -> str:
        if self.expected is None:
            return f"function `{self.attribute}`"
        if self.expected is type:
            return f"class `{self.attribute}`"
        return f"`{self.attribute}` of type {self.package}.{self.expected.__name__}"


@functools.cache
def _entry_points(group: str, search_path: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Returns names and module names of a group's entry points, sorted."""
    del search_path  # only a key of the cache
    entries = importlib.metadata.entry_points(group=group)
    return tuple(sorted((entry.name, entry.value) for entry in entries))


def unknown(label: str, name: object, known: Iterable[str]) -> str:
    """Returns the message for an unknown name: the name, the nearest known one, and all known ones.

    Args:
        label: what the name should be, for example "task".
        name: the unknown name.
        known: the available names, in the order in which the message lists them.
    """
    known = list(known)
    available = f"Available: {', '.join(known)}." if known else "None is available."
    return f"Unknown {label} {name!r}.{did_you_mean(name, known)} {available}"


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """Returns " Did you mean 'nearest'?", with its leading space, or "" if no name is similar.

    Upper and lower case, spaces, dashes and underscores are not distinguished.
    """
    known_of = {_normalised(candidate): candidate for candidate in known}
    nearest = difflib.get_close_matches(_normalised(name), known_of, n=1)
    return f" Did you mean {known_of[nearest[0]]!r}?" if nearest else ""


def _normalised(name: object) -> str:
    return str(name).strip().casefold().replace("-", "_").replace(" ", "_")
