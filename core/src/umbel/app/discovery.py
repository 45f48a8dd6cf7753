"""Finding an app by the name of its module, and the modules in which its tasks are."""

from __future__ import annotations

import importlib
import importlib.util
from typing import TYPE_CHECKING, Any

from umbel.app.base import Umbel
from umbel.app.proxies import Proxy
from umbel.exceptions import ImproperlyConfigured

if TYPE_CHECKING:
    from types import ModuleType

NAMES = ("app", "celery", "umbel")
"""Attributes of a module that are looked at first, and submodules of a package."""


def find_app(name: str) -> Umbel:
    """The app that ``-A name`` means: ``module``, ``module:attribute``, or ``module.attribute``.

    Of a module: its attribute `app`, `celery` or `umbel`; else an app in its submodule `celery` or `umbel`; else any
    app in it. ImproperlyConfigured says what was looked for; errors of the module's own are raised as they are.
    """
    module_name, colon, attribute = name.partition(":")
    if not module_name:
        raise ImproperlyConfigured(f"-A {name!r}: name a module, or module:attribute")
    if colon:
        return _attribute(_imported(module_name), attribute, name)
    if _exists(module_name):
        return _in_module(_imported(module_name), module_name)
    parent, dot, last = module_name.rpartition(".")
    if dot and _exists(parent):
        module = _imported(parent)
        if hasattr(module, last):
            return _attribute(module, last, name)
    return _in_module(_imported(module_name), module_name)


def _attribute(module: ModuleType, path: str, name: str) -> Umbel:
    found: Any = module
    for part in path.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise ImproperlyConfigured(f"-A {name}: {module.__name__} has no attribute {path!r}") from None
    if isinstance(found, Umbel):
        return _itself(found)
    if hasattr(found, "__path__") or type(found).__name__ == "module":
        return _in_module(found, name)
    raise ImproperlyConfigured(f"-A {name}: {path!r} is a {type(found).__name__}, not an app")


def _in_module(module: ModuleType, name: str) -> Umbel:
    for attribute in NAMES:
        found = getattr(module, attribute, None)
        if isinstance(found, Umbel):
            return _itself(found)
    if hasattr(module, "__path__"):
        for last in NAMES[1:]:
            if _exists(f"{module.__name__}.{last}"):
                return _in_module(importlib.import_module(f"{module.__name__}.{last}"), name)
    for found in vars(module).values():
        if isinstance(found, Umbel):
            return _itself(found)
    raise ImproperlyConfigured(
        f"-A {name}: there is no app in {module.__name__}; name it as module:attribute, or call it `app`"
    )


def _itself(found: Any) -> Umbel:
    app: Umbel = found._get_current_object() if type(found) is Proxy else found
    return app


def _imported(name: str) -> ModuleType:
    if not _exists(name):
        raise ImproperlyConfigured(f"-A {name}: there is no module of this name here or on Python's path")
    return importlib.import_module(name)


def _exists(name: str) -> bool:
    """Whether there is such a module; its parents are imported for that, and their errors raised."""
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError as exc:
        if exc.name and (name == exc.name or name.startswith(f"{exc.name}.")):
            return False
        raise
    except ValueError:  # a module that is there without a spec, such as __main__
        return True
