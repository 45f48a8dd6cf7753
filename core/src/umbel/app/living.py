"""What outlives a single app: the apps that there are, and what is defined in all of them."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from umbel.current import get_app
from umbel.exceptions import NotRegistered

if TYPE_CHECKING:
    from collections.abc import Callable

# Celery's API asks for this state: a shared task may be defined before there is any app, and belongs to those to come.
_apps: WeakSet[Any] = WeakSet()
_definitions: list[Callable[[Any], Any]] = []


def add_app(app: Any) -> None:
    """Let an app be found by what was pickled, and get what is defined in all."""
    _apps.add(app)


def remove_app(app: Any) -> None:
    """Let it be found no more."""
    _apps.discard(app)


def find_task(name: str, module: str, main: str | None) -> Any:
    """A task that was pickled: of the app with this name, once the task's module is imported."""
    for prepare in (lambda: None, lambda: importlib.import_module(module)):
        prepare()
        current = get_app()
        for app in ([current] if current is not None else []) + list(_apps):
            if app.main == main and name in app.tasks:
                return app.tasks[name]
    raise NotRegistered(name)


def define_everywhere(define: Callable[[Any], Any]) -> None:
    """Call this with every app: now with those that are finalized, with the others when they are."""
    _definitions.append(define)
    for app in list(_apps):
        if app.finalized:
            define(app)


def define_all(app: Any) -> None:
    """Define in this app what is defined in all."""
    for define in list(_definitions):
        define(app)
