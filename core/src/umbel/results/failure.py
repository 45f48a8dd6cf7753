"""Exceptions as data: what a task raised, written down and rebuilt without importing or running anything."""

from __future__ import annotations

import builtins
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from umbel import exceptions
from umbel.exceptions import EncodeError, RemoteError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

MAX_NAME = 200
"""Characters of a class's name, or its module's, that are believed."""
MAX_CLASSES = 256
"""Classes made up for errors that may not be rebuilt, kept for the next error of the same name."""
_PEERS = ("celery.exceptions", "billiard.exceptions", "kombu.exceptions")
"""Modules of Celery's in which a class of the same name means what ours does."""


def _standard() -> dict[tuple[str, str], type[Exception]]:
    """Python's own errors and the library's; none that would end the process which reads a result."""
    found: dict[tuple[str, str], type[Exception]] = {}
    for name, cls in vars(builtins).items():
        if isinstance(cls, type) and issubclass(cls, Exception):
            found["builtins", name] = cls
    for name in exceptions.__all__:
        cls = getattr(exceptions, name)
        if issubclass(cls, Exception) and cls is not RemoteError:
            for module in (exceptions.__name__, cls.__module__, *_PEERS):
                found[module, name] = cls
    return found


_STANDARD = _standard()


class ExceptionTypes:
    """The classes that a task's error is rebuilt as; whatever is not among them becomes a `RemoteError`."""

    def __init__(self, types: Iterable[type[Exception]] = ()) -> None:
        self._types = dict(_STANDARD)
        for cls in types:
            self.register(cls)

    def register(self, cls: type[Exception]) -> type[Exception]:
        """Rebuild errors of this class as itself, by calling it with their `args`. Usable as a decorator."""
        if not (isinstance(cls, type) and issubclass(cls, Exception)):
            raise TypeError(f"only subclasses of Exception can be rebuilt, not {cls!r}")
        self._types[cls.__module__, cls.__qualname__] = cls
        return cls

    def rebuilt(self, module: str, name: str, args: Sequence[Any]) -> Exception:
        """The error itself, or a `RemoteError` in its name."""
        cls = self._types.get((module, name))
        if cls is not None:
            try:
                return cls(*args)
            except Exception:  # noqa: BLE001 - a class that does not take its own `args` back
                pass
        return remote(name, module, args)


STANDARD = ExceptionTypes()
"""Python's and the library's, for an app that has registered no others."""


def to_data(exc: BaseException, check: Callable[[Any], Any]) -> dict[str, Any]:
    """The error as Celery lays it out; arguments that `check` refuses with an EncodeError become their repr."""
    name, module = type(exc).__qualname__, type(exc).__module__
    if isinstance(exc, RemoteError) and exc.type_name:
        name, module = exc.type_name, exc.module
    data = {"exc_type": name, "exc_message": list(exc.args), "exc_module": module}
    try:
        check(data)
    except EncodeError:
        data["exc_message"] = [_writable(arg, check) for arg in exc.args]
    return data


def from_data(data: Any, types: ExceptionTypes) -> BaseException:
    """The error that was written down; of anything unexpected a `RemoteError`, never a crash."""
    if isinstance(data, BaseException):
        return data  # from a serializer that the user trusts with objects
    if not isinstance(data, dict) or not isinstance(data.get("exc_type"), str):
        return RemoteError(data)
    message = data.get("exc_message", ())
    args = tuple(message) if isinstance(message, (list, tuple)) else (message,)
    module = data.get("exc_module")
    return types.rebuilt(module if isinstance(module, str) else "builtins", data["exc_type"], args)


def remote(name: str, module: str, args: Sequence[Any]) -> RemoteError:
    """A `RemoteError` that looks like the error it stands for."""
    name, module = _plain(name), _plain(module)
    return _remote_class(name, module)(*args, type_name=name, module=module)


@lru_cache(MAX_CLASSES)
def _remote_class(name: str, module: str) -> type[RemoteError]:
    def reduce(self: RemoteError) -> tuple[Any, ...]:
        return remote, (self.type_name, self.module, self.args)

    body = {
        "__module__": module,
        "__qualname__": name,
        "__doc__": "An error of a task whose class may not be rebuilt here.",
        "__str__": Exception.__str__,  # the class's name says already what RemoteError's text would add
        "__reduce__": reduce,
    }
    return type(name.rpartition(".")[2] or name, (RemoteError,), body)


def _plain(name: str) -> str:
    """A name that a traceback can show, whatever a stranger wrote."""
    return "".join(letter if letter.isprintable() else "?" for letter in name[:MAX_NAME]) or "?"


def _writable(arg: Any, check: Callable[[Any], Any]) -> Any:
    try:
        check(arg)
    except EncodeError:
        try:
            return repr(arg)
        except Exception as exc:  # noqa: BLE001 - somebody's broken __repr__ must not hide the error itself
            return f"<{type(arg).__qualname__}: {type(exc).__name__} in its repr>"
    return arg
