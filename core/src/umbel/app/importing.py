"""The modules in which an app's tasks are: those of the settings, and those found in packages."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from umbel import signals
from umbel.app.defining import Defining

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import ModuleType

    Packages = Iterable[str] | Callable[[], Iterable[str]]


class Importing(Defining):
    """An app that knows where its tasks are."""

    def __init__(self, changes: Mapping[str, Any], *, tasks: Any = None, autofinalize: bool = True) -> None:
        super().__init__(changes, tasks=tasks, autofinalize=autofinalize)
        self._discovered: list[tuple[Packages, str | None]] = []

    def autodiscover_tasks(
        self, packages: Packages | None = None, related_name: str | None = "tasks", force: bool = False
    ) -> None:
        """Have the module `related_name` of each package imported, where there is one, when a worker starts.

        With `force`, now. `packages` may be a function that is called then. Without a `related_name` the packages
        themselves are imported.
        """
        if packages is None:
            raise NotImplementedError("autodiscover_tasks() without packages needs Django, whose support is to come")
        if isinstance(packages, str):
            raise TypeError(f"autodiscover_tasks takes a list of packages: [{packages!r}]")
        if force:
            discover(packages, related_name)
        else:
            self._discovered.append((packages, related_name))

    def import_default_modules(self) -> list[ModuleType]:
        """Import the modules of the settings `imports` and `include`, and what `autodiscover_tasks` finds."""
        signals.import_modules.send(sender=self)
        modules = [importlib.import_module(name) for name in (*self.conf.imports, *self.conf.include)]
        for packages, related_name in self._discovered:
            modules += discover(packages, related_name)
        return modules


def discover(packages: Packages, related_name: str | None) -> list[ModuleType]:
    """Import the module of this name in each package; those that have none are passed over."""
    names = packages() if callable(packages) else packages
    modules = []
    for package in names:
        module = importlib.import_module(package)
        if related_name:
            wanted = f"{package}.{related_name}"
            try:
                module = importlib.import_module(wanted)
            except ModuleNotFoundError as exc:
                if exc.name not in (wanted, package):
                    raise  # it is there, and something that it imports is not
                continue
        modules.append(module)
    return modules
